//! The formula: the memory that a process would have under a variant, from its recording and the replays of
//! one block.

use std::collections::{BTreeMap, HashMap};

use super::recording::{Extent, Moments, fill, nearest_looks_ns};
use super::samples::{Replayed, read_replays};
use crate::results::{MemoryPoint, Pass, Recorded, ResultsError, Run, RunVariant, RunWorkload, Sample};
use crate::stats::mean_between;

/// Predicted memory of one process under one variant, from one block's replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// Over trace time: all, or of a very long recording those at random moments. The figures are of all.
    pub points: Vec<MemoryPoint>,
    /// The largest.
    pub peak_bytes: u64,
    /// Time-weighted mean.
    pub mean_bytes: u64,
    /// The last.
    pub end_bytes: u64,
    /// The time from which memory counts in means and percentiles.
    pub counted_from_ns: u64,
    /// How much more memory the replay started with than that on the recorded allocator: the allocator's
    /// initial memory.
    pub start_bytes: u64,
    /// For a forked process, at each point: what it shared with its parent in the replay on the recorded allocator, and
    /// in this one. Empty if not known.
    pub inherited: Vec<Inherited>,
}

/// What a forked process had not written to since its fork, in two replays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inherited {
    /// On the recorded allocator, in bytes.
    pub based: u64,
    /// On the variant.
    pub replayed: u64,
}

impl Prediction {
    /// Computes the figures of points in order of time, with the mean from a given time on.
    pub(super) fn of(points: Vec<MemoryPoint>, counted_from_ns: u64) -> Prediction {
        let over_time: Vec<(u64, u64)> =
            points.iter().map(|point| (point.time_ns, point.resident_bytes)).collect();
        let end = over_time.last().map_or(0, |&(time, _)| time);
        let from = counted_from_ns.max(over_time.first().map_or(0, |&(time, _)| time));
        Prediction {
            peak_bytes: points.iter().map(|point| point.resident_bytes).max().unwrap_or(0),
            mean_bytes: mean_between(&over_time, from, end).unwrap_or(0),
            end_bytes: points.last().map_or(0, |point| point.resident_bytes),
            counted_from_ns,
            start_bytes: 0,
            inherited: Vec::new(),
            points,
        }
    }

    /// The same figures with fewer points.
    pub(super) fn kept(self, moments: Moments, origin_ns: u64) -> Prediction {
        if moments == Moments::default() {
            return self;
        }
        let chosen = moments.choose(&self.points, origin_ns);
        let points = chosen.iter().map(|&(time_ns, at)| MemoryPoint { time_ns, ..self.points[at] });
        let inherited = chosen.iter().filter_map(|&(_, at)| self.inherited.get(at).copied());
        Prediction { points: points.collect(), inherited: inherited.collect(), ..self }
    }
}

/// The predictions of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Predictions {
    /// By the index of the memory sample in [`Run::samples`].
    pub of_samples: HashMap<usize, Prediction>,
    /// The recorded memory, by workload: the times and bytes that predictions are based on.
    pub recorded: Recorded,
    /// The variant of each recorded workload that is the build it was recorded under: its predictions are the recording
    /// in every block.
    pub as_recorded: BTreeMap<String, String>,
    /// Models of recordings that state how many bytes their process has outside malloc, by workload.
    pub outside_malloc: BTreeMap<String, u64>,
    /// Why a recording has no prediction, in sentences.
    pub notes: Vec<String>,
    /// What predictions keep of their points.
    pub(super) moments: Moments,
}

impl Predictions {
    /// The variant that a workload or a tree was recorded under; none if it is not known.
    pub fn recorded_under(&self, run: &Run, name: &str) -> Option<&str> {
        let tree = run.file.trees.iter().find(|tree| tree.name == name);
        let of_tree = tree
            .and_then(|tree| tree.members.iter().find_map(|member| self.as_recorded.get(&member.workload)));
        of_tree.or_else(|| self.as_recorded.get(name)).map(String::as_str)
    }

