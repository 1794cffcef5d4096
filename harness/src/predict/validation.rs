//! Prediction held against reality: a run of replays against a run of the real program.
//!
//! Errors are relative to reality's median. Reality's own spread stands beside: an error below it is no error. The null
//! predictor says that nothing changes: memory stays what was recorded.

use std::collections::HashMap;
use std::fmt;

use serde::Serialize;

use super::causes::describe_causes;
use super::prediction::{Predictions, predict};
use super::processor::beyond_base;
use super::ranking::{Ranking, Standing, rank};
use super::samples::{replayed_cpu_ns, values, whole_cpu_ns};

use crate::results::{MemoryPoint, Pass, ResultsError, Run, Status};
use crate::stats::{TimeWeighted, median, percentile_over_time};

/// The part of its time in which a process has no more than it is planned with.
pub const PLANNED_FRACTION: f64 = 0.99;

/// Which figure of memory is held against reality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Figure {
    /// The largest.
    Peak,
    /// The time-weighted mean.
    Mean,
    /// What is not exceeded in this part of the time; a plan's is [`PLANNED_FRACTION`].
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
    /// The least of the real program's samples.
    pub real_least_bytes: f64,
    /// The largest of them.
    pub real_most_bytes: f64,
    /// Half the range of the real program's samples, over their median.
    pub real_spread: f64,
    /// (predicted - real) / real.
    pub error: f64,
    /// The same of the null predictor.
    pub null_error: f64,
    /// (predicted - real) / (real - requested): the error of the heap's part alone; none where nothing is left.
    pub heap_error: Option<f64>,
}

/// CPU time of one variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeldCpu {
    /// Variant's label.
    pub variant: String,
    /// CPU time of the replay, median over blocks: the allocator's part, and the first touch.
    pub replayed_ns: f64,
    /// What the recorded process used, and what the replay used beyond that of the variant recorded under in its
    /// block, median over blocks; none where one of them is not known.
    pub predicted_ns: Option<f64>,
    /// The real program's, median over blocks.
    pub real_ns: f64,
    /// The least of the real program's samples.
    pub real_least_ns: f64,
    /// The largest of them.
    pub real_most_ns: f64,
    /// Half the range of the real program's samples, over their median.
    pub real_spread: f64,
    /// (predicted - real) / real.
    pub error: Option<f64>,
    /// The same of the null predictor: CPU time stays what was recorded.
    pub null_error: Option<f64>,
}

/// Memory of one variant over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// Variant's label.
    pub variant: String,
    /// Its allocator.
    pub allocator: String,
    /// The prediction of the block whose mean is the median.
    pub predicted: Vec<MemoryPoint>,
    /// The program's own samples.
    pub real: Vec<Vec<MemoryPoint>>,
}

/// What came of a validation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Validation {
    /// The program.
    pub program: String,
    /// Figures of memory.
    pub memory: Vec<Held>,
    /// CPU times.
    pub cpu: Vec<HeldCpu>,
    /// How many samples of the real program the variant with the fewest has.
    pub real_samples: usize,
    /// What was recorded over time.
    pub recorded: Vec<MemoryPoint>,
    /// What was predicted and what was so, over time.
    pub curves: Vec<Curves>,
    /// Sentences: where the error comes from, and what is missing.
    pub parts: Vec<String>,
}

/// Holds a run of one recording against a run of the program that it was recorded of.
///
/// `percentiles` are compared beside the peak and the mean, as fractions.
///
/// # Errors
///
/// Files that cannot be read. What is missing is said in [`Validation::parts`].
pub fn validate(replays: &Run, real: &Run, percentiles: &[f64]) -> Result<Validation, ResultsError> {
    let predictions = predict(replays)?;
    let program = real.file.workloads.first().map(|program| program.name.clone()).unwrap_or_default();
    let mut validation = Validation {
        program,
        memory: Vec::new(),
        cpu: Vec::new(),
        real_samples: fewest_samples(real),
        recorded: predictions.recorded.values().next().cloned().unwrap_or_default(),
        curves: curves(replays, real, &predictions)?,
        parts: predictions.notes.clone(),
    };
    for variant in &real.file.variants {
        let label = variant.label.as_str();
        let of_time = percentiles.iter().map(|fraction| Figure::Percentile(*fraction));
        for figure in [Figure::Peak, Figure::Mean].into_iter().chain(of_time) {
            let sources = (replays, real, &predictions, &validation.curves[..]);
            validation.memory.extend(hold(sources, label, figure));
        }
        validation.cpu.extend(hold_cpu(replays, real, label));
    }
    validation.parts.extend(describe_causes(replays, real, &predictions)?);
    Ok(validation)
}

