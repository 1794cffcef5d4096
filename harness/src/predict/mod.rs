//! Predicts the memory of a whole process under a variant from a recording and its replays.
//!
//! ```text
//! predicted(t, X) = recorded(t) - replayed(t, the build recorded under) + replayed(t, X)
//! ```
//!
//! The difference cancels what is not malloc's: stacks, other mappings, what the program wrote into its data. All
//! three are anonymous resident memory. The two replays are of one block, so that what disturbs one disturbs the other.
//! A prediction is made at the times at which the recorder looked, because reality is looked at like that too.
//!
//! A look does not fall on the instant of a checkpoint: at a process that is just freeing much it finds pages whose free
//! was recorded, and which the kernel has not taken yet: of one look in thousands, tens of megabytes that would count as
//! not malloc's, and be added to another allocator's peak. What is not malloc's, recorded less replayed, should be about
//! the median of a look and its two neighbours. Where it is not, the heap was between two looks: as far towards the
//! neighbour as explains it; and there both replays are read. On the build recorded under, the prediction is what was
//! recorded.
//!
//! It reads a run's files and nothing else. It fits no constant.

mod causes;
mod ranking;
mod validation;

use std::collections::HashMap;

use crate::results::{Pass, ResultsError, Run, Sample, Status};

pub use ranking::{CLEAR_DIFFERENCE, Placed, Ranking, chance_apart, rank};
pub use validation::{Curves, Errors, Figure, Held, HeldCpu, Validation, validate};

/// Times of a prediction at most; of neighbours the one with the larger recorded figure stays.
const MOST_TIMES: usize = 4096;

/// Predicted memory of one process under one variant, by one block's replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prediction {
    /// Trace time in ns, and anonymous resident bytes.
    pub points: Vec<(u64, u64)>,
    /// The largest.
    pub peak_bytes: u64,
    /// Time-weighted mean.
    pub mean_bytes: u64,
    /// The last.
    pub end_bytes: u64,
}

/// The predictions of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Predictions {
    /// By the place of the memory sample in [`Run::samples`].
    pub of_samples: HashMap<usize, Prediction>,
    /// What was recorded, by workload: the times and bytes that predictions stand on.
    pub recorded: HashMap<String, Vec<(u64, u64)>>,
    /// Why a recording has no prediction, in sentences.
    pub notes: Vec<String>,
}

/// Predicts for every ok memory sample of a workload whose recording knows its process's memory.
pub fn predict(run: &Run) -> Result<Predictions, ResultsError> {
    let mut predictions = Predictions::default();
    for (workload, points) in run.recorded()? {
        let described = run.file.workloads.iter().find(|described| described.name == workload);
        let stated = described.and_then(|described| described.recorded_looks_every_ns);
        let step = stated.unwrap_or_else(|| nearest_looks_ns(&points));
        predictions.recorded.insert(workload, thin(fill(points, step)));
    }
    if predictions.recorded.is_empty() {
        return Ok(predictions);
    }
    let replays = replays_at(run, &predictions.recorded)?;
    if replays.is_empty() && run.samples.iter().any(|sample| sample.pass == Pass::Memory) {
        let without =
            "no memory sample has points in timeline.csv, so no whole process's memory is predicted";
        predictions.notes.push(without.to_owned());
    }
    let mut names: Vec<&String> = predictions.recorded.keys().collect();
    names.sort();
    for workload in names {
        let recorded = &predictions.recorded[workload];
        let base = match find_base(run, workload) {
            Ok(base) => base,
            Err(note) => {
                predictions.notes.push(note);
                continue;
            }
        };
        let places = replays.keys().filter(|place| run.samples[**place].workload == *workload);
        for &place in places {
            let block = run.samples[place].block;
            let of_block = |sample: &Sample| {
                sample.block == block && sample.variant == base && sample.workload == *workload
            };
            let based = replays.keys().find(|place| of_block(&run.samples[**place]));
            let Some(based) = based.map(|place| &replays[place]) else { continue };
            predictions.of_samples.insert(place, combine(recorded, based, &replays[&place]));
        }
    }
    Ok(predictions)
}

