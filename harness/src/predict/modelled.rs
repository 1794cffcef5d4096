//! Predictions from recordings, and from models of recordings: for a model, the memory of the process is what the replay of
//! the model holds and what the process has outside malloc, which the model states.

use std::collections::{BTreeMap, HashMap};

use super::prediction::{Prediction, Predictions, find_base, predict_recordings, recorded_memory, rest};
use super::samples::read_replays;
use crate::results::{MemoryPoint, Pass, ResultsError, Run, Status};

/// Predicts for every ok memory sample of a workload whose recording contains its process's memory, or whose model
/// states what the process has besides its heap.
///
/// # Errors
///
/// Files of the run cannot be read.
pub fn predict(run: &Run) -> Result<Predictions, ResultsError> {
    let mut predictions = predict_recordings(run)?;
    predict_models(run, &mut predictions)?;
    Ok(predictions)
}

/// Predicts for every ok memory sample of a model that states what its process has outside malloc.
fn predict_models(run: &Run, predictions: &mut Predictions) -> Result<(), ResultsError> {
    let outside: BTreeMap<&str, u64> = run
        .file
        .workloads
        .iter()
        .filter_map(|workload| Some((&*workload.name, workload.outside_malloc_bytes?)))
        .collect();
    if outside.is_empty() {
        return Ok(());
    }
    let mut points: HashMap<usize, Vec<MemoryPoint>> = HashMap::new();
    run.each_timeline_point(|place, point| {
        let sample = &run.samples[place];
        let is_used = sample.pass == Pass::Memory && sample.status == Status::Ok;
        if let Some(outside) = outside.get(&*sample.workload).filter(|_| is_used) {
            let resident_bytes = point.resident_bytes.saturating_add(*outside);
            points.entry(place).or_default().push(MemoryPoint { time_ns: point.time_ns, resident_bytes });
        }
    })?;
    predictions.of_samples.extend(points.into_iter().map(|(place, points)| {
        (place, Prediction::of(points, run.samples[place].counted_from_ns.unwrap_or(0)))
    }));
    predictions.outside_malloc = outside.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    Ok(())
}

/// Anonymous memory of a recorded process that was not malloc's: the median, over time and samples, of its resident
/// memory less that of its replay on the build that it ran on. If that is not known, why, in words.
///
/// # Errors
///
/// Files of the run cannot be read.
pub fn measure_outside_malloc(run: &Run, workload: &str) -> Result<Result<u64, String>, ResultsError> {
    let recorded = recorded_memory(run)?;
    let Some(points) = recorded.get(workload) else {
        return Ok(Err(format!("{workload}: the memory of its process was not recorded")));
    };
    let base = match find_base(run, workload) {
        Ok(base) => base,
        Err(why) => return Ok(Err(why)),
    };
    let mut rests: Vec<i128> = Vec::new();
    for (place, replay) in read_replays(run, &recorded)? {
        let sample = &run.samples[place];
        if sample.variant == base && sample.workload == workload {
            rests.extend(rest(points, &replay.at(points).bytes));
        }
    }
    rests.sort_unstable();
    let middle = rests.get(rests.len() / 2).copied();
    Ok(middle
        .map(|bytes| u64::try_from(bytes).unwrap_or(0))
        .ok_or_else(|| format!("{workload}: it was not replayed under {base}")))
}
