//! A shared library that serves the malloc family with mimalloc, for LD_PRELOAD.
//!
//! mimalloc is compiled in under its own names (`mi_malloc`); each function here is one jump to it. Nothing
//! may be added along the way: this library must behave as mimalloc does, and only the names differ.
//!
//! How this build compares with a distribution's (Debian's libmimalloc2.0, 2.0.9):
//! - version 3.3.2: the crate builds the third generation unless its feature `v2` is asked for. The two
//!   differ more than other allocators do from each other (purges after 1 s instead of 25 ms; threads own
//!   pages instead of segments);
//! - settings are read from `MIMALLOC_*`, as there;
//! - no C++ operators: libstdc++'s call malloc;
//! - thread-local storage in the initial-exec model, thread ends noticed through a pthread key, as there.
//!   Neither build registers fork handlers: mimalloc has none;
//! - errno is as mimalloc leaves it: a malloc that fails returns NULL and does not set ENOMEM.
//!
//! NOTE: `mi_version` and related functions are in the compiled-in archive, and a Rust cdylib exports only
//! what is written in Rust. They are exported again under the prefix `heaplab_`.
#![allow(unsafe_code)]

use core::ffi::c_void;

use libmimalloc_sys as mimalloc;

#[path = "../../forward.rs"]
#[macro_use]
mod forward;

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
    /// `mi_version`, by which mimalloc is identified: major, two digits of minor, two of patch.
    heaplab_mi_version => mi_version,
    /// `mi_collect`, the purge.
    heaplab_mi_collect => mi_collect,
    /// `mi_process_info`, what it says about its memory.
    heaplab_mi_process_info => mi_process_info,
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
