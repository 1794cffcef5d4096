//! What the server keeps between requests: a cache with a limit in bytes, and entries that expire.
//!
//! It holds blocks and says which ones to free; the caller decides when, and by which thread.

use std::collections::BTreeMap;

use super::block::{Block, push_any};
use super::definition::{CachePlan, Policy};
use super::random::{Random, Tries};

/// A bounded cache of what requests leave.
#[derive(Debug)]
pub(super) struct Cache {
    plan: CachePlan,
    /// Whether an object of a request that leaves something stays.
    stays: Tries,
    entries: Vec<Entry>,
    /// Index into `entries` by the moment of last use: the first is the one to go.
    by_use: BTreeMap<u64, usize>,
    uses: u64,
    bytes: u64,
    /// No entry expires before this.
    expires_ns: u64,
}

#[derive(Debug)]
struct Entry {
    used: u64,
    expires_ns: u64,
    bytes: u64,
    blocks: Vec<Block>,
}

impl Cache {
    pub(super) fn new(plan: CachePlan) -> Cache {
        let stays = Tries::new(plan.objects);
        let (entries, by_use, expires_ns) = (Vec::new(), BTreeMap::new(), u64::MAX);
        Cache { plan, stays, entries, by_use, uses: 0, bytes: 0, expires_ns }
    }

    /// Moves those of `objects` that are to be kept into `kept`, and the others into `rest`.
    #[inline]
    pub(super) fn choose(
        &mut self,
        mut objects: Block,
        random: &mut Random,
        kept: &mut Vec<Block>,
        rest: &mut Vec<Block>,
    ) {
        let (leaves, containers) = self.stays.successes(random, objects.leaves(), objects.containers());
        push_any(kept, objects.split(leaves, containers));
        push_any(rest, objects);
    }

    /// Inserts `blocks` for a drawn lifetime, and moves what must leave into `evicted`: `blocks` themselves
    /// if they exceed the limit.
    pub(super) fn insert(
        &mut self,
        blocks: Vec<Block>,
        now_ns: u64,
        random: &mut Random,
        evicted: &mut impl Extend<Block>,
    ) {
        let bytes: u64 = blocks.iter().map(Block::size).sum();
        if bytes > self.plan.limit_bytes {
            evicted.extend(blocks);
            return;
        }
        while self.bytes + bytes > self.plan.limit_bytes {
            let Some(index) = self.choose_victim(random) else { break };
            evicted.extend(self.remove(index));
        }
        let expires_ns = now_ns.saturating_add(self.plan.lifetime.draw(random));
        self.expires_ns = self.expires_ns.min(expires_ns);
        self.uses += 1;
        self.by_use.insert(self.uses, self.entries.len());
        self.bytes += bytes;
        self.entries.push(Entry { used: self.uses, expires_ns, bytes, blocks });
    }

    /// Uses an entry at random, if there is one.
    pub(super) fn hit(&mut self, random: &mut Random) {
        if self.entries.is_empty() {
            return;
        }
        let index = random.below(self.entries.len() as u64) as usize;
        self.uses += 1;
        let entry = &mut self.entries[index];
        self.by_use.remove(&entry.used);
        entry.used = self.uses;
        self.by_use.insert(self.uses, index);
    }

    /// Moves the blocks of every entry that has expired into `expired`.
    pub(super) fn sweep(&mut self, now_ns: u64, expired: &mut Vec<Block>) {
        if now_ns < self.expires_ns {
            return;
        }
        let mut index = 0;
        self.expires_ns = u64::MAX;
        while let Some(entry) = self.entries.get(index) {
            if entry.expires_ns <= now_ns {
                expired.extend(self.remove(index));
            } else {
                self.expires_ns = self.expires_ns.min(entry.expires_ns);
                index += 1;
            }
        }
    }

    /// When the next sweep is due that may find something, after one at `now_ns`: sweeps come at equal intervals,
    /// and no entry is added before `until_ns`.
    pub(super) fn next_sweep_ns(&self, now_ns: u64, until_ns: u64) -> u64 {
        let idle_ns = self.expires_ns.min(until_ns).saturating_sub(now_ns);
        let sweeps = idle_ns.div_ceil(self.plan.sweep_ns).max(1);
        now_ns.saturating_add(sweeps.saturating_mul(self.plan.sweep_ns))
    }

