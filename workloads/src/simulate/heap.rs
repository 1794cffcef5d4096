//! The simulated process's heap: the only place that makes events and assigns object identities.
//!
//! The model asks for blocks and gives them back; records come out. A [`Block`] can be neither copied nor
//! made elsewhere, and freeing consumes it, so the model cannot free an object twice or use it afterwards.
//! Between the two lie the layers of an interpreter, if the definition has one: small objects go into its
//! pools, of which only the arenas are malloc's, and an object that a cycle holds is freed when its collector
//! finds it.

use heaplab_trace::{ObjectId, Record, ThreadId};

use super::block::{Block, Place};
use super::collector::{Collector, OLDEST};
use super::counts::HeapCounts;
use super::definition::{Definition, Runtime};
use super::log::Log;
use super::pools::{Geometry, Pools};
use super::random::{Random, Tries};

/// The prefix of marks about mapped arenas.
pub(super) const ARENAS_MAPPED: &str = "arenas mapped: ";

/// The heap of a simulated process.
#[derive(Debug)]
pub(super) struct Heap {
    log: Log,
    pools: Option<Pools>,
    collector: Option<Collector>,
    random: Random,
    /// Whether cycles hold an object.
    cyclic: Tries,
    /// What a collection finds; empty between collections.
    found: Vec<Block>,
    /// The most arenas that were mapped at once.
    mapped_peak: u64,
    live_bytes: u64,
    counts: HeapCounts,
}

/// What an object is to the collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It holds others: it is counted.
    Container,
    /// It holds none, but the object that holds it may be part of a cycle.
    Leaf,
}

impl Heap {
    /// The heap of a process as `definition` has it; `random` is for what the heap decides.
    pub(super) fn new(definition: &Definition, random: Random) -> Heap {
        let geometry = Geometry::of(definition.runtime).filter(|_| definition.pymalloc);
        let collected = definition.runtime != Runtime::None;
        Heap {
            log: Log::default(),
            pools: geometry.map(Pools::new),
            collector: collected.then(|| Collector::new(definition.collector.clone())),
            random,
            cyclic: Tries::new(definition.collector.cyclic),
            found: Vec::new(),
            mapped_peak: 0,
            live_bytes: 0,
            counts: HeapCounts::default(),
        }
    }

    /// Sets the time of what follows. Time never goes back.
    #[inline]
    pub(super) fn set_time(&mut self, now_ns: u64) {
        self.log.set_time(now_ns);
    }

    /// A block of `size` bytes that no cycle holds, by `thread`.
    #[inline]
    pub(super) fn malloc(&mut self, thread: ThreadId, size: u64) -> Block {
        let place = self.place(thread, size);
        Block { place, size, birth: 0, count: 1, containers: 0 }
    }

    /// An object that the collector knows of, by `thread`, which collects first if a collection is due.
    #[inline]
    pub(super) fn object(&mut self, thread: ThreadId, size: u64, kind: Kind) -> Block {
        if kind == Kind::Container
            && let Some(generation) = self.count_container()
        {
            self.collect(thread, generation);
        }
        self.adopt(thread, size, kind)
    }

    /// Counts the allocation of a container that is about to come. Returns the generation to collect first,
    /// if there is one.
    #[inline]
    pub(super) fn count_container(&mut self) -> Option<usize> {
        self.collector.as_mut().and_then(Collector::count_container)
    }

    /// How many containers can be allocated before the one after which a collection may be due.
    #[inline]
    pub(super) fn container_room(&self) -> u64 {
        self.collector.as_ref().map_or(u64::MAX, Collector::room)
    }

    /// Counts the allocation of `containers`, for which there is room.
    #[inline]
    pub(super) fn count_containers(&mut self, containers: u64) {
        if let Some(collector) = &mut self.collector {
            collector.count_containers(containers);
        }
    }

