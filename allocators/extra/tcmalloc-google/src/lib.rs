//! A shared library that serves the malloc family with Google's TCMalloc, for LD_PRELOAD.
//!
//! TCMalloc is compiled in under its internal names (`TCMallocInternalMalloc`); each function here is one
//! jump to it, including the C++ operators and sized deletes. Pages have 8 KiB, as in Google's own default
//! build.
//!
//! Caches are per CPU where the kernel's restartable sequences (rseq) can be registered, or else per thread.
//! The C library (2.35 and later) registers them for itself, unless `GLIBC_TUNABLES=glibc.pthread.rseq=0` is
//! set. Nothing here sets that; the mode of a process can be queried.
//!
//! Written here: `pvalloc`, because TCMalloc's own rounds a size near the largest up to a small one.
//!
//! No background thread gives memory back: as in Google's library, the program would have to start one.

// A jump declares its target without arguments.
#![allow(clashing_extern_declarations)]

use core::ffi::{c_char, c_void};

// Linked, and not called by its Rust names.
use libtcmalloc_sys as _;

#[path = "../../../preload/family.rs"]
#[macro_use]
mod family;
#[path = "../../../preload/forward.rs"]
#[macro_use]
mod forward;

forward! {
    /// `malloc(3)`.
    malloc => TCMallocInternalMalloc,
    /// `calloc(3)`.
    calloc => TCMallocInternalCalloc,
    /// `realloc(3)`.
    realloc => TCMallocInternalRealloc,
    /// `reallocarray(3)`.
    reallocarray => TCMallocInternalReallocArray,
    /// `free(3)`.
    free => TCMallocInternalFree,
    /// `cfree`, an old name of `free`.
    cfree => TCMallocInternalCfree,
    /// C23's `free_sized`.
    free_sized => TCMallocInternalFreeSized,
    /// C23's `free_aligned_sized`.
    free_aligned_sized => TCMallocInternalFreeAlignedSized,
    /// `sdallocx`, jemalloc's sized free.
    sdallocx => TCMallocInternalSdallocx,
    /// `posix_memalign(3)`.
    posix_memalign => TCMallocInternalPosixMemalign,
    /// `aligned_alloc(3)`.
    aligned_alloc => TCMallocInternalAlignedAlloc,
    /// `memalign(3)`.
    memalign => TCMallocInternalMemalign,
    /// `valloc(3)`.
    valloc => TCMallocInternalValloc,
    /// `malloc_usable_size(3)`.
    malloc_usable_size => TCMallocInternalMallocSize,
    /// `malloc_trim(3)`.
    malloc_trim => TCMallocInternalMallocTrim,
    /// `operator new(size_t)`.
    _Znwm => TCMallocInternalNew,
    /// `operator new[](size_t)`.
    _Znam => TCMallocInternalNewArray,
    /// `operator new(size_t, nothrow)`.
    _ZnwmRKSt9nothrow_t => TCMallocInternalNewNothrow,
    /// `operator new[](size_t, nothrow)`.
    _ZnamRKSt9nothrow_t => TCMallocInternalNewArrayNothrow,
    /// `operator new(size_t, align_val_t)`.
    _ZnwmSt11align_val_t => TCMallocInternalNewAligned,
    /// `operator new[](size_t, align_val_t)`.
    _ZnamSt11align_val_t => TCMallocInternalNewArrayAligned,
    /// `operator new(size_t, align_val_t, nothrow)`.
    _ZnwmSt11align_val_tRKSt9nothrow_t => TCMallocInternalNewAlignedNothrow,
    /// `operator new[](size_t, align_val_t, nothrow)`.
    _ZnamSt11align_val_tRKSt9nothrow_t => TCMallocInternalNewArrayAlignedNothrow,
    /// `operator delete(void*)`.
    _ZdlPv => TCMallocInternalDelete,
    /// `operator delete[](void*)`.
    _ZdaPv => TCMallocInternalDeleteArray,
    /// `operator delete(void*, nothrow)`.
    _ZdlPvRKSt9nothrow_t => TCMallocInternalDeleteNothrow,
    /// `operator delete[](void*, nothrow)`.
    _ZdaPvRKSt9nothrow_t => TCMallocInternalDeleteArrayNothrow,
    /// `operator delete(void*, size_t)`.
    _ZdlPvm => TCMallocInternalDeleteSized,
    /// `operator delete[](void*, size_t)`.
    _ZdaPvm => TCMallocInternalDeleteArraySized,
    /// `operator delete(void*, align_val_t)`.
    _ZdlPvSt11align_val_t => TCMallocInternalDeleteAligned,
    /// `operator delete[](void*, align_val_t)`.
    _ZdaPvSt11align_val_t => TCMallocInternalDeleteArrayAligned,
    /// `operator delete(void*, align_val_t, nothrow)`.
    _ZdlPvSt11align_val_tRKSt9nothrow_t => TCMallocInternalDeleteAlignedNothrow,
    /// `operator delete[](void*, align_val_t, nothrow)`.
    _ZdaPvSt11align_val_tRKSt9nothrow_t => TCMallocInternalDeleteArrayAlignedNothrow,
    /// `operator delete(void*, size_t, align_val_t)`.
    _ZdlPvmSt11align_val_t => TCMallocInternalDeleteSizedAligned,
    /// `operator delete[](void*, size_t, align_val_t)`.
    _ZdaPvmSt11align_val_t => TCMallocInternalDeleteArraySizedAligned,
    /// A figure by its name, which is given with its length.
    heaplab_tcmalloc_google_property => MallocExtension_Internal_GetNumericProperty,
    /// Whether caches are per CPU.
    heaplab_tcmalloc_google_has_cpu_caches => MallocExtension_Internal_GetPerCpuCachesActive,
    /// Gives back this many bytes of free pages.
    heaplab_tcmalloc_google_release => MallocExtension_Internal_ReleaseMemoryToSystem,
    /// Empties the cache of a CPU.
    heaplab_tcmalloc_google_release_cpu => MallocExtension_Internal_ReleaseCpuMemory,
    /// Empties the calling thread's cache.
    heaplab_tcmalloc_google_idle => MallocExtension_Internal_MarkThreadIdle,
}

unsafe extern "C" {
    fn TCMallocInternalMemalign(alignment: usize, size: usize) -> *mut c_void;
}

// TCMalloc's own returns a small block for a size near the largest.
family! { pages by TCMallocInternalMemalign }

/// The version that is compiled in: TCMalloc has no versions, and the crate's release says from which day it
/// is.
#[unsafe(no_mangle)]
pub extern "C" fn heaplab_tcmalloc_google_version() -> *const c_char {
    const { c"2025-06-16".as_ptr() }
}
