//! One sample: the program is started, sampled until it or its load ends, stopped, and judged.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, set_child_subreaper};

use heaplab_allocators::{Injection, Reports, Variant, is_allocator_variable};

use super::command::shell;
use super::ending::{Cause, Ending, Limits, describe};
use super::judge::judge;
use super::keeper::signal_all;
use super::message::{ExitStatus, Input, Job, Said, Told, Usage};
use super::program::{Event, Keeper, Output, Role};
use super::readiness::{Ready, accepts, pass_on};
use super::series::Series;
use super::tree::{descendants, runs_below};
use crate::group::{Account, Group};

/// Time between two samples of the process tree.
const INTERVAL: Duration = Duration::from_millis(50);
/// Time between two readings of only resident memory: as often as a recorder reads it, so that prediction and
/// reality miss the same peaks.
const GLANCE: Duration = Duration::from_millis(10);
/// Time from SIGTERM to SIGKILL, unless more is allowed.
pub const GRACE: Duration = Duration::from_secs(10);
/// The same for what remains after the program itself has exited.
const GRACE_OF_REST: Duration = Duration::from_secs(1);
/// Processes that are just exiting have this long before they count as having outlived the program.
const PARTING: Duration = Duration::from_millis(200);

/// What is run.
pub struct Program<'a> {
    /// The command and its arguments.
    pub command: &'a [OsString],
    /// The file to which the command leads.
    pub file: &'a Path,
    /// The variant on which it runs.
    pub variant: &'a Variant,
    /// What makes it run on the variant.
    pub injection: &'a Injection,
    /// Where its processes report.
    pub report_file: &'a Path,
    /// Its standard input.
    pub input: Input,
    /// When the sample ends.
    pub limits: &'a Limits,
    /// The control group in which it runs, with nothing of ours.
    pub group: Option<&'a Group>,
    /// Whether its standard output goes to our standard error.
    pub to_stderr: bool,
    /// If the command is a recorder, which starts the program itself: where it writes the number of the program's
    /// process. The program cannot be ready before.
    pub announcement: Option<&'a Path>,
}

/// One sample.
#[derive(Debug)]
pub struct Execution {
    /// How it ended.
    pub ending: Ending,
    /// Why, if it is not ok.
    pub detail: Option<String>,
    /// What does not make the sample wrong but should be known.
    pub warnings: Vec<String>,
    /// The program's exit status as a shell shows it; none if heaplab stopped it, or it never ran.
    pub exit_status: Option<u32>,
    /// From the program's start to the sample's end.
    pub wall: Duration,
    /// From the program's start until it was ready, if something shows that.
    pub ready: Option<Duration>,
    /// What the tree used until the sample's end.
    pub cpu_user_ns: u64,
    /// The same in the kernel.
    pub cpu_system_ns: u64,
    /// What the tree used in all, including while it was stopped.
    pub usage: Usage,
    /// What was sampled.
    pub series: Series,
    /// What its control group was charged: the largest value of each figure.
    pub account: Option<Account>,
    /// Whether the variant's library was proven to serve.
    pub proven: bool,
}

/// Takes one sample. None if it was stopped; by then the program has ended too.
///
/// # Errors
///
/// Heaplab's own part fails. A program that fails is a sample.
pub fn take_sample(program: &Program<'_>, stop: &AtomicBool) -> io::Result<Option<Execution>> {
    set_child_subreaper(Some(getpid()))?;
    let others = descendants(std::process::id());
    let (sender, events) = channel();
    let waits_for_line = matches!(program.limits.ready, Some(Ready::Line(_)));
    let output = match (waits_for_line, program.to_stderr) {
        (true, _) => Output::Piped,
        (false, true) => Output::ToStderr,
        (false, false) => Output::Inherited,
    };
    let removed = std::env::vars_os().map(|(name, _)| name);
    let job = Job {
        command: program.command.to_vec(),
        variant: Some(program.variant.clone()),
        removed: removed.filter(|name| name.to_str().is_some_and(is_allocator_variable)).collect(),
        variables: program.injection.variables.clone(),
        input: program.input.clone(),
        group: program.group.map(Group::processes_file),
    };
    let mut keeper = Keeper::start(&job, output, Role::Program, sender.clone())?;
    let streams = pass_streams(program, &mut keeper, &sender);
    let mut sampling = Sampling {
        program,
        others,
        keeper: Some(keeper),
        load: None,
        sender,
        events,
        series: Series::default(),
        started: None,
        process: None,
        recorder: None,
        ready: None,
        ended: None,
        gone: None,
        usage: None,
        load_ended: None,
        failed: None,
        finishing: false,
        ready_early: false,
        account: None,
        killed_at: None,
    };
    let cause = sampling.run(stop)?;
    let execution = sampling.finish(cause)?;
    for stream in streams {
        if let Err(panic) = stream.join() {
            std::panic::resume_unwind(panic);
        }
    }
    Ok(execution)
}

