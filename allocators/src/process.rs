//! Settings of the process rather than of its allocator: whether the kernel may give it transparent huge
//! pages, and how many CPUs it is shown.
//!
//! `process.thp=never` or `madvise` is written in a variant like any setting. It is applied by prctl between
//! fork and exec, because allocators check it, and map their first memory, before the program's own code
//! starts; it survives exec. A kernel that does not know the mode refuses it silently here: only reading it
//! back in the process proves it.
//!
//! Also here, because it too must be in force before an allocator's code runs: that a process ends with its parent.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The prefix of the names of these settings.
const PREFIX: &str = "process.";
/// The setting for transparent huge pages.
pub(crate) const THP: &str = "process.thp";
/// The setting for the CPU count that a replay's allocator is shown, whatever the run shows the others.
pub(crate) const CPUS: &str = "process.cpus";
/// The variable that tells a worker the CPU count to show its allocator.
pub const CPUS_VARIABLE: &str = "HEAPLAB_CPUS";
/// The largest CPU count that can be shown.
const MOST_CPUS: u32 = 1024;
/// `PR_THP_DISABLE_EXCEPT_ADVISED`, since Linux 6.18: only memory for which madvise asked may have them.
const EXCEPT_ADVISED: libc::c_ulong = 1 << 1;

/// When the kernel may provide transparent huge pages, apart from what the system's setting forbids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thp {
    Never,
    Madvise,
}

impl Thp {
    const ALL: [(&'static str, Thp); 2] = [("never", Thp::Never), ("madvise", Thp::Madvise)];

    fn parse(text: &str) -> Option<Thp> {
        Thp::ALL.into_iter().find(|(name, _)| *name == text).map(|(_, mode)| mode)
    }

    /// Asks the kernel for it, for this process and the programs that it becomes.
    fn apply(self) {
        let flags = if self == Thp::Madvise { EXCEPT_ADVISED } else { 0 };
        // SAFETY: takes numbers. NOTE: a refusal is found when the setting is read back.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1 as libc::c_ulong, flags, 0, 0) };
    }
}

/// Whether a setting of this name is one of the process.
pub(crate) fn is_of_process(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// What is wrong with a setting of the process; none if it can be asked for.
pub(crate) fn fault(name: &str, value: &str) -> Option<String> {
    match name {
        THP => {
            let known = Thp::ALL.map(|(name, _)| name).join(" and ");
            Thp::parse(value).is_none().then(|| format!("there are {known}"))
        }
        CPUS => parse_cpus(value).is_none().then(|| format!("there are 1 to {MOST_CPUS}")),
        _ => Some(format!("there are {THP} and {CPUS}")),
    }
}

/// A CPU count that can be shown.
pub(crate) fn parse_cpus(value: &str) -> Option<u32> {
    value.parse().ok().filter(|cpus| (1..=MOST_CPUS).contains(cpus))
}

/// Makes `command` start its process as `value` of the setting says.
pub(crate) fn prepare(command: &mut Command, value: &str) {
    if let Some(mode) = Thp::parse(value) {
        // SAFETY: between fork and exec it makes one system call, and neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                mode.apply();
                Ok(())
            });
        }
    }
}

/// Makes `command` start a process that the kernel kills when the thread that started it ends. That thread must wait
/// for the process.
///
/// NOTE: the process cannot ask for this itself: an allocator that hangs while it is loaded never lets it.
pub fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec it makes two system calls, and neither allocates nor locks.
    unsafe { command.pre_exec(move || follow_parent(parent)) };
}

/// Asks the kernel to kill this process with its parent.
///
/// # Errors
///
/// The parent is not `parent` any more: it has ended already.
pub fn follow_parent(parent: u32) -> io::Result<()> {
    // SAFETY: takes numbers. It is not refused: the signal exists.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: takes nothing, and always succeeds.
    let is_there = unsafe { libc::getppid() }.cast_unsigned() == parent;
    if is_there { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

/// What applies in this process, as a value of the setting of that name.
pub(crate) fn read(name: &str) -> String {
    if name == CPUS {
        // SAFETY: takes a number. A worker answers with what it shows its allocator.
        return unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.to_string();
    }
    // SAFETY: takes numbers.
    let mode = match unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) } {
        1 => "never",
        3 => "madvise",
        _ => "default",
    };
    mode.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_follows_no_parent_but_its_own() {
        let mut command = Command::new("true");
        end_with_parent(&mut command);
        assert!(command.status().expect("it starts").success());
        let mut orphan = Command::new("true");
        // As if the parent had ended meanwhile: process 0 is nobody's.
        // SAFETY: between fork and exec it makes two system calls.
        unsafe { orphan.pre_exec(|| follow_parent(0)) };
        assert_eq!(orphan.status().expect_err("it has no parent").raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn only_what_can_be_asked_for_is_a_setting() {
        assert_eq!(fault(THP, "never"), None);
        assert_eq!(fault(THP, "madvise"), None);
        assert_eq!(fault(THP, "always").as_deref(), Some("there are never and madvise"));
        assert_eq!(fault("process.nice", "1").as_deref(), Some("there are process.thp and process.cpus"));
        assert_eq!(fault(CPUS, "8"), None);
        for value in ["0", "1025", "-1", "two", ""] {
            assert_eq!(fault(CPUS, value).as_deref(), Some("there are 1 to 1024"), "{value}");
        }
    }
}
