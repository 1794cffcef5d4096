//! The control group that a worker replays in, and how it steps out of it for what is the harness's own.
//!
//! What a process writes to is charged to the group that it is in then, and stays so. Looks at memory need memory: lists of
//! live blocks, texts of /proc. They are made outside, so that neither the group's account nor its limit is about them.
//!
//! PERF: a step out and back takes some 20 us.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::answer;
use super::job::Status;
use crate::group::home_of;

struct Membership {
    group: PathBuf,
    home: PathBuf,
}

static MEMBERSHIP: OnceLock<Membership> = OnceLock::new();

/// Enters a group, by the file that its processes are written to.
pub(super) fn enter(group: &Path) -> Result<(), String> {
    let home = home_of(group).ok_or("our own control group is not to be found")?;
    step(group)?;
    let membership = Membership { group: group.to_owned(), home };
    MEMBERSHIP.set(membership).map_err(|_| "a worker enters one control group".to_owned())
}

/// Does something outside of the group that was entered, if one was.
pub(super) fn outside<T>(work: impl FnOnce() -> T) -> T {
    let Some(membership) = MEMBERSHIP.get() else { return work() };
    let step = |to: &Path| step(to).unwrap_or_else(|error| answer::fail(Status::Error, &error));
    step(&membership.home);
    let done = work();
    step(&membership.group);
    done
}

/// Leaves the group that was entered for good, if one was.
pub(super) fn leave() -> Result<(), String> {
    MEMBERSHIP.get().map_or(Ok(()), |membership| step(&membership.home))
}

/// This process goes to the group whose file that is: 0 is whoever writes.
fn step(to: &Path) -> Result<(), String> {
    fs::write(to, "0").map_err(|error| format!("{}: cannot enter: {error}", to.display()))
}