/// Reads the program's streams and passes them on, if a line is waited for.
fn pass_streams(program: &Program<'_>, keeper: &mut Keeper, sender: &Sender<Event>) -> Vec<JoinHandle<()>> {
    let Some(Ready::Line(line)) = &program.limits.ready else { return Vec::new() };
    let (stdout, stderr) = keeper.take_streams();
    let to: Box<dyn io::Write + Send> =
        if program.to_stderr { Box::new(io::stderr()) } else { Box::new(io::stdout()) };
    let stdout = stdout.map(|from| pass_on(from, to, line.clone(), sender.clone(), Event::Ready));
    let stderr = stderr.map(|from| pass_on(from, io::stderr(), line.clone(), sender.clone(), Event::Ready));
    stdout.into_iter().chain(stderr).collect()
}

/// A sample that is being taken.
struct Sampling<'a> {
    program: &'a Program<'a>,
    /// The processes that heaplab had started before, such as watchers.
    others: BTreeSet<u32>,
    keeper: Option<Keeper>,
    load: Option<Keeper>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    series: Series,
    started: Option<Instant>,
    /// The program's process, which the load is told.
    process: Option<u32>,
    /// The process of its recorder, if it has one.
    recorder: Option<u32>,
    ready: Option<Duration>,
    ended: Option<(ExitStatus, Duration)>,
    /// When nothing of the tree remained, and what it had used.
    gone: Option<Duration>,
    usage: Option<Usage>,
    load_ended: Option<ExitStatus>,
    /// What made the sample impossible.
    failed: Option<Cause>,
    /// The sample is over, and the program is being stopped.
    finishing: bool,
    /// The line that shows that the program is ready arrived before its process was known.
    ready_early: bool,
    /// The largest value of each figure of its control group.
    account: Option<Account>,
    /// When it was noticed that one of its processes had been killed for memory.
    killed_at: Option<Duration>,
}

