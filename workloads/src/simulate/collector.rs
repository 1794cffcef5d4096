//! CPython's collector of cyclic garbage (its gcmodule.c): takes objects that become unreachable, and says
//! when they are found.
//!
//! Containers are counted from their allocation. When the youngest generation has grown by more than its
//! threshold, the allocating thread collects the oldest generation whose turn it is, and all younger ones.
//! What is unreachable is freed; everything else becomes a generation older, so that what is dropped later
//! waits for a rarer collection. Objects that no cycle holds come here only to be counted. This module frees
//! nothing itself: it tells the caller what to free.

use super::block::{Birth, Block, push_any};
use super::definition::{CollectorSettings, Gc};

/// Generations; the youngest is 0.
pub(super) const GENERATIONS: usize = 3;
/// The oldest: collecting it collects all.
pub(super) const OLDEST: usize = GENERATIONS - 1;

/// The collector's counters.
#[derive(Debug)]
pub(super) struct Collector {
    plan: CollectorSettings,
    /// Growth of the youngest generation, then, for each older one, collections of the next younger
    /// generation since its own last collection.
    counts: [u64; GENERATIONS],
    /// Containers in each generation, garbage included.
    tracked: [u64; GENERATIONS],
    garbage: [Vec<Block>; GENERATIONS],
    /// Collections so far, and the number of the last one that went beyond the youngest generation.
    collections: Birth,
    last_of_older: Birth,
    /// What survived the last full collection, and what has come to it since.
    long_lived: u64,
    long_lived_pending: u64,
}

impl Collector {
    pub(super) fn new(plan: CollectorSettings) -> Collector {
        Collector {
            plan,
            counts: [0; GENERATIONS],
            tracked: [0; GENERATIONS],
            garbage: Default::default(),
            collections: 0,
            last_of_older: 0,
            long_lived: 0,
            long_lived_pending: 0,
        }
    }

    /// Whether each request ends with a collection of all generations.
    pub(super) fn collects_per_request(&self) -> bool {
        self.plan.gc == Gc::PerRequest
    }

    /// Counts the allocation of a container. Returns the generation to collect first, if there is one.
    #[inline]
    pub(super) fn count_container(&mut self) -> Option<usize> {
        self.counts[0] += 1;
        match self.plan.gc {
            Gc::Off => None,
            Gc::Threshold | Gc::PerRequest => self.due(),
        }
    }

    /// How many containers can be counted before a collection may be due.
    #[inline]
    pub(super) fn room(&self) -> u64 {
        match self.plan.gc {
            Gc::Off => u64::MAX,
            Gc::Threshold | Gc::PerRequest => self.plan.thresholds[0].saturating_sub(self.counts[0]),
        }
    }

    /// Counts the allocation of `containers`, for which there is [`room`](Collector::room).
    #[inline]
    pub(super) fn count_containers(&mut self, containers: u64) {
        self.counts[0] += containers;
    }

    /// Takes objects in, of which `containers` are containers; returns their birth.
    #[inline]
    pub(super) fn take_in(&mut self, containers: u32) -> Birth {
        self.tracked[0] += u64::from(containers);
        self.collections
    }

    /// Forgets `containers` that were born at `birth` and are freed.
    #[inline]
    pub(super) fn forget_containers(&mut self, birth: Birth, containers: u32) {
        let generation = self.generation(birth);
        self.tracked[generation] -= u64::from(containers);
        self.counts[0] = self.counts[0].saturating_sub(containers.into());
    }

    /// Records that `block`, whose objects are held by cycles, is unreachable from now on. It may be empty.
    #[inline]
    pub(super) fn bury(&mut self, block: Block) {
        let generation = self.generation(block.birth());
        push_any(&mut self.garbage[generation], block);
    }

