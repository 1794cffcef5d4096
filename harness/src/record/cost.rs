//! What the recorder costs the recorded program, as a trace's header states it.

use serde::{Deserialize, Serialize};

/// The note that says what an event costs, in ns with decimals.
pub const EVENT_COST_NOTE: &str = "recorder.event_ns";
/// The note that says what the first event after a thread slept costs beyond that, in ns with decimals.
pub const WAKING_COST_NOTE: &str = "recorder.waking_ns";
/// The note that says how often the threads of the recorded processes slept.
pub const WAKINGS_NOTE: &str = "recorder.wakings";

/// CPU time of the same calls, in ns: recorded, or not; or the difference, which is the recorder's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cost {
    /// Of one call among many.
    pub(super) event_ns: f64,
    /// Of the first call after the thread slept, beyond that.
    pub(super) waking_ns: f64,
}

impl Cost {
    /// What the same calls cost more than without: nothing less than nothing.
    pub(super) fn beyond(self, without: Cost) -> Cost {
        Cost {
            event_ns: (self.event_ns - without.event_ns).max(0.0),
            waking_ns: (self.waking_ns - without.waking_ns).max(0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cheaper_by_chance_costs_nothing() {
        let recorded = Cost { event_ns: 12.0, waking_ns: 900.0 };
        let without = Cost { event_ns: 8.0, waking_ns: 1000.0 };
        assert_eq!(recorded.beyond(without), Cost { event_ns: 4.0, waking_ns: 0.0 });
    }
}
