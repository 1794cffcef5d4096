//! The trees of processes from which a run's workloads were recorded, as `run.toml` keeps them.

use serde::{Deserialize, Serialize};

use super::on_machine::OnMachine;

/// How memory is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Counting {
    /// The memory of one process.
    Process,
    /// The memory of all processes of a tree, shared pages counted once: what a control group is charged.
    Once,
    /// The processes' resident memory added up.
    Sum,
}

/// A tree of processes: each of its members is a workload.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunTree {
    /// Its name in summary.csv and reports; no workload has this name.
    pub name: String,
    /// The manifest from which it was read.
    pub source: String,
    /// Why nothing is predicted for the tree.
    #[serde(default)]
    pub refused: Option<String>,
    /// What the tree's figures lack: processes that are not replayed, in sentences.
    #[serde(default)]
    pub missing: Vec<String>,
    /// The share of the tree's memory that these processes had over time, from 0 to 1.
    #[serde(default)]
    pub missing_share: f64,
    /// Why it is not known what the processes shared, so that there is no prediction with shared pages counted once.
    #[serde(default)]
    pub shared_unknown: Option<String>,
    /// By how many bytes the sum of the members' memory exceeded the memory with shared pages counted once: pairs of
    /// time on the recording's clock, in ns, and bytes, which hold until the next.
    #[serde(default)]
    pub shared: Vec<(u64, u64)>,
    /// When the tree was asked to stop, on the recording's clock: memory from then on does not count.
    #[serde(default)]
    pub asked_to_end_ns: Option<u64>,
    /// The processes.
    #[serde(default)]
    pub members: Vec<RunTreeMember>,
    /// Which tree on which of several kinds of machines it is; none in a run of one kind. Not in the file: a reader
    /// separates the kinds.
    #[serde(skip)]
    pub on: Option<OnMachine>,
}

/// A process of a tree, or the part of it up to an exec. Times are on the recording's clock, in ns.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunTreeMember {
    /// The process's number, which is the same before and after an exec.
    pub pid: u32,
    /// The workload.
    pub workload: String,
    /// The number of the process that it was forked from: what its allocator has at its start is inherited.
    #[serde(default)]
    pub forked_from: Option<u32>,
    /// When it started.
    pub start_ns: u64,
    /// Whether its trace starts with the history that it inherited.
    #[serde(default)]
    pub inherits: bool,
    /// When the first event of its trace was: trace time 0.
    pub first_event_ns: u64,
    /// When it ended, or executed another program.
    pub end_ns: u64,
    /// The share of the tree's memory that its process had over time, from 0 to 1.
    #[serde(default)]
    pub share: Option<f64>,
}

impl RunTree {
    /// The largest share of a tree's memory that may be missing from its prediction.
    pub const MOST_MISSING_SHARE: f64 = 0.1;
}
