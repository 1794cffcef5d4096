//! Programs: a trace compiled for replay, as a file that every worker reads front to back.
//!
//! Data goes one way: records in, windows out, one after another. Memory is bounded by the live objects and
//! two windows, not by the trace's length. This module knows nothing about allocators.

mod compile;
mod compiler;
mod draft;
mod drain;
mod error;
mod file;
pub mod group;
pub mod layout;
mod least;
pub mod operation;
mod reader;
mod slots;
#[cfg(test)]
mod tests;
mod touch;
mod tuning;
mod verify;
pub mod window;

use serde::{Deserialize, Serialize};

pub use compile::compile;
pub use drain::{NUDGE_INTERVAL_NS, NUDGE_ROUNDS};
pub use error::CompileError;
pub use file::ProgramFile;
pub use least::least_bytes;
pub use reader::{ProgramReader, SLACK_BYTES};
pub use verify::{Verified, verify};

/// The order in which the operations of different threads are replayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// A thread's own order, each object's order, and at most two windows in flight.
    Causal,
    /// The trace's own total order.
    Strict,
}

impl std::fmt::Display for Order {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Order::Causal => "causal",
            Order::Strict => "strict",
        })
    }
}

/// How a trace is cut into windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Windows {
    /// A window closes after this many events.
    pub events: u64,
    /// A window closes when its allocations reach this many bytes, or `live_share` if that is more.
    pub bytes: u64,
    /// The same limit as a fraction of the live bytes: one over this number.
    pub live_share: u64,
    /// A window closes before an event this much later than its first; none where only order matters.
    pub time_ns: Option<u64>,
    /// A gap between two events longer than this is a barrier.
    pub gap_ns: u64,
}

impl Windows {
    /// Default number of events in a window.
    ///
    /// PERF: 1,000 cost twice as much in waking threads; 50,000 let the live set drift by 6 %.
    pub const EVENTS: u64 = 5_000;

    /// The most events of a window in strict order, so that a short trace has its 2,000 checkpoints too.
    const STRICT_EVENTS: u64 = 64;

    /// The windows for an order: narrow ones cost nothing in strict order, where they only say when the clock
    /// moves and a checkpoint may be taken.
    ///
    /// PERF: in causal order 1 MiB of allocations keeps the largest live bytes within 1 % of the trace's;
    /// with 4 MiB a trace of 12 MB live, in blocks of up to 200 KB, went 3 to 9 % above. The cost is a replay
    /// that takes 10 to 15 % longer for that trace; a server model's and a phone's took the same time.
    pub fn new(order: Order, events: u64, timed: bool) -> Windows {
        let (events, bytes, live_share) = match order {
            Order::Causal => (events, 1 << 20, 16),
            Order::Strict => (events.min(Self::STRICT_EVENTS), 1 << 20, 64),
        };
        let time_ns = timed.then_some(1_000_000);
        Windows { events, bytes, live_share, time_ns, gap_ns: 10_000_000 }
    }
}

/// What a worker must know about a program before it reads it, and what reports say about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramInfo {
    /// The order that it was compiled for.
    pub order: Order,
    /// The windows that it was cut into.
    pub cut: Windows,
    /// Whether its times are real; if not, they count events.
    pub has_times: bool,
    /// CPUs of the recorded machine, if known.
    pub cpus: Option<u32>,
    /// Events of the trace; for a trace that begins with what a process inherited, the events since its fork.
    pub events: u64,
    /// Threads of the trace.
    pub threads: u32,
    /// Thread ids are below this number.
    pub thread_table: u32,
    /// Slots that it needs.
    pub slots: u32,
    /// Windows, excluding those of drain and nudge.
    pub windows: u64,
    /// The window with the largest live bytes.
    pub peak_window: u64,
    /// Largest requested bytes live at once.
    pub requested_peak_bytes: u64,
    /// Mean of the requested bytes, weighted by trace time.
    pub requested_mean_bytes: u64,
    /// Requested bytes live at the end.
    pub requested_end_bytes: u64,
    /// Objects live at the end.
    pub live_at_end: u64,
    /// Time from the first event to the last.
    pub duration_ns: u64,
    /// The time from which figures count: the time of the fork, where the trace begins with what the process
    /// inherited; otherwise 0.
    pub counted_from_ns: u64,
    /// Whether the trace was cut off.
    pub truncated: bool,
    /// Bytes of the file.
    pub file_bytes: u64,
}
