//! The C library's own functions, by the names that no preloaded library overrides.

use core::ffi::c_void;

unsafe extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(object: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    fn __libc_free(object: *mut c_void);
}

/// A bit of a chunk's size: it has its own mapping.
const IS_MAPPED: usize = 2;
/// All bits of a chunk's size that say something else.
const FLAGS: usize = 7;

pub(crate) fn malloc(size: usize) -> *mut c_void {
    // SAFETY: it has no preconditions.
    unsafe { __libc_malloc(size) }
}

pub(crate) fn calloc(size: usize) -> *mut c_void {
    // SAFETY: it has no preconditions.
    unsafe { __libc_calloc(1, size) }
}

/// # Safety
/// `object` is the C library's, and has not been freed.
pub(crate) unsafe fn realloc(object: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller keeps the contract.
    unsafe { __libc_realloc(object, size) }
}

/// The alignment is a power of two.
pub(crate) fn memalign(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: it has no other preconditions.
    unsafe { __libc_memalign(alignment, size) }
}

/// # Safety
/// `object` is the C library's, and has not been freed.
pub(crate) unsafe fn free(object: *mut c_void) {
    // SAFETY: the caller keeps the contract.
    unsafe { __libc_free(object) }
}

/// Bytes of the block, as the C library counts them: its size is stored before it, and the next chunk's first
/// word belongs to it unless it has its own mapping. The function of that name cannot be called, because this
/// library replaces it.
///
/// # Safety
/// `object` is the C library's, and has not been freed.
pub(crate) unsafe fn usable_bytes(object: *mut c_void) -> usize {
    // SAFETY: a chunk's size is the word before its block.
    let size = unsafe { object.cast::<usize>().sub(1).read() };
    let head_bytes = if size & IS_MAPPED == 0 { size_of::<usize>() } else { 2 * size_of::<usize>() };
    (size & !FLAGS).saturating_sub(head_bytes)
}
