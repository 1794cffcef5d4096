//! A shared library that serves the malloc family with jemalloc, for LD_PRELOAD.
//!
//! jemalloc is compiled in with its names prefixed (`_rjem_malloc`); each function here is one jump to it, so
//! that a call costs the same as in a jemalloc that was built to be preloaded. Nothing may be added along the
//! way: this library must behave as jemalloc does, and only the names differ.
//!
//! How this build compares with a distribution's (Debian's libjemalloc2, 5.3.0):
//! - version 5.3.1, as `mallctl("version")` says;
//! - settings are read from `_RJEM_MALLOC_CONF` (Debian: `MALLOC_CONF`), and from the text of a link
//!   `/etc/_rjem_malloc.conf` (Debian: `/etc/malloc.conf`);
//! - without statistics and without profiling (`config.stats` and `config.prof`, which Debian compiles in,
//!   with profiling off): `stats.*` and `prof.*` cannot be read, and the counters' share of the slow paths is
//!   saved. All other `config.*` are the same;
//! - no C++ operators: libstdc++'s call malloc, so a sized delete costs the same as a free;
//! - thread-local storage in the initial-exec model, thread ends noticed through a pthread key, and
//!   `pthread_atfork` handlers registered, all three as in a distribution's build.
//!
//! `malloc_trim` and `mallinfo` are not exported, as in a distribution's build: a program that calls
//! them reaches the C library's, which then has nothing to give.
#![allow(unsafe_code)]

use core::ffi::c_void;

use tikv_jemalloc_sys as jemalloc;

#[path = "../../forward.rs"]
#[macro_use]
mod forward;

forward! {
    /// `malloc(3)`.
    malloc => _rjem_malloc,
    /// `calloc(3)`.
    calloc => _rjem_calloc,
    /// `realloc(3)`.
    realloc => _rjem_realloc,
    /// `free(3)`.
    free => _rjem_free,
    /// `cfree`, an old name of `free`.
    cfree => _rjem_free,
    /// C23's `free_sized`.
    free_sized => _rjem_free_sized,
    /// C23's `free_aligned_sized`.
    free_aligned_sized => _rjem_free_aligned_sized,
    /// `posix_memalign(3)`.
    posix_memalign => _rjem_posix_memalign,
    /// `aligned_alloc(3)`.
    aligned_alloc => _rjem_aligned_alloc,
    /// `valloc(3)`.
    valloc => _rjem_valloc,
    /// `memalign(3)`.
    memalign => _rjem_memalign,
    /// `malloc_usable_size(3)`.
    malloc_usable_size => _rjem_malloc_usable_size,
    /// jemalloc's `mallctl`, by which it is identified, its settings are read back and its memory is purged.
    mallctl => _rjem_mallctl,
}

/// `reallocarray(3)`: ENOMEM if the product overflows, with the object left as it is.
///
/// # Safety
/// `object` is NULL or was returned by this library and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(object: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller keeps realloc's contract, which is this function's.
        Some(bytes) => unsafe { jemalloc::realloc(object, bytes) },
        None => refuse(),
    }
}

/// `pvalloc(3)`: whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    // SAFETY: sysconf has no preconditions.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    match size.max(1).checked_next_multiple_of(page_bytes) {
        // SAFETY: the page size is a power of two.
        Some(bytes) => unsafe { jemalloc::aligned_alloc(page_bytes, bytes) },
        None => refuse(),
    }
}

/// NULL with ENOMEM.
fn refuse() -> *mut c_void {
    // SAFETY: errno's address is valid in every thread.
    unsafe { *libc::__errno_location() = libc::ENOMEM };
    core::ptr::null_mut()
}
