//! Shell commands next to a program: what prepares a sample, and the load.

use std::ffi::OsString;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::message::{Input, Job, Said};
use super::program::{Event, Keeper, Output, Role};

/// Time between two checks whether heaplab was asked to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Runs a shell command next to the program, such as one that prepares a sample. None if it was stopped.
///
/// # Errors
///
/// The command cannot be started.
pub fn prepare(command: &str, variant: &str, stop: &AtomicBool) -> io::Result<Option<u32>> {
    let (sender, events) = channel();
    let _keeper = Keeper::start(&shell(command, variant, None), Output::ToStderr, Role::Helper, sender)?;
    loop {
        match events.recv_timeout(LOOK) {
            Ok(Event::Said(_, Said::Ended(status))) => return Ok(Some(status.code())),
            Ok(Event::Said(_, Said::NotStarted(_, what))) => return Err(io::Error::other(what)),
            Ok(Event::Lost(_)) | Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("its keeper ended"));
            }
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
    }
}

/// The job of a shell command, which is told the variant and the program's process number.
pub(super) fn shell(command: &str, variant: &str, program: Option<u32>) -> Job {
    let mut variables = vec![("HEAPLAB_VARIANT".to_owned(), variant.to_owned())];
    variables.extend(program.map(|process| ("HEAPLAB_PID".to_owned(), process.to_string())));
    Job {
        variant: None,
        command: ["sh", "-c", command].map(OsString::from).to_vec(),
        removed: Vec::new(),
        variables,
        input: Input::Empty,
        group: None,
    }
}