    /// What of this is one recording and no sample of starts of the program, in sentences.
    pub(crate) fn describe_recorded(&self, run: &Run) -> Vec<String> {
        let members = || run.file.trees.iter().flat_map(|tree| &tree.members);
        let alone = self.as_recorded.keys().map(String::as_str);
        let alone = alone.filter(|name| members().all(|member| member.workload != *name));
        let mut named: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in alone.chain(run.file.trees.iter().map(|tree| &*tree.name)) {
            if let Some(variant) = self.recorded_under(run, name) {
                named.entry(variant).or_default().push(name);
            }
        }
        let sentence = |(variant, names): (&str, Vec<&str>)| {
            format!(
                "memory under {variant} is that of the recording ({}), which is one start of the program: how starts differ \
                 is in the other variants' figures, and not in its own",
                names.join(", ")
            )
        };
        named.into_iter().map(sentence).collect()
    }
}

/// The recorded memory of a run's workloads, at the times at which it was sampled.
pub(super) fn recorded_memory(run: &Run) -> Result<Recorded, ResultsError> {
    let mut recorded = Recorded::new();
    for (workload, points) in run.recorded()? {
        let described = run.file.workloads.iter().find(|described| described.name == workload);
        let stated = described.and_then(|described| described.recorded_sampling_interval_ns);
        let step = stated.unwrap_or_else(|| nearest_looks_ns(&points));
        recorded.insert(workload, fill(points, step));
    }
    Ok(recorded)
}

/// Predicts for every ok memory sample of a workload whose recording contains its process's memory.
pub(super) fn predict_recordings(run: &Run) -> Result<Predictions, ResultsError> {
    let mut predictions = Predictions { recorded: recorded_memory(run)?, ..Predictions::default() };
    predictions.notes.extend(run.file.workloads.iter().filter_map(describe_recorders_share));
    if predictions.recorded.is_empty() {
        return Ok(predictions);
    }
    let replays = read_replays(run, &predictions.recorded)?;
    if replays.is_empty() && run.samples.iter().any(|sample| sample.pass == Pass::Memory) {
        let without =
            "no memory sample has points in timeline.csv, so no whole process's memory is predicted";
        predictions.notes.push(without.to_owned());
    }
    let mut names: Vec<&String> = predictions.recorded.keys().collect();
    names.sort();
    let extents = names.iter().map(|name| {
        let points = &predictions.recorded[*name];
        let of_workload = replays.keys().filter(|place| run.samples[**place].workload == **name);
        Extent {
            points: points.len() as u64,
            length_ns: points
                .last()
                .zip(points.first())
                .map_or(0, |(last, first)| last.time_ns - first.time_ns),
            predictions: of_workload.count() as u64,
        }
    });
    predictions.moments = Moments::within_bounds(&extents.collect::<Vec<_>>());
    predictions.notes.extend(describe_moments(predictions.moments));
    for workload in names {
        let recorded = &predictions.recorded[workload];
        let base = match find_base(run, workload) {
            Ok(base) => base,
            Err(note) => {
                predictions.notes.push(note);
                continue;
            }
        };
        predictions.as_recorded.insert(workload.clone(), base.clone());
        let places = replays.keys().filter(|place| run.samples[**place].workload == *workload);
        for &place in places {
            let block = run.samples[place].block;
            let of_block = |sample: &Sample| {
                sample.block == block && sample.variant == base && sample.workload == *workload
            };
            let based = replays.keys().find(|place| of_block(&run.samples[**place]));
            let Some(based) = based.map(|place| &replays[place]) else { continue };
            let replay = &replays[&place];
            // The memory that a forked process's replay started with was inherited.
            let start_bytes = replay.first_bytes().saturating_sub(based.first_bytes());
            let (based, replay) = (based.at(recorded), replay.at(recorded));
            let from = run.samples[place].counted_from_ns.unwrap_or(0);
            let inherited = pair_inherited(&based, &replay, recorded.len());
            let prediction = Prediction {
                start_bytes: if inherited.is_empty() { start_bytes } else { 0 },
                inherited,
                ..combine(recorded, &based.bytes, &replay.bytes, from)
            };
            let prediction = prediction.kept(predictions.moments, find_origin(run, workload));
            match least_peak_bytes(&run.samples[place]).filter(|least| prediction.peak_bytes < *least) {
                Some(least) => {
                    predictions.notes.push(describe_impossible(&run.samples[place], &prediction, least))
                }
                None => {
                    predictions.of_samples.insert(place, prediction);
                }
            }
        }
    }
    Ok(predictions)
}

