//! Samples in control groups of their own: what is checked before the first of them.

use super::error::{SessionError, usage};
use crate::design::RunOptions;
use crate::group::{Group, GroupError};

/// Whether the limits of a run make sense, and whether a group can be made with them: one is, and removed.
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
