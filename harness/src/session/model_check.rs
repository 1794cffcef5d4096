//! How far a model's resident memory is from that of the recordings it was made of, under real allocators, and what the
//! recorded process had outside malloc.
//!
//! A model reproduces requested bytes; what an allocator makes of them may differ. Each recording is replayed, and the
//! model at the recording's load, in the memory pass, and the medians of both are compared. The recording's replay on the
//! allocator that the process ran on also shows which of the process's memory was not malloc's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::error::SessionError;
use super::notice::Listener;
use super::opening::{Ended, Start};
use super::sampling::measure_replays;
use crate::design::{Pass, ReplayOptions, RunOptions};
use crate::predict::measure_outside_malloc;
use crate::results::{self, Run, Sample, Status};
use crate::stats::median;

/// Samples of each variant: layouts of the recording's replay, and seeds of the model. The largest of many errors becomes
/// part of the band: peaks of small heaps that vary by 5 % from layout to layout seemed to be 12 % apart in medians of three.
const REPS: u32 = 7;

/// A model and the recordings that it was made of.
#[derive(Debug, Clone)]
pub struct ModelQuestion<'a> {
    /// The model's file.
    pub model: &'a Path,
    /// Each recording with its load.
    pub recordings: &'a [(PathBuf, f64)],
    /// Variants as they were named; empty for the default ones.
    pub allocators: &'a [String],
    /// Decides layouts and what the model draws.
    pub seed: u64,
    /// A sample that takes longer is stopped.
    pub timeout_ns: u64,
}

/// How far the model's replay is from a recording's, under one variant.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidentError {
    /// The variant's label.
    pub variant: String,
    /// The recording's load.
    pub load: f64,
    /// Peak of resident bytes: the model's over the recording's, minus 1.
    pub peak_off: f64,
    /// The same for the mean over time.
    pub mean_off: f64,
}

/// What the check of a model found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelCheck {
    /// How far off the model is, by recording and variant.
    pub errors: Vec<ResidentError>,
    /// Anonymous memory of the process outside malloc, by the load of the recording.
    pub outside_malloc: Vec<(f64, u64)>,
    /// Why that is not known of a recording, in words.
    pub notes: Vec<String>,
}

/// Median peak and mean of resident bytes, by variant.
type Medians = BTreeMap<String, (f64, f64)>;

/// Replays the model and its recordings; none if that was stopped.
///
/// # Errors
///
/// As [`measure_replays`], and a sample that is not ok.
pub fn check_model(
    question: &ModelQuestion<'_>,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Option<ModelCheck>, SessionError> {
    let place = tempfile::tempdir().map_err(SessionError::failed("cannot make a temporary directory"))?;
    let mut found = ModelCheck::default();
    for (at, (recording, load)) in question.recordings.iter().enumerate() {
        let directory = |name: &str| place.path().join(format!("{name}-{at}"));
        let replay = |workload: &Path, set: Vec<String>, directory: PathBuf| {
            question.replay(workload, set, directory, stop, listener)
        };
        let Some(recorded) = replay(recording, Vec::new(), directory("recording"))? else { return Ok(None) };
        let at_load = vec![format!("load={load}")];
        let Some(modelled) = replay(question.model, at_load, directory("model"))? else { return Ok(None) };
        for workload in &recorded.file.workloads {
            match measure_outside_malloc(&recorded, &workload.name)? {
                Ok(bytes) => found.outside_malloc.push((*load, bytes)),
                Err(why) => found.notes.push(why),
            }
        }
        let modelled = medians(&modelled.samples)?;
        for (variant, (peak, mean)) in medians(&recorded.samples)? {
            let Some((model_peak, model_mean)) = modelled.get(&variant) else { continue };
            found.errors.push(ResidentError {
                variant,
                load: *load,
                peak_off: model_peak / peak - 1.0,
                mean_off: model_mean / mean - 1.0,
            });
        }
    }
    Ok(Some(found))
}

impl ModelQuestion<'_> {
    fn replay(
        &self,
        workload: &Path,
        set: Vec<String>,
        directory: PathBuf,
        stop: &AtomicBool,
        listener: Listener<'_>,
    ) -> Result<Option<Run>, SessionError> {
        let replay = ReplayOptions {
            workloads: vec![workload.display().to_string()],
            set,
            // Heaps are compared with heaps, however much of its process a recording explains.
            despite_coverage: true,
            ..ReplayOptions::default()
        };
        let options = RunOptions {
            seed: self.seed,
            passes: vec![Pass::Memory],
            reps: REPS,
            allocators: self.allocators.to_vec(),
            timeout_ns: Some(self.timeout_ns),
            replay: Some(replay),
            ..RunOptions::default()
        };
        let start = Start::New { options, argv: Vec::new(), output: Some(directory), shard: None };
        let Ended::Finished(path) = measure_replays(start, stop, listener)? else { return Ok(None) };
        Ok(Some(results::load(&path)?))
    }
}

fn medians(samples: &[Sample]) -> Result<Medians, SessionError> {
    let mut figures: BTreeMap<&str, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.pass == Pass::Memory) {
        let known = sample.resident_peak_bytes.zip(sample.resident_mean_bytes);
        let Some((peak, mean)) = known.filter(|_| sample.status == Status::Ok) else {
            return Err(SessionError::Failed {
                what: format!(
                    "{}, {}: a replay failed, so the model cannot be checked",
                    sample.workload, sample.variant
                ),
                source: sample
                    .status_detail
                    .clone()
                    .unwrap_or_else(|| "no reason was given".to_owned())
                    .into(),
            });
        };
        let of_variant = figures.entry(&sample.variant).or_default();
        of_variant.0.push(peak as f64);
        of_variant.1.push(mean as f64);
    }
    let medians = figures.into_iter().filter_map(|(variant, (peaks, means))| {
        Some((variant.to_owned(), (median(&peaks)?, median(&means)?)))
    });
    Ok(medians.collect())
}