    /// An object that the collector knows of and has counted, by `thread`.
    #[inline]
    pub(super) fn adopt(&mut self, thread: ThreadId, size: u64, kind: Kind) -> Block {
        let mut block = self.malloc(thread, size);
        if let Some(collector) = &mut self.collector {
            block.containers = u16::from(kind == Kind::Container);
            block.place.0 |= Place::COLLECTED;
            block.birth = collector.take_in(block.containers());
        }
        block
    }

    /// Adds this many `leaves` and `containers` of `class` in the pools, by `thread`, to `blocks`. The
    /// collector has already counted them.
    pub(super) fn adopt_small(
        &mut self,
        thread: ThreadId,
        class: usize,
        mut leaves: u32,
        mut containers: u32,
        blocks: &mut Vec<Block>,
    ) {
        let collected = if self.collector.is_some() { Place::COLLECTED } else { 0 };
        let birth = self.collector.as_mut().map_or(0, |collector| collector.take_in(containers));
        while leaves + containers > 0 {
            let Some(pools) = &mut self.pools else { return };
            let Some((pool, count)) = pools.allocate(class, leaves + containers) else {
                self.add_arena(thread);
                continue;
            };
            let size = pools.place_bytes(class);
            // To a pool they are all alike.
            let first = containers.min(count);
            containers -= first;
            leaves -= count - first;
            let (place, count, containers) = (Place::pool(pool).0 | collected, count as u16, first as u16);
            blocks.push(Block { place: Place(place), size, birth, count, containers });
        }
    }

    /// `realloc` of `block`, a single object, to `size` by `thread`. An object in a pool may move to another
    /// pool or to malloc; what is malloc's stays malloc's.
    #[inline]
    pub(super) fn realloc(&mut self, thread: ThreadId, block: &mut Block, size: u64) {
        debug_assert!(block.count == 1);
        match block.place.in_pool() {
            None => {
                self.live_bytes = self.live_bytes - charge(block.size) + charge(size);
                self.log.realloc(thread, block.place.object(), size);
            }
            Some(pool) if self.pools.as_ref().is_some_and(|pools| pools.stays(pool, size)) => {}
            Some(_) => {
                let place = block.place;
                block.place = self.place(thread, size);
                block.place.0 |= place.0 & Place::COLLECTED;
                self.leave(thread, place, block.size, 1);
            }
        }
        block.size = size;
    }

    /// Drops `block`: `thread` frees its objects, except those that cycles hold.
    #[inline]
    pub(super) fn free(&mut self, thread: ThreadId, mut block: Block) {
        if block.place.is_collected()
            && let Some(collector) = &mut self.collector
        {
            let (containers, leaves) =
                self.cyclic.successes(&mut self.random, block.containers(), block.leaves());
            self.counts.buried += u64::from(containers + leaves);
            collector.bury(block.split(leaves, containers));
            if block.count == 0 {
                return;
            }
            collector.forget_containers(block.birth, block.containers());
        }
        self.leave(thread, block.place, block.size, block.count());
    }

    /// A request was answered: `thread` collects, if the server collects then.
    pub(super) fn end_request(&mut self, thread: ThreadId) {
        if self.collector.as_ref().is_some_and(Collector::collects_per_request) {
            self.collect(thread, OLDEST);
        }
    }

    /// The process ends in order: `thread` frees what is unreachable, whatever the collector's mode.
    pub(super) fn shut_down(&mut self, thread: ThreadId) {
        if self.collector.is_some() {
            self.collect(thread, OLDEST);
        }
    }

    /// The class of the pools that hold objects of `size` bytes, if any does: such objects are not events.
    pub(super) fn class(&self, size: u64) -> Option<usize> {
        self.pools.as_ref().and_then(|pools| pools.class(size))
    }

    /// The largest size that lies in a pool; 0 without pools.
    pub(super) fn largest_small(&self) -> u64 {
        self.pools.as_ref().map_or(0, Pools::largest_small)
    }