/// The variant that the workload was recorded under: the same library, by its hash, without settings.
fn find_base(run: &Run, workload: &str) -> Result<String, String> {
    let described = run.file.workloads.iter().find(|described| described.name == workload);
    let Some(hash) = described.and_then(|described| described.recorded_library_hash.as_ref()) else {
        return Err(format!(
            "{workload}: it is not known which library served the recorded process, so its memory is not predicted"
        ));
    };
    let same = |variant: &&crate::results::RunVariant| {
        variant.library_hash.as_ref() == Some(hash) && variant.settings.is_empty()
    };
    if let Some(variant) = run.file.variants.iter().find(same) {
        return Ok(variant.label.clone());
    }
    let name = described.and_then(|described| described.recorded_allocator.as_deref());
    let name = name.filter(|name| !name.is_empty()).unwrap_or("the allocator recorded under");
    let short = |hash: &str| hash.get(..12).unwrap_or(hash).to_owned();
    // Another machine's library of the same name: nothing that is added here would be that build.
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
             is measured all the same. For a prediction, record the program on this machine",
            short(here)
        ),
        None => format!("{workload}: {what} ({name}, SHA-256 {hash}): add it by -a"),
    })
}

/// Resident bytes of each ok memory sample at the recorded times. A replay has a checkpoint where the recorded process
/// was looked at; where it has not (causal order, or more looks than are of use), a checkpoint holds until the next.
fn replays_at(
    run: &Run,
    recorded: &HashMap<String, Vec<(u64, u64)>>,
) -> Result<HashMap<usize, Vec<u64>>, ResultsError> {
    let mut replays: HashMap<usize, Replay> = HashMap::new();
    for (place, sample) in run.samples.iter().enumerate() {
        if sample.pass == Pass::Memory
            && sample.status == Status::Ok
            && recorded.contains_key(&sample.workload)
        {
            replays.insert(place, Replay::default());
        }
    }
    run.each_timeline_point(|place, point| {
        if let Some(replay) = replays.get_mut(&place) {
            replay.take(&recorded[&run.samples[place].workload], point.time_ns, point.resident_bytes);
        }
    })?;
    // A sample without points is not one of no memory.
    replays.retain(|_, replay| replay.has_points);
    let finish = |(place, mut replay): (usize, Replay)| {
        replay.reach(&recorded[&run.samples[place].workload], u64::MAX);
        (place, replay.bytes)
    };
    Ok(replays.into_iter().map(finish).collect())
}

/// One replay on its way through the recorded times.
#[derive(Default)]
struct Replay {
    bytes: Vec<u64>,
    last_bytes: u64,
    has_points: bool,
}

impl Replay {
    /// A checkpoint at `time`. The first of that time is the one at the look: what comes behind it is later.
    fn take(&mut self, recorded: &[(u64, u64)], time: u64, bytes: u64) {
        self.reach(recorded, time);
        self.has_points = true;
        self.last_bytes = bytes;
        self.reach(recorded, time.saturating_add(1));
    }

    /// Takes down the last figure for every recorded time before `time`.
    fn reach(&mut self, recorded: &[(u64, u64)], time: u64) {
        while recorded.get(self.bytes.len()).is_some_and(|point| point.0 < time) {
            self.bytes.push(self.last_bytes);
        }
        if time == u64::MAX {
            self.bytes.resize(recorded.len(), self.last_bytes);
        }
    }
}

/// Resident memory of the recorded process that is not malloc's, at each recorded time. It can be below 0 where the
/// replay touched what the program did not.
fn rest(recorded: &[(u64, u64)], based: &[u64]) -> Vec<i128> {
    let looks = recorded.iter().zip(based);
    let rests: Vec<i128> =
        looks.map(|(&(_, recorded), &based)| i128::from(recorded) - i128::from(based)).collect();
    let of_three = |at: usize| {
        // The first and the last look have one neighbour, and the one behind it.
        let first = at.saturating_sub(1).min(rests.len().saturating_sub(3));
        let mut near = rests[first..rests.len().min(first + 3)].to_vec();
        near.sort_unstable();
        near[near.len() / 2]
    };
    (0..rests.len()).map(of_three).collect()
}

