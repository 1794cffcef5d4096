//! The three kinds of calls: those that allocate a block, free one, and resize one.
//!
//! Each has a common path, for when the clock has not advanced, there is room for the record and the block is
//! not large, and a path for everything else. A call gets the depth of the stack: see [`record`].
//!
//! NOTE: a signal's handler may call the allocator anywhere outside it, and writes records then: where the next
//! record goes, whether there is room, and which address was last are read after the call has entered.
//!
//! PERF: a common path makes one call, the forwarded one, and stores one record, or two for a resize; everything
//! else is out of line. Arguments are in the order in which the exported functions get them, so they stay in their
//! registers.

use core::ffi::c_void;
use core::sync::atomic::{Ordering, compiler_fence};

use heaplab_raw::{
    Allocation, Call, Event, LARGE_BYTES, encode_allocation, encode_free, encode_realloc_begin,
    encode_realloc_end,
};

use crate::thread::Thread;
use crate::{chunk, control, large, record, storage};

/// Calls `function`, which allocates a block of `size` bytes, and records it.
#[inline(always)]
pub(crate) fn allocate(
    size: usize,
    depth: u64,
    by: Allocation,
    function: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let thread = storage::thread();
    let tick = thread.tick.get();
    if tick != control::word() {
        return allocate_rarely(size, depth, by, function);
    }
    enter(thread, depth);
    let block = function();
    if is_present(thread, tick)
        && !block.is_null()
        && let Some(record) = encode_allocation(by, size as u64, block as u64, thread.last_address.get())
        && is_small(size)
    {
        store(thread, record, block);
        leave(thread, tick);
        return block;
    }
    leave_rarely(block, size, by, thread);
    block
}

#[cold]
#[inline(never)]
fn allocate_rarely(
    size: usize,
    depth: u64,
    by: Allocation,
    function: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    record::after(depth, function, |&block| allocated(by, block, size))
}

#[cold]
#[inline(never)]
fn leave_rarely(block: *mut c_void, size: usize, by: Allocation, thread: &Thread) {
    record::leave(thread, allocated(by, block, size));
}

/// Calls `function`, which frees `block`, and records it before that.
#[inline(always)]
pub(crate) fn free(block: *mut c_void, depth: u64, function: impl FnOnce()) {
    let thread = storage::thread();
    let tick = thread.tick.get();
    if tick == control::word() && !block.is_null() && !large::may_hold(block) {
        enter(thread, depth);
        if has_room(thread)
            && let Some(record) = encode_free(block as u64, thread.last_address.get())
        {
            store(thread, record, block);
            function();
            return leave(thread, tick);
        }
        leave(thread, tick);
    }
    free_rarely(block, depth, function);
}

#[cold]
#[inline(never)]
fn free_rarely(block: *mut c_void, depth: u64, function: impl FnOnce()) {
    let event = if block.is_null() { Event::FreeNull } else { Event::Free { address: block as u64 } };
    record::before(depth, event, function);
}

/// Calls `function`, which resizes `block` to `size` bytes, and records before it that the block may move, and
/// after it where it is.
#[inline(always)]
pub(crate) fn resize(
    block: *mut c_void,
    size: usize,
    depth: u64,
    function: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    if block.is_null() {
        return allocate(size, depth, Allocation::ReallocNull, function);
    }
    let thread = storage::thread();
    let tick = thread.tick.get();
    if tick != control::word() || large::may_hold(block) {
        return resize_rarely(block, size, depth, function);
    }
    enter(thread, depth);
    if !has_room(thread) {
        leave(thread, tick);
        return resize_rarely(block, size, depth, function);
    }
    store(thread, encode_realloc_begin(block as u64, thread.last_address.get()), block);
    let moved = function();
    if is_present(thread, tick)
        && !moved.is_null()
        && let Some(record) = encode_realloc_end(size as u64, moved as u64, thread.last_address.get())
        && is_small(size)
    {
        store(thread, record, moved);
        leave(thread, tick);
        return moved;
    }
    leave_resized(moved, size, thread);
    moved
}

#[cold]
#[inline(never)]
fn resize_rarely(
    block: *mut c_void,
    size: usize,
    depth: u64,
    function: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let Some(thread) = record::enter(depth) else { return function() };
    let entry = large::entry(block);
    record::put(thread, Event::ReallocBegin { address: block as u64 });
    let moved = function();
    if moved.is_null() && size > 0 {
        large::restore(entry);
    }
    leave_resized(moved, size, thread);
    moved
}

#[cold]
#[inline(never)]
fn leave_resized(moved: *mut c_void, size: usize, thread: &Thread) {
    record::leave(thread, resized(moved, size));
}

/// Whether the thread records, no time has passed since its last record, and there is room for another.
#[inline(always)]
fn is_present(thread: &Thread, tick: u64) -> bool {
    tick == control::word() && has_room(thread)
}

#[inline(always)]
fn has_room(thread: &Thread) -> bool {
    thread.cursor.get() <= thread.limit.get()
}

#[inline(always)]
fn is_small(size: usize) -> bool {
    (size as u64) < LARGE_BYTES
}

#[inline(always)]
fn enter(thread: &Thread, depth: u64) {
    thread.tick.set(depth);
    compiler_fence(Ordering::SeqCst);
}

#[inline(always)]
fn leave(thread: &Thread, tick: u64) {
    compiler_fence(Ordering::SeqCst);
    thread.tick.set(tick);
}

#[inline(always)]
fn store(thread: &Thread, (word, bytes): (u64, usize), block: *mut c_void) {
    chunk::store(thread, word, bytes);
    thread.last_address.set(block as u64);
}

/// The event of an allocation, by what it returned.
fn allocated(by: Allocation, block: *mut c_void, size: usize) -> Event {
    let size = size as u64;
    if !block.is_null() {
        return Event::Allocate { by, address: block as u64, size };
    }
    let call = match by {
        Allocation::Malloc => Call::Malloc,
        Allocation::Calloc => Call::Calloc,
        Allocation::ReallocNull => Call::ReallocNull,
    };
    Event::Failed { call, size }
}

/// Like [`allocated`], for an aligned allocation. An allocator that returned a block accepted the alignment.
pub(crate) fn aligned(block: *mut c_void, alignment: usize, size: usize) -> Event {
    if block.is_null() {
        return Event::Failed { call: Call::Aligned, size: size as u64 };
    }
    // memalign rounds an alignment up to a power of two.
    let alignment_log2 =
        alignment.checked_next_power_of_two().map_or(63, |power| power.trailing_zeros() as u8);
    Event::Aligned { address: block as u64, size: size as u64, alignment_log2 }
}

/// The event that ends a block's realloc, by what it returned.
fn resized(moved: *mut c_void, size: usize) -> Event {
    match (moved.is_null(), size as u64) {
        (false, size) => Event::ReallocEnd { address: moved as u64, size },
        (true, 0) => Event::ReallocFreed,
        (true, size) => Event::Failed { call: Call::Realloc, size },
    }
}