    /// Collects `generation` and all younger ones; what must be freed goes into `found`.
    pub(super) fn collect(&mut self, generation: usize, found: &mut Vec<Block>) {
        self.counts[..=generation].fill(0);
        if let Some(count) = self.counts.get_mut(generation + 1) {
            *count += 1;
        }
        let first = found.len();
        for garbage in &mut self.garbage[..=generation] {
            found.append(garbage);
        }
        // The containers found are subtracted here; the caller frees them without calling back.
        let dead: u64 = found[first..].iter().map(|block| u64::from(block.containers())).sum();
        let survivors = self.tracked[..=generation].iter().sum::<u64>() - dead;
        self.tracked[..=generation].fill(0);
        self.tracked[(generation + 1).min(OLDEST)] += survivors;
        match generation {
            0 => {}
            OLDEST => (self.long_lived, self.long_lived_pending) = (survivors, 0),
            _ => self.long_lived_pending += survivors,
        }
        self.collections = self.collections.wrapping_add(1);
        if generation > 0 {
            self.last_of_older = self.collections;
        }
    }

    /// The oldest generation that is over its threshold. A full collection also waits until the old objects
    /// have grown by a quarter, so that its cost does not grow with the square of their number.
    fn due(&self) -> Option<usize> {
        if self.counts[0] <= self.plan.thresholds[0] {
            return None;
        }
        (0..GENERATIONS).rev().find(|generation| {
            self.counts[*generation] > self.plan.thresholds[*generation]
                && (*generation < OLDEST || self.long_lived_pending >= self.long_lived / 4)
        })
    }

    /// The generation of what was born at `birth`: its first collection moved it to one above the generation
    /// that was collected, and any later collection of an older generation made it the oldest.
    fn generation(&self, birth: Birth) -> usize {
        if birth == self.collections {
            0
        } else if self.last_of_older > birth {
            OLDEST
        } else {
            1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector() -> Collector {
        Collector::new(CollectorSettings { gc: Gc::Threshold, cyclic: 0.0, thresholds: [700, 10, 10] })
    }

    /// Allocates `count` containers that stay, collecting when due; returns what was collected.
    fn fill(collector: &mut Collector, count: u64) -> [u64; GENERATIONS] {
        let mut collections = [0; GENERATIONS];
        for _ in 0..count {
            if let Some(generation) = collector.count_container() {
                collector.collect(generation, &mut Vec::new());
                collections[generation] += 1;
            }
            collector.take_in(1);
        }
        collections
    }

    #[test]
    fn a_collection_comes_with_the_allocation_behind_the_threshold() {
        assert_eq!(fill(&mut collector(), 700), [0, 0, 0]);
        assert_eq!(fill(&mut collector(), 701), [1, 0, 0]);
        // Each later round takes 701 again. Every twelfth collects one generation more, and the one after the
        // eleventh of those collects all.
        assert_eq!(fill(&mut collector(), 11 * 701), [11, 0, 0]);
        assert_eq!(fill(&mut collector(), 12 * 701), [11, 1, 0]);
        assert_eq!(fill(&mut collector(), 132 * 701), [121, 11, 0]);
        assert_eq!(fill(&mut collector(), 133 * 701), [121, 11, 1]);
        assert_eq!(fill(&mut collector(), 145 * 701), [132, 12, 1]);
    }

    #[test]
    fn frees_count_against_allocations() {
        let mut collector = collector();
        for _ in 0..10_000 {
            assert_eq!(collector.count_container(), None);
            let birth = collector.take_in(1);
            collector.forget_containers(birth, 1);
        }
    }

    #[test]
    fn survivors_grow_older() {
        let mut collector = collector();
        let birth = collector.take_in(1);
        assert_eq!(collector.generation(birth), 0);
        collector.collect(0, &mut Vec::new());
        assert_eq!(collector.generation(birth), 1);
        collector.collect(0, &mut Vec::new());
        assert_eq!((collector.generation(birth), collector.tracked), (1, [0, 1, 0]));
        collector.collect(1, &mut Vec::new());
        assert_eq!((collector.generation(birth), collector.tracked), (2, [0, 0, 1]));
        let younger = collector.take_in(1);
        collector.collect(1, &mut Vec::new());
        assert_eq!(collector.generation(younger), 2);
    }

    #[test]
    fn many_old_objects_delay_a_full_collection() {
        let mut collector = collector();
        fill(&mut collector, 133 * 701);
        assert_eq!(collector.long_lived, 133 * 701 - 1);
        // A quarter as many have arrived long before the next collection is due.
        assert_eq!(fill(&mut collector, 133 * 701), [121, 11, 1]);
        collector.long_lived = 10_000_000;
        assert_eq!(fill(&mut collector, 300 * 701)[2], 0);
    }
}
