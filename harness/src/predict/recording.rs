//! The recorded memory of a process, at the times at which its memory is predicted.

use crate::results::MemoryPoint;

/// The largest number of times in a prediction; of two neighbours, the one with the larger recorded figure is kept.
const MOST_TIMES: usize = 4096;

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

/// Joins neighbours until there are few enough.
pub(super) fn thin(points: Vec<MemoryPoint>) -> Vec<MemoryPoint> {
    if points.len() <= MOST_TIMES {
        return points;
    }
    let each = points.len().div_ceil(MOST_TIMES);
    points
        .chunks(each)
        .filter_map(|chunk| chunk.iter().copied().max_by_key(|point| point.resident_bytes))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: &[(u64, u64)]) -> Vec<MemoryPoint> {
        of.iter().copied().map(MemoryPoint::from).collect()
    }

    #[test]
    fn looks_that_found_nothing_new_count_too() {
        const MS: u64 = 1_000_000;
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

    #[test]
    fn long_recordings_keep_their_peaks() {
        let recorded: Vec<(u64, u64)> =
            (0..100_000).map(|time| (time, if time == 77_777 { 9 } else { 1 })).collect();
        let thinned = thin(points(&recorded));
        assert!(thinned.len() <= MOST_TIMES);
        assert!(thinned.contains(&(77_777, 9).into()) && thinned.is_sorted());
    }
}
