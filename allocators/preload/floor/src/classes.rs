//! Size classes: from a requested size to a class, and back to the bytes that a block of it holds.
//!
//! Pure arithmetic. Steps of 16 bytes up to 1 KiB, then four classes to each doubling, so that at most a
//! fifth of a large block is unused.

/// Every block's address and size are multiples of this.
pub(crate) const GRAIN_BYTES: usize = 16;
/// The largest size that has a class; no machine can serve more.
pub(crate) const LARGEST_BYTES: usize = 1 << 46;
/// How many classes there are.
pub(crate) const CLASSES: usize = SMALL_CLASSES + (46 - SMALL_SHIFT as usize) * 4;

/// Sizes up to this have classes in steps of 16 bytes.
const SMALL_SHIFT: u32 = 10;
/// Classes 0 (also 16 bytes: the size 0) to 64 (1 KiB).
const SMALL_CLASSES: usize = (1 << SMALL_SHIFT) / GRAIN_BYTES + 1;
/// What one thread's list of a class may hold, in bytes and in blocks, before it is given away.
const LIST_BYTES: usize = 128 << 10;
const LIST_BLOCKS: usize = 256;

/// The class that serves `size`, which must not exceed [`LARGEST_BYTES`].
#[inline(always)]
pub(crate) const fn class_of(size: usize) -> usize {
    if size <= 1 << SMALL_SHIFT {
        return size.wrapping_add(GRAIN_BYTES - 1) / GRAIN_BYTES;
    }
    let last = size.wrapping_sub(1);
    let exponent = usize::BITS - 1 - last.leading_zeros();
    let quarter = (last >> exponent.wrapping_sub(2)) & 3;
    SMALL_CLASSES
        .wrapping_add((exponent.wrapping_sub(SMALL_SHIFT) as usize).wrapping_mul(4))
        .wrapping_add(quarter)
}

/// Bytes that a block of `class` holds.
#[inline(always)]
pub(crate) const fn class_bytes(class: usize) -> usize {
    if class < SMALL_CLASSES {
        return if class == 0 { GRAIN_BYTES } else { class.wrapping_mul(GRAIN_BYTES) };
    }
    let above = class.wrapping_sub(SMALL_CLASSES);
    let exponent = (above / 4).wrapping_add(SMALL_SHIFT as usize);
    (1usize << exponent).wrapping_add(((above % 4).wrapping_add(1)) << (exponent.wrapping_sub(2)))
}

/// Blocks from this size on are never kept by a thread: they go to the pool, and the next thread takes the
/// block that was freed last. Kept by 25 threads, large payloads took fresh pages for each thread, and the floor
/// measured page faults.
const SHARED_BYTES: usize = 16 << 10;

/// Blocks of `class` that one list of a thread may hold; 0 for those that all threads share.
#[inline(always)]
pub(crate) const fn list_limit(class: usize) -> usize {
    let blocks = LIST_BYTES / class_bytes(class);
    if class_bytes(class) >= SHARED_BYTES {
        0
    } else if blocks < 2 {
        2
    } else if blocks > LIST_BLOCKS {
        LIST_BLOCKS
    } else {
        blocks
    }
}
