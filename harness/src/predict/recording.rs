//! The recorded memory of a process, at the times at which its memory is predicted.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::results::MemoryPoint;

/// The most samples without a change that are added to a recording: a replay has no more checkpoints either.
const MOST_TIMES: usize = 4096;
/// The most points of all predictions of a run together, which are held at the same time.
const MOST_POINTS: u64 = 1 << 24;

/// The sampling interval of a recording that does not state it: the distance between its two nearest samples, because
/// if memory changes in two samples in a row, both are stored.
pub(super) fn nearest_looks_ns(points: &[MemoryPoint]) -> u64 {
    points
        .windows(2)
        .map(|pair| pair[1].time_ns - pair[0].time_ns)
        .filter(|&apart| apart > 0)
        .min()
        .unwrap_or(1)
}

/// Adds the samples that equalled the one before and were not stored: a replay on another variant may change meanwhile,
/// and reality is sampled at those times too.
pub(super) fn fill(points: Vec<MemoryPoint>, sampling_interval_ns: u64) -> Vec<MemoryPoint> {
    let Some((first, last)) = points.first().zip(points.last()) else { return points };
    let step = sampling_interval_ns.max((last.time_ns - first.time_ns) / MOST_TIMES as u64).max(1);
    let mut filled = Vec::new();
    for (at, point) in points.iter().enumerate() {
        let time = point.time_ns;
        let next = points.get(at + 1).map_or(time + 1, |next| next.time_ns);
        // The next sample may have been a little late.
        let same = (time..next.saturating_sub(step / 2).max(time + 1)).step_by(step as usize);
        filled.extend(same.map(|time_ns| MemoryPoint { time_ns, ..*point }));
    }
    filled
}

/// What predictions keep of their points: all, or one moment in each step of the recording's time.
///
/// The moments are random, so that they cannot fall in step with the program, and the same for all processes of a tree,
/// so that their memory can be added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moments {
    /// None if all points are kept.
    pub(super) step_ns: Option<u64>,
}

/// How much there is to predict of one workload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Points of its recording.
    pub(super) points: u64,
    /// From the first to the last of them.
    pub(super) length_ns: u64,
    /// Number of predictions.
    pub(super) predictions: u64,
}

impl Moments {
    /// Those with which all predictions of a run stay within [`MOST_POINTS`].
    pub(super) fn within_bounds(workloads: &[Extent]) -> Moments {
        let sum = |of: fn(&Extent) -> u128| workloads.iter().map(of).sum::<u128>();
        if sum(|of| u128::from(of.points) * u128::from(of.predictions)) <= u128::from(MOST_POINTS) {
            return Moments::default();
        }
        let ends = sum(|of| u128::from(of.predictions) * 3);
        let step = sum(|of| u128::from(of.length_ns) * u128::from(of.predictions))
            .div_ceil(u128::from(MOST_POINTS).saturating_sub(ends).max(1));
        Moments { step_ns: Some(u64::try_from(step).unwrap_or(u64::MAX).max(1)) }
    }

