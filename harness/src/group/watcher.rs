//! The watcher of a group: a separate heaplab process that removes the group when heaplab cannot.
//!
//! It holds one end of a pipe. When the other end closes, heaplab has either removed the group or been
//! killed: the watcher kills what is left in the group, removes it, and ends.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::removal::remove;

/// The hidden command that runs a watcher; the group's path follows.
pub const WATCH_COMMAND: &str = "watch-group";

/// A running watcher. It is waited for when dropped.
#[derive(Debug)]
pub(super) struct Watcher {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Watcher {
    /// Starts the watcher of a group, outside the terminal's process group: Ctrl-C must not reach it.
    pub(super) fn start(group: &Path) -> io::Result<Watcher> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(WATCH_COMMAND).arg(group).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn()?;
        let pipe = process.stdin.take();
        Ok(Watcher { process, pipe })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.pipe = None;
        // It can fail only if the process was already waited for.
        let _ = self.process.wait();
    }
}

/// Runs the watcher's process.
///
/// # Errors
///
/// The pipe cannot be read.
pub fn watch(group: &Path) -> io::Result<()> {
    // Nothing is ever written to it: reading ends when the other end closes.
    io::stdin().read_to_end(&mut Vec::new())?;
    remove(group);
    Ok(())
}
