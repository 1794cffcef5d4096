//! A shared library that serves the malloc family with rpmalloc, for LD_PRELOAD.
//!
//! rpmalloc is compiled in as for its own preload library: with the constructor that starts it and the
//! `pthread_create` that gives each new thread a heap and takes it back when the thread ends (`malloc.c`).
//! Functions here are one jump to rpmalloc's, or written here if rpmalloc's is wrong or missing: calloc and
//! reallocarray with an overflowing product, realloc and memalign of a size near the largest (its own return
//! the old block and a small one), pvalloc, the C++ operators. It is built with ENABLE_VALIDATE_ARGS, without
//! which malloc of such a size returns a small block.
//!
//! An alignment of 64 KiB (its span) or more is refused: NULL.
//!
//! Settings: rpmalloc has none that can be given when a program starts.

// A jump declares its target without arguments.
#![allow(clashing_extern_declarations)]

use core::ffi::{CStr, c_char, c_void};

// Linked, and not called by its Rust names.
use rpmalloc_sys as _;

#[path = "../../../preload/family.rs"]
#[macro_use]
mod family;
#[path = "../../../preload/forward.rs"]
#[macro_use]
mod forward;
#[path = "../../operators.rs"]
#[macro_use]
mod operators;

use family::refuse;

forward! {
    /// `malloc(3)`.
    malloc => rpmalloc,
    /// `free(3)`.
    free => rpfree,
    /// `cfree`, an old name of `free`.
    cfree => rpfree,
    /// C23's `free_sized`: the size passed with it is ignored.
    free_sized => rpfree,
    /// C23's `free_aligned_sized`.
    free_aligned_sized => rpfree,
    /// `malloc_usable_size(3)`.
    malloc_usable_size => rpmalloc_usable_size,
    /// `pthread_create(3)`, with a heap for the new thread.
    pthread_create => heaplab_rpmalloc_pthread_create,
    /// What it says about its memory.
    heaplab_rpmalloc_global_statistics => rpmalloc_global_statistics,
}

/// The largest size that a block can have.
const MOST_BYTES: usize = isize::MAX as usize;

operators! { allocate: rpmalloc, align: align, free: rpfree }

unsafe extern "C" {
    fn rpmalloc(size: usize) -> *mut c_void;
    fn rpcalloc(count: usize, size: usize) -> *mut c_void;
    fn rprealloc(object: *mut c_void, size: usize) -> *mut c_void;
    fn rpmemalign(alignment: usize, size: usize) -> *mut c_void;
}

/// `calloc(3)`: rpmalloc's own multiplies without a check.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: any size may be asked for.
        Some(bytes) => unsafe { rpcalloc(1, bytes) },
        None => refuse(),
    }
}

/// `realloc(3)`: rpmalloc's own returns the old block if the size is too large.
///
/// # Safety
/// `object` is NULL or was returned by this library and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(object: *mut c_void, size: usize) -> *mut c_void {
    if size > MOST_BYTES {
        return refuse();
    }
    // SAFETY: the caller keeps the contract.
    unsafe { rprealloc(object, size) }
}

family! { aligned by align }
family! { arrays by realloc }

/// Memory at a multiple of `alignment`.
///
/// # Safety
/// The alignment is a power of two.
unsafe fn align(alignment: usize, size: usize) -> *mut c_void {
    if size > MOST_BYTES {
        return refuse();
    }
    // SAFETY: the caller keeps the contract, and the size does not wrap around.
    unsafe { rpmemalign(alignment, size) }
}

/// The version that is compiled in: rpmalloc states none itself.
#[unsafe(no_mangle)]
pub extern "C" fn heaplab_rpmalloc_version() -> *const c_char {
    const { c"1.4.3-b097fd0".as_ptr() }
}
