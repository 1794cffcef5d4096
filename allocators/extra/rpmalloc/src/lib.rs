//! A shared library that serves the malloc family by rpmalloc, for LD_PRELOAD.
//!
//! rpmalloc is compiled in as for its own preload library: with the constructor that starts it and the `pthread_create`
//! that gives each new thread a heap and takes it back when the thread ends (`malloc.c`). Functions here are one jump to
//! rpmalloc's, or written where rpmalloc is wrong or has none: calloc and reallocarray whose product overflows, realloc and
//! memalign of a size near the largest (its own return the old block, and a small one), pvalloc, the C++ operators. It is
//! built with ENABLE_VALIDATE_ARGS, without which malloc of such a size returns a small block.
//!
//! An alignment of 64 KiB (its span) or more cannot be had: NULL.
//!
//! Settings: rpmalloc has none that can be given when a program starts.

// A jump declares its target without arguments.
#![allow(clashing_extern_declarations)]

use core::ffi::{CStr, c_char, c_int, c_void};

// Linked, and not called by its Rust names.
use rpmalloc_sys as _;

#[path = "../../../preload/forward.rs"]
#[macro_use]
mod forward;
#[path = "../../operators.rs"]
#[macro_use]
mod operators;

forward! {
    /// `malloc(3)`.
    malloc => rpmalloc,
    /// `free(3)`.
    free => rpfree,
    /// `cfree`, an old name of `free`.
    cfree => rpfree,
    /// C23's `free_sized`: the size that comes with it is ignored.
    free_sized => rpfree,
    /// C23's `free_aligned_sized`.
    free_aligned_sized => rpfree,
    /// `malloc_usable_size(3)`.
    malloc_usable_size => rpmalloc_usable_size,
    /// `pthread_create(3)`, with a heap for the new thread.
    pthread_create => heaplab_rpmalloc_pthread_create,
    /// What it says of its memory.
    heaplab_rpmalloc_global_statistics => rpmalloc_global_statistics,
}

/// The largest size that a block can have.
const MOST_BYTES: usize = isize::MAX as usize;

operators! { allocate: rpmalloc, align: memalign, free: rpfree }

unsafe extern "C" {
    fn rpmalloc(size: usize) -> *mut c_void;
    fn rpcalloc(count: usize, size: usize) -> *mut c_void;
    fn rprealloc(object: *mut c_void, size: usize) -> *mut c_void;
    fn rpmemalign(alignment: usize, size: usize) -> *mut c_void;
    fn rpposix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int;
}

/// `calloc(3)`: rpmalloc's own multiplies without a look.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: any size may be asked for.
        Some(bytes) => unsafe { rpcalloc(1, bytes) },
        None => refuse(),
    }
}

/// `realloc(3)`: rpmalloc's own returns the old block where the size is too large.
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

/// `reallocarray(3)`: ENOMEM where the product overflows, the object left as it is.
///
/// # Safety
/// `object` is NULL or was returned by this library and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(object: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller keeps realloc's contract, which is this function's.
        Some(bytes) => unsafe { realloc(object, bytes) },
        None => refuse(),
    }
}

/// `memalign(3)`.
///
/// # Safety
/// None is needed: it has the type that [`operators`] asks for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    if size > MOST_BYTES || !alignment.is_power_of_two() {
        return refuse();
    }
    // SAFETY: a power of two, and a size that does not wrap around.
    unsafe { rpmemalign(alignment, size) }
}

/// `aligned_alloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: it asks for nothing.
    unsafe { memalign(alignment, size) }
}

/// `posix_memalign(3)`: EINVAL for an alignment that is none.
///
/// # Safety
/// `place` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    if size > MOST_BYTES {
        return libc::ENOMEM;
    }
    // SAFETY: the caller keeps the contract.
    unsafe { rpposix_memalign(place, alignment, size) }
}

/// `valloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    // SAFETY: it asks for nothing.
    unsafe { memalign(page_bytes(), size) }
}

/// `pvalloc(3)`: whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    match size.max(1).checked_next_multiple_of(page_bytes()) {
        // SAFETY: it asks for nothing.
        Some(bytes) => unsafe { memalign(page_bytes(), bytes) },
        None => refuse(),
    }
}

/// The version that is compiled in: rpmalloc states none itself.
#[unsafe(no_mangle)]
pub extern "C" fn heaplab_rpmalloc_version() -> *const c_char {
    const { c"1.4.3-b097fd0".as_ptr() }
}

fn page_bytes() -> usize {
    // SAFETY: sysconf has no preconditions.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

/// NULL with ENOMEM.
fn refuse() -> *mut c_void {
    // SAFETY: errno's address is valid in every thread.
    unsafe { *libc::__errno_location() = libc::ENOMEM };
    core::ptr::null_mut()
}
