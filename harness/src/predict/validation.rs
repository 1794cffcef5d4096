//! Compares prediction with reality: a run of replays with a run of the real program.
//!
//! Errors are relative to the median of the real samples. Their spread is reported too: an error below it means
//! nothing. The null predictor says that nothing changes: memory stays as recorded.

use super::causes::{describe_causes, describe_time, describe_tree};
use super::held::{Figure, Held, HeldCpu, Reality};
use super::modelled::predict;
use super::processor::beyond_base;
use super::ranking::{Ranking, Standing, rank};
use super::samples::{replayed_cpu_ns, values, whole_cpu_ns};
use super::shortfall::{count_failed, describe_shortfall};
use super::subject::{Curves, Subject};
use super::tree::predict_trees;
use crate::results::{Counting, MemoryPoint, Pass, ResultsError, Run, Status};
use crate::stats::{TimeWeighted, median, percentile_over_time};

/// The result of a validation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Validation {
    /// The program.
    pub program: String,
    /// Figures of memory.
    pub memory: Vec<Held>,
    /// CPU times.
    pub cpu: Vec<HeldCpu>,
    /// The smallest number of ok samples of the real program under any variant that has one.
    pub real_samples: usize,
    /// The ways in which memory is counted; plots over time show the first.
    pub countings: Vec<Counting>,
    /// The recorded memory over time.
    pub recorded: Vec<MemoryPoint>,
    /// The predicted and the real memory, over time.
    pub curves: Vec<Curves>,
    /// Sentences: samples that failed, and variants without figures.
    pub shortfall: Vec<String>,
    /// Sentences: where the error comes from, and what is missing.
    pub parts: Vec<String>,
}

/// Compares a run of one recording with a run of the recorded program.
///
/// `percentiles` are compared in addition to the peak and the mean, as fractions.
///
/// # Errors
///
/// Files cannot be read. [`Validation::parts`] says what is missing.
pub fn validate(replays: &Run, real: &Run, percentiles: &[f64]) -> Result<Validation, ResultsError> {
    let predictions = predict(replays)?;
    let trees = predict_trees(replays, &predictions);
    let program = real.file.workloads.first().map(|program| program.name.clone()).unwrap_or_default();
    let mut subjects = Subject::all(replays, real, &predictions, &trees)?;
    let is_tree = !replays.file.trees.is_empty();
    let mut validation = Validation {
        program,
        real_samples: fewest_samples(real),
        countings: subjects.iter().map(|subject| subject.counting).collect(),
        recorded: subjects.first().map(|subject| subject.recorded.to_vec()).unwrap_or_default(),
        parts: predictions.notes.iter().chain(&trees.notes).cloned().collect(),
        ..Validation::default()
    };
    for subject in &subjects {
        for variant in &real.file.variants {
            let of_time = percentiles.iter().map(|fraction| Figure::Percentile(*fraction));
            let figures = [Figure::Peak, Figure::Mean].into_iter().chain(of_time);
            let held = figures.filter_map(|figure| hold(subject, &variant.label, figure));
            validation.memory.extend(held.map(|held| Held {
                replay_failed: count_failed(replays, &variant.label, Pass::Memory),
                program_failed: count_failed(real, &variant.label, Pass::Exec),
                ..held
            }));
        }
    }
    if is_tree {
        validation.parts.extend(describe_tree(replays, real, &validation.recorded));
    } else {
        validation.cpu =
            real.file.variants.iter().filter_map(|variant| hold_cpu(replays, real, &variant.label)).collect();
        validation.parts.extend(describe_causes(replays, real, &predictions)?);
    }
    validation.shortfall = describe_shortfall(replays, real, (&validation.memory, &validation.cpu));
    validation.parts.extend(validation.memory.iter().filter_map(describe_time));
    validation.curves = subjects.drain(..).next().map(|first| first.curves).unwrap_or_default();
    Ok(validation)
}

/// CPU time of a variant; none if one of the runs has no sample of it.
fn hold_cpu(replays: &Run, real: &Run, variant: &str) -> Option<HeldCpu> {
    let replayed = values(replays, variant, Pass::Throughput, replayed_cpu_ns);
    let replayed_ns = median(&replayed)?;
    let real_times = values(real, variant, Pass::Exec, whole_cpu_ns);
    let really = Reality::of(&real_times)?;
    let recorded_ns = replays.file.workloads.first()?.program_cpu_ns().map(|time| time as f64);
    let predicted_ns = recorded_ns.and_then(|recorded| {
        let beyond = beyond_base(replays, &replays.file.workloads.first()?.name, variant)?;
        Some(recorded + median(&beyond.into_values().collect::<Vec<f64>>())?)
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
        replay_samples: replayed.len() as u64,
        replay_failed: count_failed(replays, variant, Pass::Throughput),
        program_samples: real_times.len() as u64,
        program_failed: count_failed(real, variant, Pass::Exec),
    })
}