impl Sampling<'_> {
    /// Samples the program until the sample is over.
    fn run(&mut self, stop: &AtomicBool) -> io::Result<Cause> {
        let (mut next, mut next_reading) = (Instant::now(), Instant::now());
        loop {
            match self.events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => self.note(event)?,
                // We hold a sender too, so the channel stays open.
                Err(RecvTimeoutError::Disconnected) => return Ok(Cause::Lost),
                Err(RecvTimeoutError::Timeout) => {
                    // Processes that have just started are not known yet: until they are, a glance is a reading.
                    if Instant::now() >= next_reading || !self.glance() {
                        self.read_tree();
                        next_reading = Instant::now() + INTERVAL;
                    }
                    self.read_announcement()?;
                    if let (Some(Ready::Tcp(port)), None) = (&self.program.limits.ready, self.ready)
                        && self.process.is_some()
                        && accepts(*port)
                    {
                        self.become_ready()?;
                    }
                    // A late reading is not made up for.
                    next = (next + GLANCE).max(Instant::now());
                }
            }
            if let Some(cause) = self.find_cause(stop) {
                return Ok(cause);
            }
        }
    }

    fn elapsed(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether the program has exited successfully and the processes that it started represent it until the sample
    /// ends.
    fn is_in_background(&self) -> bool {
        let limits = self.program.limits;
        let goes_on = limits.until_last || limits.time.is_some() || limits.load.is_some();
        goes_on && matches!(self.ended, Some((ExitStatus::Exited(0), _)))
    }

    /// Whether there may be processes to measure.
    fn lives(&self) -> bool {
        self.usage.is_none() && (self.ended.is_none() || self.is_in_background())
    }

    /// Whether a recorded program has ended, with all that it started, before its recorder has.
    fn is_only_recorder_left(&self) -> bool {
        self.keeper
            .as_ref()
            .zip(self.recorder)
            .is_some_and(|(keeper, recorder)| !runs_below(keeper.id(), recorder))
    }

    fn read_account(&mut self) {
        let Some(group) = self.program.group else { return };
        let account = group.account().larger(&self.account.unwrap_or_default());
        if account.oom_kills > 0 && self.killed_at.is_none() {
            self.killed_at = Some(self.ended.map_or_else(|| self.elapsed(), |(_, elapsed)| elapsed));
        }
        self.account = Some(account);
    }

    fn read_tree(&mut self) {
        self.read_account();
        let (lives, elapsed) = (self.lives(), self.elapsed());
        if let (Some(keeper), Some(_), true) = (&self.keeper, self.started, lives) {
            self.series.read_tree(keeper.id(), elapsed);
        }
    }

    /// False if there was nothing to glance at.
    fn glance(&mut self) -> bool {
        let (lives, elapsed) = (self.lives(), self.elapsed());
        self.keeper.as_ref().is_some_and(|keeper| lives && self.series.glance(keeper.id(), elapsed))
    }

    fn note(&mut self, event: Event) -> io::Result<()> {
        match event {
            Event::Said(Role::Program, Said::Started(process)) => {
                self.started = Some(Instant::now());
                match self.program.announcement {
                    Some(_) => self.recorder = Some(process),
                    None => self.know(process)?,
                }
            }
            Event::Said(Role::Program, Said::NotStarted(_, what)) => {
                self.failed = Some(Cause::NotStarted(what))
            }
            Event::Said(Role::Program, Said::Ended(status)) => self.ended = Some((status, self.elapsed())),
            Event::Said(Role::Program, Said::Gone(usage)) => {
                self.gone = Some(self.elapsed());
                self.usage = Some(usage);
            }
            Event::Said(Role::Helper, Said::Ended(status)) => self.load_ended = Some(status),
            Event::Said(Role::Helper, Said::NotStarted(..)) | Event::Lost(Role::Helper) => {
                self.load_ended = self.load_ended.or(Some(ExitStatus::Exited(127)));
            }
            Event::Said(Role::Helper, _) => {}
            Event::Lost(Role::Program) if self.usage.is_none() && self.failed.is_none() => {
                self.failed = Some(Cause::Lost);
            }
            Event::Lost(Role::Program) => {}
            // Its line can arrive before its keeper's message.
            Event::Ready if self.process.is_none() => self.ready_early = true,
            Event::Ready if self.ready.is_none() => self.become_ready()?,
            Event::Ready => {}
        }
        Ok(())
    }

    /// Takes the number of the program's process from its recorder.
    fn read_announcement(&mut self) -> io::Result<()> {
        let Some(path) = self.program.announcement.filter(|_| self.process.is_none()) else { return Ok(()) };
        let text = std::fs::read_to_string(path)?;
        // Until its line is complete, there is none.
        match text.strip_suffix('\n').map(str::parse) {
            Some(Ok(process)) => self.know(process),
            Some(Err(_)) => Err(io::Error::other(format!("{}: {text:?} is no process", path.display()))),
            None => Ok(()),
        }
    }

    /// Records which process the program is.
    fn know(&mut self, process: u32) -> io::Result<()> {
        self.process = Some(process);
        if self.program.limits.ready.is_none() || self.ready_early {
            self.become_ready()?;
        }
        Ok(())
    }

    /// Records that the program is ready from now on.
    fn become_ready(&mut self) -> io::Result<()> {
        self.ready = Some(self.elapsed());
        let waited_for = !self.finishing && self.lives() && !self.is_only_recorder_left();
        if let (Some(load), true, Some(process)) = (&self.program.limits.load, waited_for, self.process) {
            let job = shell(load, &self.program.variant.label, Some(process));
            let keeper = Keeper::start(&job, Output::ToStderr, Role::Helper, self.sender.clone())?;
            self.load = Some(keeper);
        }
        Ok(())
    }

    /// Whether the sample is over, and why.
    fn find_cause(&mut self, stop: &AtomicBool) -> Option<Cause> {
        let limits = self.program.limits;
        if self.killed_at.is_some() && self.ended.is_none() {
            return Some(Cause::Oom);
        }
        if let Some(failed) = self.failed.take() {
            return Some(failed);
        }
        if stop.load(Ordering::Relaxed) {
            return Some(Cause::Stopped);
        }
        if let Some((status, ended)) = self.ended.filter(|_| !self.lives()) {
            let outlived = self.gone.filter(|gone| self.is_in_background() && *gone > ended + PARTING);
            return Some(outlived.map_or(Cause::Exited(status), |_| Cause::LastExited));
        }
        if let Some(status) = self.load_ended {
            return Some(Cause::Load(status));
        }
        let elapsed = self.elapsed();
        match self.ready {
            Some(ready) if limits.time.is_some_and(|time| elapsed >= ready + time) => {
                return Some(Cause::Time);
            }
            None if self.started.is_some() && elapsed >= limits.ready_within => return Some(Cause::NotReady),
            _ => {}
        }
        limits.timeout.is_some_and(|timeout| elapsed >= timeout).then_some(Cause::Timeout)
    }

    /// Waits until `done`, or for this long.
    fn wait(&mut self, time: Duration, done: fn(&Self) -> bool) -> io::Result<bool> {
        let deadline = Instant::now() + time;
        while !done(self) {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.note(event)?,
                Err(_) => return Ok(done(self)),
            }
        }
        Ok(true)
    }

    /// Stops what still runs, and returns the result of the sample.
    fn finish(mut self, cause: Cause) -> io::Result<Option<Execution>> {
        self.series.want_share();
        self.read_tree();
        self.finishing = true;
        let ended = if self.is_in_background() { self.gone } else { self.ended.map(|(_, elapsed)| elapsed) };
        let wall = ended.unwrap_or_else(|| self.elapsed());
        let at_end = self.series.readings.last().unwrap_or_default();
        self.load = None;
        // Without their keeper nothing is heard of the processes.
        let mut warnings = if matches!(cause, Cause::Lost) { Vec::new() } else { self.end_tree()? };
        if let Err(why) = self.series.finish() {
            warnings.push(format!(
                "what its processes share is not known ({why}), so that its memory is their sum alone"
            ));
        }
        // Nothing of the tree remains once it is gone.
        self.keeper = None;
        if matches!(cause, Cause::Lost) {
            // Without their keeper they are our children.
            signal_all(Signal::KILL, &self.others);
        }
        if matches!(cause, Cause::Stopped) {
            return Ok(None);
        }
        let by_itself = matches!(cause, Cause::Exited(_) | Cause::LastExited);
        let usage = self.usage.unwrap_or_default();
        self.read_account();
        let (mut ending, mut detail) = describe(&cause, self.program.limits, self.account.as_ref());
        if let Some((account, killed_at)) = self.account.zip(self.killed_at) {
            ending = Ending::Oom;
            detail = Some(account.describe_kill(killed_at));
        }
        let reports = Reports::read(self.program.report_file)?;
        let library = &self.program.injection.library;
        let verdict = judge(&reports, library, &self.series.census, self.program.file);
        let proven = verdict.fault.is_none() && !matches!(cause, Cause::NotStarted(_) | Cause::Lost);
        match verdict.fault {
            Some(fault) if ending == Ending::Ok => {
                ending = Ending::NotInjected;
                detail = Some(fault);
            }
            Some(fault) if !matches!(cause, Cause::NotStarted(_)) => warnings.push(fault),
            _ => {}
        }
        warnings.extend(verdict.remarks);
        Ok(Some(Execution {
            ending,
            detail,
            warnings,
            exit_status: self.ended.filter(|_| by_itself).map(|(status, _)| status.code()),
            wall,
            ready: self.ready.filter(|_| self.program.limits.ready.is_some()),
            cpu_user_ns: if by_itself { usage.cpu_user_ns } else { at_end.cpu_user_ns },
            cpu_system_ns: if by_itself { usage.cpu_system_ns } else { at_end.cpu_system_ns },
            usage,
            series: self.series,
            account: self.account,
            proven,
        }))
    }

    /// Stops the program and the processes that it left behind: with SIGTERM first, then SIGKILL.
    fn end_tree(&mut self) -> io::Result<Vec<String>> {
        let mut warnings = Vec::new();
        let runs = self.started.is_some() && self.ended.is_none();
        let tell = |sampling: &mut Self, told| {
            if let Some(keeper) = sampling.keeper.as_mut() {
                keeper.tell(told);
            }
        };
        if runs {
            tell(self, Told::TerminateProgram);
            let grace = self.program.limits.grace;
            if !self.wait(grace, |sampling| sampling.ended.is_some())? {
                warnings
                    .push(format!("it did not end within {} s of SIGTERM and was killed", grace.as_secs()));
            }
        }
        if self.started.is_some() && self.is_in_background() && self.usage.is_none() {
            tell(self, Told::TerminateAll);
            let grace = self.program.limits.grace;
            if !self.wait(grace, |sampling| sampling.usage.is_some())? {
                warnings.push(format!(
                    "its processes did not end within {} s of SIGTERM and were killed",
                    grace.as_secs()
                ));
            }
        } else if self.started.is_some() && !self.wait(PARTING, |sampling| sampling.usage.is_some())? {
            let left = self.keeper.as_ref().map_or(0, |keeper| descendants(keeper.id()).len());
            if self.ended.is_some() && left > 0 {
                let word = if left == 1 { "process" } else { "processes" };
                warnings.push(format!(
                    "{left} {word} outlived the program and {} killed: a program that goes to the background is measured with \
                     --for, --load or --until-last-exit",
                    if left == 1 { "was" } else { "were" }
                ));
            }
            tell(self, Told::TerminateAll);
            self.wait(GRACE_OF_REST, |sampling| sampling.usage.is_some())?;
        }
        tell(self, Told::End);
        if self.started.is_some() {
            self.wait(GRACE, |sampling| sampling.usage.is_some())?;
        }
        Ok(warnings)
    }
}
