//! The control group that a worker replays in, and how it leaves the group for the harness's own work.
//!
//! A page is charged to the group that the process is in when it first writes to it, and stays charged there.
//! Inspecting memory needs memory: lists of live blocks, texts from /proc. It is done outside the group, so that it
//! counts neither in the group's figures nor against its limit.
//!
//! PERF: leaving and re-entering takes about 20 us.

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

/// Enters a group, through the file that lists its processes.
pub(super) fn enter(group: &Path) -> Result<(), String> {
    let home = home_of(group).ok_or("our own control group cannot be found")?;
    step(group)?;
    let membership = Membership { group: group.to_owned(), home };
    MEMBERSHIP.set(membership).map_err(|_| "a worker enters one control group".to_owned())
}

/// Does something outside the entered group, if there is one.
pub(super) fn outside<T>(work: impl FnOnce() -> T) -> T {
    let Some(membership) = MEMBERSHIP.get() else { return work() };
    let step = |to: &Path| step(to).unwrap_or_else(|error| answer::fail(Status::Error, &error));
    step(&membership.home);
    let done = work();
    step(&membership.group);
    done
}

/// Leaves the entered group for good, if there is one.
pub(super) fn leave() -> Result<(), String> {
    MEMBERSHIP.get().map_or(Ok(()), |membership| step(&membership.home))
}

/// Moves this process to the group of that file: 0 stands for the writer.
fn step(to: &Path) -> Result<(), String> {
    fs::write(to, "0").map_err(|error| format!("{}: cannot enter: {error}", to.display()))
}
