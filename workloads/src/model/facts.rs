//! What a model says of itself: the head of its file.

use heaplab_trace::RecordedAllocator;
use serde::{Deserialize, Serialize};

use super::parts::Outline;

/// The head of a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The program that was recorded; empty if it is not to be known.
    #[serde(default)]
    pub program: String,
    /// What loads are counted in: requests a second, connections, ...
    pub load_unit: String,
    /// Whether the recordings told threads apart.
    pub has_threads: bool,
    /// Whether they kept alignments.
    pub has_alignment: bool,
    /// CPUs that the program could use.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// The allocator that served it.
    #[serde(default)]
    pub allocator: Option<RecordedAllocator>,
    /// How lives of survivors are counted: 1 in time, 0 in allocations, and between as a power of the load.
    pub life: f64,
    /// How much of what start-up leaves grows with the load: 0 none of it, 1 all.
    pub startup: f64,
    /// Whether the two were told from recordings at two loads; else they are assumed.
    pub is_told: bool,
    /// The share of the recordings' events that is kept.
    pub kept: f64,
    /// Names of marks.
    #[serde(default)]
    pub marks: Vec<String>,
    /// What `fit` found when it tried the model.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// What speaks against trusting it, in sentences.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The recordings' numbers, in order of load.
    #[serde(default)]
    pub recordings: Vec<Outline>,
}

/// How far off a part of the recordings predicted the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was predicted from what.
    pub what: String,
    /// Requested bytes at most: predicted over recorded, less 1.
    pub peak_off: f64,
    /// Their mean over time, likewise.
    pub mean_off: f64,
    /// The load of the recording that was predicted.
    pub load: f64,
}

impl Facts {
    /// How far the worst check was off.
    pub fn worst_off(&self) -> f64 {
        self.checks.iter().flat_map(|check| [check.peak_off.abs(), check.mean_off.abs()]).fold(0.0, f64::max)
    }
}
