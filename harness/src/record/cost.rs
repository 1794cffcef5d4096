//! What the recorder costs the recorded program, as a trace's header states it.

use serde::{Deserialize, Serialize};

/// The note with the cost of an event, in ns with decimals.
pub const EVENT_COST_NOTE: &str = "recorder.event_ns";
/// The note with the additional cost of the first event after a thread slept, in ns with decimals.
pub const WAKING_COST_NOTE: &str = "recorder.waking_ns";
/// The note with the number of times that threads of the recorded processes slept.
pub const WAKINGS_NOTE: &str = "recorder.wakings";

/// CPU time of the same calls, in ns: recorded, not recorded, or the difference, which is the recorder's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Cost {
    /// Per call, among many.
    pub(super) event_ns: f64,
    /// Additional time of the first call after the thread slept.
    pub(super) waking_ns: f64,
}

impl Cost {
    /// How much more the same calls cost than without the recorder: never below zero.
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
