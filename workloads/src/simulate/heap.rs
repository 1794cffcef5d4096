//! The simulated process's heap: the only place that makes events and gives out object identities.
//!
//! The model asks for blocks and gives them back; records come out. A [`Block`] can be neither
//! copied nor made elsewhere, and freeing takes it, so that the model cannot free an object twice or
//! use it afterwards. Between the two stand the layers of an interpreter, if the definition has one:
//! small objects go into its pools, of which only the arenas are malloc's, and an object that a cycle
//! holds is freed when its collector finds it.

use heaplab_trace::{ObjectId, Record, ThreadId};

use super::collector::{Birth, Collector, OLDEST};
use super::counts::HeapCounts;
use super::definition::{Definition, Runtime};
use super::distribution::Random;
use super::log::Log;
use super::pools::{Geometry, Pools};

/// A live object. Whoever holds it has to free it.
#[derive(Debug)]
pub(super) struct Block {
    place: Place,
    size: u64,
    birth: Birth,
    container: bool,
    /// Whether a cycle holds it: only a collection frees it.
    cyclic: bool,
}

/// Where an object lies.
#[derive(Debug, Clone, Copy)]
enum Place {
    Malloc(ObjectId),
    Pool(u32),
}

impl Block {
    /// Its requested size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// When it was born, as the collector counts.
    pub(super) fn birth(&self) -> Birth {
        self.birth
    }

    /// Whether the collector counts it.
    pub(super) fn is_container(&self) -> bool {
        self.container
    }
}

