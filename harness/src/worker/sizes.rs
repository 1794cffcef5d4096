//! Blocks by their usable size: how many calls asked for each size, and what lies in such blocks at one moment.
//!
//! Filled by the memory pass behind each call; on shared mappings, as all tables of the harness.

use std::sync::atomic::{AtomicU64, Ordering};

use super::job::SizeClass;
use super::mapping::Table;
use super::tables::Slots;

/// Up to this size each multiple of [`STEP_BYTES`] is a class of its own; beyond, each doubling has eight.
const EXACT_BYTES: u64 = 32 << 10;
const STEP_BYTES: u64 = 8;
const EXACT_CLASSES: usize = (EXACT_BYTES / STEP_BYTES) as usize + 1;
/// Binary logarithm of [`EXACT_BYTES`].
const EXACT_BITS: u32 = 15;
const CLASSES: usize = EXACT_CLASSES + (u64::BITS - EXACT_BITS) as usize * 8;

/// What the calls of a replay came to, by class.
pub(super) struct Sizes {
    calls: Table<AtomicU64>,
    requested_bytes: Table<AtomicU64>,
}

impl Sizes {
    pub(super) fn new() -> Result<Sizes, usize> {
        Ok(Sizes { calls: Table::new(CLASSES)?, requested_bytes: Table::new(CLASSES)? })
    }

    /// A call got a block.
    #[inline]
    pub(super) fn count(&self, requested_bytes: u64, usable_bytes: u64) {
        let class = class_of(usable_bytes);
        self.calls[class].fetch_add(1, Ordering::Relaxed);
        self.requested_bytes[class].fetch_add(requested_bytes, Ordering::Relaxed);
    }

    /// Every class that was asked for, with what is live in it as [`count_live`] found.
    pub(super) fn read(&self, live: &[Live]) -> Vec<SizeClass> {
        let read = |table: &Table<AtomicU64>, class: usize| table[class].load(Ordering::Relaxed);
        let classes = (0..CLASSES).map(|class| {
            let live = live.get(class).copied().unwrap_or_default();
            SizeClass {
                usable_bytes: largest_of(class),
                calls: read(&self.calls, class),
                requested_bytes: read(&self.requested_bytes, class),
                live_blocks: live.blocks,
                live_requested_bytes: live.requested_bytes,
                live_usable_bytes: live.usable_bytes,
            }
        });
        classes.filter(|class| class.calls > 0).collect()
    }
}

/// The live blocks of a class.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Live {
    blocks: u64,
    requested_bytes: u64,
    usable_bytes: u64,
}

/// The live objects of a memory pass at rest, by class.
pub(super) fn count_live(slots: &Slots) -> Vec<Live> {
    let mut live = vec![Live::default(); CLASSES];
    for (size, usable) in slots.sizes.iter().zip(slots.notes.iter()) {
        // One more than was requested; 0 where no object is.
        let size = size.load(Ordering::Relaxed);
        if size > 0 {
            let usable = usable.load(Ordering::Relaxed);
            let class = &mut live[class_of(usable)];
            class.blocks += 1;
            class.requested_bytes += size - 1;
            class.usable_bytes += usable;
        }
    }
    live
}

fn class_of(usable_bytes: u64) -> usize {
    if usable_bytes <= EXACT_BYTES {
        return usable_bytes.div_ceil(STEP_BYTES) as usize;
    }
    let below = usable_bytes - 1;
    let bits = u64::BITS - 1 - below.leading_zeros();
    let eighth = (below >> (bits - 3)) & 7;
    EXACT_CLASSES + ((bits - EXACT_BITS) as usize * 8 + eighth as usize)
}

/// The largest size of a class.
fn largest_of(class: usize) -> u64 {
    match class.checked_sub(EXACT_CLASSES) {
        None => class as u64 * STEP_BYTES,
        Some(beyond) => {
            let (bits, eighth) = (EXACT_BITS as usize + beyond / 8, beyond as u64 % 8);
            (1u64 << bits).saturating_add((eighth + 1).saturating_mul(1 << (bits - 3)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_holds_its_largest_size_and_not_the_next() {
        for class in 1..CLASSES - 1 {
            let largest = largest_of(class);
            assert_eq!((class_of(largest), class_of(largest + 1)), (class, class + 1), "{largest}");
        }
        assert_eq!(class_of(0), 0);
        assert_eq!(class_of(u64::MAX), CLASSES - 1);
        assert_eq!([24, 1_032, 40_000].map(class_of).map(largest_of), [24, 1_032, 40_960]);
    }
}
