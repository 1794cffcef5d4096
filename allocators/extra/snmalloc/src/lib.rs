//! A shared library that serves the malloc family with snmalloc, for LD_PRELOAD.
//!
//! snmalloc is compiled in with its own C interface (`override/malloc.cc`) under the prefix `sn_`; each function here is
//! one jump to it. The C++ operators are in no file of the crate's build and are written here. Settings: snmalloc
//! has none that can be given when a program starts.

// A jump declares its target without arguments.
#![allow(clashing_extern_declarations)]

use core::ffi::{CStr, c_char, c_void};

// Linked, and not called by its Rust names.
use snmalloc_sys as _;

#[path = "../../../preload/family.rs"]
#[macro_use]
mod family;
#[path = "../../../preload/forward.rs"]
#[macro_use]
mod forward;
#[path = "../../operators.rs"]
#[macro_use]
mod operators;

forward! {
    /// `malloc(3)`.
    malloc => sn_malloc,
    /// `calloc(3)`.
    calloc => sn_calloc,
    /// `realloc(3)`.
    realloc => sn_realloc,
    /// `reallocarray(3)`.
    reallocarray => sn_reallocarray,
    /// `free(3)`.
    free => sn_free,
    /// `cfree`, an old name of `free`.
    cfree => sn_free,
    /// C23's `free_sized`.
    free_sized => sn_free_sized,
    /// C23's `free_aligned_sized`.
    free_aligned_sized => sn_free_aligned_sized,
    /// `posix_memalign(3)`.
    posix_memalign => sn_posix_memalign,
    /// `aligned_alloc(3)`.
    aligned_alloc => sn_aligned_alloc,
    /// `memalign(3)`.
    memalign => sn_memalign,
    /// `valloc(3)`.
    valloc => sn_valloc,
    /// `malloc_usable_size(3)`.
    malloc_usable_size => sn_malloc_usable_size,
    /// What it says about its memory: bytes that it has from the system now, and the most that it had.
    heaplab_snmalloc_statistics => sn_rust_statistics,
}

operators! { allocate: sn_malloc, align: sn_memalign, free: sn_free }

unsafe extern "C" {
    fn sn_malloc(size: usize) -> *mut c_void;
    fn sn_memalign(alignment: usize, size: usize) -> *mut c_void;
}

// snmalloc's own rounds a size near the largest up to zero.
family! { pages by sn_memalign }

/// The version that is compiled in: snmalloc states none itself.
#[unsafe(no_mangle)]
pub extern "C" fn heaplab_snmalloc_version() -> *const c_char {
    const { c"0.7.6".as_ptr() }
}