    /// The times that are kept, and which point is in force then. The first and the last point always stay. `origin_ns`
    /// is the zero of the points' times on the recording's clock.
    pub(super) fn choose(self, points: &[MemoryPoint], origin_ns: u64) -> Vec<(u64, usize)> {
        let all = || points.iter().enumerate().map(|(at, point)| (point.time_ns, at)).collect();
        let (Some(step), Some(first), Some(last)) = (self.step_ns, points.first(), points.last()) else {
            return all();
        };
        let mut chosen = vec![(first.time_ns, 0)];
        let mut number = origin_ns.saturating_add(first.time_ns) / step;
        loop {
            let within = ChaCha8Rng::seed_from_u64(number).random_range(0..step);
            let time = number.saturating_mul(step).saturating_add(within).saturating_sub(origin_ns);
            if time >= last.time_ns {
                break;
            }
            let next = points.partition_point(|point| point.time_ns <= time);
            // What holds already needs no other point.
            if next > 0 && chosen.last().is_some_and(|before| before.1 < next - 1) {
                chosen.push((time, next - 1));
            }
            number += 1;
        }
        if points.len() > 1 {
            chosen.push((last.time_ns, points.len() - 1));
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: &[(u64, u64)]) -> Vec<MemoryPoint> {
        of.iter().copied().map(MemoryPoint::from).collect()
    }

    #[test]
    fn looks_that_found_nothing_new_count_too() {
        let filled = fill(points(&[(0, 5), (10 * MS, 6), (44 * MS, 7), (45 * MS, 8)]), 10 * MS);
        let expected = [(0, 5), (10, 6), (20, 6), (30, 6), (44, 7), (45, 8)];
        assert_eq!(filled, points(&expected.map(|(time, bytes)| (time * MS, bytes))));
        assert!(fill(points(&[(0, 1), (u64::MAX / 2, 2)]), 1).len() <= MOST_TIMES + 2);
        assert_eq!(fill(points(&[(7, 1)]), 1), points(&[(7, 1)]));
        assert_eq!(fill(Vec::new(), 0), []);
    }

    #[test]
    fn where_it_is_not_said_how_often_was_looked_the_nearest_looks_tell() {
        assert_eq!(nearest_looks_ns(&points(&[(0, 5), (1000, 6), (1010, 7), (1010, 8), (1021, 9)])), 10);
        assert_eq!(nearest_looks_ns(&points(&[(7, 5), (7, 6)])), 1);
        assert_eq!(nearest_looks_ns(&[]), 1);
    }

    const MS: u64 = 1_000_000;

    fn extent(points: u64, predictions: u64) -> Extent {
        Extent { points, length_ns: points * 10 * MS, predictions }
    }

    #[test]
    fn what_can_be_held_is_kept() {
        let moments = Moments::within_bounds(&[extent(100_000, 60), extent(50_000, 6)]);
        assert_eq!(moments, Moments::default());
        let of = points(&[(0, 1), (5, 9), (6, 1)]);
        assert_eq!(moments.choose(&of, 7), [(0, 0), (5, 1), (6, 2)]);
        assert_eq!(moments.choose(&[], 7), []);
    }

    #[test]
    fn of_more_than_can_be_held_as_many_of_each_value_are_kept_as_there_are() {
        let extents = [extent(1_000_000, 60), extent(500_000, 60)];
        let moments = Moments::within_bounds(&extents);
        let step = moments.step_ns.expect("a bound");
        assert!((50 * MS..60 * MS).contains(&step), "{step}");
        // 9 in every second sample, and in one of a hundred 50.
        let value = |at: u64| if at.is_multiple_of(100) { 50 } else { 1 + at % 2 * 8 };
        let recorded: Vec<(u64, u64)> = (0..1_000_000).map(|at| (at * 10 * MS, value(at))).collect();
        let chosen = moments.choose(&points(&recorded), 123);
        assert!(chosen.is_sorted() && chosen.len() as u64 * 60 < MOST_POINTS, "{}", chosen.len());
        let share = |bytes: u64| {
            let of_value = chosen.windows(2).filter(|pair| recorded[pair[0].1].1 == bytes);
            of_value.map(|pair| pair[1].0 - pair[0].0).sum::<u64>() as f64 / (999_999 * 10 * MS) as f64
        };
        assert!(
            (share(50) - 0.01).abs() < 0.001 && (share(9) - 0.5).abs() < 0.01,
            "{} {}",
            share(50),
            share(9)
        );
        assert_eq!((chosen[0], chosen[chosen.len() - 1]), ((0, 0), (999_999 * 10 * MS, 999_999)));
    }

    #[test]
    fn processes_of_a_tree_are_kept_at_the_same_moments() {
        let moments = Moments { step_ns: Some(70) };
        let of = |origin: u64, value: fn(u64) -> u64| {
            let own: Vec<(u64, u64)> = (0..1000).map(|at| (at * 10, value(at + origin / 10))).collect();
            let chosen = moments.choose(&points(&own), origin);
            let last = chosen.len() - 1;
            chosen[1..last].iter().map(|(time, at)| (time + origin, own[*at].1)).collect::<Vec<_>>()
        };
        // One has 100 while the other has 10.
        let one = of(0, |at| if at % 50 < 25 { 100 } else { 10 });
        let other = of(500, |at| if at % 50 < 25 { 10 } else { 100 });
        let both = one
            .iter()
            .filter_map(|(time, bytes)| Some(bytes + other.iter().find(|(of_other, _)| of_other == time)?.1));
        let both: Vec<u64> = both.collect();
        assert!(both.len() > 100 && both.iter().all(|sum| *sum == 110), "{both:?}");
    }
}
