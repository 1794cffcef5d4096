//! Prediction held against reality: a run of replays against a run of the real program.
//!
//! Errors are relative to reality's median. Reality's own spread stands beside: an error below it is no error. The null
//! predictor says that nothing changes: memory stays what was recorded.

use serde::Serialize;

use super::{Predictions, mean, predict};
use crate::results::{Pass, ResultsError, Run, Sample, Status};
use crate::stats::median;

/// Which figure of memory is held against reality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// The largest.
    Peak,
    /// The time-weighted mean.
    Mean,
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
    /// The real program's.
    pub real_ns: f64,
}

/// Two orders of the variants, by prediction and by reality.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// Kendall's tau-a: 1 for the same order, -1 for the opposite.
    pub tau: f64,
    /// Pairs whose real difference is above [`CLEAR_DIFFERENCE`].
    pub clear_pairs: usize,
    /// Those of them that the prediction has the right way round.
    pub right_pairs: usize,
}

/// A real difference above this part must be predicted the right way round.
pub const CLEAR_DIFFERENCE: f64 = 0.10;

/// What came of a validation.
#[derive(Debug, Clone, PartialEq)]
pub struct Validation {
    /// The program.
    pub program: String,
    /// Figures of memory.
    pub memory: Vec<Held>,
    /// CPU times.
    pub cpu: Vec<HeldCpu>,
    /// Sentences: where the error comes from, and what is missing.
    pub parts: Vec<String>,
}

/// Holds a run of one recording against a run of the program that it was recorded of.
///
/// # Errors
///
/// Files that cannot be read. What is missing is said in [`Validation::parts`].
pub fn validate(replays: &Run, real: &Run) -> Result<Validation, ResultsError> {
    let predictions = predict(replays)?;
    let program = real.file.workloads.first().map(|program| program.name.clone()).unwrap_or_default();
    let mut validation = Validation { program, memory: Vec::new(), cpu: Vec::new(), parts: Vec::new() };
    validation.parts.extend(predictions.notes.iter().cloned());
    for variant in &real.file.variants {
        let label = variant.label.as_str();
        for figure in [Figure::Peak, Figure::Mean] {
            validation.memory.extend(hold(replays, real, &predictions, label, figure));
        }
        let replayed = values(replays, label, Pass::Throughput, cpu_ns);
        let really = values(real, label, Pass::Exec, cpu_ns);
        if let (Some(replayed_ns), Some(real_ns)) = (median(&replayed), median(&really)) {
            validation.cpu.push(HeldCpu { variant: label.to_owned(), replayed_ns, real_ns });
        }
    }
    validation.parts.extend(describe_parts(replays, real, &predictions)?);
    Ok(validation)
}

fn cpu_ns(sample: &Sample) -> Option<u64> {
    sample.cpu_user_ns?.checked_add(sample.cpu_system_ns?)
}

/// A figure of every ok sample of a variant.
fn values(run: &Run, variant: &str, pass: Pass, figure: fn(&Sample) -> Option<u64>) -> Vec<f64> {
    let samples = run
        .samples
        .iter()
        .filter(|sample| sample.status == Status::Ok && sample.pass == pass && sample.variant == variant);
    samples.filter_map(figure).map(|value| value as f64).collect()
}

