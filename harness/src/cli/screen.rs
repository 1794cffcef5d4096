//! What a person sees while a session works: sentences, and progress bars if standard error is a
//! terminal.

use std::cell::{Cell, RefCell};
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use heaplab_workloads::import::Progress;
use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};

use crate::design::Pass;
use crate::session::Notice;

/// Without a terminal for a bar, a line reports the session's progress this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows what a session reports.
pub(super) struct Screen {
    bar: RefCell<Option<ProgressBar>>,
    styles: Styles,
    /// If standard error is not a terminal: when the last line was written.
    last_line: Option<Cell<Instant>>,
}

struct Styles {
    import: ProgressStyle,
    compile: ProgressStyle,
    samples: ProgressStyle,
    samples_without_end: ProgressStyle,
}

impl Screen {
    pub(super) fn new() -> anyhow::Result<Screen> {
        let style = ProgressStyle::with_template;
        let styles = Styles {
            import: style("{prefix} {bar:40} {percent:>3} %  {msg} events  {eta} left")?,
            compile: style("compile {msg}: {human_pos} events, {rate}")?.with_key("rate", write_rate),
            samples: style("{bar:30} {pos}/{len}  {msg}  {eta} left")?,
            samples_without_end: style("{pos} samples in {elapsed}  {msg}")?,
        };
        let is_terminal = std::io::stderr().is_terminal();
        let last_line = (!is_terminal).then(|| Cell::new(Instant::now()));
        Ok(Screen { bar: RefCell::default(), styles, last_line })
    }

    /// Shows one notice.
    pub(super) fn show(&self, notice: &Notice<'_>) {
        match *notice {
            Notice::Say(ref text) => self.say(text),
            Notice::Importing { workload, progress } => self.import(&format!("import {workload}"), progress),
            Notice::Compiling { workload, order, events } => {
                self.say_now_and_then(|| format!("compile {workload} ({order}): {events} events"));
                let bar = self.bar(|styles| ProgressBar::new_spinner().with_style(styles.compile.clone()));
                bar.set_message(format!("{workload} ({order})"));
                bar.set_position(events);
            }
            Notice::StageEnded => self.end_stage(),
            // A running program may write to the terminal itself: one line each, and no bar.
            Notice::Sampling { workload, pass: Pass::Exec, variant, number, count } => {
                let of = count.map_or(String::new(), |count| format!(" of {count}"));
                self.say(&format!("{workload} under {variant}, sample {number}{of}"));
            }
            Notice::Sampling { workload, pass, variant, number, count } => {
                self.say_now_and_then(|| {
                    let of = count.map_or(String::new(), |count| format!(" of {count}"));
                    format!("{workload} {pass} {variant}, sample {number}{of}")
                });
                let bar = self.bar(|styles| match count {
                    Some(count) => ProgressBar::new(count).with_style(styles.samples.clone()),
                    None => ProgressBar::new_spinner().with_style(styles.samples_without_end.clone()),
                });
                bar.set_message(format!("{workload} {pass} {variant}"));
                bar.set_position(number - 1);
            }
        }
    }

    /// Shows the progress of an import.
    pub(super) fn import(&self, what: &str, progress: Progress) {
        let bar = self
            .bar(|styles| ProgressBar::new(0).with_style(styles.import.clone()).with_prefix(what.to_owned()));
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.read_bytes);
        bar.set_message(progress.events.to_string());
    }

    /// Removes the bar of a stage.
    pub(super) fn end_stage(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }

    /// Reports the session's progress if no bar shows it and nothing was reported for a while.
    fn say_now_and_then(&self, text: impl FnOnce() -> String) {
        if let Some(last) = self.last_line.as_ref().filter(|last| last.get().elapsed() >= LINE_EVERY) {
            last.set(Instant::now());
            self.say(&text());
        }
    }

    fn say(&self, text: &str) {
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(|| say!("heaplab: {text}")),
            None => say!("heaplab: {text}"),
        }
    }

    /// The stage's bar, created when first needed.
    fn bar(&self, make: impl FnOnce(&Styles) -> ProgressBar) -> ProgressBar {
        self.bar.borrow_mut().get_or_insert_with(|| make(&self.styles)).clone()
    }
}

/// Writes events per second as a whole number: fractions of an event mean nothing.
fn write_rate(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    // A bar that cannot be drawn is not an error of the session.
    let _ = write!(out, "{}/s", HumanCount(state.per_sec() as u64));
}