/// What both replays shared with the parent, at each recorded time; empty if one does not know it.
fn pair_inherited(based: &Replayed, replay: &Replayed, times: usize) -> Vec<Inherited> {
    if based.inherited.len() != times || replay.inherited.len() != times {
        return Vec::new();
    }
    let pairs = based.inherited.iter().zip(&replay.inherited);
    pairs.map(|(&based, &replayed)| Inherited { based, replayed }).collect()
}

/// The zero of a workload's trace time on its recording's clock, which the processes of a tree have in common.
pub(super) fn find_origin(run: &Run, workload: &str) -> u64 {
    let mut members = run.file.trees.iter().flat_map(|tree| &tree.members);
    members.find(|member| member.workload == workload).map_or(0, |member| member.first_event_ns)
}

fn describe_moments(moments: Moments) -> Option<String> {
    let seconds = moments.step_ns? as f64 / 1e9;
    Some(format!(
        "the recordings have more samples than can be held for every variant and block: predicted percentiles, and the \
         memory of trees, are those at a random moment in every {seconds:.3} s"
    ))
}

/// How much of the recorded CPU time was used by the recorder.
fn describe_recorders_share(workload: &RunWorkload) -> Option<String> {
    let (recorded, share) = (workload.recorded_cpu_ns?, workload.recorder_cpu_ns?);
    Some(format!(
        "{}: of the {:.3} s of CPU time that were recorded {:.3} s were the recorder's own, by its cost on that machine; \
         predictions of CPU time are without them",
        workload.name,
        recorded as f64 / 1e9,
        share as f64 / 1e9
    ))
}

/// The least memory that a whole process has at its peak: the bytes that its replay had requested and written to at the
/// requested peak.
fn least_peak_bytes(sample: &Sample) -> Option<u64> {
    sample.at_peak_requested_bytes?.checked_sub(sample.at_peak_untouched_bytes?)
}

/// Why a prediction that cannot be true is not shown.
fn describe_impossible(sample: &Sample, prediction: &Prediction, least: u64) -> String {
    format!(
        "{}, {}, block {}: the predicted peak of {} bytes is below the {least} bytes that the program had requested and \
         written to, so it is not shown: the recording's memory and its replay do not belong together",
        sample.workload, sample.variant, sample.block, prediction.peak_bytes
    )
}

