//! The pattern's heap: the only place that makes events and assigns object identities.
//!
//! A [`Block`] can be neither copied nor made elsewhere, and freeing consumes it: no pattern can free an
//! object twice or use it afterwards. Patterns have no clock: an event's time is its index.

use std::collections::VecDeque;

use heaplab_trace::{Action, Event, ObjectId, Record, ThreadId};

/// The initial thread, which existed before the trace and does not end.
pub(crate) const MAIN: ThreadId = 0;

/// A live object.
#[derive(Debug)]
pub(crate) struct Block {
    object: ObjectId,
    size: u64,
}

/// The records that have been made but not read yet, and the totals of what is live.
#[derive(Debug)]
pub(crate) struct Heap {
    pending: VecDeque<Record>,
    events: u64,
    objects: u64,
    freed: u64,
    threads: u32,
    live_bytes: u64,
}

impl Heap {
    /// A heap of a process that has only its initial thread.
    pub(crate) fn new() -> Heap {
        let main = Record::ThreadName { thread: MAIN, name: "main".to_string() };
        Heap { pending: VecDeque::from([main]), events: 0, objects: 0, freed: 0, threads: 1, live_bytes: 0 }
    }

    /// `malloc(size)` by `thread`.
    #[inline]
    pub(crate) fn malloc(&mut self, thread: ThreadId, size: u64) -> Block {
        let block = self.begin(size);
        self.event(thread, Action::Malloc { object: block.object, size });
        block
    }

    /// `calloc(1, size)` by `thread`.
    #[inline]
    pub(crate) fn calloc(&mut self, thread: ThreadId, size: u64) -> Block {
        let block = self.begin(size);
        self.event(thread, Action::Calloc { object: block.object, size });
        block
    }

    /// `aligned_alloc(alignment, size)` by `thread`; the alignment is a power of two.
    #[inline]
    pub(crate) fn aligned_alloc(&mut self, thread: ThreadId, alignment: u64, size: u64) -> Block {
        let block = self.begin(size);
        self.event(thread, Action::AlignedAlloc { object: block.object, size, alignment });
        block
    }

    /// `free` of `block` by `thread`.
    #[inline]
    pub(crate) fn free(&mut self, thread: ThreadId, block: Block) {
        self.freed += 1;
        self.live_bytes -= block.size;
        self.event(thread, Action::Free { object: block.object });
    }

    /// `free` of `block`, then `malloc(size)` in its place, both by `thread`.
    #[inline]
    pub(crate) fn replace(&mut self, thread: ThreadId, block: &mut Block, size: u64) {
        self.freed += 1;
        self.live_bytes -= block.size;
        self.event(thread, Action::Free { object: block.object });
        *block = self.malloc(thread, size);
    }

    /// Work on the whole of `block` by `thread`, repeated this many times; nothing if that is 0.
    #[inline]
    pub(crate) fn work(&mut self, thread: ThreadId, block: &Block, repeats: u64) {
        if repeats > 0 {
            let repeats = u32::try_from(repeats).unwrap_or(u32::MAX);
            let action = Action::Work { object: block.object, bytes: block.size, repeats };
            let time_ns = self.events.saturating_sub(1);
            self.pending.push_back(Record::Event(Event { time_ns, thread, action }));
        }
    }

    /// A new thread.
    pub(crate) fn start_thread(&mut self) -> ThreadId {
        let thread = self.threads;
        self.threads += 1;
        self.event(thread, Action::ThreadStart);
        thread
    }

    /// This many new threads.
    pub(crate) fn start_threads(&mut self, count: u64) -> Vec<ThreadId> {
        (0..count).map(|_| self.start_thread()).collect()
    }

    /// The end of `thread`.
    pub(crate) fn end_thread(&mut self, thread: ThreadId) {
        self.event(thread, Action::ThreadEnd);
    }

    /// Takes the oldest record that has not been read yet.
    #[inline]
    pub(crate) fn take_record(&mut self) -> Option<Record> {
        self.pending.pop_front()
    }

    /// Live bytes.
    #[inline]
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// Live objects.
    #[inline]
    pub(crate) fn live_objects(&self) -> u64 {
        self.objects - self.freed
    }

    /// Events made so far.
    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    #[inline]
    fn begin(&mut self, size: u64) -> Block {
        let object = self.objects;
        self.objects += 1;
        self.live_bytes += size;
        Block { object, size }
    }

    #[inline]
    fn event(&mut self, thread: ThreadId, action: Action) {
        self.pending.push_back(Record::Event(Event { time_ns: self.events, thread, action }));
        self.events += 1;
    }
}
