//! What the recorded processes share over time, for the manifest.
//!
//! Each point holds until the next. Beyond [`MOST_POINTS`] points, changes that are small next to what is shared are
//! left out: never points by their number, because a fork that comes and goes makes every second one.

use std::time::Duration;

use crate::sharing::Shared;

/// Most points that are kept.
const MOST_POINTS: usize = 100_000;
/// The smallest change, in bytes, once there are too many points.
const FIRST_TOLERANCE: u64 = 16 << 10;
/// No change is left out that is larger than one part in this many of the most that was shared.
const TOLERANCE_PART: u64 = 100;

/// What processes shared over time.
#[derive(Debug, Default)]
pub(super) struct SharedOverTime {
    points: Vec<(Duration, u64)>,
    /// Changes up to this many bytes are not stored.
    tolerance_bytes: u64,
    most_bytes: u64,
    has_too_many: bool,
}

impl SharedOverTime {
    /// Adds a sample after the others.
    pub(super) fn push(&mut self, elapsed: Duration, shared: Shared) {
        if self.has_too_many {
            return;
        }
        let last = self.points.last().map_or(0, |point| point.1);
        // The time of the first sample after a process started or exited must be known.
        if shared.is_changed || last.abs_diff(shared.bytes) > self.tolerance_bytes {
            self.most_bytes = self.most_bytes.max(shared.bytes);
            self.store(elapsed, shared.bytes);
        }
        while self.points.len() > MOST_POINTS && !self.has_too_many {
            self.tolerance_bytes = (self.tolerance_bytes * 2).max(FIRST_TOLERANCE);
            self.has_too_many =
                self.tolerance_bytes > (self.most_bytes / TOLERANCE_PART).max(FIRST_TOLERANCE);
            for (elapsed, bytes) in std::mem::take(&mut self.points) {
                self.store(elapsed, bytes);
            }
        }
    }

    /// Stores a point; of several in a row that are alike, the first and the last stay.
    fn store(&mut self, elapsed: Duration, bytes: u64) {
        let is_like = |of: u64, other: u64| of.abs_diff(other) <= self.tolerance_bytes;
        match self.points[..] {
            [.., first, last] if is_like(first.1, last.1) && is_like(first.1, bytes) => {
                self.points.pop();
            }
            _ => {}
        }
        self.points.push((elapsed, bytes));
    }

    /// Times and bytes.
    ///
    /// # Errors
    ///
    /// Why they are not known.
    pub(super) fn points(&self) -> Result<&[(Duration, u64)], &'static str> {
        match self.has_too_many {
            true => Err("it changed too often for so long a recording"),
            false => Ok(&self.points),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(samples: impl Iterator<Item = (u64, u64, bool)>) -> SharedOverTime {
        let mut shared = SharedOverTime::default();
        for (at_ms, bytes, is_changed) in samples {
            shared.push(Duration::from_millis(at_ms), Shared { bytes, is_changed });
        }
        shared
    }

    fn in_ms(shared: &SharedOverTime) -> Vec<(u64, u64)> {
        let points = shared.points().expect("they are known");
        points.iter().map(|(at, bytes)| (at.as_millis() as u64, *bytes)).collect()
    }

    #[test]
    fn what_stays_is_stored_once_and_its_last_sample_before_a_change_too() {
        let samples = [(1, 5, false), (2, 5, true), (3, 5, false), (4, 5, true), (5, 7, false), (6, 0, true)];
        assert_eq!(in_ms(&store(samples.into_iter())), [(1, 5), (4, 5), (5, 7), (6, 0)]);
    }

    #[test]
    fn forks_that_come_and_go_are_all_kept() {
        // A fork every second, which shares all of 100 MiB for half of it.
        let alive = |at: u64| if at % 2 == 1 { 100 << 20 } else { 0 };
        let shared = store((0..12_000).map(|at| (at * 500, alive(at), true)));
        assert_eq!(in_ms(&shared), (0..12_000).map(|at| (at * 500, alive(at))).collect::<Vec<_>>());
    }

    #[test]
    fn in_a_long_recording_only_small_changes_are_left_out() {
        // Pages are written to all the time, and a fork comes and goes every 100 s.
        let bytes = |at: u64| if at % 20_000 < 10_000 { (200 << 20) - (at % 10_000) * 4096 } else { 0 };
        let shared = store((0..400_000).map(|at| (at * 10, bytes(at), at.is_multiple_of(10_000))));
        let points = in_ms(&shared);
        assert!(points.len() <= MOST_POINTS && shared.tolerance_bytes <= 2 << 20, "{}", points.len());
        let mut held = points.iter().copied().peekable();
        let mut now = (0, 0);
        for at in 0..400_000 {
            while let Some(next) = held.next_if(|next| next.0 <= at * 10) {
                now = next;
            }
            assert!(now.1.abs_diff(bytes(at)) <= shared.tolerance_bytes, "at {at}: {now:?}");
        }
    }

    #[test]
    fn more_than_can_be_kept_is_not_known() {
        let shared = store((0..300_000).map(|at| (at, at % 2 * (100 << 20), true)));
        assert_eq!(shared.points(), Err("it changed too often for so long a recording"));
    }
}
