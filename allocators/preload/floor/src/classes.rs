//! Size classes: from a requested size to a class, and back to the bytes that a block of it holds.
//!
//! Pure arithmetic. Steps of 16 bytes up to 1 KiB, then four classes per doubling, so that at most a fifth of
//! a large block is unused. A second series, the powers of two, serves aligned allocations: each of its
//! blocks lies at a multiple of its own size. A class fits in a byte.

/// Every block's address and size are multiples of this.
pub(crate) const GRAIN_BYTES: usize = 16;
/// The largest size that has a class; no machine serves more.
pub(crate) const LARGEST_BYTES: usize = 1 << LARGEST_SHIFT;
/// How many classes there are.
pub(crate) const CLASSES: usize = FIRST_ALIGNED + (LARGEST_SHIFT - ALIGNED_SHIFT) as usize + 1;

const LARGEST_SHIFT: u32 = 40;
/// Sizes up to this have classes in steps of 16 bytes.
const SMALL_SHIFT: u32 = 10;
/// Classes 0 (also 16 bytes: the size 0) to 64 (1 KiB).
const SMALL_CLASSES: usize = (1 << SMALL_SHIFT) / GRAIN_BYTES + 1;
/// The first class of aligned blocks, and the binary logarithm of their size.
const FIRST_ALIGNED: usize = SMALL_CLASSES + (LARGEST_SHIFT - SMALL_SHIFT) as usize * 4;
const ALIGNED_SHIFT: u32 = 5;

/// What one thread's magazine of a class may hold, in bytes and in blocks, before it is given away.
const MAGAZINE_BYTES: usize = 128 << 10;
const MAGAZINE_BLOCKS: usize = 127;

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

/// The class whose blocks have `size` bytes and lie at multiples of `alignment`, a power of two; none if no
/// machine serves it.
pub(crate) const fn aligned_class_of(alignment: usize, size: usize) -> Option<usize> {
    if alignment > LARGEST_BYTES || size > LARGEST_BYTES {
        return None;
    }
    let least = if size > alignment { size } else { alignment };
    let shift = least.next_power_of_two().trailing_zeros();
    let above = if shift > ALIGNED_SHIFT { shift.wrapping_sub(ALIGNED_SHIFT) } else { 0 };
    Some(FIRST_ALIGNED.wrapping_add(above as usize))
}

/// Bytes that a block of `class` holds.
#[inline(always)]
pub(crate) const fn class_bytes(class: usize) -> usize {
    if class < SMALL_CLASSES {
        return if class == 0 { GRAIN_BYTES } else { class.wrapping_mul(GRAIN_BYTES) };
    }
    if class >= FIRST_ALIGNED {
        return 1 << (class.wrapping_sub(FIRST_ALIGNED)).wrapping_add(ALIGNED_SHIFT as usize);
    }
    let above = class.wrapping_sub(SMALL_CLASSES);
    let exponent = (above / 4).wrapping_add(SMALL_SHIFT as usize);
    (1usize << exponent).wrapping_add(((above % 4).wrapping_add(1)) << (exponent.wrapping_sub(2)))
}

/// The alignment of blocks of `class`.
pub(crate) const fn class_alignment(class: usize) -> usize {
    if class >= FIRST_ALIGNED { class_bytes(class) } else { GRAIN_BYTES }
}

/// Blocks of `class` that one magazine holds.
pub(crate) const fn magazine_blocks(class: usize) -> usize {
    let blocks = MAGAZINE_BYTES / class_bytes(class);
    if blocks < 1 {
        1
    } else if blocks > MAGAZINE_BLOCKS {
        MAGAZINE_BLOCKS
    } else {
        blocks
    }
}
