//! The simulated process's heap: the only place that makes events and gives out object identities.
//!
//! The model asks for blocks and gives them back; records come out. A [`Block`] can be neither
//! copied nor made elsewhere, and freeing takes it, so that the model cannot free an object twice or
//! use it afterwards. A layer of an interpreter's own pools would stand here, between the model's
//! calls and the events.

use std::collections::VecDeque;

use heaplab_trace::{Action, Event, Mark, ObjectId, Record, ThreadId};

/// A live object. Whoever holds it has to free it.
#[derive(Debug)]
pub(super) struct Block {
    object: ObjectId,
    size: u64,
}

impl Block {
    /// Its requested size in bytes.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// The records that were made and not yet read, and the totals of what is live.
#[derive(Debug, Default)]
pub(super) struct Heap {
    pending: VecDeque<Record>,
    /// Time of the events that are made now.
    now_ns: u64,
    objects: u64,
    threads: u32,
    live_bytes: u64,
}

impl Heap {
    /// Sets the time of what follows. Time does not go back.
    #[inline]
    pub(super) fn set_time(&mut self, now_ns: u64) {
        debug_assert!(now_ns >= self.now_ns);
        self.now_ns = now_ns;
    }

    /// `malloc(size)` by `thread`.
    #[inline]
    pub(super) fn malloc(&mut self, thread: ThreadId, size: u64) -> Block {
        let object = self.objects;
        self.objects += 1;
        self.live_bytes += charge(size);
        self.event(thread, Action::Malloc { object, size });
        Block { object, size }
    }

    /// `realloc` of `block` to `size` by `thread`.
    #[inline]
    pub(super) fn realloc(&mut self, thread: ThreadId, block: &mut Block, size: u64) {
        self.live_bytes = self.live_bytes - charge(block.size) + charge(size);
        block.size = size;
        self.event(thread, Action::Realloc { object: block.object, size });
    }

    /// `free` of `block` by `thread`.
    #[inline]
    pub(super) fn free(&mut self, thread: ThreadId, block: Block) {
        self.live_bytes -= charge(block.size);
        self.event(thread, Action::Free { object: block.object });
    }

    /// The process's initial thread, which was there before the trace.
    pub(super) fn initial_thread(&mut self, name: &str) -> ThreadId {
        self.name_thread(name)
    }

    /// A new thread with its name.
    pub(super) fn start_thread(&mut self, name: &str) -> ThreadId {
        self.event(self.threads, Action::ThreadStart);
        self.name_thread(name)
    }

    /// The end of `thread`.
    pub(super) fn end_thread(&mut self, thread: ThreadId) {
        self.event(thread, Action::ThreadEnd);
    }

    /// A named moment.
    pub(super) fn mark(&mut self, name: &str) {
        self.pending.push_back(Record::Mark(Mark { time_ns: self.now_ns, name: name.to_string() }));
    }

    /// Takes the oldest record that was not yet read.
    #[inline]
    pub(super) fn take_record(&mut self) -> Option<Record> {
        self.pending.pop_front()
    }

    /// Records that wait to be read.
    #[inline]
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Bytes that are live, an object counting as 16 at least: what bounds the simulation's own memory.
    #[inline]
    pub(super) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    fn name_thread(&mut self, name: &str) -> ThreadId {
        let thread = self.threads;
        self.threads += 1;
        self.pending.push_back(Record::ThreadName { thread, name: name.to_string() });
        thread
    }

    #[inline]
    fn event(&mut self, thread: ThreadId, action: Action) {
        self.pending.push_back(Record::Event(Event { time_ns: self.now_ns, thread, action }));
    }
}

/// What an object counts against the heap's limit.
#[inline]
fn charge(size: u64) -> u64 {
    size.max(16)
}
