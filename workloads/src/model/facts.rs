//! What a model says about itself: the head of its file.

use heaplab_trace::RecordedAllocator;
use serde::{Deserialize, Serialize};

use super::parts::Outline;

/// The head of a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The program that was recorded; empty if it is anonymous.
    #[serde(default)]
    pub program: String,
    /// What loads are counted in: requests per second, connections, ...
    pub load_unit: String,
    /// Whether the recordings distinguish threads.
    pub has_threads: bool,
    /// Whether they keep alignments.
    pub has_alignment: bool,
    /// CPUs that the program could use.
    #[serde(default)]
    pub cpus: Option<u32>,
    /// The allocator that served it.
    #[serde(default)]
    pub allocator: Option<RecordedAllocator>,
    /// How lives of survivors are counted, if the user said so: 1 in time, 0 in allocations, and anything
    /// between as a power of the load.
    #[serde(default)]
    pub life: Option<f64>,
    /// How much of what start-up leaves grows with the load, if the user said so: 0 for none of it, 1 for
    /// all.
    #[serde(default)]
    pub startup: Option<f64>,
    /// Whether requests wait while all threads of their pool are busy, if the user said so.
    #[serde(default)]
    pub queue: Option<bool>,
    /// The share of the recordings' events that is kept.
    pub kept: f64,
    /// Names of marks.
    #[serde(default)]
    pub marks: Vec<String>,
    /// What `fit` found when it tried the model.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Reasons not to trust it, in sentences.
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
    /// Peak of requested bytes (of resident bytes for [`CheckKind::Resident`]): predicted over recorded, minus 1.
    pub peak_off: f64,
    /// The same for their mean over time.
    pub mean_off: f64,
    /// The load of the recording that was predicted.
    pub load: f64,
    /// What kind of prediction it was.
    pub kind: CheckKind,
}

/// What was predicted from what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckKind {
    /// The recording from its own whole model.
    Itself,
    /// The recording from every second window.
    Alternate,
    /// The second half of the recording from its first.
    FirstHalf,
    /// The last quarter of the recording from what was before.
    LastQuarter,
    /// The recording from a recording at another load.
    OtherLoad,
    /// The resident memory of the recording's replay under an allocator, from the whole model.
    Resident,
}

impl Check {
    /// How far the recording's peak and mean are from the predicted ones, as shares of the prediction: a band is around
    /// what was predicted.
    fn errors(&self) -> [f64; 2] {
        [self.peak_off, self.mean_off].map(|off| (1.0 / (1.0 + off).max(0.01) - 1.0).abs())
    }
}

impl Facts {
    /// How far off the worst check of a kind was; 0 if there is none.
    pub fn worst_off(&self, kind: CheckKind) -> f64 {
        let of_kind = self.checks.iter().filter(|check| check.kind == kind);
        of_kind.flat_map(Check::errors).fold(0.0, f64::max)
    }

    /// How far off the worst check of a kind was at the load of a recording; 0 if there is none.
    pub(super) fn worst_off_at(&self, kind: CheckKind, load: f64) -> f64 {
        let of_kind = self.checks.iter().filter(|check| check.kind == kind && check.load == load);
        of_kind.flat_map(Check::errors).fold(0.0, f64::max)
    }

    /// How far off the lower loads were when they predicted higher ones (`up`), or the higher loads when they
    /// predicted lower ones. None if they are too far apart to predict each other.
    pub(super) fn other_load_off(&self, up: bool) -> Option<f64> {
        let highest = self.recordings.iter().map(|recording| recording.load).fold(0.0, f64::max);
        let others = self.checks.iter().filter(|check| check.kind == CheckKind::OtherLoad);
        let so = others.filter(|check| (check.load == highest) == up);
        so.flat_map(Check::errors).reduce(f64::max)
    }

    /// Whether recordings at two loads show what grows with the load.
    pub fn is_told(&self) -> bool {
        self.recordings.len() > 1
    }
}
