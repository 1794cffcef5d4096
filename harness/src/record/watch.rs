//! What this process does while the program runs: it is the clock, and decides whether events are recorded.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heaplab_raw::{State, Tick};
use heaplab_trace::Header;
use indicatif::HumanBytes;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::collector::Collector;
use super::control::Control;
use super::cost::{Cost, EVENT_COST_NOTE, WAKING_COST_NOTE, WAKINGS_NOTE};
use super::cpu_time::CpuTime;
use super::directory::Directory;
use super::images::Images;
use super::observer::Observer;
use super::processes::{Process, Processes};
use super::{RecordError, Settings, first_state};
use crate::sharing::family::descendants;
use crate::signals::{Sent, is_ignored};

/// The interval at which the time is stored, which is the resolution of a recorded time.
const STEP: Duration = Duration::from_millis(1);
/// After this many rounds in a row without a recorded process, there is none.
const EMPTY_ROUNDS: u32 = 5;
/// The interval at which the disk's free space is checked, which takes 1 us.
const ROOM_STEP: Duration = Duration::from_millis(5);

/// What signals asked of this process.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    record: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    hang_up: Arc<AtomicBool>,
    /// Signals that a terminal sends to the program as well: the program decides, and this process waits for
    /// its exit.
    ignored: Arc<AtomicBool>,
    /// The same signals where a process sent them, to this process alone: they are passed on.
    sent: Vec<(Signal, Sent)>,
    /// The program has exited: from now on a signal that stops programs stops this process.
    over: Arc<AtomicBool>,
}

impl Requests {
    /// Takes the signals: SIGUSR1 records, SIGUSR2 pauses, SIGTERM and SIGHUP are passed on to the program, and so are
    /// SIGINT, SIGQUIT and SIGWINCH if they come from a process and not from a terminal. What was ignored when this
    /// process started stays ignored, except for requests.
    pub fn by_signals() -> std::io::Result<Requests> {
        let mut requests = Requests::default();
        let flags = [
            (SIGUSR1, &requests.record),
            (SIGUSR2, &requests.pause),
            (SIGTERM, &requests.end),
            (SIGHUP, &requests.hang_up),
            (SIGINT, &requests.ignored),
            (SIGQUIT, &requests.ignored),
            // With a handler, a write beyond the limit is an error and does not kill this process. The program would
            // inherit an ignored signal.
            (libc::SIGXFSZ, &requests.ignored),
        ];
        for (signal, flag) in flags {
            let is_request = matches!(signal, SIGUSR1 | SIGUSR2);
            if !is_request && is_ignored(signal) {
                continue;
            }
            if !is_request && signal != libc::SIGXFSZ {
                signal_hook::flag::register_conditional_default(signal, Arc::clone(&requests.over))?;
            }
            signal_hook::flag::register(signal, Arc::clone(flag))?;
        }
        for signal in [Signal::INT, Signal::QUIT, Signal::WINCH] {
            if !is_ignored(signal.as_raw()) {
                requests.sent.push((signal, Sent::watch(signal.as_raw())?));
            }
        }
        Ok(requests)
    }

    /// Whether a signal has arrived that ends a recording whose program has exited.
    fn ends(&self) -> bool {
        [&self.end, &self.hang_up, &self.ignored].iter().any(|flag| flag.load(Ordering::Relaxed))
    }

    /// The program has exited. A signal may stop what follows, the merging of the raw files; they are then
    /// kept.
    pub(super) fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Why recording stopped before the program exited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The raw files reached the allowed length.
    Bytes,
    /// The allowed time ran out.
    Time,
    /// The disk's free space, in bytes, is no more than was recorded: the trace, which is shorter, must have
    /// room.
    Room(u64),
    /// A recorded process could not continue: errno.
    Failure(i32),
}

impl Stop {
    fn describe(self, settings: &Settings) -> String {
        match self {
            Stop::Bytes => {
                format!("the raw files reached the {} bytes of --max-bytes", settings.most_bytes.unwrap_or(0))
            }
            Stop::Time => "the time of --max-seconds was over".to_owned(),
            Stop::Room(left_bytes) => format!(
                "the disk had {left_bytes} bytes left, no more than the raw files have, and the trace needs room too; \
                 the program continued without recording"
            ),
            Stop::Failure(errno) => {
                let cause = std::io::Error::from_raw_os_error(errno);
                format!("the raw files could not grow: {cause}; the program continued without recording")
            }
        }
    }
}