/// The variant that the workload was recorded under: the same library, by its hash, without settings, shown the
/// CPU count of the recording.
pub(super) fn find_base(run: &Run, workload: &str) -> Result<String, String> {
    let described = run.file.workloads.iter().find(|described| described.name == workload);
    let Some(hash) = described.and_then(|described| described.recorded_library_hash.as_ref()) else {
        return Err(format!(
            "{workload}: it is not known which library served the recorded process, so its memory is not predicted"
        ));
    };
    // In a run that shows a different CPU count, a replay with its own count is the one that matches the
    // recording.
    let is_plain =
        |variant: &RunVariant| variant.settings.iter().all(|setting| setting.starts_with("process.cpus="));
    let same = |variant: &&RunVariant| variant.library_hash.as_ref() == Some(hash) && is_plain(variant);
    let recorded_cpus = described.and_then(|described| described.cpus);
    let shown = |variant: &RunVariant| {
        let of = |sample: &&Sample| sample.variant == variant.label && sample.workload == workload;
        run.samples.iter().find(of).map(|sample| sample.cpus)
    };
    let at_recorded_cpus = |variant: &&RunVariant| {
        recorded_cpus.is_none_or(|cpus| shown(variant).is_none_or(|shown| shown == cpus))
    };
    let builds: Vec<&RunVariant> = run.file.variants.iter().filter(same).collect();
    if let Some(variant) = builds.iter().copied().find(at_recorded_cpus) {
        return Ok(variant.label.clone());
    }
    if let (Some(variant), Some(cpus)) = (builds.first(), recorded_cpus) {
        return Err(format!(
            "{workload}: it was recorded on {cpus} CPUs and {} was replayed as on {}, so the whole process's memory is not \
             predicted: that needs a replay as it was recorded; add it with -a {}:process.cpus={cpus}",
            variant.label,
            shown(variant).unwrap_or_default(),
            variant.allocator
        ));
    }
    let name = described.and_then(|described| described.recorded_allocator.as_deref());
    let name = name.filter(|name| !name.is_empty()).unwrap_or("the allocator recorded under");
    let short = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
    // Another machine's library of the same name: no variant added here would be that build.
    let namesake = run.file.variants.iter().find_map(|variant| {
        let is_namesake = variant.settings.is_empty() && variant.allocator == name;
        variant.library_hash.as_deref().filter(|_| is_namesake)
    });
    let what = "the whole process's memory is not predicted, because that needs a replay on the very build that it was \
                recorded under";
    let hash = short(hash);
    Err(match namesake {
        Some(here) => format!(
            "{workload}: {what}: {name}, SHA-256 {hash}; the one here is another build ({}). What the variants' heaps need \
             is measured anyway. For a prediction, record the program on this machine",
            short(here)
        ),
        None => format!("{workload}: {what} ({name}, SHA-256 {hash}): add it with -a"),
    })
}

/// Resident memory of the recorded process outside malloc, at each recorded time. It can be below 0 if the replay
/// touched pages that the program did not.
pub(super) fn rest(recorded: &[MemoryPoint], based: &[u64]) -> Vec<i128> {
    let readings = recorded.iter().zip(based);
    let rests: Vec<i128> =
        readings.map(|(reading, &based)| i128::from(reading.resident_bytes) - i128::from(based)).collect();
    let of_three = |at: usize| {
        // The first and the last sample use their one neighbour and the one after it.
        let first = at.saturating_sub(1).min(rests.len().saturating_sub(3));
        match rests[first..rests.len().min(first + 3)] {
            [a, b, c] => a.min(b).max(a.max(b).min(c)),
            [a, b] => a.max(b),
            _ => rests[first],
        }
    };
    (0..rests.len()).map(of_three).collect()
}

/// The position of the process between two samples: its heap had gone part of the way from one sample's state to a
/// neighbour's.
struct Between {
    at: usize,
    near: usize,
    /// How far along the way, and the length of the way, in bytes of the heap recorded under.
    gone: i128,
    way: i128,
}

impl Between {
    /// For a sample that found `deviation` more or less than expected from the replay at that time: towards the
    /// neighbour that explains most of it, and no further than the neighbour.
    fn find(at: usize, deviation: i128, based: &[u64]) -> Between {
        let nowhere = Between { at, near: at, gone: 0, way: 1 };
        let towards = |near: usize| {
            let way = i128::from(*based.get(near)?) - i128::from(based[at]);
            let gone = deviation.signum() * deviation.abs().min(way.abs());
            (way.signum() == deviation.signum() && way != 0).then_some(Between { near, gone, way, ..nowhere })
        };
        let found = [at.checked_sub(1), Some(at + 1)].into_iter().flatten().filter_map(towards);
        found.max_by_key(|found| (found.gone.abs(), std::cmp::Reverse(found.way.abs()))).unwrap_or(nowhere)
    }

