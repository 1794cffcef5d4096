//! Settings of the process and not of its allocator: whether the kernel may give it transparent huge pages.
//!
//! `process.thp=never` or `madvise` stands in a variant like any setting. It is made by prctl between fork and exec, because
//! allocators look at it, and map their first memory, before the program's own code begins; it outlives exec. A kernel that
//! does not know the mode refuses it silently here: reading it back in the process is what proves it.
#![allow(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::readback::{Proof, Verdict};
use crate::variant::{Setting, Variant};

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

    /// What holds in this process, as a value of the setting; `default` if nothing was asked for.
    fn read() -> &'static str {
        // SAFETY: takes numbers.
        match unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) } {
            1 => "never",
            3 => "madvise",
            _ => "default",
        }
    }
}

/// Whether it is a setting of the process.
pub(crate) fn is_of_process(setting: &Setting) -> bool {
    is_name(&setting.name)
}

/// Whether a setting of this name is one of the process.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// What is wrong with a setting of the process; none if it can be asked for.
pub(crate) fn fault(setting: &Setting) -> Option<String> {
    if setting.name != THP {
        return Some(format!("there is {THP} alone"));
    }
    let known = Thp::ALL.map(|(name, _)| name).join(" and ");
    Thp::parse(&setting.value).is_none().then(|| format!("there are {known}"))
}

impl Variant {
    /// Makes `command` start its process under the variant's settings of the process. Its environment, and so the
    /// allocator's settings, is the caller's to set: see [`Variant::environment`].
    pub fn prepare_process(&self, command: &mut Command) {
        let last = self.settings.iter().rfind(|setting| setting.name == THP);
        if let Some(mode) = last.and_then(|setting| Thp::parse(&setting.value)) {
            // SAFETY: between fork and exec it makes one system call, and neither allocates nor locks.
            unsafe {
                command.pre_exec(move || {
                    mode.apply();
                    Ok(())
                });
            }
        }
    }
}

/// Reads the settings of the process back, in that process.
pub(crate) fn read_back(settings: &[Setting]) -> Vec<Proof> {
    let judge = |setting: &Setting| {
        let found = Thp::read();
        let verdict =
            if found == setting.value { Verdict::Taken } else { Verdict::Differs { found: found.into() } };
        Proof::new(setting, verdict)
    };
    settings.iter().filter(|setting| is_of_process(setting)).map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_asked_for_is_a_setting() {
        let fault = |name: &str, value: &str| fault(&Setting { name: name.into(), value: value.into() });
        assert_eq!(fault(THP, "never"), None);
        assert_eq!(fault(THP, "madvise"), None);
        assert_eq!(fault(THP, "always").as_deref(), Some("there are never and madvise"));
        assert_eq!(fault("process.nice", "1").as_deref(), Some("there is process.thp alone"));
    }

    #[test]
    fn nothing_was_asked_for_here() {
        let setting = Setting { name: THP.into(), value: "never".into() };
        let proofs = read_back(&[setting]);
        assert_eq!(proofs[0].verdict, Verdict::Differs { found: "default".into() });
    }
}
