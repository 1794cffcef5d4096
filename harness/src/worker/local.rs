//! What a replayed thread counts by itself, and adds to the shared counts at the end of a segment.

use super::latency::Log;
use super::stopwatch::Stopwatch;

/// Counts of one thread since its last segment began.
pub(super) struct Local {
    /// Change of usable bytes (memory pass).
    pub(super) usable: i64,
    /// Durations of calls (latency pass).
    pub(super) log: Option<Box<Log>>,
    /// Busy time (throughput pass).
    pub(super) stopwatch: Stopwatch,
}

impl Local {
    pub(super) fn new(log: Option<Box<Log>>, stopwatch: Stopwatch) -> Local {
        Local { usable: 0, log, stopwatch }
    }
}