/// CPU time of a variant; none where one of the runs has no sample of it.
fn hold_cpu(replays: &Run, real: &Run, variant: &str) -> Option<HeldCpu> {
    let replayed_ns = median(&values(replays, variant, Pass::Throughput, replayed_cpu_ns))?;
    let really = Reality::of(&values(real, variant, Pass::Exec, whole_cpu_ns))?;
    let recorded_ns = replays.file.workloads.first()?.program_cpu_ns().map(|time| time as f64);
    let predicted_ns = recorded_ns.and_then(|recorded| {
        Some(recorded + median(&beyond_base(replays, &replays.file.workloads.first()?.name, variant)?)?)
    });
    Some(HeldCpu {
        variant: variant.to_owned(),
        replayed_ns,
        predicted_ns,
        real_ns: really.median,
        real_least_ns: really.least,
        real_most_ns: really.most,
        real_spread: really.spread(),
        error: predicted_ns.map(|predicted| really.error(predicted)),
        null_error: recorded_ns.map(|recorded| really.error(recorded)),
    })
}

/// The replays, the program's run, what is predicted, and both over time.
type Sources<'a> = (&'a Run, &'a Run, &'a Predictions, &'a [Curves]);

fn hold((replays, real, predictions, curves): Sources<'_>, variant: &str, figure: Figure) -> Option<Held> {
    let over_time = |points: &[MemoryPoint], fraction: f64| {
        let points: Vec<(u64, u64)> = points.iter().copied().map(<(u64, u64)>::from).collect();
        // To the last point, in a prediction as in reality: what comes after it was not sampled.
        percentile_over_time(&points, 0, fraction)
    };
    let predicted: Vec<f64> = predictions
        .of_samples
        .iter()
        .filter(|(place, _)| replays.samples[**place].variant == variant)
        .map(|(_, prediction)| match figure {
            Figure::Peak => prediction.peak_bytes as f64,
            Figure::Mean => prediction.mean_bytes as f64,
            Figure::Percentile(fraction) => over_time(&prediction.points, fraction).unwrap_or(0) as f64,
        })
        .collect();
    let (really, requested) = match figure {
        Figure::Peak => (
            values(real, variant, Pass::Exec, |sample| sample.resident_peak_bytes),
            values(replays, variant, Pass::Memory, |sample| sample.requested_peak_bytes),
        ),
        Figure::Mean => (
            values(real, variant, Pass::Exec, |sample| sample.resident_mean_bytes),
            values(replays, variant, Pass::Memory, |sample| sample.requested_mean_bytes),
        ),
        Figure::Percentile(fraction) => {
            let of_variant = curves.iter().filter(|curves| curves.variant == variant);
            let really = of_variant.flat_map(|curves| &curves.real);
            (
                really.filter_map(|points| over_time(points, fraction)).map(|bytes| bytes as f64).collect(),
                Vec::new(),
            )
        }
    };
    let recorded = predictions.recorded.values().next()?;
    let null = match figure {
        Figure::Peak => recorded.iter().map(|point| point.resident_bytes).max()? as f64,
        Figure::Mean => recorded.iter().copied().collect::<TimeWeighted>().mean()? as f64,
        Figure::Percentile(fraction) => over_time(recorded, fraction)? as f64,
    };
    let (predicted_bytes, really) = (median(&predicted)?, Reality::of(&really)?);
    // What is requested at a percentile of resident memory is not known.
    let beyond = median(&requested).map_or(0.0, |requested| really.median - requested);
    Some(Held {
        variant: variant.to_owned(),
        figure,
        predicted_bytes,
        real_bytes: really.median,
        real_least_bytes: really.least,
        real_most_bytes: really.most,
        real_spread: really.spread(),
        error: really.error(predicted_bytes),
        null_error: really.error(null),
        heap_error: (beyond > 0.0).then(|| (predicted_bytes - really.median) / beyond),
    })
}

fn fewest_samples(real: &Run) -> usize {
    let of = |variant: &str| {
        let ok =
            real.samples.iter().filter(|sample| sample.status == Status::Ok && sample.variant == variant);
        ok.count()
    };
    real.file.variants.iter().map(|variant| of(&variant.label)).min().unwrap_or(0)
}

/// A figure of the program's own samples.
struct Reality {
    median: f64,
    least: f64,
    most: f64,
}

impl Reality {
    /// None where nothing was measured: an error is relative to it.
    fn of(values: &[f64]) -> Option<Reality> {
        let median = median(values).filter(|median| *median > 0.0)?;
        let (least, most) =
            values.iter().fold((f64::MAX, 0.0), |(least, most), value| (value.min(least), value.max(most)));
        Some(Reality { median, least, most })
    }

