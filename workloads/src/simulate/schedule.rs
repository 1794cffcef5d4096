//! Virtual time: what happens next.
//!
//! The schedule is a binary heap of moments, each with the actor that acts then; equal times keep the order
//! in which they were entered, so that a run depends only on its seed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What will happen, by time. `A` says who acts.
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

    /// Takes the next to act; none if nothing more will happen.
    #[inline]
    pub(super) fn take(&mut self) -> Option<(u64, A)> {
        self.heap.pop().map(|Reverse(entry)| (entry.time_ns, entry.actor))
    }

    /// When the next one acts; none if nothing more will happen.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.time_ns)
    }

    /// How many moments are entered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether an actor that continues at `time_ns` comes before everything that is entered.
    ///
    /// PERF: this holds for most steps of a worker, which then need not go through the heap.
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

#[cfg(test)]
mod tests {
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
}
