//! What is never freed: whether it still comes as often as it did, or less and less.
//!
//! Beyond the recorded time the windows of the second half repeat. A leak goes on as fast as before. A table
//! that doubles, or an arena for the largest request so far, becomes rarer with time, and repeating its window
//! would repeat it for ever. Two spans of the second half tell how fast such allocations become rarer; what
//! they cannot tell, the band has to cover.

use super::lives::Continuation;
use super::survivors::Playable;

/// Spans of the recorded time that are compared: each of the same length, and what was allocated in them and is alive
/// at the end is an eighth of that time old or older.
const SPANS: [(f64, f64); 2] = [(0.5, 0.6875), (0.6875, 0.875)];
/// With fewer objects in both spans nothing is said, and they go on coming.
const FEW: usize = 20;
/// A span without any counts as if it had this share of what both have.
const LEAST_SHARE: f64 = 0.1;
/// The rate falls at most with this power of time.
const MOST_EXPONENT: f64 = 2.0;

/// How the allocations that are never freed go on.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Endless {
    /// The rate falls with time to the power of this: 0 for a leak.
    exponent: f64,
    /// Their bytes in the second half of the recorded time.
    bytes: f64,
}

impl Endless {
    pub(super) fn new(windows: &[Playable], recorded_windows: u32, continuation: &Continuation) -> Endless {
        let mut of_spans = [0.0; 2];
        let mut objects = 0;
        for window in windows {
            let time = (f64::from(window.part.number) + 0.5) / f64::from(recorded_windows.max(1));
            let Some(span) = SPANS.iter().position(|(from, to)| (*from..*to).contains(&time)) else {
                continue;
            };
            let endless = window
                .survivors
                .iter()
                .filter(|survivor| !survivor.is_freed && continuation.stays(survivor.class as usize));
            for survivor in endless {
                of_spans[span] += survivor.bytes_at_end as f64;
                objects += 1;
            }
        }
        let [early, late] = of_spans;
        let kept = windows.len() as f64 / f64::from(recorded_windows.max(1));
        let bytes =
            if kept > 0.0 { (early + late) * 0.5 / (2.0 * (SPANS[0].1 - SPANS[0].0)) / kept } else { 0.0 };
        if objects < FEW {
            return Endless { exponent: 0.0, bytes };
        }
        let least = LEAST_SHARE * (early + late);
        let [one, other] = SPANS.map(|(from, to)| f64::midpoint(from, to));
        let exponent = libm::log((early + least) / (late + least)) / libm::log(other / one);
        Endless { exponent: exponent.clamp(0.0, MOST_EXPONENT), bytes }
    }

    /// The share of these allocations that still takes place, compared with the second half of the recorded time, after
    /// `lengths` times that time.
    pub(super) fn share(&self, lengths: f64) -> f64 {
        const POINTS: u32 = 16;
        let rate = |at: f64| libm::pow(at, -self.exponent);
        let of_half = (0..POINTS).map(|point| rate(0.5 + (f64::from(point) + 0.5) / f64::from(2 * POINTS)));
        (rate(lengths.max(1.0)) / (of_half.sum::<f64>() / f64::from(POINTS))).min(1.0)
    }

    /// Half of what a leak would add and these allocations do not, from the recorded time to `lengths` times it, in bytes.
    pub(super) fn unknown_bytes(&self, lengths: f64) -> f64 {
        const POINTS: u32 = 64;
        let more = (lengths - 1.0).max(0.0);
        let missing = (0..POINTS)
            .map(|point| 1.0 - self.share(1.0 + more * (f64::from(point) + 0.5) / f64::from(POINTS)));
        let mean = missing.sum::<f64>() / f64::from(POINTS);
        // The second half is half of the recorded time.
        self.bytes * 2.0 * more * mean / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::parts::Part;
    use super::super::survivors::Survivor;
    use super::*;

    /// A model in which each window leaves `count` objects of 100 bytes that are never freed.
    fn of(count: impl Fn(u32) -> usize) -> Endless {
        let survivor = Survivor { bytes_at_end: 100, ..Survivor::default() };
        let windows: Vec<Playable> = (0..200)
            .map(|number| Playable {
                part: Part { number, ..Part::default() },
                survivors: vec![survivor; count(number)],
                ..Playable::default()
            })
            .collect();
        Endless::new(&windows, 200, &Continuation::default())
    }

    #[test]
    fn a_leak_goes_on() {
        let leak = of(|_| 3);
        assert!((leak.share(10.0) - 1.0).abs() < 1e-9, "{leak:?}");
        assert!(leak.unknown_bytes(10.0) < 1e-6, "{leak:?}");
        assert!((leak.bytes - 100.0 * 300.0).abs() < 1000.0, "{leak:?}");
    }

    #[test]
    fn records_become_rare() {
        // The number of records until a time grows with its logarithm.
        let records = of(|window| 2000 / (window as usize + 1));
        assert!((0.05..0.2).contains(&records.share(10.0)), "{}", records.share(10.0));
        assert!(records.unknown_bytes(10.0) > records.unknown_bytes(2.0));
    }

    #[test]
    fn what_stopped_hardly_goes_on() {
        let stopped = of(|window| if window < 130 { 5 } else { 0 });
        assert!(stopped.share(3.0) < 0.1, "{}", stopped.share(3.0));
    }

    #[test]
    fn few_objects_say_nothing() {
        assert!((of(|window| usize::from(window == 120)).share(9.0) - 1.0).abs() < 1e-9);
    }
}
