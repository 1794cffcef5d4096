//! Samples in their own control groups: what is checked before the first of them.

use super::error::{SessionError, usage};
use crate::design::RunOptions;
use crate::group::{Group, GroupError};

/// Checks that the limits of a run make sense, and that a group can be made with them, by making one and
/// removing it.
pub(super) fn check_group(options: &RunOptions) -> Result<(), SessionError> {
    let Some(limits) = &options.group else { return Ok(()) };
    let memory = procfs::Current::current().map(|memory: procfs::Meminfo| memory.mem_total);
    let memory = memory.map_err(SessionError::failed("cannot read how much memory this machine has"))?;
    limits.check(memory).map_err(|error| usage(error.to_string()))?;
    match Group::create(limits) {
        Ok(_) => Ok(()),
        Err(error @ GroupError::NeedsSecond { .. }) => Err(usage(error.to_string())),
        Err(error) => Err(SessionError::failed("each sample\'s own control group")(error)),
    }
}
