//! Blocks that each lie in their own mapping.
//!
//! ```text
//! mapping: [ ... | bytes of the mapping | MAGIC ][ block ... ]
//! ```

use core::ffi::c_void;
use core::ptr;

/// Bytes of a page. NOTE: if pages are larger, mappings have several of these, which does no harm.
pub(crate) const PAGE_BYTES: usize = 4096;
/// Bytes before a block.
const HEAD_BYTES: usize = 2 * size_of::<usize>();
/// A value in the place of the size of a C library chunk, which is never a size.
const MAGIC: usize = 0x6865_6170_6c61_6221;

/// A block in its own mapping. `alignment` is a power of two of at least 16 and at most [`PAGE_BYTES`].
pub(crate) fn map(alignment: usize, bytes: usize) -> Option<*mut c_void> {
    let length = bytes.checked_add(alignment)?.checked_next_multiple_of(PAGE_BYTES)?;
    // SAFETY: a fresh mapping touches nothing that exists.
    let base = unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), length, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if base == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the mapping is longer than the alignment, which is at least as long as the head.
    unsafe {
        let object = base.byte_add(alignment);
        object.cast::<usize>().sub(2).write(length);
        object.cast::<usize>().sub(1).write(MAGIC);
        Some(object)
    }
}

/// Whether a block was made by [`map`].
///
/// # Safety
/// `object` is a block of this library, and has not been freed.
pub(crate) unsafe fn is_mapped(object: *mut c_void) -> bool {
    // SAFETY: the word before every block is its allocator's.
    unsafe { object.cast::<usize>().sub(1).read() == MAGIC }
}

/// Where the mapping of a block begins, and its bytes.
///
/// # Safety
/// `object` was made by [`map`], and has not been freed.
unsafe fn mapping_of(object: *mut c_void) -> (*mut c_void, usize) {
    // SAFETY: the caller keeps the contract. The head lies in the mapping's first page.
    unsafe {
        let head = object.byte_sub(HEAD_BYTES);
        let base = head.byte_sub(head as usize % PAGE_BYTES);
        (base, head.cast::<usize>().read())
    }
}

/// # Safety
/// `object` was made by [`map`], and has not been freed.
pub(crate) unsafe fn usable_bytes(object: *mut c_void) -> usize {
    // SAFETY: the caller keeps the contract.
    let (base, length) = unsafe { mapping_of(object) };
    length - (object as usize - base as usize)
}

/// Whether a block of this many bytes would have a mapping of the same length.
///
/// # Safety
/// `object` was made by [`map`], and has not been freed.
pub(crate) unsafe fn fits(object: *mut c_void, bytes: usize) -> bool {
    // SAFETY: the caller keeps the contract.
    let usable_bytes = unsafe { usable_bytes(object) };
    bytes <= usable_bytes && bytes > usable_bytes.saturating_sub(PAGE_BYTES)
}

/// # Safety
/// `object` was made by [`map`], and has not been freed. It is gone afterwards.
pub(crate) unsafe fn unmap(object: *mut c_void) {
    // SAFETY: the caller keeps the contract, and the mapping is this block's alone.
    unsafe {
        let (base, length) = mapping_of(object);
        libc::munmap(base, length);
    }
}
