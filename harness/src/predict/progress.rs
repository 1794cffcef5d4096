//! A program's progress in its work, and memory over progress.
//!
//! A program whose pace nothing sets finishes sooner or later under a different allocator, and its mean over time then
//! weighs its phases differently. Progress is the share of its CPU time that a run has used: waiting is no progress.
//! The recorded run's progress over time is taken from the program's own runs on the recorded allocator.

use crate::results::MemoryPoint;

/// One run of a program.
#[derive(Debug, PartialEq)]
pub(super) struct Progress {
    points: Vec<MemoryPoint>,
    /// The share of its CPU time that had been used at each point, from 0 to 1.
    shares: Vec<f64>,
}

impl Progress {
    /// None if a point has no CPU time, or if none was used between the first and the last.
    pub(super) fn of(points: &[MemoryPoint], cpu_ns: &[u64]) -> Option<Progress> {
        let (first, last) = (*cpu_ns.first()?, *cpu_ns.last()?);
        let all = last.checked_sub(first).filter(|all| *all > 0 && cpu_ns.len() == points.len())?;
        let shares = cpu_ns.iter().map(|ns| ns.saturating_sub(first) as f64 / all as f64);
        Some(Progress { points: points.to_vec(), shares: shares.collect() })
    }

    /// Its mean over progress: each figure is valid until the next.
    pub(super) fn mean(&self) -> Option<f64> {
        weigh(&self.points, &self.shares)
    }

    /// The mean over progress of another run, which made the same progress in each part of its time as this
    /// one.
    pub(super) fn mean_of(&self, points: &[MemoryPoint]) -> Option<f64> {
        let (begin, end) = (points.first()?.time_ns, points.last()?.time_ns);
        let length = end.checked_sub(begin).filter(|length| *length > 0)? as f64;
        let shares: Vec<f64> =
            points.iter().map(|point| self.share_at((point.time_ns - begin) as f64 / length)).collect();
        weigh(points, &shares)
    }

    /// Its progress at a fraction of its time.
    fn share_at(&self, part: f64) -> f64 {
        let begin = self.points[0].time_ns as f64;
        let end = self.points[self.points.len() - 1].time_ns as f64;
        let time = begin + part * (end - begin);
        let next = self.points.partition_point(|point| (point.time_ns as f64) < time);
        let Some(before) = next.checked_sub(1) else { return self.shares[0] };
        let Some(after) = self.points.get(next) else { return 1.0 };
        let [since, until] = [self.points[before].time_ns, after.time_ns].map(|time_ns| time_ns as f64);
        let gone = (time - since) / (until - since);
        self.shares[before] + (self.shares[next] - self.shares[before]) * gone
    }
}

fn weigh(points: &[MemoryPoint], shares: &[f64]) -> Option<f64> {
    let steps = points.iter().zip(shares.windows(2).map(|pair| pair[1] - pair[0]));
    let (bytes, all) = steps.fold((0.0, 0.0), |(bytes, all), (point, step)| {
        (bytes + point.resident_bytes as f64 * step, all + step)
    });
    (all > 0.0).then(|| bytes / all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(of: &[(u64, u64)]) -> Vec<MemoryPoint> {
        of.iter().copied().map(MemoryPoint::from).collect()
    }

    #[test]
    fn a_phase_that_takes_longer_weighs_no_more() {
        // Half of the work with 10, half with 30; the second run needs four times as long for its second half.
        let fast =
            Progress::of(&points(&[(0, 10), (100, 30), (200, 30)]), &[0, 50, 100]).expect("its CPU time");
        let slow =
            Progress::of(&points(&[(0, 10), (100, 30), (500, 30)]), &[7, 57, 107]).expect("its CPU time");
        assert_eq!((fast.mean(), slow.mean()), (Some(20.0), Some(20.0)));
        // Over time they differ: 20 and 26.
        let predicted = points(&[(0, 1), (50, 2), (100, 3), (150, 3), (200, 0)]);
        assert_eq!(fast.mean_of(&predicted), Some((1.0 + 2.0 + 3.0 + 3.0) / 4.0));
        // A run as long as the fast one that has the progress of the slow one after each part of its time.
        let expected = (1.0 * 0.5 + 2.0 * (0.125 + 0.0) * 1.0) + 3.0 * 0.375;
        let found = slow.mean_of(&points(&[(0, 1), (40, 2), (80, 3), (200, 0)])).expect("a mean");
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn without_work_there_is_no_progress() {
        assert_eq!(Progress::of(&points(&[(0, 1), (5, 1)]), &[3, 3]), None);
        assert_eq!(Progress::of(&points(&[(0, 1), (5, 1)]), &[3]), None);
        assert_eq!(Progress::of(&[], &[]), None);
        let one = Progress::of(&points(&[(0, 1), (5, 1)]), &[3, 4]).expect("its CPU time");
        assert_eq!((one.mean_of(&points(&[(0, 9)])), one.mean_of(&[])), (None, None));
    }
}
