//! Virtual time: what happens next, and how fast load comes at each moment.
//!
//! The schedule is a binary heap of moments with who acts then; equal times keep the order in which
//! they were entered, so that a run depends on nothing but its seed. The load clock turns a wait
//! that is counted in load into virtual time: at factor 3 it runs three times as fast, so that a
//! client that began to think at night wakes up when the morning's load comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What is to happen, by time. `A` says who acts.
#[derive(Debug)]
pub(super) struct Schedule<A> {
    heap: BinaryHeap<Reverse<Entry<A>>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<A> {
    time_ns: u64,
    order: u64,
    actor: A,
}

impl<A> Schedule<A> {
    pub(super) fn new() -> Schedule<A> {
        Schedule { heap: BinaryHeap::new(), entered: 0 }
    }

    /// Enters that `actor` acts at `time_ns`.
    #[inline]
    pub(super) fn enter(&mut self, time_ns: u64, actor: A) {
        self.entered += 1;
        self.heap.push(Reverse(Entry { time_ns, order: self.entered, actor }));
    }

    /// Takes the next to act; none if nothing is to happen any more.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(u64, A)> {
        self.heap.pop().map(|Reverse(entry)| (entry.time_ns, entry.actor))
    }

    /// How much is entered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether an actor who goes on at `time_ns` comes before everything that is entered.
    ///
    /// PERF: most steps of a worker do, and then need not go through the heap.
    #[inline]
    pub(super) fn is_next(&self, time_ns: u64) -> bool {
        self.heap.peek().is_none_or(|Reverse(entry)| time_ns < entry.time_ns)
    }
}

impl<A> PartialEq for Entry<A> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<A> Eq for Entry<A> {}

impl<A> PartialOrd for Entry<A> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<A> Ord for Entry<A> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time_ns, self.order).cmp(&(other.time_ns, other.order))
    }
}

/// How fast load comes over virtual time: a factor for each span.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LoadClock {
    /// End of each span in ns, and its factor. Past the last one nothing comes.
    spans: Vec<(u64, f64)>,
}

impl LoadClock {
    /// Spans by their end in ns, in order, with the factor in each.
    pub(super) fn new(spans: Vec<(u64, f64)>) -> LoadClock {
        LoadClock { spans }
    }

    /// When a wait of `load_ns` that begins at `now_ns` is over; none if the last span ends before.
    pub(super) fn after(&self, now_ns: u64, load_ns: f64) -> Option<u64> {
        let mut at_ns = now_ns;
        let mut left_ns = load_ns;
        for &(end_ns, factor) in &self.spans[self.spans.partition_point(|(end, _)| *end <= now_ns)..] {
            let capacity_ns = (end_ns - at_ns) as f64 * factor;
            if left_ns < capacity_ns {
                return Some(at_ns.saturating_add((left_ns / factor) as u64).min(end_ns));
            }
            left_ns -= capacity_ns;
            at_ns = end_ns;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_times_keep_their_order() {
        let mut schedule = Schedule::new();
        for (time, actor) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b')] {
            schedule.enter(time, actor);
        }
        assert!(schedule.is_next(0) && !schedule.is_next(1));
        let order: String = std::iter::from_fn(|| schedule.take()).map(|(_, actor)| actor).collect();
        assert_eq!(order, "abcd");
    }

    #[test]
    fn a_wait_goes_on_in_the_next_span_at_its_pace() {
        let clock = LoadClock::new(vec![(100, 1.0), (200, 0.0), (300, 2.0)]);
        assert_eq!(clock.after(0, 40.0), Some(40));
        assert_eq!(clock.after(40, 60.0), Some(200));
        assert_eq!(clock.after(50, 70.0), Some(210));
        assert_eq!(clock.after(150, 199.0), Some(299));
        assert_eq!(clock.after(0, 301.0), None);
        assert_eq!(clock.after(300, 0.0), None);
    }

    proptest! {
        /// Waiting twice is waiting once for the sum, wherever the spans end.
        #[test]
        fn waits_add_up(
            spans in prop::collection::vec((1_000u64..1_000_000, 0.1f64..8.0), 1..8),
            now in 0u64..1_000_000, first in 0f64..1e6, second in 0f64..1e6,
        ) {
            let mut end = 0;
            let spans = spans.into_iter().map(|(length, factor)| { end += length; (end, factor) }).collect();
            let clock = LoadClock::new(spans);
            let twice = clock.after(now, first).and_then(|middle| clock.after(middle, second));
            let once = clock.after(now, first + second);
            // Each step rounds to whole ns, worth up to the largest factor in load.
            match (twice, once) {
                (Some(twice), Some(once)) => prop_assert!(twice.abs_diff(once) <= 100, "{} {}", twice, once),
                (None, None) => {}
                (twice, once) => prop_assert!(twice.or(once).unwrap() + 100 >= end),
            }
        }
    }
}