/// Describes a process whose last program was not recorded.
fn describe_missed(process: &Process) -> Option<String> {
    let reason = process.not_recorded.as_ref()?;
    let (number, peak) = (process.member.number, HumanBytes(process.peak_bytes));
    Some(format!("process {number} was not recorded to its end: {reason} ({peak} of memory at its peak)"))
}

/// How the program ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// The process whose trace represents the recording.
    pub(super) main: u32,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
    /// All processes that were seen.
    pub(super) processes: Processes,
    /// When a signal that stops programs was passed on to the program.
    pub(super) asked_to_end: Option<Duration>,
    stop: Option<(Stop, Duration)>,
    was_recording: bool,
    still_running: usize,
    /// Events of processes that had no image.
    lost: u64,
    unseen: Option<String>,
    /// Why it is not known which allocators the processes used.
    unstated: Option<String>,
}

/// The clock and the state of a recording.
pub(super) struct Watch<'a> {
    settings: &'a Settings,
    directory: &'a Directory,
    control: Control,
    observer: Observer,
    begin: Instant,
    state: State,
    /// When recording first started.
    first: Option<Duration>,
    next_room: Duration,
    stop: Option<(Stop, Duration)>,
    /// When a signal that stops programs was first passed on to this program.
    asked_to_end: Option<Duration>,
    /// CPU time of all processes that were waited for, and of those among them that are not the program's.
    used: CpuTime,
    foreign: CpuTime,
    /// What recording costs, if it is known.
    pub(super) cost: Option<Cost>,
    /// Prints a message to the user while the program runs.
    tell: &'a dyn Fn(&str),
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        directory: &'a Directory,
        control: Control,
        observer: Observer,
        tell: &'a dyn Fn(&str),
    ) -> Watch<'a> {
        let state = first_state(settings);
        let first = (state == State::Recording).then_some(Duration::ZERO);
        Watch {
            settings,
            directory,
            control,
            observer,
            begin: Instant::now(),
            state,
            first,
            next_room: Duration::ZERO,
            stop: None,
            asked_to_end: None,
            used: CpuTime::default(),
            foreign: CpuTime::default(),
            cost: None,
            tell,
        }
    }

    /// Stores the time before the program starts, because its first event is already recorded.
    pub(super) fn begin(&mut self) -> Result<(), RecordError> {
        self.observer.note_strangers();
        self.begin = Instant::now();
        self.page()?.set_tick(Tick::new(0, self.state));
        Ok(())
    }

    /// Keeps the clock and the limits until the program exits and, if children are recorded, the last of
    /// them.
    pub(super) fn until_end(mut self, child: Child, requests: &Requests) -> Result<Ended, RecordError> {
        let process = child.id();
        let before = CpuTime::of_children();
        self.used = before;
        let (mut images, mut collector) = (Images::default(), Collector::new());
        let (mut status, mut looks_at_none) = (None, 0);
        self.observer.begin_tree(process);
        loop {
            let elapsed = self.begin.elapsed();
            self.decide(requests, elapsed)?;
            self.page()?.set_tick(tick(elapsed, self.state));
            if status.is_none() && pass_on(requests, process, self.observer.processes()) {
                self.asked_to_end.get_or_insert(elapsed);
            }
            let fresh = images.find(elapsed, self.page()?.ordinals(), self.directory);
            // After a stop, samples belong to no event, and a full buffer is as good as its copy, which would
            // take room.
            if self.stop.is_none() {
                self.observer.sample(elapsed, &images, &fresh);
                collector.collect(&mut images, self.page()?, self.directory);
            }
            let (ended, has_children) = self.reap()?;
            for (number, how) in ended {
                self.observer.end(number, how, elapsed);
                if number == process {
                    status = Some(how);
                    self.observer.find(elapsed);
                    self.tell_rest(process);
                }
            }
            if status.is_some() {
                // One round may miss a process that was just reparented to this one.
                looks_at_none =
                    if self.observer.processes().count_running(process) == 0 { looks_at_none + 1 } else { 0 };
                if looks_at_none >= EMPTY_ROUNDS || self.ends_at_once(has_children, requests) {
                    break;
                }
                self.observer.find(elapsed);
            }
            thread::sleep(STEP);
        }
        let elapsed = self.begin.elapsed();
        self.decide(requests, elapsed)?;
        let state = if self.state == State::Failed { State::Failed } else { State::Stopped };
        self.page()?.set_tick(tick(elapsed, state));
        // What started and exited since the last round.
        let fresh = images.find(Duration::MAX, self.page()?.ordinals(), self.directory);
        self.observer.take_images(&images, &fresh);
        let still_running = self.observer.processes().count_running(process);
        let main = self.observer.processes().choose_main(process);
        self.observer.finish();
        let used = CpuTime::of_children().since(before).since(self.foreign);
        for (name, used_us) in [("cpu_user_ns", used.user_us), ("cpu_system_ns", used.system_us)] {
            self.observer.fact(process, name, &(used_us * 1000).to_string());
        }
        if let Some(cost) = self.cost {
            self.observer.fact(process, EVENT_COST_NOTE, &format!("{:.2}", cost.event_ns));
            self.observer.fact(process, WAKING_COST_NOTE, &format!("{:.2}", cost.waking_ns));
            self.observer.fact(process, WAKINGS_NOTE, &used.wakings.to_string());
        }
        if let Some((stop @ (Stop::Failure(_) | Stop::Room(_)), _)) = self.stop {
            self.observer.fact(0, Header::FAILED_NOTE, &stop.describe(self.settings));
        }
        if !self.settings.only_this_process {
            super::facts::describe_tree(&mut self.observer, main);
        }
        // What follows reads files that processes have made, and asks libraries that they name.
        requests.finish();
        let unstated = super::facts::write(&mut self.observer, self.directory).err();
        Ok(Ended {
            status: ExitStatus::from_raw(status.unwrap_or(0) as i32),
            main,
            asked_to_end: self.asked_to_end,
            stop: self.stop,
            was_recording: self.first.is_some(),
            still_running,
            lost: self.page()?.lost(),
            seconds: elapsed.as_secs_f64(),
            unseen: self.observer.failure(),
            unstated: unstated.map(|error| error.to_string()),
            processes: self.observer.into_processes(),
        })
    }

    /// The processes that have exited and that this one has to wait for, each with the status from wait(2):
    /// the program, and processes of its tree that lost their parent; and whether others still run.
    fn reap(&mut self) -> Result<(Vec<(u32, u32)>, bool), RecordError> {
        let mut ended = Vec::new();
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((process, status))) => {
                    let number = process.as_raw_nonzero().get() as u32;
                    let used = CpuTime::of_children();
                    if self.observer.processes().is_stranger(number) {
                        self.foreign = self.foreign.plus(used.since(self.used));
                    }
                    self.used = used;
                    ended.push((number, status.as_raw() as u32));
                }
                Ok(None) => return Ok((ended, true)),
                Err(Errno::CHILD) => return Ok((ended, false)),
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(RecordError::Io {
                        what: "wait for the program",
                        path: self.settings.program.clone().into(),
                        source: errno.into(),
                    });
                }
            }
        }
    }

    /// Whether the recording ends with the program, even if other processes still run.
    fn ends_at_once(&self, has_children: bool, requests: &Requests) -> bool {
        !has_children
            || self.settings.only_this_process
            || self.stop.is_some()
            || self.asked_to_end.is_some()
            || requests.ends()
    }

    /// Reports that the program has exited but other processes of its tree have not.
    fn tell_rest(&self, process: u32) {
        let running = self.observer.processes().count_running(process);
        if running > 0 && !self.settings.only_this_process {
            (self.tell)(&format!(
                "the program has exited, but {running} process{} that it started still run{} and {} recorded to the \
                 end; SIGINT or SIGTERM ends the recording earlier",
                if running == 1 { "" } else { "es" },
                if running == 1 { "s" } else { "" },
                if running == 1 { "is" } else { "are" },
            ));
        }
    }

    fn page(&self) -> Result<heaplab_raw::Control<'_>, RecordError> {
        self.control.page().map_err(|fault| RecordError::Io {
            what: "use the control page",
            path: self.directory.file(heaplab_raw::CONTROL_NAME),
            source: std::io::Error::other(fault.to_string()),
        })
    }

    /// Determines the state from requests, limits, and what the processes report.
    fn decide(&mut self, requests: &Requests, elapsed: Duration) -> Result<(), RecordError> {
        let wants_record = requests.record.swap(false, Ordering::Relaxed);
        let wants_pause = requests.pause.swap(false, Ordering::Relaxed);
        if self.stop.is_some() {
            return Ok(());
        }
        let changed = match self.state {
            State::Paused if wants_record => Some((State::Recording, heaplab_raw::CONTINUED_FACT)),
            State::Recording if wants_pause => Some((State::Paused, heaplab_raw::PAUSED_FACT)),
            _ => None,
        };
        if let Some((state, fact)) = changed {
            self.state = state;
            if self.first.is_some() {
                self.observer.fact(0, fact, &elapsed.as_micros().to_string());
            }
        }
        if self.state == State::Recording && self.first.is_none() {
            self.first = Some(elapsed);
        }
        let (failure, taken_bytes) = (self.page()?.failure(), self.page()?.taken_bytes());
        let recorded = self.first.map_or(Duration::ZERO, |first| elapsed.saturating_sub(first));
        let stop = if let Some(errno) = failure {
            Stop::Failure(errno)
        } else if self.settings.most_bytes.is_some_and(|most| taken_bytes >= most) {
            Stop::Bytes
        } else if self.settings.most_time.is_some_and(|most| recorded >= most) {
            Stop::Time
        } else if let Some(left_bytes) = self.lacks_room(elapsed, taken_bytes) {
            Stop::Room(left_bytes)
        } else {
            return Ok(());
        };
        self.state = if failure.is_some() { State::Failed } else { State::Stopped };
        self.stop = Some((stop, elapsed));
        Ok(())
    }

    /// The disk's free space, if that is no more than was recorded. A recorder that fills the disk would take the
    /// program's room too, and leave none for the trace.
    fn lacks_room(&mut self, elapsed: Duration, taken_bytes: u64) -> Option<u64> {
        if elapsed < self.next_room {
            return None;
        }
        self.next_room = elapsed + ROOM_STEP;
        self.directory.left_bytes().filter(|left_bytes| *left_bytes <= taken_bytes)
    }
}

