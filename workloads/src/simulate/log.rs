//! The records that the model has made and that have not been read yet.
//!
//! It assigns object and thread identities, and stamps each record with the current time. What an object is,
//! and whether it may be freed, only [`heap`](super::heap) knows.

use std::collections::VecDeque;

use heaplab_trace::{Action, Event, Mark, ObjectId, Record, ThreadId};

/// A queue of records.
#[derive(Debug, Default)]
pub(super) struct Log {
    pending: VecDeque<Record>,
    now_ns: u64,
    objects: u64,
    threads: u32,
}

impl Log {
    /// Sets the time of what follows. Time never goes back.
    #[inline]
    pub(super) fn set_time(&mut self, now_ns: u64) {
        debug_assert!(now_ns >= self.now_ns);
        self.now_ns = now_ns;
    }

    /// `malloc(size)` by `thread`.
    #[inline]
    pub(super) fn malloc(&mut self, thread: ThreadId, size: u64) -> ObjectId {
        let object = self.objects;
        self.objects += 1;
        self.event(thread, Action::Malloc { object, size });
        object
    }

    /// `realloc` of `object` to `size` by `thread`.
    #[inline]
    pub(super) fn realloc(&mut self, thread: ThreadId, object: ObjectId, size: u64) {
        self.event(thread, Action::Realloc { object, size });
    }

    /// `free` of `object` by `thread`.
    #[inline]
    pub(super) fn free(&mut self, thread: ThreadId, object: ObjectId) {
        self.event(thread, Action::Free { object });
    }

    /// A new thread with its name.
    pub(super) fn start_thread(&mut self, name: &str) -> ThreadId {
        self.event(self.threads, Action::ThreadStart);
        self.name_thread(name)
    }

    /// The next thread's name.
    pub(super) fn name_thread(&mut self, name: &str) -> ThreadId {
        let thread = self.threads;
        self.threads += 1;
        self.pending.push_back(Record::ThreadName { thread, name: name.to_string() });
        thread
    }

    /// The end of `thread`.
    pub(super) fn end_thread(&mut self, thread: ThreadId) {
        self.event(thread, Action::ThreadEnd);
    }

    /// A named moment.
    pub(super) fn mark(&mut self, name: &str) {
        self.pending.push_back(Record::Mark(Mark { time_ns: self.now_ns, name: name.to_string() }));
    }

    /// Takes the oldest record.
    #[inline]
    pub(super) fn take_record(&mut self) -> Option<Record> {
        self.pending.pop_front()
    }

    /// Records waiting to be read.
    #[inline]
    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    #[inline]
    fn event(&mut self, thread: ThreadId, action: Action) {
        self.pending.push_back(Record::Event(Event { time_ns: self.now_ns, thread, action }));
    }
}
