//! A shared library that serves the malloc family with floor, for LD_PRELOAD.
//!
//! floor is the least that an allocator can do: an allocation takes the free block of its size class that the
//! calling thread freed last, a free keeps the block's address; nothing is split, merged or given back, and
//! no block is read. A replay on it measures the harness: what is left of the time is the replay's own, and
//! its resident memory holds the harness's constant. It is not an allocator to deploy and is never ranked.
//!
//! Read bottom-up: `classes`, `arena`, `heap`, `pool`, `service`, `storage`, `thread`, and the exported functions here. No
//! function may allocate through Rust or panic: this library is the allocator, also of the panic.
//!
//! It pays for that with memory, for which it is not ranked: size classes up to a fifth above the request,
//! aligned blocks of a power of two, spans of fresh memory for each class and thread, a block twice as large
//! when a realloc grows one (a smaller size keeps its block, unless seven eighths of it would be unused).
//! Page faults are not part of what it measures: a worker has fresh memory populated beforehand
//! ([`heaplab_floor_populate`]).
#![allow(unsafe_code)]

mod arena;
mod classes;
#[path = "../../family.rs"]
#[macro_use]
mod family;
mod heap;
mod pool;
mod service;
mod storage;
mod thread;

use core::ffi::{c_char, c_int, c_void};
use core::ptr;

use classes::{GRAIN_BYTES, LARGEST_BYTES, aligned_class_of, class_bytes, class_of};
use family::refuse;
use heap::Heap;

/// Runs when the library is loaded, before `main`. Allocations before it are served too.
#[used]
#[unsafe(link_section = ".init_array")]
static PREPARE: extern "C" fn() = thread::prepare;

/// An object of `class`, and whether it is fresh; NULL with ENOMEM if memory is refused.
///
/// # Safety
/// `class` is below `classes::CLASSES`.
#[inline(always)]
pub(crate) unsafe fn allocate(heap: &mut Heap, class: usize) -> (*mut c_void, bool) {
    // SAFETY: the caller keeps the contract.
    let (block, fresh) = unsafe { heap.allocate(class) };
    (block.cast(), fresh)
}

/// Takes an object back.
///
/// # Safety
/// `object` was allocated here and not freed since.
#[inline(always)]
pub(crate) unsafe fn free_object(heap: &mut Heap, object: *mut c_void) {
    // SAFETY: the object is a block of that class.
    unsafe { heap.free(arena::class_at(object as usize), object.cast()) };
}

/// Memory for `size` bytes, and whether it is fresh; NULL with ENOMEM if it is refused.
#[inline(always)]
fn allocate_size(size: usize) -> (*mut c_void, bool) {
    if size > LARGEST_BYTES {
        return (refuse(), false);
    }
    // SAFETY: the heap is the calling thread's, no other reference to it is in use, and the size has a class.
    unsafe { allocate(&mut *storage::heap(), class_of(size)) }
}

/// Memory for `size` bytes at a multiple of `alignment`, a power of two.
fn allocate_aligned(alignment: usize, size: usize) -> *mut c_void {
    if alignment <= GRAIN_BYTES {
        return allocate_size(size).0;
    }
    match aligned_class_of(alignment, size) {
        // SAFETY: the heap is the calling thread's, and no other reference to it is in use.
        Some(class) => unsafe { allocate(&mut *storage::heap(), class).0 },
        None => refuse(),
    }
}

/// Bytes of `object`'s block.
///
/// # Safety
/// `object` was allocated here and not freed since.
#[inline(always)]
unsafe fn usable_bytes(object: *const c_void) -> usize {
    // SAFETY: the object is a block.
    class_bytes(unsafe { arena::class_at(object as usize) })
}

/// `malloc(3)`.
#[unsafe(no_mangle)]
pub extern "C" fn malloc(size: usize) -> *mut c_void {
    allocate_size(size).0
}

/// `calloc(3)`: fresh memory is zero already, recycled memory is zeroed.
#[unsafe(no_mangle)]
pub extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    let Some(bytes) = count.checked_mul(size) else {
        return refuse();
    };
    let (object, fresh) = allocate_size(bytes);
    if !object.is_null() && !fresh {
        // SAFETY: the object has at least `bytes`.
        unsafe { object.cast::<u8>().write_bytes(0, bytes) };
    }
    object
}

/// `realloc(3)`. With size 0 it frees and returns NULL, like the C library's.
///
/// # Safety
/// `object` is NULL or was returned by this library and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(object: *mut c_void, size: usize) -> *mut c_void {
    if object.is_null() {
        return allocate_size(size).0;
    }
    // SAFETY: the caller keeps the contract; the two blocks do not overlap.
    unsafe {
        if size == 0 {
            free_object(&mut *storage::heap(), object);
            return ptr::null_mut();
        }
        let usable_bytes = usable_bytes(object);
        if size <= usable_bytes && size >= usable_bytes / 8 {
            return object;
        }
        // What grew once grows again: doubling the room saves later copies.
        let room = if size > usable_bytes { usable_bytes.wrapping_mul(2).min(LARGEST_BYTES) } else { 0 };
        let (moved, _) = allocate_size(size.max(room));
        if !moved.is_null() {
            ptr::copy_nonoverlapping(object.cast::<u8>(), moved.cast::<u8>(), size.min(usable_bytes));
            free_object(&mut *storage::heap(), object);
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
    if !object.is_null() {
        // SAFETY: the caller keeps the contract; the heap is the calling thread's.
        unsafe { free_object(&mut *storage::heap(), object) };
    }
}

family! { aligned by allocate_aligned }
family! { arrays by realloc }
family! { frees by free }

/// `malloc_usable_size(3)`.
///
/// # Safety
/// `object` is NULL or was returned by this library and not freed since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc_usable_size(object: *const c_void) -> usize {
    // SAFETY: the caller keeps the contract.
    if object.is_null() { 0 } else { unsafe { usable_bytes(object) } }
}

/// floor's version, by which it is identified.
#[unsafe(no_mangle)]
pub extern "C" fn heaplab_floor_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Has the kernel populate that many bytes of memory that floor will use next, so that a replay on it has no
/// page faults. Returns 0, or another number if the kernel does not.
#[unsafe(no_mangle)]
pub extern "C" fn heaplab_floor_populate(bytes: usize) -> c_int {
    c_int::from(!pool::populate(bytes))
}

/// Bytes that floor has used so far, including unused blocks and its own lists.
#[unsafe(no_mangle)]
pub extern "C" fn heaplab_floor_used() -> usize {
    pool::used_bytes()
}
