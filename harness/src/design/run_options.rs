//! What is asked of a run, as `run.toml` keeps it: the same structures that the command line builds and from
//! which a resumed run starts.
//!
//! Plain data, and what follows from it for each pass.

use heaplab_workloads::program::{Order, Windows};
use serde::{Deserialize, Serialize};

use super::number::{seed_as_text, wide};
use super::{CountFrom, Pace, Pass, Touch};
use crate::group::GroupLimits;

/// What was asked of a run: all that is needed to take its samples again, whatever the defaults are by then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunOptions {
    /// Decides the order of variants, layouts and the loads of simulated workloads.
    /// NOTE: TOML integers end at 2^63 - 1, so it is written as text.
    #[serde(with = "seed_as_text")]
    pub seed: u64,
    /// The passes.
    pub passes: Vec<Pass>,
    /// Samples of each workload, variant and pass: the number of blocks.
    pub reps: u32,
    /// The variants as they were named; empty for the defaults.
    #[serde(default)]
    pub allocators: Vec<String>,
    /// The variant to which ratios refer; none for the default.
    #[serde(default)]
    pub baseline: Option<String>,
    /// A sample that takes longer is stopped; none if there is no limit.
    #[serde(default, with = "wide")]
    pub timeout_ns: Option<u64>,
    /// The limits of the control group that each sample gets for itself; none for no group.
    #[serde(default)]
    pub group: Option<GroupLimits>,
    /// The time from which memory counts in means and percentiles; none for the whole run.
    #[serde(default)]
    pub count_from: Option<CountFrom>,
    /// What is asked of a run of replays; none for a real program.
    #[serde(default)]
    pub replay: Option<ReplayOptions>,
    /// What is asked of a run of a real program; none for replays.
    #[serde(default)]
    pub exec: Option<ExecOptions>,
}

/// What is asked of a run of replays.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplayOptions {
    /// Workloads as they were named, by name or file; empty for those of the suite.
    pub workloads: Vec<String>,
    /// The suite; none for the quick one, or if workloads are named.
    #[serde(default)]
    pub suite: Option<String>,
    /// Sweeps of settings as they were named.
    #[serde(default)]
    pub sweeps: Vec<String>,
    /// Simulated time of load models; none for each model's own.
    #[serde(default, with = "wide")]
    pub duration_ns: Option<u64>,
    /// Fields of a load model that were set, as `KEY=VALUE`.
    #[serde(default)]
    pub set: Vec<String>,
    /// The numbers of connections, for each of which a load model becomes a workload of its own.
    #[serde(default)]
    pub connections: Vec<u32>,
    /// Order of every pass; none for each pass's default. A sample states the order that it used.
    #[serde(default)]
    pub order: Option<Order>,
    /// Pace of every pass; none for each pass's default. A sample states the pace that it used.
    #[serde(default)]
    pub pace: Option<Pace>,
    /// Touch policy.
    pub touch: Touch,
    /// CPU count that allocators see; none for each trace's own.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// Checkpoints of a memory pass in equal steps of trace time.
    pub checkpoints: u32,
    /// Most events of a window.
    pub window_events: u64,
    /// Whether every block has the same load and layout; then nothing is allocated before the replay.
    #[serde(default)]
    pub fixed: bool,
    /// Blocks continue past `reps` until every interval is within this fraction; none if `reps` alone decides.
    #[serde(default)]
    pub until: Option<f64>,
    /// With `until`: no block starts later than this after the first.
    #[serde(default, with = "wide")]
    pub max_time_ns: Option<u64>,
    /// Whether memory is also predicted from recordings with gaps.
    #[serde(default)]
    pub despite_coverage: bool,
}

/// The options of a run for which none is given.
impl Default for ReplayOptions {
    fn default() -> ReplayOptions {
        ReplayOptions {
            workloads: Vec::new(),
            suite: None,
            sweeps: Vec::new(),
            duration_ns: None,
            set: Vec::new(),
            connections: Vec::new(),
            order: None,
            pace: None,
            touch: Touch::Page,
            cpus: None,
            checkpoints: 2000,
            window_events: Windows::EVENTS,
            fixed: false,
            until: None,
            max_time_ns: None,
            despite_coverage: false,
        }
    }
}

impl ReplayOptions {
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

/// How a real program is run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExecOptions {
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The program's name; none for that of its file.
    #[serde(default)]
    pub name: Option<String>,
    /// Shell command to run before each sample.
    #[serde(default)]
    pub prepare: Option<String>,
    /// What shows that the program is ready.
    #[serde(default)]
    pub ready_when: Option<String>,
    /// A program that is not ready by then is stopped.
    pub ready_within_ns: u64,
    /// Shell command that puts load on it.
    #[serde(default)]
    pub load: Option<String>,
    /// How long the sample lasts from then on.
    #[serde(default, with = "wide")]
    pub time_ns: Option<u64>,
    /// Whether a sample without time and load ends when the last process that the program started exits.
    #[serde(default)]
    pub until_last: bool,
}
