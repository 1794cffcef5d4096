//! CPU time of the processes that this one waited for, and of those that they waited for.

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

/// The time that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CpuTime {
    pub(super) user_us: i64,
    pub(super) system_us: i64,
    /// How often their threads slept.
    pub(super) wakings: i64,
}

impl CpuTime {
    /// That of all until now.
    pub(super) fn of_children() -> CpuTime {
        // It fails only for a wrong `who`.
        let used = getrusage(UsageWho::RUSAGE_CHILDREN);
        let us = |time: fn(&Usage) -> TimeVal| used.as_ref().map_or(0, |used| time(used).num_microseconds());
        let wakings = used.as_ref().map_or(0, Usage::voluntary_context_switches);
        CpuTime { user_us: us(Usage::user_time), system_us: us(Usage::system_time), wakings }
    }

    /// Both together.
    pub(super) fn plus(self, other: CpuTime) -> CpuTime {
        CpuTime {
            user_us: self.user_us + other.user_us,
            system_us: self.system_us + other.system_us,
            wakings: self.wakings + other.wakings,
        }
    }

    /// What came after an earlier moment.
    pub(super) fn since(self, earlier: CpuTime) -> CpuTime {
        CpuTime {
            user_us: self.user_us - earlier.user_us,
            system_us: self.system_us - earlier.system_us,
            wakings: self.wakings - earlier.wakings,
        }
    }
}
