//! Finds samples of which a file has lost rows: it was cut off, by a crash of the machine or while it was copied.
//!
//! samples.csv says how many rows each sample wrote. What is left of fewer is a different measurement.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::packed;
use super::reader::{Incomplete, Run, TIMELINE_PASSES};
use super::{LatencyBucket, Pass, ResultsError, Sample, Status, TimelinePoint};

/// Most samples that a note names.
const MOST_NAMED: usize = 3;

/// Counts the rows of a run's files, as far as its samples say how many there were. Adds a note on each file that lacks
/// some.
pub(super) fn find_incomplete(run: &Run, notes: &mut Vec<String>) -> Result<Incomplete, ResultsError> {
    let mut incomplete = Incomplete::new();
    let of_timeline = |sample: &Sample| sample.timeline_rows;
    look::<TimelinePoint>(run, ("timeline.csv", &TIMELINE_PASSES), of_timeline, &mut incomplete, notes)?;
    let of_latency = |sample: &Sample| sample.latency_rows;
    look::<LatencyBucket>(run, ("latency.csv", &[Pass::Latency]), of_latency, &mut incomplete, notes)?;
    Ok(incomplete)
}

fn look<T: DeserializeOwned>(
    run: &Run,
    (name, passes): (&'static str, &[Pass]),
    written: fn(&Sample) -> Option<u64>,
    incomplete: &mut Incomplete,
    notes: &mut Vec<String>,
) -> Result<(), ResultsError> {
    let is_counted = |sample: &Sample| {
        sample.status == Status::Ok && passes.contains(&sample.pass) && written(sample).is_some()
    };
    // That the whole file is missing is said where it is read.
    if !run.samples.iter().any(is_counted) || !packed::is_there(&run.directory.join(name)) {
        return Ok(());
    }
    let mut found: BTreeMap<usize, u64> = BTreeMap::new();
    run.each_row::<T>(name, passes, |place, _| {
        *found.entry(place).or_default() += 1;
        Ok(())
    })?;
    let mut named = Vec::new();
    for (place, sample) in run.samples.iter().enumerate().filter(|(_, sample)| is_counted(sample)) {
        let (rows, of) = (found.get(&place).copied().unwrap_or(0), written(sample).unwrap_or(0));
        if rows < of {
            let Sample { workload, variant, block, .. } = sample;
            named.push(format!("{workload}, {variant}, block {block} ({rows} of {of})"));
            incomplete.entry(name).or_default().insert(place);
        }
    }
    if named.is_empty() {
        return Ok(());
    }
    let count = named.len();
    let samples = if count == 1 { "sample" } else { "samples" };
    let others = count.saturating_sub(MOST_NAMED);
    let more = if others > 0 { format!("; and {others} more") } else { String::new() };
    named.truncate(MOST_NAMED);
    notes.push(format!(
        "{name} lacks rows of {count} {samples}, because it was cut off or changed, and what it has of them counts nowhere: \
         {}{more}",
        named.join("; ")
    ));
    Ok(())
}