/// The heap of a simulated process.
#[derive(Debug)]
pub(super) struct Heap {
    log: Log,
    pools: Option<Pools>,
    collector: Option<Collector>,
    random: Random,
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
    /// It holds none, but what holds it may be part of a cycle.
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
            mapped_peak: 0,
            live_bytes: 0,
            counts: HeapCounts::default(),
        }
    }

    /// Sets the time of what follows. Time does not go back.
    #[inline]
    pub(super) fn set_time(&mut self, now_ns: u64) {
        self.log.set_time(now_ns);
    }

    /// A block of `size` bytes that no cycle holds, by `thread`.
    #[inline]
    pub(super) fn malloc(&mut self, thread: ThreadId, size: u64) -> Block {
        let place = self.place(thread, size);
        Block { place, size, birth: 0, container: false, cyclic: false }
    }

    /// An object that the collector knows of, by `thread`, who collects first if it is time.
    #[inline]
    pub(super) fn object(&mut self, thread: ThreadId, size: u64, kind: Kind) -> Block {
        let mut block = self.malloc(thread, size);
        let Some(collector) = &mut self.collector else { return block };
        block.container = kind == Kind::Container;
        if block.container
            && let Some(generation) = collector.count_container()
        {
            self.collect(thread, generation);
        }
        if let Some(collector) = &mut self.collector {
            block.birth = collector.take_in(block.container);
            block.cyclic = self.random.chance(collector.cyclic());
        }
        block
    }

    /// `realloc` of `block` to `size` by `thread`. An object in a pool may move, to another or to malloc;
    /// what is malloc's stays malloc's.
    #[inline]
    pub(super) fn realloc(&mut self, thread: ThreadId, block: &mut Block, size: u64) {
        match block.place {
            Place::Malloc(object) => {
                self.live_bytes = self.live_bytes - charge(block.size) + charge(size);
                self.log.realloc(thread, object, size);
            }
            Place::Pool(pool) if self.pools.as_ref().is_some_and(|pools| pools.stays(pool, size)) => {}
            place @ Place::Pool(_) => {
                block.place = self.place(thread, size);
                self.leave(thread, place, block.size);
            }
        }
        block.size = size;
    }

    /// Drops `block`: it is freed by `thread`, unless a cycle holds it.
    #[inline]
    pub(super) fn free(&mut self, thread: ThreadId, block: Block) {
        if let Some(collector) = &mut self.collector {
            if block.cyclic {
                self.counts.buried += 1;
                collector.bury(block);
                return;
            }
            if block.container {
                collector.forget_container(block.birth);
            }
        }
        self.leave(thread, block.place, block.size);
    }

    /// A request was answered: `thread` collects, if that is how the server does it.
    pub(super) fn end_request(&mut self, thread: ThreadId) {
        if self.collector.as_ref().is_some_and(Collector::collects_per_request) {
            self.collect(thread, OLDEST);
        }
    }

    /// The process ends in order: `thread` frees what is out of reach, whatever the collector's mode.
    pub(super) fn shut_down(&mut self, thread: ThreadId) {
        if self.collector.is_some() {
            self.collect(thread, OLDEST);
        }
    }

    /// Whether small objects of `size` bytes at most lie in pools, and are no events.
    pub(super) fn pools_serve(&self, size: u64) -> bool {
        self.pools.as_ref().is_some_and(|pools| pools.serves(size))
    }

    fn collect(&mut self, thread: ThreadId, generation: usize) {
        let Some(collector) = &mut self.collector else { return };
        let mut found = Vec::new();
        collector.collect(generation, &mut found);
        self.counts.collections[generation] += 1;
        self.counts.collected += found.len() as u64;
        for block in found {
            self.leave(thread, block.place, block.size);
        }
    }

    /// Finds a place for `size` bytes, in a pool or by malloc.
    #[inline]
    fn place(&mut self, thread: ThreadId, size: u64) -> Place {
        if let Some(pools) = &mut self.pools
            && pools.serves(size)
        {
            loop {
                if let Some(pool) = pools.allocate(size) {
                    return Place::Pool(pool);
                }
                let geometry = *pools.geometry();
                let by_malloc = geometry.arenas_by_malloc;
                self.live_bytes += geometry.arena_bytes;
                self.counts.arenas_taken += 1;
                pools.add_arena(by_malloc.then(|| self.log.malloc(thread, geometry.arena_bytes)));
                if !by_malloc && pools.held() > self.mapped_peak {
                    self.mapped_peak = pools.held();
                    let bytes = pools.held() * geometry.arena_bytes;
                    self.log.mark(&format!("arenas mapped: {} of {bytes} bytes", pools.held()));
                }
            }
        }
        self.live_bytes += charge(size);
        Place::Malloc(self.log.malloc(thread, size))
    }

    /// Takes an object of `size` bytes from its place.
    #[inline]
    fn leave(&mut self, thread: ThreadId, place: Place, size: u64) {
        match (place, &mut self.pools) {
            (Place::Malloc(object), _) => {
                self.live_bytes -= charge(size);
                self.log.free(thread, object);
            }
            (Place::Pool(pool), Some(pools)) => {
                if let Some(arena) = pools.free(pool) {
                    self.counts.arenas_freed += 1;
                    self.live_bytes -= pools.geometry().arena_bytes;
                    if let Some(object) = arena {
                        self.log.free(thread, object);
                    }
                }
            }
            // Only the pools give out places in them.
            (Place::Pool(_), None) => {}
        }
    }

    /// The process's initial thread, which was there before the trace.
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

    /// Takes the oldest record that was not yet read.
    #[inline]
    pub(super) fn take_record(&mut self) -> Option<Record> {
        self.log.take_record()
    }

    /// Records that wait to be read.
    #[inline]
    pub(super) fn pending(&self) -> usize {
        self.log.pending()
    }

    /// What the layers did so far.
    pub(super) fn counts(&self) -> &HeapCounts {
        &self.counts
    }

    /// Bytes that are live, arenas in place of what lies in them, an object counting as 16 at least: what
    /// bounds the simulation's own memory.
    #[inline]
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }
}

/// What an object counts against the heap's limit.
#[inline]
fn charge(size: u64) -> u64 {
    size.max(16)
}