    /// Bytes held.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    fn choose_victim(&mut self, random: &mut Random) -> Option<usize> {
        match self.plan.policy {
            Policy::Lru => self.by_use.first_key_value().map(|(_, index)| *index),
            Policy::Random if self.entries.is_empty() => None,
            Policy::Random => Some(random.below(self.entries.len() as u64) as usize),
        }
    }

    fn remove(&mut self, index: usize) -> Vec<Block> {
        let entry = self.entries.swap_remove(index);
        self.by_use.remove(&entry.used);
        if let Some(moved) = self.entries.get(index) {
            self.by_use.insert(moved.used, index);
        }
        self.bytes -= entry.bytes;
        entry.blocks
    }
}

#[cfg(test)]
mod tests {
    use super::super::distribution::{Shape, Times};
    use super::*;
    use crate::simulate::tests::bare_heap;

    fn cache(policy: Policy) -> Cache {
        Cache::new(CachePlan {
            policy,
            limit_bytes: 1000,
            requests: 1.0,
            objects: 1.0,
            hits: 1.0,
            lifetime: Times::new(Shape::Fixed, 50),
            sweep_ns: 1,
        })
    }

    fn sizes(blocks: &[Block]) -> Vec<u64> {
        blocks.iter().map(Block::size).collect()
    }

    #[test]
    fn the_limit_holds_and_the_least_recent_leaves() {
        let (mut cache, mut heap, mut random) = (cache(Policy::Lru), bare_heap(), Random::new(1, 0));
        let mut evicted = Vec::new();
        for size in [300, 301, 302] {
            cache.insert(vec![heap.malloc(0, size)], 0, &mut random, &mut evicted);
        }
        assert_eq!(sizes(&evicted), [0u64; 0]);
        cache.insert(vec![heap.malloc(0, 500)], 0, &mut random, &mut evicted);
        assert_eq!(sizes(&evicted), [300, 301]);
        assert_eq!(cache.bytes(), 802);
        cache.insert(vec![heap.malloc(0, 1001)], 0, &mut random, &mut evicted);
        assert_eq!(sizes(&evicted), [300, 301, 1001]);
    }

    #[test]
    fn a_hit_saves_an_entry() {
        let (mut cache, mut heap, mut random) = (cache(Policy::Lru), bare_heap(), Random::new(1, 0));
        let mut evicted = Vec::new();
        cache.insert(vec![heap.malloc(0, 400)], 0, &mut random, &mut evicted);
        cache.insert(vec![heap.malloc(0, 401)], 0, &mut random, &mut evicted);
        let least_recent = |cache: &Cache| *cache.by_use.first_key_value().unwrap().1;
        while least_recent(&cache) != 1 {
            cache.hit(&mut random);
        }
        cache.insert(vec![heap.malloc(0, 500)], 0, &mut random, &mut evicted);
        assert_eq!(sizes(&evicted), [401]);
    }

    #[test]
    fn what_is_too_old_is_swept() {
        for policy in [Policy::Lru, Policy::Random] {
            let (mut cache, mut heap, mut random) = (cache(policy), bare_heap(), Random::new(1, 0));
            let mut gone = Vec::new();
            for (size, now) in [(100, 0), (101, 10), (102, 20)] {
                cache.insert(vec![heap.malloc(0, size)], now, &mut random, &mut gone);
            }
            cache.sweep(49, &mut gone);
            assert_eq!(sizes(&gone), [0u64; 0]);
            cache.sweep(60, &mut gone);
            gone.sort_by_key(Block::size);
            assert_eq!(sizes(&gone), [100, 101]);
            assert_eq!(cache.bytes(), 102);
        }
    }

    #[test]
    fn sweeps_that_would_find_nothing_are_passed_over() {
        let (mut cache, mut heap, mut random) = (cache(Policy::Lru), bare_heap(), Random::new(1, 0));
        cache.plan.sweep_ns = 20;
        assert_eq!(cache.next_sweep_ns(100, 5_000), 5_000);
        assert_eq!(cache.next_sweep_ns(100, 5_001), 5_020);
        assert_eq!(cache.next_sweep_ns(100, 0), 120);
        assert_eq!(cache.next_sweep_ns(100, u64::MAX), u64::MAX);
        // It lives for 50 ns.
        cache.insert(vec![heap.malloc(0, 400)], 101, &mut random, &mut Vec::new());
        assert_eq!(cache.next_sweep_ns(100, 5_000), 160);
        cache.sweep(160, &mut Vec::new());
        assert_eq!(cache.next_sweep_ns(160, 5_000), 5_000);
    }
}
