//! Blocks by size: how many calls requested each, and what is in such blocks at one moment. By usable size, which is
//! the allocator's own division, and by requested size, which is the same under every allocator.
//!
//! Filled by the memory pass after each call; on shared mappings, like all tables of the harness.

use std::sync::atomic::{AtomicU64, Ordering};

use super::classes::{Classes, REQUESTED, USABLE};
use super::job::{RequestClass, SizeClass};
use super::mapping::Table;
use super::tables::Slots;

/// The totals of a replay's calls, by class.
pub(super) struct Sizes {
    by_usable: Sums,
    by_requested: Sums,
}

/// Calls, and bytes of the other kind: bytes requested by calls of a usable size, or usable bytes that calls
/// of a requested size got.
struct Sums {
    calls: Table<AtomicU64>,
    bytes: Table<AtomicU64>,
}

impl Sums {
    fn new(classes: Classes) -> Result<Sums, usize> {
        Ok(Sums { calls: Table::new(classes.count())?, bytes: Table::new(classes.count())? })
    }

    #[inline]
    fn add(&self, class: usize, bytes: u64) {
        self.calls[class].fetch_add(1, Ordering::Relaxed);
        self.bytes[class].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Every class that has calls: its number, the calls and the bytes.
    fn used(&self) -> impl Iterator<Item = (usize, u64, u64)> {
        let read = |table: &Table<AtomicU64>, class: usize| table[class].load(Ordering::Relaxed);
        let classes = (0..self.calls.len())
            .map(move |class| (class, read(&self.calls, class), read(&self.bytes, class)));
        classes.filter(|(_, calls, _)| *calls > 0)
    }
}

impl Sizes {
    pub(super) fn new() -> Result<Sizes, usize> {
        Ok(Sizes { by_usable: Sums::new(USABLE)?, by_requested: Sums::new(REQUESTED)? })
    }

    /// Calls until now no longer count.
    pub(super) fn forget(&self) {
        for sums in [&self.by_usable, &self.by_requested] {
            sums.calls.iter().chain(sums.bytes.iter()).for_each(|count| count.store(0, Ordering::Relaxed));
        }
    }

    /// A call got a block.
    #[inline]
    pub(super) fn count(&self, requested_bytes: u64, usable_bytes: u64) {
        self.by_usable.add(USABLE.class_of(usable_bytes), requested_bytes);
        self.by_requested.add(REQUESTED.class_of(requested_bytes), usable_bytes);
    }

    /// Every usable size that was returned, with its live blocks as counted by [`count_live`].
    pub(super) fn read(&self, live: &LiveBlocks) -> Vec<SizeClass> {
        let row = |(class, calls, requested_bytes)| {
            let live = live.by_usable.get(class).copied().unwrap_or_default();
            SizeClass {
                usable_bytes: USABLE.largest_of(class),
                calls,
                requested_bytes,
                live_blocks: live.blocks,
                live_requested_bytes: live.requested_bytes,
                live_usable_bytes: live.usable_bytes,
            }
        };
        self.by_usable.used().map(row).collect()
    }

    /// The same for every size that was requested.
    pub(super) fn read_requests(&self, live: &LiveBlocks) -> Vec<RequestClass> {
        let row = |(class, calls, usable_bytes)| {
            let live = live.by_requested.get(class).copied().unwrap_or_default();
            RequestClass {
                requested_bytes: REQUESTED.largest_of(class),
                calls,
                usable_bytes,
                live_blocks: live.blocks,
                live_requested_bytes: live.requested_bytes,
                live_usable_bytes: live.usable_bytes,
            }
        };
        self.by_requested.used().map(row).collect()
    }
}

/// The live blocks of a class.
#[derive(Debug, Clone, Copy, Default)]
struct Live {
    blocks: u64,
    requested_bytes: u64,
    usable_bytes: u64,
}

/// Live blocks by class.
#[derive(Debug, Default)]
pub(super) struct LiveBlocks {
    by_usable: Vec<Live>,
    by_requested: Vec<Live>,
}

/// The live objects of a memory pass at rest.
pub(super) fn count_live(slots: &Slots) -> LiveBlocks {
    let mut live = LiveBlocks {
        by_usable: vec![Live::default(); USABLE.count()],
        by_requested: vec![Live::default(); REQUESTED.count()],
    };
    for (size, usable) in slots.sizes.iter().zip(slots.notes.iter()) {
        // One more than was requested; 0 if there is no object.
        let size = size.load(Ordering::Relaxed);
        if size > 0 {
            let (requested, usable) = (size - 1, usable.load(Ordering::Relaxed));
            let classes = [
                &mut live.by_usable[USABLE.class_of(usable)],
                &mut live.by_requested[REQUESTED.class_of(requested)],
            ];
            for class in classes {
                class.blocks += 1;
                class.requested_bytes += requested;
                class.usable_bytes += usable;
            }
        }
    }
    live
}
