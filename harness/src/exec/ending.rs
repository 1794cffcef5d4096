//! Why the looking at a program stopped, and what that makes of the sample.

use nix::libc;

use super::message::ExitStatus;
use super::sample::{Ending, Until};

/// Why the looking stopped.
pub(super) enum Over {
    Exited(ExitStatus),
    NotStarted(String),
    Time,
    Load(ExitStatus),
    NotReady,
    Timeout,
    Lost,
    Stopped,
}

/// What the end of a sample means, and why where that is no good one.
pub(super) fn describe(over: &Over, until: &Until) -> (Ending, Option<String>) {
    let early = until.time.is_some() || until.load.is_some();
    let (ending, detail) = match over {
        Over::Exited(ExitStatus::Exited(0)) if !early => return (Ending::Ok, None),
        Over::Exited(ExitStatus::Exited(code)) if early => (
            Ending::Error,
            format!("the program ended by itself, with status {code}, before its time was over"),
        ),
        Over::Exited(ExitStatus::Exited(code)) => (
            Ending::Error,
            format!(
                "the program ended with status {code}; where that is no failure, run it as: sh -c 'CMD; true'"
            ),
        ),
        Over::Exited(ExitStatus::Killed(libc::SIGKILL)) => {
            (Ending::Oom, "the program was killed by SIGKILL, as the kernel does when memory runs out".into())
        }
        Over::Exited(ExitStatus::Killed(signal)) => {
            (Ending::Crash, format!("the program was killed by signal {signal}"))
        }
        Over::NotStarted(what) => (Ending::Error, format!("the program cannot be started: {what}")),
        Over::Time | Over::Load(ExitStatus::Exited(0)) => return (Ending::Ok, None),
        Over::Load(ExitStatus::Exited(code)) => {
            (Ending::LoadFailed, format!("the load ended with status {code}"))
        }
        Over::Load(ExitStatus::Killed(signal)) => {
            (Ending::LoadFailed, format!("the load was killed by signal {signal}"))
        }
        Over::NotReady => (
            Ending::Timeout,
            format!(
                "the program was not ready after {} s (see --ready-within)",
                until.ready_within.as_secs_f64()
            ),
        ),
        Over::Timeout => {
            (Ending::Timeout, format!("ended after {} s", until.timeout.unwrap_or_default().as_secs_f64()))
        }
        Over::Lost => (Ending::Error, "the keeper of the program was ended by somebody".into()),
        Over::Stopped => (Ending::Error, "stopped".into()),
    };
    (ending, Some(detail))
}
