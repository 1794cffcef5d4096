//! The choices that hold for a whole run, and what follows from them for each pass.

use std::time::Duration;

use heaplab_workloads::program::Order;

use super::{Pace, Pass, Touch};

/// How a run measures.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// What is measured.
    pub passes: Vec<Pass>,
    /// Blocks: samples of each workload, variant and pass.
    pub reps: u32,
    /// The order of every pass; none for each pass's own.
    pub order: Option<Order>,
    /// The pace of every pass; none for each pass's own.
    pub pace: Option<Pace>,
    /// How much of a block is written to.
    pub touch: Touch,
    /// CPU count that allocators are shown; none for the trace's own, or else the machine's.
    pub cpus: Option<u32>,
    /// Checkpoints of a memory pass, in equal steps of trace time.
    pub checkpoints: u32,
    /// Events of a window at most.
    pub window_events: u64,
    /// When a worker is ended.
    pub timeout: Duration,
    /// Decides the order of variants, and the simulated workloads.
    pub seed: u64,
}

impl Settings {
    /// The order of a pass: memory and check replay the trace's own order, so that the live set is exactly the
    /// trace's; throughput and latency let threads run side by side.
    #[must_use]
    pub fn order(&self, pass: Pass) -> Order {
        self.order.unwrap_or(match pass {
            Pass::Throughput | Pass::Latency | Pass::Exec => Order::Causal,
            Pass::Memory | Pass::Check => Order::Strict,
        })
    }

    /// The pace of a pass over a trace with or without times.
    #[must_use]
    pub fn pace(&self, pass: Pass, has_times: bool) -> Pace {
        self.pace.unwrap_or(match pass {
            Pass::Throughput | Pass::Latency => Pace::Max,
            Pass::Memory | Pass::Check if has_times => Pace::Virtual,
            Pass::Memory | Pass::Check => Pace::Max,
            Pass::Exec => Pace::Times(1.0),
        })
    }
}
