//! A shared library that serves the malloc family with the C library's, with a fault of known size, for
//! LD_PRELOAD.
//!
//! It is what `heaplab doctor --self-check` measures: an answer known beforehand shows whether the path from
//! a replay to a verdict finds it. An environment variable selects the fault; without one there is none.
//!
//! | variable | fault |
//! |---|---|
//! | `HEAPLAB_CONTROL_WASTE=N` | blocks of 1,001 to 1,024 bytes get N % more than they ask for |
//! | `HEAPLAB_CONTROL_STEPS=N` | each call takes N multiplications longer, each of which waits for the one before |
//! | `HEAPLAB_CONTROL_KEEP=1` | nothing that is freed is ever used again |
//! | `HEAPLAB_CONTROL_UNMAP=1` | each block lies in a mapping of its own, which goes when it is freed |
//!
//! The variables are read by a constructor, so what is allocated before it runs is served without a fault. No
//! function may allocate through Rust or panic: this library is the allocator, also of the panic.
#![allow(unsafe_code)]

#[path = "../../family.rs"]
#[macro_use]
mod family;
mod libc_malloc;
mod mapped;
mod settings;

use core::ffi::c_void;
use core::ptr;

use family::refuse;
use settings::SETTINGS;

/// Runs when the library is loaded, before `main`. Allocations before it are served too.
#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = settings::read;

/// The largest alignment that a block in its own mapping can have.
const PAGE_BYTES: usize = mapped::PAGE_BYTES;
/// The alignment of every block.
const LEAST_ALIGNMENT: usize = 16;

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

/// `realloc(3)`. With size 0 it frees and returns NULL, like the C library's.
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

family! { aligned by allocate }
family! { arrays by realloc }
family! { frees by free }

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
