//! What a session reports while it works. It prints nothing itself: its caller shows the notices.

use heaplab_workloads::import::Progress;
use heaplab_workloads::program::Order;

use crate::design::Pass;

/// One notice.
#[derive(Debug)]
pub enum Notice<'a> {
    /// A sentence that the user must see.
    Say(String),
    /// A log is being imported.
    Importing {
        /// The workload's name.
        workload: &'a str,
        /// How far it has got.
        progress: Progress,
    },
    /// A workload is being compiled.
    Compiling {
        /// The workload's name.
        workload: &'a str,
        /// The order that it is compiled for.
        order: Order,
        /// Events so far.
        events: u64,
    },
    /// The stage of the last notice has ended.
    StageEnded,
    /// A sample starts.
    Sampling {
        /// Its workload's name.
        workload: &'a str,
        /// What it measures.
        pass: Pass,
        /// Its variant's label.
        variant: &'a str,
        /// Which sample it is, from 1.
        number: u64,
        /// How many there are, where that is known.
        count: Option<u64>,
    },
}

/// The receiver of notices.
pub type Listener<'a> = &'a dyn Fn(&Notice<'_>);
