//! What a replay writes to besides the heap under test: slots and threads, on shared mappings.

use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64};

use super::mapping::{Table, Zeroed};

/// Where an object's pointer is kept, by slot.
pub(super) struct Slots {
    /// The pointer; null while the slot is empty.
    pub(super) pointers: Table<AtomicPtr<libc::c_void>>,
    /// How often an operation was published, times two; the lowest bit says that a thread sleeps on it.
    pub(super) generations: Table<AtomicU32>,
    /// Memory pass: usable bytes. Check pass: the pattern's seed. Else of length 0.
    pub(super) notes: Table<AtomicU64>,
    /// Memory pass: requested bytes. Else of length 0.
    pub(super) sizes: Table<AtomicU64>,
}

impl Slots {
    /// Tables of `count` slots; `noted` for passes that keep more than a pointer.
    pub(super) fn new(count: u32, noted: bool) -> Result<Slots, usize> {
        let (count, noted) = (count as usize, if noted { count as usize } else { 0 });
        // Every slot is used, or it would not be there: its pages are made now, not in what is timed.
        Ok(Slots {
            pointers: Table::populated(count)?,
            generations: Table::populated(count)?,
            notes: Table::populated(noted)?,
            sizes: Table::populated(noted)?,
        })
    }
}

/// A replayed thread. On cache lines of its own: `offered` is written by other threads.
#[repr(C, align(128))]
pub(super) struct ThreadState {
    /// Segments offered so far, times two; the lowest bit says that the thread sleeps on it.
    pub(super) offered: AtomicU32,
    /// Whether the thread was created.
    pub(super) started: AtomicU32,
    /// Whether the thread has executed its last segment.
    pub(super) ended: AtomicU32,
    /// The segments offered and not yet taken, at their number modulo four: at most two windows are in flight.
    pub(super) inbox: [Offer; 4],
}

/// A segment to be executed.
#[derive(Default)]
pub(super) struct Offer {
    /// Address of the block.
    pub(super) block: AtomicU64,
    /// Index of the segment, [`Offer::PURGE`] or [`Offer::END`].
    pub(super) segment: AtomicU32,
    /// Number of the window, modulo 2^32.
    pub(super) window: AtomicU32,
}

impl Offer {
    /// Instead of a segment: the phase is over.
    pub(super) const END: u32 = u32::MAX;
    /// Instead of a segment: the thread's part of the allocator's purge.
    pub(super) const PURGE: u32 = u32::MAX - 1;
}

// SAFETY: all zeros are a thread that was not created and was offered nothing; every field is atomic.
unsafe impl Zeroed for ThreadState {}