    /// A replay's memory there.
    fn read(&self, replayed: &[u64]) -> i128 {
        let [here, there] = [self.at, self.near].map(|at| i128::from(replayed[at]));
        here + (there - here) * self.gone / self.way
    }
}

/// The formula, at each recorded time.
fn combine(recorded: &[MemoryPoint], based: &[u64], replayed: &[u64], counted_from_ns: u64) -> Prediction {
    let predicted = |(at, (reading, rest)): (usize, (&MemoryPoint, i128))| {
        let recorded = i128::from(reading.resident_bytes);
        let between = Between::find(at, recorded - rest - i128::from(based[at]), based);
        let predicted = recorded - between.read(based) + between.read(replayed);
        MemoryPoint { resident_bytes: u64::try_from(predicted.max(0)).unwrap_or(u64::MAX), ..*reading }
    };
    let readings = recorded.iter().zip(rest(recorded, based));
    let points: Vec<MemoryPoint> = readings.enumerate().map(predicted).collect();
    Prediction::of(points, counted_from_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points<const N: usize>(of: [(u64, u64); N]) -> [MemoryPoint; N] {
        of.map(MemoryPoint::from)
    }

    #[test]
    fn what_is_not_mallocs_cancels() {
        let recorded = points([(0, 100), (10, 250), (30, 150)]);
        let same = combine(&recorded, &[50, 200, 100], &[50, 200, 100], 0);
        assert_eq!(same.points, recorded);
        let other = combine(&recorded, &[50, 200, 100], &[60, 100, 0], 0);
        assert_eq!(other.points, points([(0, 110), (10, 150), (30, 50)]));
        assert_eq!((other.peak_bytes, other.end_bytes), (150, 50));
        assert_eq!(other.mean_bytes, (110 * 10 + 150 * 20) / 30);
        assert_eq!(combine(&recorded[..1], &[500], &[0], 0).points, points([(0, 0)]), "never below zero");
    }

    #[test]
    fn a_look_at_pages_that_are_just_given_back_adds_nothing_to_another_allocators() {
        let recorded = points([(0, 20), (10, 20), (20, 90), (30, 20), (40, 40), (50, 40), (60, 80)]);
        let based = [10, 10, 10, 10, 10, 10, 10];
        assert_eq!(
            rest(&recorded, &based),
            [10, 10, 10, 30, 30, 30, 30],
            "what stays counts, what passes does not"
        );
        assert_eq!(rest(&recorded[..2], &based[..2]), [10, 10]);
        assert_eq!(rest(&[], &[]), [0i128; 0]);
    }

    #[test]
    fn a_look_between_two_states_of_the_heap_is_between_them_on_another_allocator() {
        let combined = |replayed: &[u64]| {
            // 20 are outside malloc. The second sample finds a heap that grows to 100, the sixth one that
            // shrinks to 0.
            let bytes = [20, 70, 120, 120, 120, 95, 20, 20];
            let recorded: Vec<MemoryPoint> = (0..8).zip(bytes).map(MemoryPoint::from).collect();
            let points = combine(&recorded, &[0, 0, 100, 100, 100, 0, 0, 0], replayed, 0).points;
            points.iter().map(|point| point.resident_bytes).collect::<Vec<_>>()
        };
        let same = combined(&[0, 0, 100, 100, 100, 0, 0, 0]);
        assert_eq!(same, [20, 70, 120, 120, 120, 95, 20, 20], "as recorded");
        let kept = combined(&[0, 0, 200, 200, 200, 200, 200, 200]);
        assert_eq!(kept, [20, 120, 220, 220, 220, 220, 220, 220], "what is kept counts once");
        assert_eq!(combined(&[0; 8]), [20; 8]);
        let unexplained = combine(&points([(0, 20), (10, 300), (20, 20)]), &[0, 10, 0], &[0, 60, 0], 0);
        assert_eq!(
            unexplained.points[1],
            (10, 350).into(),
            "no neighbouring heap is that large: it is outside malloc"
        );
    }
}