/// Where between two looks the process was when it was looked at: the heap had gone a part of the way from one look's to a
/// neighbour's.
struct Between {
    at: usize,
    near: usize,
    /// How far on its way, and how long that is, in bytes of the heap recorded under.
    gone: i128,
    way: i128,
}

impl Between {
    /// For a look that found `deviation` more or less than it should have with what the replay has there: towards that
    /// neighbour which explains most of it, to no further than the neighbour.
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

    /// What a replay had there.
    fn read(&self, replayed: &[u64]) -> i128 {
        let [here, there] = [self.at, self.near].map(|at| i128::from(replayed[at]));
        here + (there - here) * self.gone / self.way
    }
}

/// The formula, at each recorded time.
fn combine(recorded: &[(u64, u64)], based: &[u64], replayed: &[u64]) -> Prediction {
    let predicted = |(at, (&(time, recorded), rest)): (usize, (&(u64, u64), i128))| {
        let recorded = i128::from(recorded);
        let between = Between::find(at, recorded - rest - i128::from(based[at]), based);
        let predicted = recorded - between.read(based) + between.read(replayed);
        (time, u64::try_from(predicted.max(0)).unwrap_or(u64::MAX))
    };
    let looks = recorded.iter().zip(rest(recorded, based));
    let points: Vec<(u64, u64)> = looks.enumerate().map(predicted).collect();
    Prediction {
        peak_bytes: points.iter().map(|point| point.1).max().unwrap_or(0),
        mean_bytes: mean(&points),
        end_bytes: points.last().map_or(0, |point| point.1),
        points,
    }
}

/// Time-weighted mean: each point holds until the next.
pub(crate) fn mean(points: &[(u64, u64)]) -> u64 {
    let sum: u128 =
        points.windows(2).map(|pair| u128::from(pair[1].0 - pair[0].0) * u128::from(pair[0].1)).sum();
    let whole = points.first().zip(points.last()).map_or(0, |(first, last)| last.0 - first.0);
    let last = points.last().map_or(0, |point| point.1);
    sum.checked_div(u128::from(whole)).map_or(last, |mean| mean as u64)
}

/// How far apart the looks of a recording were that does not say it: as far as the two nearest of its samples, because
/// where memory changes for two looks running, both are stored.
fn nearest_looks_ns(points: &[(u64, u64)]) -> u64 {
    points.windows(2).map(|pair| pair[1].0 - pair[0].0).filter(|&apart| apart > 0).min().unwrap_or(1)
}

/// Adds the looks that found what the look before had found, and were not stored: a replay on another variant may change
/// meanwhile, and reality is looked at then too.
fn fill(points: Vec<(u64, u64)>, looks_every_ns: u64) -> Vec<(u64, u64)> {
    let Some((first, last)) = points.first().zip(points.last()) else { return points };
    let step = looks_every_ns.max((last.0 - first.0) / MOST_TIMES as u64).max(1);
    let mut filled = Vec::new();
    for (at, &(time, bytes)) in points.iter().enumerate() {
        let next = points.get(at + 1).map_or(time + 1, |next| next.0);
        // The next look may have come a little late.
        let same = (time..next.saturating_sub(step / 2).max(time + 1)).step_by(step as usize);
        filled.extend(same.map(|time| (time, bytes)));
    }
    filled
}

