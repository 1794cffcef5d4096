//! Processes below this one that do not belong to the recorded program's tree: children that this process had before it
//! started the program, because it replaced a shell that had started them; what they start; and orphans of others
//! that the first process of a container adopts.

use std::collections::BTreeMap;
use std::path::Path;

use procfs::process::Process;

use super::directory::DIRECTORY_VARIABLE;
use super::tree;
use crate::sharing::family::descendants;

/// The strangers that run, or that have exited and were not waited for.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// By their PIDs, when each started: a PID is used again.
    known: BTreeMap<u32, u64>,
    /// Whether this process may have to adopt one that was not seen below another stranger.
    may_adopt: bool,
}

impl Strangers {
    /// Takes note of all processes below this one. The program does not run yet.
    pub(super) fn note_present(&mut self) {
        descendants(std::process::id()).into_iter().for_each(|number| self.add(number));
        self.may_adopt = !self.known.is_empty() || std::process::id() == 1;
    }

    /// Forgets those that are gone.
    pub(super) fn forget_gone(&mut self) {
        self.known.retain(|number, started| started_at(*number) == Some(*started));
    }

    pub(super) fn contains(&self, number: u32) -> bool {
        self.known.contains_key(&number)
    }

    pub(super) fn add(&mut self, number: u32) {
        // One that is gone already has no children, and was waited for.
        self.known.extend(started_at(number).map(|started| (number, started)));
    }

    /// Whether a child of this process that was never seen below another is a stranger: one that neither has this
    /// recording's environment nor has loaded `library`, the recorder's.
    pub(super) fn is_adopted(&self, number: u32, library: &Path) -> bool {
        self.may_adopt
            && tree::has_variable(number, DIRECTORY_VARIABLE) == Some(false)
            && tree::maps_file(number, library.as_os_str()) == Some(false)
    }
}

/// When a process started, in clock ticks after the machine; none if it is gone.
fn started_at(number: u32) -> Option<u64> {
    Some(Process::new(i32::try_from(number).ok()?).ok()?.stat().ok()?.starttime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_one_until_it_is_gone() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("it runs");
        let mut strangers = Strangers::default();
        strangers.note_present();
        strangers.forget_gone();
        assert!(strangers.contains(child.id()) && strangers.may_adopt);
        assert!(!strangers.contains(std::process::id()), "this process is none");
        child.kill().expect("it runs");
        child.wait().expect("it ends");
        assert!(strangers.contains(child.id()), "its end is told as that of a stranger");
        strangers.forget_gone();
        assert!(!strangers.contains(child.id()));
        strangers.add(child.id());
        assert!(!strangers.contains(child.id()), "it is gone");
    }
}
