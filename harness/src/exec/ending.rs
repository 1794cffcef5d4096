//! When a sample ends, why it did, and what that makes of it.

use std::time::Duration;

use super::message::ExitStatus;
use super::readiness::Ready;

/// When a sample ends, besides at the program's end.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What shows that the program can be used; if nothing does, it can be at once.
    pub ready: Option<Ready>,
    /// A program that is not ready by then never will be.
    pub ready_within: Duration,
    /// The sample ends this long after the program was ready.
    pub time: Option<Duration>,
    /// A command of the shell that is started when the program is ready, and whose end ends the sample.
    pub load: Option<String>,
    /// A sample that takes longer is stopped.
    pub timeout: Option<Duration>,
    /// Whether a sample that nothing else ends goes on until the last process ends that a program which ended well has
    /// started. With a time or a load it does anyway.
    pub until_last: bool,
    /// From SIGTERM to SIGKILL.
    pub grace: Duration,
}

/// How a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Well.
    Ok,
    /// Ended by heaplab because its time was over.
    Timeout,
    /// The program was killed by a signal that heaplab did not send.
    Crash,
    /// The program was killed by SIGKILL, as the kernel does when memory runs out.
    Oom,
    /// Another malloc served than the variant's.
    NotInjected,
    /// The load failed.
    LoadFailed,
    /// Anything else.
    Error,
}

/// Why a sample is over.
pub(super) enum Cause {
    Exited(ExitStatus),
    /// The program had gone to the background, and the last of its processes ended.
    LastExited,
    NotStarted(String),
    Time,
    Load(ExitStatus),
    NotReady,
    Timeout,
    /// A process of it was killed for memory.
    Oom,
    Lost,
    Stopped,
}

/// What the end of a sample means, and why where that is no good one.
pub(super) fn describe(cause: &Cause, limits: &Limits) -> (Ending, Option<String>) {
    let early = limits.time.is_some() || limits.load.is_some();
    let (ending, detail) = match cause {
        Cause::Exited(ExitStatus::Exited(0)) | Cause::LastExited if !early => return (Ending::Ok, None),
        Cause::LastExited => (
            Ending::Error,
            "the program went into the background, and the last of its processes exited before its time was over"
                .to_owned(),
        ),
        Cause::Exited(ExitStatus::Exited(code)) if early => (
            Ending::Error,
            format!("the program exited by itself, with status {code}, before its time was over"),
        ),
        Cause::Exited(ExitStatus::Exited(code)) => (
            Ending::Error,
            format!(
                "the program exited with status {code}; if that is not a failure, run it as: sh -c 'CMD; true'"
            ),
        ),
        Cause::Exited(ExitStatus::Killed(libc::SIGKILL)) => {
            (Ending::Oom, "the program was killed by SIGKILL, as the kernel does when memory runs out".into())
        }
        Cause::Exited(ExitStatus::Killed(signal)) => {
            (Ending::Crash, format!("the program was killed by signal {signal}"))
        }
        Cause::NotStarted(what) => (Ending::Error, format!("the program cannot be started: {what}")),
        Cause::Time | Cause::Load(ExitStatus::Exited(0)) => return (Ending::Ok, None),
        Cause::Load(ExitStatus::Exited(code)) => {
            (Ending::LoadFailed, format!("the load exited with status {code}"))
        }
        Cause::Load(ExitStatus::Killed(signal)) => {
            (Ending::LoadFailed, format!("the load was killed by signal {signal}"))
        }
        Cause::NotReady => (
            Ending::Timeout,
            format!(
                "the program was not ready after {} s (see --ready-within)",
                limits.ready_within.as_secs_f64()
            ),
        ),
        Cause::Timeout => {
            (Ending::Timeout, format!("stopped after {} s", limits.timeout.unwrap_or_default().as_secs_f64()))
        }
        Cause::Oom => (Ending::Oom, "killed for memory".into()),
        Cause::Lost => (Ending::Error, "something killed the program's keeper".into()),
        Cause::Stopped => (Ending::Error, "stopped".into()),
    };
    (ending, Some(detail))
}
