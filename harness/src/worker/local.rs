//! What a replayed thread counts by itself, and adds to the shared counts at the end of a segment.

use super::latency::Log;
use super::stopwatch::Stopwatch;

/// Counts of one thread since its last segment began.
pub(super) struct Local {
    /// Change of requested bytes.
    pub(super) requested: i64,
    /// The largest value that it had.
    pub(super) requested_peak: i64,
    /// Change of usable bytes (memory pass).
    pub(super) usable: i64,
    /// Durations of calls (latency pass).
    pub(super) log: Option<Box<Log>>,
    /// Busy time (throughput pass).
    pub(super) stopwatch: Stopwatch,
}

impl Local {
    pub(super) fn new(log: Option<Box<Log>>, stopwatch: Stopwatch) -> Local {
        Local { requested: 0, requested_peak: 0, usable: 0, log, stopwatch }
    }

    #[inline(always)]
    pub(super) fn grow(&mut self, bytes: u64) {
        self.requested = self.requested.wrapping_add(bytes as i64);
        self.requested_peak = self.requested_peak.max(self.requested);
    }

    #[inline(always)]
    pub(super) fn shrink(&mut self, bytes: u64) {
        self.requested = self.requested.wrapping_sub(bytes as i64);
    }
}
