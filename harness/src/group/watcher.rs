//! A watcher: a separate heaplab process that removes something, such as a group, when heaplab cannot.
//!
//! It holds one end of a pipe. When the other end closes, heaplab has either removed the thing or been
//! killed: the watcher of a group kills what is left in the group, removes it, and ends.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use super::removal::remove;

/// The hidden command that runs a watcher; the group's path follows.
pub const WATCH_COMMAND: &str = "watch-group";

/// A running watcher. It is waited for when dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    process: Child,
    pipe: Option<ChildStdin>,
}

impl Watcher {
    /// Starts a watcher, by a hidden command that the path follows, outside the terminal's process group: Ctrl-C must
    /// not reach it.
    pub(crate) fn start(hidden_command: &str, path: &Path) -> io::Result<Watcher> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(hidden_command).arg(path).process_group(0);
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

/// Runs the process of a group's watcher.
///
/// # Errors
///
/// The pipe cannot be read.
pub fn watch(group: &Path) -> io::Result<()> {
    wait_for_heaplab()?;
    remove(group);
    Ok(())
}

/// In a watcher's process, waits until heaplab has removed the thing or been killed.
pub(crate) fn wait_for_heaplab() -> io::Result<()> {
    // Nothing is ever written to it: reading ends when the other end closes.
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}