    /// Half the range of the samples, over their median.
    fn spread(&self) -> f64 {
        (self.most - self.least) / 2.0 / self.median
    }

    fn error(&self, predicted: f64) -> f64 {
        (predicted - self.median) / self.median
    }
}

/// The curves of every variant of the real run.
fn curves(replays: &Run, real: &Run, predictions: &Predictions) -> Result<Vec<Curves>, ResultsError> {
    let mut really: HashMap<usize, Vec<MemoryPoint>> = HashMap::new();
    real.each_program_point(|place, point| {
        if real.samples[place].status == Status::Ok {
            really
                .entry(place)
                .or_default()
                .push(MemoryPoint { time_ns: point.time_ns, resident_bytes: point.resident_bytes });
        }
    })?;
    let curves = real.file.variants.iter().map(|variant| {
        let mut predicted: Vec<(u64, usize)> = predictions
            .of_samples
            .iter()
            .filter(|(place, _)| replays.samples[**place].variant == variant.label)
            .map(|(place, prediction)| (prediction.mean_bytes, *place))
            .collect();
        predicted.sort_unstable();
        let shown = predicted.get(predicted.len().saturating_sub(1) / 2);
        let mut places: Vec<&usize> =
            really.keys().filter(|place| real.samples[**place].variant == variant.label).collect();
        places.sort_unstable();
        Curves {
            variant: variant.label.clone(),
            allocator: variant.allocator.clone(),
            predicted: shown
                .map(|(_, place)| predictions.of_samples[place].points.clone())
                .unwrap_or_default(),
            real: places.into_iter().map(|place| really[place].clone()).collect(),
        }
    });
    Ok(curves.collect())
}

impl Validation {
    /// The order of the variants by a figure of memory.
    #[must_use]
    pub fn rank_memory(&self, figure: Figure) -> Option<Ranking> {
        let held = self.memory.iter().filter(|held| held.figure == figure);
        let standings = held.map(|held| Standing {
            predicted: held.predicted_bytes,
            real: held.real_bytes,
            range: (held.real_least_bytes, held.real_most_bytes),
        });
        rank(&standings.collect::<Vec<_>>())
    }

    /// The order of the variants by CPU time.
    #[must_use]
    pub fn rank_cpu(&self) -> Option<Ranking> {
        let standings = self.cpu.iter().map(|held| Standing {
            predicted: held.replayed_ns,
            real: held.real_ns,
            range: (held.real_least_ns, held.real_most_ns),
        });
        rank(&standings.collect::<Vec<_>>())
    }

    /// Errors of a figure of memory; none where nothing is predicted.
    #[must_use]
    pub fn errors(&self, figure: Figure) -> Option<Errors> {
        let held = self.memory.iter().filter(|held| held.figure == figure);
        Errors::of(held.map(|held| (held.error, held.null_error, held.real_spread)))
    }

    /// Errors of CPU time; none where nothing is predicted.
    #[must_use]
    pub fn cpu_errors(&self) -> Option<Errors> {
        Errors::of(self.cpu.iter().filter_map(|held| Some((held.error?, held.null_error?, held.real_spread))))
    }
}

/// Absolute errors over the variants, one within reality's spread counting as 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Their median.
    pub median: f64,
    /// The largest.
    pub worst: f64,
    /// The median of the null predictor's.
    pub null: f64,
}

impl Errors {
    /// Of (error, the null predictor's, reality's spread).
    fn of(held: impl Iterator<Item = (f64, f64, f64)>) -> Option<Errors> {
        let counted = |error: f64, spread: f64| if error.abs() <= spread { 0.0 } else { error.abs() };
        let (errors, null): (Vec<f64>, Vec<f64>) =
            held.map(|(error, null, spread)| (counted(error, spread), counted(null, spread))).unzip();
        let worst = errors.iter().copied().fold(0.0, f64::max);
        Some(Errors { median: median(&errors)?, worst, null: median(&null)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_below_realitys_spread_counts_nothing() {
        let held = |variant: &str, error: f64, real_spread: f64| Held {
            variant: variant.to_owned(),
            figure: Figure::Peak,
            predicted_bytes: 0.0,
            real_bytes: 1.0,
            real_least_bytes: 1.0,
            real_most_bytes: 1.0,
            real_spread,
            error,
            null_error: 0.3,
            heap_error: None,
        };
        let memory = vec![held("a", 0.04, 0.05), held("b", -0.06, 0.01), held("c", 0.10, 0.01)];
        let validation = Validation { memory, ..Validation::default() };
        assert_eq!(validation.errors(Figure::Peak), Some(Errors { median: 0.06, worst: 0.10, null: 0.3 }));
        assert_eq!(validation.errors(Figure::Mean), None);
    }
}
