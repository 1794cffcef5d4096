//! The tables that a replay writes to besides the heap under test: slots and threads, on shared mappings.

use std::sync::atomic::{AtomicI64, AtomicPtr, AtomicU32, AtomicU64};

use super::mapping::{Table, Zeroed};

/// Where an object's pointer is kept, by slot.
pub(super) struct Slots {
    /// The pointer; null while the slot is empty.
    pub(super) pointers: Table<AtomicPtr<libc::c_void>>,
    /// How often an operation was published, times two; the lowest bit says that a thread sleeps on it.
    pub(super) generations: Table<AtomicU32>,
    /// Memory pass: usable bytes. Check pass: the pattern's seed. Otherwise empty.
    pub(super) notes: Table<AtomicU64>,
    /// Memory and check pass: requested bytes plus one, 0 while the slot is empty. Otherwise empty.
    pub(super) sizes: Table<AtomicU64>,
}

impl Slots {
    /// Tables of `count` slots; `noted` for passes that keep more than a pointer.
    pub(super) fn new(count: u32, noted: bool) -> Result<Slots, usize> {
        let (count, noted) = (count as usize, if noted { count as usize } else { 0 });
        // Every slot is used, or it would not exist: its pages are allocated now, not in the timed part.
        Ok(Slots {
            pointers: Table::populated(count)?,
            generations: Table::populated(count)?,
            notes: Table::populated(noted)?,
            sizes: Table::populated(noted)?,
        })
    }
}

/// A replayed thread, on its own cache lines: other threads write `offered`.
#[repr(C, align(128))]
pub(super) struct ThreadState {
    /// Segments offered so far, times two; the lowest bit says that the thread sleeps on it.
    pub(super) offered: AtomicU32,
    /// Whether the thread was created.
    pub(super) started: AtomicU32,
    /// Whether the thread has executed its last segment.
    pub(super) ended: AtomicU32,
    /// The segments offered but not taken yet, each at its number modulo four: at most two windows are in
    /// flight.
    pub(super) inbox: [Offer; 4],
}

/// A segment to be executed. The thread that offers it writes it, and the thread that it is offered to then
/// reads it.
#[derive(Default)]
pub(super) struct Offer {
    /// What it is: one of the numbers below.
    pub(super) kind: AtomicU32,
    /// Number of the window, modulo 2^32.
    pub(super) window: AtomicU32,
    /// Addresses of its first operation and of the end of its last.
    pub(super) begin: AtomicU64,
    pub(super) end: AtomicU64,
    /// How much it changes the requested bytes, and the most by which it raises them along the way.
    pub(super) requested_change: AtomicI64,
    pub(super) requested_peak: AtomicU64,
}

impl Offer {
    /// A segment.
    pub(super) const SEGMENT: u32 = 0;
    /// A segment after which the thread exits.
    pub(super) const LAST_SEGMENT: u32 = 1;
    /// Instead of a segment: the phase is over.
    pub(super) const END: u32 = 2;
    /// Instead of a segment: the thread's part of the allocator's purge.
    pub(super) const PURGE: u32 = 3;
    /// Instead of a segment: the initial thread forks the stand-in for the process's parent.
    pub(super) const FORK: u32 = 4;
}

// SAFETY: all zeros are a thread that has not been created and has been offered nothing; every field is
// atomic.
unsafe impl Zeroed for ThreadState {}
