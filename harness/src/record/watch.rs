//! What this process does while the program runs: it is the clock, and decides whether events are recorded.

use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use heaplab_raw::{State, Tick};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

use super::collector::Collector;
use super::control::Control;
use super::directory::Directory;
use super::images::Images;
use super::observer::Observer;
use super::{RecordError, Settings, first_state};

/// How often the time is stored: what a recorded time is good to.
const STEP: Duration = Duration::from_millis(1);
/// How often the disk is asked what it has left: 1 us.
const ROOM_STEP: Duration = Duration::from_millis(5);

/// What this process was asked by signals.
#[derive(Debug, Clone, Default)]
pub struct Requests {
    record: Arc<AtomicBool>,
    pause: Arc<AtomicBool>,
    end: Arc<AtomicBool>,
    hang_up: Arc<AtomicBool>,
    /// What a terminal sends to the program as well: that decides, and this process waits for its end.
    ignored: Arc<AtomicBool>,
    /// The program has ended: from now on a signal that ends programs ends this process.
    over: Arc<AtomicBool>,
}

impl Requests {
    /// Takes the signals: SIGUSR1 records, SIGUSR2 pauses, SIGTERM and SIGHUP are passed on to the program.
    pub fn by_signals() -> std::io::Result<Requests> {
        let requests = Requests::default();
        let flags = [
            (SIGUSR1, &requests.record),
            (SIGUSR2, &requests.pause),
            (SIGTERM, &requests.end),
            (SIGHUP, &requests.hang_up),
            (SIGINT, &requests.ignored),
            (SIGQUIT, &requests.ignored),
        ];
        for (signal, flag) in flags {
            if !matches!(signal, SIGUSR1 | SIGUSR2) {
                signal_hook::flag::register_conditional_default(signal, Arc::clone(&requests.over))?;
            }
            signal_hook::flag::register(signal, Arc::clone(flag))?;
        }
        Ok(requests)
    }

    /// The program has ended. What comes now, the merging of the raw files, may be ended by a signal; they are kept.
    pub(super) fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

/// Why recording stopped before the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The raw files had the length that was allowed.
    Bytes,
    /// The time that was allowed was over.
    Time,
    /// The disk has no more left, in bytes, than was recorded: the trace, which is shorter, shall have room.
    Room(u64),
    /// A recorded process could not go on: errno.
    Failure(i32),
}

/// How the program ended.
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// The process that was started.
    pub(super) process: u32,
    stop: Option<(Stop, Duration)>,
    was_recording: bool,
    still_running: usize,
    unseen: Option<String>,
}

/// CPU time of all processes that this one waited for, and of those that they waited for.
struct CpuTime {
    user_us: i64,
    system_us: i64,
}

impl CpuTime {
    fn of_children() -> CpuTime {
        // It fails for a wrong `who` only.
        let used = getrusage(UsageWho::RUSAGE_CHILDREN);
        let us = |time: fn(&Usage) -> TimeVal| used.as_ref().map_or(0, |used| time(used).num_microseconds());
        CpuTime { user_us: us(Usage::user_time), system_us: us(Usage::system_time) }
    }
}