    /// `thread` collects `generation` and all younger ones.
    pub(super) fn collect(&mut self, thread: ThreadId, generation: usize) {
        let Some(collector) = &mut self.collector else { return };
        let mut found = std::mem::take(&mut self.found);
        collector.collect(generation, &mut found);
        self.counts.collections[generation] += 1;
        for block in found.drain(..) {
            self.counts.collected += u64::from(block.count());
            self.leave(thread, block.place, block.size, block.count());
        }
        self.found = found;
    }

    /// Finds a place for `size` bytes, in a pool or from malloc.
    #[inline]
    fn place(&mut self, thread: ThreadId, size: u64) -> Place {
        if let Some(class) = self.class(size) {
            while let Some(pools) = &mut self.pools {
                match pools.allocate(class, 1) {
                    Some((pool, _)) => return Place::pool(pool),
                    None => self.add_arena(thread),
                }
            }
        }
        self.live_bytes += charge(size);
        Place::malloc(self.log.malloc(thread, size))
    }

    /// Adds an arena to the pools, if there are any.
    #[cold]
    fn add_arena(&mut self, thread: ThreadId) {
        let Some(pools) = &mut self.pools else { return };
        let geometry = *pools.geometry();
        let by_malloc = geometry.arenas_by_malloc;
        self.live_bytes += geometry.arena_bytes;
        self.counts.arenas_taken += 1;
        pools.add_arena(by_malloc.then(|| self.log.malloc(thread, geometry.arena_bytes)));
        if !by_malloc && pools.held() > self.mapped_peak {
            self.mapped_peak = pools.held();
            let bytes = pools.held() * geometry.arena_bytes;
            self.log.mark(&format!("{ARENAS_MAPPED}{} of {bytes} bytes", pools.held()));
        }
    }

    /// An arena left the pools: it goes back to malloc, if it is malloc's.
    #[cold]
    fn give_back_arena(&mut self, thread: ThreadId, arena: Option<ObjectId>) {
        self.counts.arenas_freed += 1;
        self.live_bytes -= self.pools.as_ref().map_or(0, |pools| pools.geometry().arena_bytes);
        if let Some(object) = arena {
            self.log.free(thread, object);
        }
    }

    /// Removes `count` objects of `size` bytes from their place.
    #[inline(always)]
    fn leave(&mut self, thread: ThreadId, place: Place, size: u64, count: u32) {
        let Some(pool) = place.in_pool() else {
            self.live_bytes -= charge(size);
            return self.log.free(thread, place.object());
        };
        // Only pools hand out places in pools, so they exist.
        let freed = self.pools.as_mut().and_then(|pools| pools.free(pool, count));
        if let Some(arena) = freed {
            self.give_back_arena(thread, arena);
        }
    }

    /// The process's initial thread, which existed before the trace.
    pub(super) fn initial_thread(&mut self, name: &str) -> ThreadId {
        self.log.name_thread(name)
    }

    /// A new thread with its name.
    pub(super) fn start_thread(&mut self, name: &str) -> ThreadId {
        self.log.start_thread(name)
    }

    /// The end of `thread`.
    pub(super) fn end_thread(&mut self, thread: ThreadId) {
        self.log.end_thread(thread);
    }

    /// A named moment.
    pub(super) fn mark(&mut self, name: &str) {
        self.log.mark(name);
    }

    /// Takes the oldest record that has not been read yet.
    #[inline]
    pub(super) fn take_record(&mut self) -> Option<Record> {
        self.log.take_record()
    }

    /// Records waiting to be read.
    #[inline]
    pub(super) fn pending(&self) -> usize {
        self.log.pending()
    }

    /// What the layers have done so far.
    pub(super) fn counts(&self) -> &HeapCounts {
        &self.counts
    }

    /// Live bytes, with arenas counted instead of what lies in them, and each object counted as at least 16
    /// bytes: what bounds the simulation's own memory.
    #[inline]
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

/// How much an object counts against the heap's limit.
#[inline]
fn charge(size: u64) -> u64 {
    size.max(16)
}
