//! Settings of the process and not of its allocator: whether the kernel may give it transparent huge pages.
//!
//! `process.thp=never` or `madvise` stands in a variant like any setting. It is made by prctl between fork and exec, because
//! allocators look at it, and map their first memory, before the program's own code begins; it outlives exec. A kernel that
//! does not know the mode refuses it silently here: reading it back in the process is what proves it.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

/// What the names of these settings begin with.
const PREFIX: &str = "process.";
/// The setting for transparent huge pages.
pub(crate) const THP: &str = "process.thp";
/// `PR_THP_DISABLE_EXCEPT_ADVISED`, since Linux 6.18: memory that madvise asked for may have them.
const EXCEPT_ADVISED: libc::c_ulong = 1 << 1;

/// When the kernel may give transparent huge pages, beside what the system's setting forbids.
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

    /// Asks the kernel for it, for this process and those that it becomes.
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
    if name != THP {
        return Some(format!("there is {THP} alone"));
    }
    let known = Thp::ALL.map(|(name, _)| name).join(" and ");
    Thp::parse(value).is_none().then(|| format!("there are {known}"))
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

/// What holds in this process, as a value of the setting; `default` if nothing was asked for.
pub(crate) fn read() -> &'static str {
    // SAFETY: takes numbers.
    match unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) } {
        1 => "never",
        3 => "madvise",
        _ => "default",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_asked_for_is_a_setting() {
        assert_eq!(fault(THP, "never"), None);
        assert_eq!(fault(THP, "madvise"), None);
        assert_eq!(fault(THP, "always").as_deref(), Some("there are never and madvise"));
        assert_eq!(fault("process.nice", "1").as_deref(), Some("there is process.thp alone"));
    }
}
