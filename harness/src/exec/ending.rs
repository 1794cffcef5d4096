//! When a sample ends, why it ended, and what that means for it.

use std::time::Duration;

use super::message::ExitStatus;
use super::readiness::Ready;
use crate::group::Account;

/// When a sample ends, apart from the program's exit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// What shows that the program is ready; if none, it is ready at once.
    pub ready: Option<Ready>,
    /// A program that is not ready by then is assumed never to be.
    pub ready_within: Duration,
    /// The sample ends this long after the program was ready.
    pub time: Option<Duration>,
    /// A shell command that is started when the program is ready; when it exits, the sample ends.
    pub load: Option<String>,
    /// A sample that takes longer is stopped.
    pub timeout: Option<Duration>,
    /// Whether a sample that nothing else ends continues, after the program exited successfully, until the last
    /// process that it started exits. With a time or a load it does so anyway.
    pub until_last: bool,
    /// Time from SIGTERM to SIGKILL.
    pub grace: Duration,
}

/// How a sample ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Successfully.
    Ok,
    /// Stopped by heaplab because its time was over.
    Timeout,
    /// The program was killed by a signal that heaplab did not send.
    Crash,
    /// The program was killed with SIGKILL, as the kernel does when memory runs out.
    Oom,
    /// A malloc different from the variant's served.
    NotInjected,
    /// The load failed.
    LoadFailed,
    /// Anything else.
    Error,
}

/// Why a sample is over.
pub(super) enum Cause {
    Exited(ExitStatus),
    /// The program had gone into the background, and the last of its processes exited.
    LastExited,
    NotStarted(String),
    Time,
    Load(ExitStatus),
    NotReady,
    Timeout,
    /// One of its processes was killed for memory.
    Oom,
    Lost,
    Stopped,
}

/// What the end of a sample means and, if it is not a good end, why. `account` is that of the sample's own control
/// group, which counts every kill for lack of memory.
pub(super) fn describe(
    cause: &Cause,
    limits: &Limits,
    account: Option<&Account>,
) -> (Ending, Option<String>) {
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
        Cause::Exited(ExitStatus::Killed(libc::SIGKILL)) if account.is_some_and(|of| of.oom_kills == 0) => (
            Ending::Crash,
            "the program was killed by SIGKILL, and not by the kernel for lack of memory: its control group counts no \
             such kill"
                .into(),
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
