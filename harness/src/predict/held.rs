//! The figures of a validation: for each variant the prediction and the real figure.

use std::fmt;

use serde::Serialize;

use crate::results::Counting;
use crate::stats::median;

/// The fraction of its time in which a process needs no more than the memory planned for it.
pub const PLANNED_FRACTION: f64 = 0.99;

/// Which figure of memory is compared with reality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// The largest.
    Peak,
    /// The time-weighted mean.
    Mean,
    /// Memory that is not exceeded in this fraction of the time; a plan uses [`PLANNED_FRACTION`].
    Percentile(f64),
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Figure::Peak => f.write_str("peak"),
            Figure::Mean => f.write_str("mean"),
            // Rounded, because 0.999 * 100 is not 99.9.
            Figure::Percentile(fraction) => write!(f, "p{}", (fraction * 1e8).round() / 1e6),
        }
    }
}

impl Serialize for Figure {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One figure of one variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Held {
    /// Variant's label.
    pub variant: String,
    /// The figure.
    pub figure: Figure,
    /// Predicted bytes, median over blocks.
    pub predicted_bytes: f64,
    /// The real program's, median over blocks.
    pub real_bytes: f64,
    /// The smallest of the real program's samples.
    pub real_least_bytes: f64,
    /// The largest of them.
    pub real_most_bytes: f64,
    /// Half the range of the real program's samples, over their median.
    pub real_spread: f64,
    /// (predicted - real) / real.
    pub error: f64,
    /// The same for the null predictor: memory stays as recorded. None for a model, of which no process was recorded.
    pub null_error: Option<f64>,
    /// (predicted - real) / (real - requested): the error of the heap's part alone; none if nothing remains.
    pub heap_error: Option<f64>,
    /// How memory is counted.
    pub counting: Counting,
    /// For a mean: the error of the mean over equal progress; none if not known.
    pub progress_error: Option<f64>,
    /// Replays that the prediction is of.
    pub replay_samples: u64,
    /// Replays that failed, which it is not of.
    pub replay_failed: u64,
    /// The program's samples that the real figure is of.
    pub program_samples: u64,
    /// Those that failed, which it is not of.
    pub program_failed: u64,
}

/// CPU time of one variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldCpu {
    /// Variant's label.
    pub variant: String,
    /// CPU time of the replay, median over blocks: the allocator's part, and the first touch.
    pub replayed_ns: f64,
    /// The recorded process's CPU time, plus the replay's minus that of the variant recorded under in the same
    /// block; median over blocks; none if one of them is not known.
    pub predicted_ns: Option<f64>,
    /// The real program's, median over blocks.
    pub real_ns: f64,
    /// The smallest of the real program's samples.
    pub real_least_ns: f64,
    /// The largest of them.
    pub real_most_ns: f64,
    /// Half the range of the real program's samples, over their median.
    pub real_spread: f64,
    /// (predicted - real) / real.
    pub error: Option<f64>,
    /// The same for the null predictor: CPU time stays as recorded.
    pub null_error: Option<f64>,
    /// Replays that the prediction is of.
    pub replay_samples: u64,
    /// Replays that failed, which it is not of.
    pub replay_failed: u64,
    /// The program's samples that the real figure is of.
    pub program_samples: u64,
    /// Those that failed, which it is not of.
    pub program_failed: u64,
}

/// A figure of the program's own samples.
pub(super) struct Reality {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Reality {
    /// None if nothing was measured: an error is relative to it.
    pub(super) fn of(values: &[f64]) -> Option<Reality> {
        let median = median(values).filter(|median| *median > 0.0)?;
        let (least, most) =
            values.iter().fold((f64::MAX, 0.0), |(least, most), value| (value.min(least), value.max(most)));
        Some(Reality { median, least, most })
    }

    /// Half the range of the samples, over their median.
    pub(super) fn spread(&self) -> f64 {
        (self.most - self.least) / 2.0 / self.median
    }

    pub(super) fn error(&self, predicted: f64) -> f64 {
        (predicted - self.median) / self.median
    }
}