/// Joins neighbours until there are few enough.
fn thin(points: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    if points.len() <= MOST_TIMES {
        return points;
    }
    let each = points.len().div_ceil(MOST_TIMES);
    points.chunks(each).filter_map(|chunk| chunk.iter().copied().max_by_key(|point| point.1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_mallocs_cancels() {
        let recorded = [(0, 100), (10, 250), (30, 150)];
        let same = combine(&recorded, &[50, 200, 100], &[50, 200, 100]);
        assert_eq!(same.points, recorded);
        let other = combine(&recorded, &[50, 200, 100], &[60, 100, 0]);
        assert_eq!(other.points, [(0, 110), (10, 150), (30, 50)]);
        assert_eq!((other.peak_bytes, other.end_bytes), (150, 50));
        assert_eq!(other.mean_bytes, (110 * 10 + 150 * 20) / 30);
        assert_eq!(combine(&recorded[..1], &[500], &[0]).points, [(0, 0)], "never below zero");
    }

    #[test]
    fn a_look_at_pages_that_are_just_given_back_adds_nothing_to_another_allocators() {
        let recorded = [(0, 20), (10, 20), (20, 90), (30, 20), (40, 40), (50, 40), (60, 80)];
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
            // 20 are not malloc's. The second look finds a heap that grows to 100, the sixth one that shrinks to 0.
            let recorded: Vec<(u64, u64)> = (0..8).zip([20, 70, 120, 120, 120, 95, 20, 20]).collect();
            let points = combine(&recorded, &[0, 0, 100, 100, 100, 0, 0, 0], replayed).points;
            points.iter().map(|point| point.1).collect::<Vec<_>>()
        };
        let same = combined(&[0, 0, 100, 100, 100, 0, 0, 0]);
        assert_eq!(same, [20, 70, 120, 120, 120, 95, 20, 20], "as recorded");
        let kept = combined(&[0, 0, 200, 200, 200, 200, 200, 200]);
        assert_eq!(kept, [20, 120, 220, 220, 220, 220, 220, 220], "what is kept counts once");
        assert_eq!(combined(&[0; 8]), [20; 8]);
        let unexplained = combine(&[(0, 20), (10, 300), (20, 20)], &[0, 10, 0], &[0, 60, 0]);
        assert_eq!(unexplained.points[1], (10, 350), "no heap beside it is that large: it is not malloc's");
    }

    #[test]
    fn a_checkpoint_holds_until_the_next() {
        let recorded = [(0, 1), (5, 1), (10, 1), (99, 1)];
        let mut replay = Replay::default();
        for (time, bytes) in [(0, 7), (5, 8), (5, 88), (7, 9)] {
            replay.take(&recorded, time, bytes);
        }
        replay.reach(&recorded, u64::MAX);
        assert_eq!(replay.bytes, [7, 8, 9, 9]);
    }

    #[test]
    fn looks_that_found_nothing_new_count_too() {
        const MS: u64 = 1_000_000;
        let filled = fill(vec![(0, 5), (10 * MS, 6), (44 * MS, 7), (45 * MS, 8)], 10 * MS);
        let expected = [(0, 5), (10, 6), (20, 6), (30, 6), (44, 7), (45, 8)];
        assert_eq!(filled, expected.map(|(time, bytes)| (time * MS, bytes)));
        assert!(fill(vec![(0, 1), (u64::MAX / 2, 2)], 1).len() <= MOST_TIMES + 2);
        assert_eq!(fill(vec![(7, 1)], 1), [(7, 1)]);
        assert_eq!(fill(Vec::new(), 0), []);
    }

    #[test]
    fn where_it_is_not_said_how_often_was_looked_the_nearest_looks_tell() {
        assert_eq!(nearest_looks_ns(&[(0, 5), (1000, 6), (1010, 7), (1010, 8), (1021, 9)]), 10);
        assert_eq!(nearest_looks_ns(&[(7, 5), (7, 6)]), 1);
        assert_eq!(nearest_looks_ns(&[]), 1);
    }

    #[test]
    fn long_recordings_keep_their_peaks() {
        let points: Vec<(u64, u64)> =
            (0..100_000).map(|time| (time, if time == 77_777 { 9 } else { 1 })).collect();
        let thinned = thin(points);
        assert!(thinned.len() <= MOST_TIMES);
        assert!(thinned.contains(&(77_777, 9)) && thinned.is_sorted());
    }
}