/// The clock and the state of a recording.
pub(super) struct Watch<'a> {
    settings: &'a Settings,
    directory: &'a Directory,
    control: Control,
    observer: Observer,
    begin: Instant,
    state: State,
    /// When recording began first.
    first: Option<Duration>,
    next_room: Duration,
    stop: Option<(Stop, Duration)>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        directory: &'a Directory,
        control: Control,
        observer: Observer,
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
        }
    }

    /// Stores the time, before the program starts: its first event is recorded already.
    pub(super) fn begin(&mut self) -> Result<(), RecordError> {
        self.begin = Instant::now();
        self.page()?.set_tick(Tick::new(0, self.state));
        Ok(())
    }

    /// Keeps the clock and the limits until the program ends.
    pub(super) fn until_end(mut self, mut child: Child, requests: &Requests) -> Result<Ended, RecordError> {
        let process = child.id();
        let before = CpuTime::of_children();
        let (mut images, mut collector) = (Images::default(), Collector::new());
        let status = loop {
            let elapsed = self.begin.elapsed();
            self.decide(requests, elapsed)?;
            self.page()?.set_tick(tick(elapsed, self.state));
            pass_on(requests, process);
            let fresh = images.find(elapsed, self.page()?.ordinals(), self.directory);
            self.observer.look(elapsed, process, &fresh);
            // Behind a stop a full buffer is as good as its copy, which would take room.
            if self.stop.is_none() {
                collector.collect(&mut images, self.page()?, self.directory);
            }
            let ended = child.try_wait().map_err(|source| RecordError::Io {
                what: "wait for the program",
                path: self.settings.program.clone().into(),
                source,
            })?;
            if let Some(status) = ended {
                break status;
            }
            thread::sleep(STEP);
        };
        let elapsed = self.begin.elapsed();
        self.decide(requests, elapsed)?;
        let state = if self.state == State::Failed { State::Failed } else { State::Stopped };
        self.page()?.set_tick(tick(elapsed, state));
        let still_running = self.observer.count_running(process);
        self.observer.finish(elapsed, process, status);
        let used = CpuTime::of_children();
        for (name, used_us) in [
            ("cpu_user_ns", used.user_us - before.user_us),
            ("cpu_system_ns", used.system_us - before.system_us),
        ] {
            self.observer.fact(process, name, &(used_us * 1000).to_string());
        }
        super::facts::write(&mut self.observer, self.directory)?;
        Ok(Ended {
            status,
            process,
            stop: self.stop,
            was_recording: self.first.is_some(),
            still_running,
            unseen: self.observer.failure(),
        })
    }

    fn page(&self) -> Result<heaplab_raw::Control<'_>, RecordError> {
        self.control.page().map_err(|fault| RecordError::Io {
            what: "use the control page",
            path: self.directory.file(heaplab_raw::CONTROL_NAME),
            source: std::io::Error::other(fault.to_string()),
        })
    }

    /// Settles the state: by requests, limits, and what the processes say.
    fn decide(&mut self, requests: &Requests, elapsed: Duration) -> Result<(), RecordError> {
        let wants_record = requests.record.swap(false, Ordering::Relaxed);
        let wants_pause = requests.pause.swap(false, Ordering::Relaxed);
        if self.stop.is_some() {
            return Ok(());
        }
        match self.state {
            State::Paused if wants_record => self.state = State::Recording,
            State::Recording if wants_pause => self.state = State::Paused,
            _ => {}
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

    /// What the disk has left, if that is no more than was recorded. A recorder that fills the disk would take the
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

/// Passes signals on to the program. One that has ended, or that became another user's, gets none.
fn pass_on(requests: &Requests, process: u32) {
    for (flag, signal) in [(&requests.end, Signal::TERM), (&requests.hang_up, Signal::HUP)] {
        if flag.swap(false, Ordering::Relaxed)
            && let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw)
        {
            let _ = kill_process(pid, signal);
        }
    }
}

impl Ended {
    /// What readers of the trace must know of this.
    pub(super) fn warnings(&self, settings: &Settings) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some((stop, elapsed)) = self.stop {
            let at = format!("recording stopped {:.3} s after the start", elapsed.as_secs_f64());
            warnings.push(match stop {
                Stop::Bytes => {
                    format!(
                        "{at}: the raw files had the {} bytes of --max-bytes",
                        settings.most_bytes.unwrap_or(0)
                    )
                }
                Stop::Time => format!("{at}: the time of --max-seconds was over"),
                Stop::Room(left_bytes) => format!(
                    "{at}: the disk had {left_bytes} bytes left, no more than the raw files have, and the trace needs \
                     room too; the program went on without"
                ),
                Stop::Failure(errno) => {
                    let cause = std::io::Error::from_raw_os_error(errno);
                    format!("{at}: the raw files could not grow: {cause}; the program went on without")
                }
            });
        }
        if self.still_running > 0 {
            warnings.push(format!(
                "{} recorded processes were still running when the program ended; what they did later is not recorded",
                self.still_running
            ));
        }
        if let Some(failure) = &self.unseen {
            warnings
                .push(format!("resident memory and names of threads are not known to the end: {failure}"));
        }
        warnings
    }

    /// What kept the processes from recording on; none if nothing did.
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
