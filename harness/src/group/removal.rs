//! How groups are removed, with whatever is in them: our own, and those left by a heaplab that is gone.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// The prefix of every group's name; the PID of the process that made the group follows.
pub(super) const PREFIX: &str = "heaplab-";
/// The file that lists a group's processes, one per line.
pub(super) const PROCESSES: &str = "cgroup.procs";
/// A group is empty soon after its processes are killed: removal is tried this often, this long apart.
const TRIES: u32 = 400;
const APART: Duration = Duration::from_millis(5);

/// Kills every process of a group, and removes it.
pub(super) fn remove(path: &Path) {
    for _ in 0..TRIES {
        match fs::remove_dir(path) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => kill_all(path),
            _ => return,
        }
        thread::sleep(APART);
    }
}

/// Marks a group as in use, for as long as the file is open.
///
/// # Errors
///
/// It is gone, or held: another heaplab, to which the PID in its name says nothing, took it for one that was left.
pub(super) fn hold(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

/// Removes groups left by a heaplab that is gone. One in another PID namespace has a PID that says nothing here, but it
/// holds its groups.
pub(super) fn remove_left(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let maker =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<i32>().ok());
        // Another user's process may not be signalled, but it exists all the same.
        let is_gone =
            maker.and_then(Pid::from_raw).is_some_and(|maker| test_kill_process(maker) == Err(Errno::SRCH));
        if is_gone && let Ok(_held) = hold(&entry.path()) {
            kill_all(&entry.path());
            // A group whose processes are still ending is removed next time.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Kills every process of a group. A process that has just ended is no fault.
fn kill_all(group: &Path) {
    let text = fs::read_to_string(group.join(PROCESSES)).unwrap_or_default();
    for process in text.lines().filter_map(|line| Pid::from_raw(line.trim().parse().ok()?)) {
        let _ = kill_process(process, Signal::KILL);
    }
}
