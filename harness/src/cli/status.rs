//! The exit status of an error: whether retrying the same command is worthwhile.
//!
//! A system that starts commands (such as a cluster's job array) decides by the status alone.

use std::error::Error;
use std::io;

use libc::{EAGAIN, EBUSY, EIO, ENFILE, ENOLCK, ENOMEM, ESTALE, ETIMEDOUT};

use super::Usage;
use crate::results::ResultsError;
use crate::session::SessionError;

/// An error that is not known to be temporary.
const ERROR: u8 = 1;
/// What was asked for does not exist or is not allowed, now or later.
const USAGE: u8 = 2;
/// `EX_TEMPFAIL` of sysexits.h: it may succeed later, or on another machine.
const TEMPORARY: u8 = 75;

/// What the system reports if it lacks something at the moment, or a file server does not answer. A full disk is not
/// among them: it will be as full at the next try, which would fill it again.
const PASSING: [i32; 8] = [EAGAIN, EBUSY, EIO, ENFILE, ENOLCK, ENOMEM, ESTALE, ETIMEDOUT];

/// The exit status of a command that failed.
pub(super) fn status_of(error: &anyhow::Error) -> u8 {
    if is_usage(error) {
        USAGE
    } else if error.chain().any(is_temporary) {
        TEMPORARY
    } else {
        ERROR
    }
}

/// Whether the user asked for something that does not exist or is not allowed.
pub(super) fn is_usage(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Usage>().is_some()
        || matches!(error.downcast_ref::<SessionError>(), Some(SessionError::Usage(_)))
        || error.chain().filter_map(about_directory).any(|error| {
            matches!(
                error,
                ResultsError::HoldsRun { .. }
                    | ResultsError::NotEmpty { .. }
                    | ResultsError::NoRun { .. }
                    | ResultsError::NewerSchema { .. }
                    | ResultsError::OtherColumns { .. }
            )
        })
}

/// What this cause of an error says about a run's directory, if it is about one.
fn about_directory<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a ResultsError> {
    match cause.downcast_ref::<SessionError>() {
        Some(SessionError::Results(error)) => Some(error),
        _ => cause.downcast_ref::<ResultsError>(),
    }
}

/// Whether this cause of an error may be gone at the next try. A directory that another process writes to is free
/// once that process has exited: a job that was requeued may meet its predecessor.
fn is_temporary(cause: &(dyn Error + 'static)) -> bool {
    let system = |error: &io::Error| match error.raw_os_error() {
        Some(code) => PASSING.contains(&code),
        None => matches!(error.kind(), io::ErrorKind::OutOfMemory),
    };
    cause.downcast_ref::<io::Error>().is_some_and(system)
        || cause
            .downcast_ref::<rustix::io::Errno>()
            .is_some_and(|code| PASSING.contains(&code.raw_os_error()))
        || matches!(about_directory(cause), Some(ResultsError::InUse { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn what_may_pass_has_another_status_than_what_does_not() {
        let system = |code| -> anyhow::Error {
            let result: Result<(), io::Error> = Err(io::Error::from_raw_os_error(code));
            result.context("a worker cannot be started").context("the run").unwrap_err()
        };
        for (error, status) in [
            (system(ENOMEM), TEMPORARY),
            (system(EAGAIN), TEMPORARY),
            (system(ESTALE), TEMPORARY),
            (system(libc::ENOSPC), ERROR),
            (system(libc::EACCES), ERROR),
            (Usage("no such thing".to_owned()).into(), USAGE),
            (SessionError::Usage("a definition".to_owned()).into(), USAGE),
            (ResultsError::InUse { path: "out".into() }.into(), TEMPORARY),
            (SessionError::from(ResultsError::InUse { path: "out".into() }).into(), TEMPORARY),
            (SessionError::from(ResultsError::HoldsRun { path: "out".into() }).into(), USAGE),
            (anyhow::anyhow!("something else"), ERROR),
        ] {
            assert_eq!(status_of(&error), status, "{error:#}");
        }
    }
}