/// A figure of memory of a variant, without the samples that failed; none if a run has no sample of it.
fn hold(subject: &Subject<'_>, variant: &str, figure: Figure) -> Option<Held> {
    let over_time = |points: &[MemoryPoint], fraction: f64| {
        let points: Vec<(u64, u64)> = points.iter().copied().map(<(u64, u64)>::from).collect();
        // Up to the last point, in a prediction as in reality: what follows was not sampled.
        percentile_over_time(&points, 0, fraction)
    };
    let predicted = subject.predicted(variant).map(|prediction| match figure {
        Figure::Peak => prediction.peak_bytes as f64,
        Figure::Mean => prediction.mean_bytes as f64,
        Figure::Percentile(fraction) => over_time(&prediction.points, fraction).unwrap_or(0) as f64,
    });
    let (really, requested) = match figure {
        Figure::Peak => {
            (subject.real_peaks(variant), subject.requested(variant, |sample| sample.requested_peak_bytes))
        }
        Figure::Mean => {
            (subject.real_means(variant), subject.requested(variant, |sample| sample.requested_mean_bytes))
        }
        Figure::Percentile(fraction) => {
            let of_variant = subject.curves.iter().filter(|curves| curves.variant == variant);
            let really = of_variant.flat_map(|curves| &curves.real);
            let values = really.filter_map(|points| over_time(points, fraction)).map(|bytes| bytes as f64);
            (values.collect(), Vec::new())
        }
    };
    let recorded = subject.recorded;
    let null = match figure {
        Figure::Peak => recorded.iter().map(|point| point.resident_bytes).max(),
        Figure::Mean => recorded.iter().copied().collect::<TimeWeighted>().mean(),
        Figure::Percentile(fraction) => over_time(recorded, fraction),
    };
    let predicted: Vec<f64> = predicted.collect();
    let predicted_bytes = median(&predicted)?;
    let program_samples = really.len() as u64;
    let really = Reality::of(&really)?;
    // The requested bytes at a percentile of resident memory are not known.
    let requested = median(&requested);
    let beyond = requested.map_or(really.median, |requested| really.median - requested);
    let is_of_heap = subject.counting == Counting::Process && beyond > 0.0;
    Some(Held {
        variant: variant.to_owned(),
        figure,
        predicted_bytes,
        real_bytes: really.median,
        real_least_bytes: really.least,
        real_most_bytes: really.most,
        real_spread: really.spread(),
        error: really.error(predicted_bytes),
        null_error: null.map(|null| really.error(null as f64)),
        heap_error: (is_of_heap && requested.is_some()).then(|| (predicted_bytes - really.median) / beyond),
        counting: subject.counting,
        progress_error: (figure == Figure::Mean).then(|| over_progress(subject, variant)).flatten(),
        replay_samples: predicted.len() as u64,
        replay_failed: 0,
        program_samples,
        program_failed: 0,
    })
}

/// The error of the mean over equal progress.
fn over_progress(subject: &Subject<'_>, variant: &str) -> Option<f64> {
    let (predicted, real) = subject.means_over_progress(variant)?;
    Some(Reality::of(&real)?.error(median(&predicted)?))
}

fn fewest_samples(real: &Run) -> usize {
    let of = |variant: &str| {
        let ok =
            real.samples.iter().filter(|sample| sample.status == Status::Ok && sample.variant == variant);
        ok.count()
    };
    real.file.variants.iter().map(|variant| of(&variant.label)).filter(|count| *count > 0).min().unwrap_or(0)
}

impl Validation {
    /// The order of the variants by a figure of memory, counted in one way.
    #[must_use]
    pub fn rank_memory(&self, figure: Figure, counting: Counting) -> Option<Ranking> {
        let held = self.memory.iter().filter(|held| (held.figure, held.counting) == (figure, counting));
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

    /// Errors of a figure of memory, counted in one way; none if nothing is predicted.
    #[must_use]
    pub fn errors(&self, figure: Figure, counting: Counting) -> Option<Errors> {
        let held = self.memory.iter().filter(|held| (held.figure, held.counting) == (figure, counting));
        Errors::of(held.map(|held| (held.error, held.null_error, held.real_spread)))
    }

    /// Errors of CPU time; none if nothing is predicted.
    #[must_use]
    pub fn cpu_errors(&self) -> Option<Errors> {
        Errors::of(
            self.cpu.iter().filter_map(|held| Some((held.error?, Some(held.null_error?), held.real_spread))),
        )
    }
}

/// Absolute errors over the variants; an error within the real samples' spread counts as 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Errors {
    /// Their median.
    pub median: f64,
    /// The largest.
    pub worst: f64,
    /// The median of the null predictor's; none if there is none.
    pub null: Option<f64>,
}

impl Errors {
    /// Of (error, the null predictor's, reality's spread).
    fn of(held: impl Iterator<Item = (f64, Option<f64>, f64)>) -> Option<Errors> {
        let counted = |error: f64, spread: f64| if error.abs() <= spread { 0.0 } else { error.abs() };
        let (errors, null): (Vec<f64>, Vec<Option<f64>>) = held
            .map(|(error, null, spread)| (counted(error, spread), null.map(|null| counted(null, spread))))
            .unzip();
        let worst = errors.iter().copied().fold(0.0, f64::max);
        let null: Vec<f64> = null.into_iter().flatten().collect();
        Some(Errors { median: median(&errors)?, worst, null: median(&null) })
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
            null_error: Some(0.3),
            heap_error: None,
            counting: Counting::Process,
            progress_error: None,
            replay_samples: 3,
            replay_failed: 0,
            program_samples: 3,
            program_failed: 0,
        };
        let memory = vec![held("a", 0.04, 0.05), held("b", -0.06, 0.01), held("c", 0.10, 0.01)];
        let validation = Validation { memory, ..Validation::default() };
        assert_eq!(
            validation.errors(Figure::Peak, Counting::Process),
            Some(Errors { median: 0.06, worst: 0.10, null: Some(0.3) })
        );
        assert_eq!(validation.errors(Figure::Mean, Counting::Process), None);
    }
}
