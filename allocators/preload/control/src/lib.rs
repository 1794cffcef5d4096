//! A shared library that serves the malloc family by the C library's, with a fault of known size, for LD_PRELOAD.
//!
//! It is what `heaplab doctor --self-check` measures: an answer that is known beforehand shows whether the path from a
//! replay to a verdict finds it. Which fault it has, an environment variable says; without one it has none.
//!
//! | variable | fault |
//! |---|---|
//! | `HEAPLAB_CONTROL_WASTE=N` | blocks of 1,001 to 1,024 bytes get N % more than they ask for |
//! | `HEAPLAB_CONTROL_STEPS=N` | each call takes N multiplications longer, each of which waits for the one before |
//! | `HEAPLAB_CONTROL_KEEP=1` | nothing that is freed is ever used again |
//! | `HEAPLAB_CONTROL_UNMAP=1` | each block lies in a mapping of its own, which goes when it is freed |
//!
//! The variables are read by a constructor, so what is allocated before it is served without a fault. No function may
//! allocate through Rust or panic: this library is the allocator, also of the panic.
#![allow(unsafe_code)]

mod libc_malloc;
mod mapped;
mod settings;

use core::ffi::{c_int, c_void};
use core::ptr;

use settings::SETTINGS;

/// Runs when the library is loaded, before `main`. Allocations before it are served too.
#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = settings::read;

/// The largest alignment that a block in a mapping of its own can have.
const PAGE_BYTES: usize = mapped::PAGE_BYTES;
/// What every block is aligned to.
const LEAST_ALIGNMENT: usize = 16;

/// NULL with ENOMEM.
#[cold]
fn refuse() -> *mut c_void {
    // SAFETY: errno's address is valid in every thread.
    unsafe { *libc::__errno_location() = libc::ENOMEM };
    ptr::null_mut()
}

/// Memory for `size` bytes at a multiple of `alignment`, a power of two.
fn allocate(alignment: usize, size: usize) -> *mut c_void {
    SETTINGS.take_steps();
    let bytes = SETTINGS.with_waste(size);
    if SETTINGS.unmaps() && alignment <= PAGE_BYTES {
        return mapped::map(alignment.max(LEAST_ALIGNMENT), bytes).unwrap_or_else(refuse);
    }
    if alignment <= LEAST_ALIGNMENT {
        libc_malloc::malloc(bytes)
    } else {
        libc_malloc::memalign(alignment, bytes)
    }
}

/// `malloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    allocate(LEAST_ALIGNMENT, size)
}

/// `calloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else {
        return refuse();
    };
    if SETTINGS.unmaps() {
        // A mapping is zero already.
        return allocate(LEAST_ALIGNMENT, bytes);
    }
    SETTINGS.take_steps();
    libc_malloc::calloc(SETTINGS.with_waste(bytes))
}

/// `realloc(3)`. To 0 it frees and returns NULL, as the C library's does.
///
/// # Safety
/// `object` is NULL or was returned by this library and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(object: *mut c_void, size: usize) -> *mut c_void {
    if object.is_null() {
        return malloc(size);
    }
    // SAFETY: the caller keeps the contract, here and below.
    unsafe {
        if size == 0 {
            free(object);
            return ptr::null_mut();
        }
        if !SETTINGS.moves() && !mapped::is_mapped(object) {
            SETTINGS.take_steps();
            return libc_malloc::realloc(object, SETTINGS.with_waste(size));
        }
        let before = malloc_usable_size(object);
        if mapped::is_mapped(object) && mapped::fits(object, size) {
            SETTINGS.take_steps();
            return object;
        }
        let moved = malloc(size);
        if !moved.is_null() {
            ptr::copy_nonoverlapping(object.cast::<u8>(), moved.cast::<u8>(), size.min(before));
            free(object);
        }
        moved
    }
}

/// `reallocarray(3)`.
///
/// # Safety
/// As of [`realloc`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reallocarray(object: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller keeps the contract.
        Some(bytes) => unsafe { realloc(object, bytes) },
        None => refuse(),
    }
}

/// `free(3)`.
///
/// # Safety
/// `object` is NULL or was returned by this library and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(object: *mut c_void) {
    SETTINGS.take_steps();
    if object.is_null() || SETTINGS.keeps() {
        return;
    }
    // SAFETY: the caller keeps the contract.
    unsafe {
        if mapped::is_mapped(object) {
            mapped::unmap(object);
        } else {
            libc_malloc::free(object);
        }
    }
}

/// `cfree`, an old name of [`free`].
///
/// # Safety
/// As of [`free`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cfree(object: *mut c_void) {
    // SAFETY: the caller keeps the contract.
    unsafe { free(object) }
}

/// `posix_memalign(3)`: leaves errno and, where it fails, `result` as they are.
///
/// # Safety
/// `result` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(result: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<*mut c_void>() {
        return libc::EINVAL;
    }
    // SAFETY: errno's address is valid in every thread.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let before = unsafe { *errno };
    let object = allocate(alignment, size);
    // SAFETY: as above, and the caller's `result` can be written to.
    unsafe {
        *errno = before;
        if object.is_null() {
            return libc::ENOMEM;
        }
        *result = object;
    }
    0
}

/// `aligned_alloc(3)`: EINVAL unless the alignment is a power of two.
#[unsafe(no_mangle)]
pub extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    if !alignment.is_power_of_two() {
        // SAFETY: errno's address is valid in every thread.
        unsafe { *libc::__errno_location() = libc::EINVAL };
        return ptr::null_mut();
    }
    allocate(alignment, size)
}

/// `memalign(3)`: as [`aligned_alloc`].
#[unsafe(no_mangle)]
pub extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    aligned_alloc(alignment, size)
}

/// `valloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn valloc(size: usize) -> *mut c_void {
    allocate(PAGE_BYTES, size)
}

/// `pvalloc(3)`: whole pages.
#[unsafe(no_mangle)]
pub extern "C" fn pvalloc(size: usize) -> *mut c_void {
    match size.max(1).checked_next_multiple_of(PAGE_BYTES) {
        Some(bytes) => allocate(PAGE_BYTES, bytes),
        None => refuse(),
    }
}

/// `malloc_usable_size(3)`.
///
/// # Safety
/// `object` is NULL or was returned by this library and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(object: *mut c_void) -> usize {
    if object.is_null() {
        return 0;
    }
    // SAFETY: the caller keeps the contract.
    unsafe {
        if mapped::is_mapped(object) {
            mapped::usable_bytes(object)
        } else {
            libc_malloc::usable_bytes(object)
        }
    }
}
