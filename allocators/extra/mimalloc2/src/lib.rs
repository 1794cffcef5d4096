//! A shared library that serves the malloc family with mimalloc's second generation, for LD_PRELOAD.
//!
//! mimalloc is compiled in under its own names (`mi_malloc`); each function here is one jump to it, as in the
//! library of the third generation. In addition it has the C++ operators, as in `mimalloc-override.h` and in
//! the shared library that mimalloc's own CMake builds.
//!
//! NOTE: `mi_version` and related functions are in the compiled-in archive, and a Rust cdylib exports only
//! what is written in Rust. They are exported again under the prefix `heaplab_`.

// A jump declares its target without arguments.
#![allow(clashing_extern_declarations)]

use core::ffi::{CStr, c_void};

use libmimalloc_sys as mimalloc;

#[path = "../../../preload/forward.rs"]
#[macro_use]
mod forward;
#[path = "../../operators.rs"]
#[macro_use]
mod operators;

forward! {
    /// `malloc(3)`.
    malloc => mi_malloc,
    /// `calloc(3)`.
    calloc => mi_calloc,
    /// `realloc(3)`.
    realloc => mi_realloc,
    /// `reallocarray(3)`.
    reallocarray => mi_reallocarray,
    /// `free(3)`.
    free => mi_free,
    /// `cfree`, an old name of `free`.
    cfree => mi_free,
    /// C23's `free_sized`.
    free_sized => mi_free_size,
    /// `posix_memalign(3)`.
    posix_memalign => mi_posix_memalign,
    /// `aligned_alloc(3)`.
    aligned_alloc => mi_aligned_alloc,
    /// `memalign(3)`.
    memalign => mi_memalign,
    /// `valloc(3)`.
    valloc => mi_valloc,
    /// `pvalloc(3)`: whole pages.
    pvalloc => mi_pvalloc,
    /// `malloc_usable_size(3)`.
    malloc_usable_size => mi_usable_size,
    /// `mi_version`, by which mimalloc is identified.
    heaplab_mi_version => mi_version,
    /// `mi_collect`, the purge.
    heaplab_mi_collect => mi_collect,
    /// `mi_process_info`, what it says about its memory.
    heaplab_mi_process_info => mi_process_info,
}

operators! { allocate: mimalloc::mi_malloc, align: mi_memalign, free: mi_free }

unsafe extern "C" {
    fn mi_memalign(alignment: usize, size: usize) -> *mut c_void;
}

/// C23's `free_aligned_sized`, whose arguments mimalloc takes in a different order.
///
/// # Safety
/// `object` is NULL or was returned by this library for this alignment and size, and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free_aligned_sized(object: *mut c_void, alignment: usize, size: usize) {
    // SAFETY: the caller keeps the contract.
    unsafe { mimalloc::mi_free_size_aligned(object, size, alignment) }
}