fn hold(replays: &Run, real: &Run, predictions: &Predictions, variant: &str, figure: Figure) -> Option<Held> {
    let predicted: Vec<f64> = predictions
        .of_samples
        .iter()
        .filter(|(place, _)| replays.samples[**place].variant == variant)
        .map(|(_, prediction)| match figure {
            Figure::Peak => prediction.peak_bytes as f64,
            Figure::Mean => prediction.mean_bytes as f64,
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
    };
    let recorded = predictions.recorded.values().next()?;
    let null = match figure {
        Figure::Peak => recorded.iter().map(|point| point.1).max()? as f64,
        Figure::Mean => mean(recorded) as f64,
    };
    let (predicted_bytes, real_bytes) = (median(&predicted)?, median(&really).filter(|real| *real > 0.0)?);
    let (least, most) = really.iter().fold((f64::MAX, 0.0f64), |(a, b), real| (a.min(*real), b.max(*real)));
    let beyond = real_bytes - median(&requested).unwrap_or(0.0);
    Some(Held {
        variant: variant.to_owned(),
        figure,
        predicted_bytes,
        real_bytes,
        real_spread: (most - least) / 2.0 / real_bytes,
        error: (predicted_bytes - real_bytes) / real_bytes,
        null_error: (null - real_bytes) / real_bytes,
        heap_error: (beyond > 0.0).then(|| (predicted_bytes - real_bytes) / beyond),
    })
}

/// The order by prediction against that by reality; none with fewer than two variants.
#[must_use]
pub fn rank(pairs: &[(f64, f64)]) -> Option<Ranking> {
    let (mut concordant, mut all, mut clear_pairs, mut right_pairs) = (0.0, 0.0, 0, 0);
    for (at, one) in pairs.iter().enumerate() {
        for other in &pairs[at + 1..] {
            let (predicted, real) = (one.0 - other.0, one.1 - other.1);
            let agrees = predicted * real;
            all += 1.0;
            concordant += if agrees > 0.0 {
                1.0
            } else if agrees < 0.0 {
                -1.0
            } else {
                0.0
            };
            if real.abs() > CLEAR_DIFFERENCE * one.1.min(other.1) {
                clear_pairs += 1;
                right_pairs += usize::from(agrees > 0.0);
            }
        }
    }
    (all > 0.0).then(|| Ranking { tau: concordant / all, clear_pairs, right_pairs })
}

impl Validation {
    /// The order of the variants by a figure of memory.
    #[must_use]
    pub fn rank_memory(&self, figure: Figure) -> Option<Ranking> {
        let held = self.memory.iter().filter(|held| held.figure == figure);
        rank(&held.map(|held| (held.predicted_bytes, held.real_bytes)).collect::<Vec<_>>())
    }

    /// The order of the variants by CPU time.
    #[must_use]
    pub fn rank_cpu(&self) -> Option<Ranking> {
        rank(&self.cpu.iter().map(|held| (held.replayed_ns, held.real_ns)).collect::<Vec<_>>())
    }

    /// Median and largest of the absolute errors, one below reality's spread counting as 0; and the median of the
    /// null predictor's.
    #[must_use]
    pub fn errors(&self, figure: Figure) -> Option<(f64, f64, f64)> {
        let held: Vec<&Held> = self.memory.iter().filter(|held| held.figure == figure).collect();
        let counted =
            |held: &&Held, error: f64| if error.abs() <= held.real_spread { 0.0 } else { error.abs() };
        let errors: Vec<f64> = held.iter().map(|held| counted(held, held.error)).collect();
        let null: Vec<f64> = held.iter().map(|held| counted(held, held.null_error)).collect();
        Some((median(&errors)?, errors.iter().copied().fold(0.0, f64::max), median(&null)?))
    }
}

/// Sentences on each part that a prediction can be off in.
fn describe_parts(replays: &Run, real: &Run, predictions: &Predictions) -> Result<Vec<String>, ResultsError> {
    let mib = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
    let mut parts = Vec::new();
    let Some((workload, recorded)) = predictions.recorded.iter().next() else {
        parts.push("the recording holds no memory of its process: nothing can be predicted".to_owned());
        return Ok(parts);
    };
    let Ok(base) = super::find_base(replays, workload) else { return Ok(parts) };
    let recorded_peak = recorded.iter().map(|point| point.1).max().unwrap_or(0) as f64;
    if let Some(own) = median(&values(real, &base, Pass::Exec, |sample| sample.resident_peak_bytes)) {
        parts.push(format!(
            "the recorded run: its peak was {}, that of the program's own runs under {base} {} ({:+.1} %)",
            mib(recorded_peak),
            mib(own),
            (recorded_peak - own) / own * 100.0
        ));
    }
    let of_base = super::replays_at(replays, &predictions.recorded)?;
    let mut places: Vec<usize> =
        of_base.keys().copied().filter(|place| replays.samples[*place].variant == base).collect();
    places.sort_unstable();
    if let Some(replayed) = places.first().map(|place| &of_base[place]) {
        let mut rests: Vec<f64> = recorded
            .iter()
            .zip(replayed)
            .map(|(point, replayed)| point.1 as f64 - *replayed as f64)
            .collect();
        rests.sort_by(f64::total_cmp);
        let at = |part: f64| rests.get((part * rests.len() as f64) as usize).copied().unwrap_or(0.0);
        parts.push(format!(
            "not heap: recorded less replayed is {} (from {} to {} over 90 % of the looks); what varies in it is heap \
             that the replay has not, or has at other times",
            mib(at(0.5)),
            mib(at(0.05)),
            mib(at(0.95))
        ));
        let below = rests.iter().filter(|rest| **rest < 0.0).count();
        if below > 0 {
            parts.push(format!(
                "touch: at {:.0} % of the looks the replay had more memory than the program: it touched what the program \
                 did not",
                below as f64 / rests.len() as f64 * 100.0
            ));
        }
    }
    let reached: Vec<f64> = replays
        .samples
        .iter()
        .filter(|sample| sample.pass == Pass::Memory)
        .filter_map(|sample| {
            Some(sample.requested_peak_reached_bytes? as f64 / sample.requested_peak_bytes? as f64)
        })
        .collect();
    if let Some(reached) = median(&reached) {
        parts.push(format!(
            "order: the replays reached {:.2} % of the trace's largest live bytes",
            reached * 100.0
        ));
    }
    let lasted = recorded.last().map_or(0, |point| point.0) as f64 / 1e9;
    if let Some(wall) = median(&values(real, &base, Pass::Exec, |sample| sample.wall_ns)) {
        parts.push(format!(
            "time: the recording lasted {lasted:.1} s, the program's own runs under {base} {:.1} s",
            wall / 1e9
        ));
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kendalls_tau_of_known_orders() {
        let tau = |pairs: &[(f64, f64)]| rank(pairs).expect("pairs").tau;
        assert_eq!(tau(&[(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]), 1.0);
        assert_eq!(tau(&[(3.0, 10.0), (2.0, 20.0), (1.0, 30.0)]), -1.0);
        assert!((tau(&[(1.0, 10.0), (3.0, 20.0), (2.0, 30.0)]) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(rank(&[(1.0, 1.0)]), None);
    }

    #[test]
    fn only_clear_differences_must_be_right() {
        // 100 and 105 are not clearly different, 100 and 120 are.
        let ranking = rank(&[(2.0, 100.0), (1.0, 105.0), (3.0, 120.0)]).expect("pairs");
        assert_eq!((ranking.clear_pairs, ranking.right_pairs), (2, 2));
    }

    #[test]
    fn an_error_below_realitys_spread_counts_nothing() {
        let held = |variant: &str, error: f64, real_spread: f64| Held {
            variant: variant.to_owned(),
            figure: Figure::Peak,
            predicted_bytes: 0.0,
            real_bytes: 1.0,
            real_spread,
            error,
            null_error: 0.3,
            heap_error: None,
        };
        let memory = vec![held("a", 0.04, 0.05), held("b", -0.06, 0.01), held("c", 0.10, 0.01)];
        let validation = Validation { program: String::new(), memory, cpu: Vec::new(), parts: Vec::new() };
        assert_eq!(validation.errors(Figure::Peak), Some((0.06, 0.10, 0.3)));
        assert_eq!(validation.errors(Figure::Mean), None);
    }
}