fn tick(elapsed: Duration, state: State) -> Tick {
    Tick::new(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX >> 8), state)
}

/// Passes signals on to the program, and returns whether any of them asks it to stop. A program that has exited, or that
/// now belongs to another user, gets none.
fn pass_on(requests: &Requests, process: u32, processes: &Processes) -> bool {
    let asked = [(&requests.end, Signal::TERM), (&requests.hang_up, Signal::HUP)];
    let asked = asked.into_iter().filter(|(flag, _)| flag.swap(false, Ordering::Relaxed));
    // What a process of the tree sends to its group, or to its parent, has reached whom it was meant for.
    let is_foreign = |sender: u32| {
        sender == 0 || processes.is_stranger(sender) || !descendants(std::process::id()).contains(&sender)
    };
    let sent = requests.sent.iter().filter(|(_, sent)| sent.take().is_some_and(is_foreign));
    let signals: Vec<Signal> =
        asked.map(|(_, signal)| signal).chain(sent.map(|(signal, _)| *signal)).collect();
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        for signal in &signals {
            let _ = kill_process(pid, *signal);
        }
    }
    signals.iter().any(|signal| *signal != Signal::WINCH)
}

impl Ended {
    /// What readers of the trace must know.
    pub(super) fn warnings(&self, settings: &Settings) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some((stop, elapsed)) = self.stop {
            let at = format!("recording stopped {:.3} s after the start", elapsed.as_secs_f64());
            warnings.push(format!("{at}: {}", stop.describe(settings)));
        }
        if self.lost > 0 {
            warnings.push(format!("{} events of processes that had just been forked are lost", self.lost));
        }
        warnings.extend(self.processes.all().iter().filter_map(describe_missed));
        if self.still_running > 0 {
            warnings.push(format!(
                "{} recorded processes were still running when the program exited; what they did later is not recorded",
                self.still_running
            ));
        }
        if let Some(failure) = &self.unstated {
            warnings.push(format!("which allocators the processes used is not known: {failure}"));
        }
        if let Some(failure) = &self.unseen {
            warnings
                .push(format!("resident memory and names of threads are not known to the end: {failure}"));
        }
        warnings
    }

    /// What kept the processes from continuing to record; none if nothing did.
    pub(super) fn failure(&self) -> Option<std::io::Error> {
        match self.stop {
            Some((Stop::Failure(errno), _)) => Some(std::io::Error::from_raw_os_error(errno)),
            Some((Stop::Room(_), _)) => Some(std::io::ErrorKind::StorageFull.into()),
            _ => None,
        }
    }

    /// Whether events were recorded at any time.
    pub(super) fn was_recording(&self) -> bool {
        self.was_recording
    }
}
