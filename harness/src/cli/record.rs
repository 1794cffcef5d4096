//! `heaplab record`: records a real program. All of its own output goes to stderr, and the program's exit status is
//! passed on.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use heaplab_trace::Gap;
use heaplab_workloads::simulate::parse_size_bytes;
use indicatif::HumanBytes;

use super::{Outcome, Usage};
use crate::record::{RecordError, Recorded, Recording, Requests, Settings, record};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The trace to write; replaced only when the new one is complete. While the program runs, the raw recording
    /// is next to it, in FILE.raw
    #[arg(short, long, value_name = "FILE.hlt", required_unless_present = "pid")]
    output: Option<PathBuf>,
    /// Record no children. Otherwise each is recorded into a separate trace, FILE.PID-N.hlt, and FILE.tree.toml lists
    /// the processes
    #[arg(long, conflicts_with = "follow_forks")]
    only_this_process: bool,
    /// Children are recorded anyway
    #[arg(long, hide = true)]
    follow_forks: bool,
    /// Record nothing until heaplab gets SIGUSR1; SIGUSR2 pauses again
    #[arg(long)]
    paused: bool,
    /// Stop recording when the raw recording reaches this size, such as 2GiB; the program continues
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    max_bytes: Option<u64>,
    /// Stop recording after this many seconds; the program continues
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    max_seconds: Option<Duration>,
    /// Keep the raw recording
    #[arg(long)]
    keep_raw: bool,
    /// Write the number of the program's process to this file as soon as it runs
    #[arg(long, value_name = "FILE", hide = true)]
    announce: Option<PathBuf>,
    /// Refused: a running process cannot be recorded
    #[arg(long, value_name = "PID", hide = true)]
    pid: Option<String>,
    /// The program to record, and its arguments
    #[arg(value_name = "COMMAND", required_unless_present = "pid", trailing_var_arg = true)]
    command: Vec<OsString>,
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is no number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| format!("{text:?}: {error}"))
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let settings = settings(args)?;
    let requests = Requests::by_signals().context("cannot handle signals")?;
    let report = match record(&settings, &requests, &|sentence| say!("heaplab: {sentence}")) {
        Ok(report) => report,
        Err(error) => {
            return match error.start_code() {
                Some(code) => {
                    say!("heaplab: {error}");
                    Ok(Outcome::Passed(code))
                }
                None => Err(error.into()),
            };
        }
    };
    for warning in &report.warnings {
        say!("heaplab: warning: {warning}");
    }
    let code = report.exit_code();
    // The program ran: whether or not the recording succeeded, the exit status is the program's.
    match report.result {
        Ok(recorded) => describe(&recorded),
        Err(error @ RecordError::Nothing { .. }) => say!("heaplab: warning: {error}"),
        Err(error) => say!("heaplab: {:#}", anyhow::Error::from(error)),
    }
    Ok(Outcome::Passed(code))
}

fn settings(args: Args) -> Result<Settings, Usage> {
    if let Some(pid) = args.pid {
        return Err(Usage(format!(
            "--pid {pid}: a running process cannot be recorded: what it allocated before is unknown, and putting a library into it is not safe; start it again with `heaplab record -o FILE.hlt -- COMMAND`, and with --paused record a part of its life"
        )));
    }
    let mut command = args.command.into_iter();
    let (Some(program), Some(output)) = (command.next(), args.output) else {
        return Err(Usage("record needs a trace to write (-o FILE.hlt) and a program to run".to_string()));
    };
    Ok(Settings {
        program,
        arguments: command.collect(),
        output,
        only_this_process: args.only_this_process,
        is_paused: args.paused,
        most_bytes: args.max_bytes,
        most_time: args.max_seconds,
        keeps_raw: args.keep_raw,
        announcement: args.announce,
    })
}

/// The number of traces that get a line each; the manifest lists all of them.
const MOST_LINES: usize = 20;

fn describe(recorded: &Recorded) {
    for trace in recorded.traces.iter().take(MOST_LINES) {
        let path = trace.path.display();
        trace.problems.iter().for_each(|problem| say!("heaplab: warning: {path}: {problem}"));
        for gap in &trace.coverage.gaps {
            // If the tree was recorded whole, nothing is missing.
            let is_fault = !matches!(gap, Gap::PartOfTree { .. });
            say!("heaplab: {}{path}: {gap}", if is_fault { "warning: " } else { "" });
        }
        say!("heaplab: {}", describe_trace(trace));
    }
    if let Some(manifest) = &recorded.manifest {
        let more = recorded.traces.len().saturating_sub(MOST_LINES);
        let rest = if more > 0 { format!(", {more} of which are not named here") } else { String::new() };
        say!(
            "heaplab: {} says which processes there were, with {} trace{}{rest}",
            manifest.display(),
            recorded.traces.len(),
            if recorded.traces.len() == 1 { "" } else { "s" }
        );
    }
}

fn describe_trace(trace: &Recording) -> String {
    let summary = &trace.summary;
    let per_event = trace.file_bytes as f64 / summary.events.max(1) as f64;
    format!(
        "recorded {}: {} events, {} thread{}, {} ({per_event:.2} bytes an event), {} lost; {}",
        trace.path.display(),
        summary.events,
        summary.threads,
        if summary.threads == 1 { "" } else { "s" },
        HumanBytes(trace.file_bytes),
        summary.lost,
        trace.coverage,
    )
}
