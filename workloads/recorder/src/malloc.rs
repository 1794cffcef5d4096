//! The malloc family, as the program calls it: forwarded, and written down.
//!
//! PERF: `malloc` and `free` are what a program calls most. On their common path they make one call, the
//! forwarded one; all else of theirs is out of line.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{Ordering, compiler_fence};

use heaplab_raw::{Allocation, Call, Event, encode_free, encode_malloc};

use crate::{chunk, control, large, next, record, storage, system};

/// `malloc(3)`: the function below, told how deep the stack is at the call.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc(size: usize) -> *mut c_void {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!("mov rsi, rsp", "jmp {}", sym malloc_at);
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!("mov x1, sp", "b {}", sym malloc_at);
}

extern "C" fn malloc_at(size: usize, depth: u64) -> *mut c_void {
    let thread = storage::thread();
    let tick = thread.tick.get();
    if tick != control::word() {
        return malloc_rarely(size, depth);
    }
    thread.tick.set(depth);
    compiler_fence(Ordering::SeqCst);
    // SAFETY: malloc takes any size.
    let block = unsafe { next::MALLOC.get()(size) };
    if tick == control::word()
        && thread.cursor.get() <= thread.limit.get()
        && !block.is_null()
        && let Some((word, bytes)) = encode_malloc(size as u64, block as u64, thread.last_address.get())
    {
        chunk::store(thread, word, bytes);
        thread.last_address.set(block as u64);
        compiler_fence(Ordering::SeqCst);
        thread.tick.set(tick);
        return block;
    }
    record::leave(thread, allocated(Allocation::Malloc, block, size));
    block
}

#[cold]
#[inline(never)]
fn malloc_rarely(size: usize, depth: u64) -> *mut c_void {
    let thread = record::attend(depth);
    // SAFETY: malloc takes any size.
    let block = unsafe { next::MALLOC.get()(size) };
    if let Some(thread) = thread {
        record::leave(thread, allocated(Allocation::Malloc, block, size));
    }
    block
}

/// `free(3)`, as [`malloc`].
///
/// # Safety
/// As of the next allocator's.
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(block: *mut c_void) {
    #[cfg(target_arch = "x86_64")]
    core::arch::naked_asm!("mov rsi, rsp", "jmp {}", sym free_at);
    #[cfg(target_arch = "aarch64")]
    core::arch::naked_asm!("mov x1, sp", "b {}", sym free_at);
}

/// # Safety
/// As of [`free`].
unsafe extern "C" fn free_at(block: *mut c_void, depth: u64) {
    let thread = storage::thread();
    let tick = thread.tick.get();
    if tick == control::word()
        && thread.cursor.get() <= thread.limit.get()
        && !block.is_null()
        && !large::may_hold(block)
        && let Some((word, bytes)) = encode_free(block as u64, thread.last_address.get())
    {
        thread.tick.set(depth);
        compiler_fence(Ordering::SeqCst);
        chunk::store(thread, word, bytes);
        thread.last_address.set(block as u64);
        // SAFETY: the caller keeps the contract.
        unsafe { next::FREE.get()(block) };
        compiler_fence(Ordering::SeqCst);
        thread.tick.set(tick);
        return;
    }
    // SAFETY: the caller keeps the contract.
    unsafe { free_rarely(block, depth) }
}

/// # Safety
/// As of [`free`].
#[cold]
#[inline(never)]
unsafe fn free_rarely(block: *mut c_void, depth: u64) {
    let thread = record::enter_at(depth);
    if let Some(thread) = thread {
        record::put(thread, freed(block));
    }
    // SAFETY: the caller keeps the contract.
    unsafe { next::FREE.get()(block) };
    if let Some(thread) = thread {
        thread.tick.set(thread.written_tick.get());
    }
}

/// `calloc(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    record::behind(
        // SAFETY: calloc takes any two numbers.
        || unsafe { next::CALLOC.get()(count, size) },
        |&block| allocated(Allocation::Calloc, block, count.saturating_mul(size)),
    )
}

/// `realloc(3)`.
///
/// # Safety
/// As of the next allocator's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn realloc(block: *mut c_void, size: usize) -> *mut c_void {
    // SAFETY: the caller keeps the contract.
    resized(block, size, || unsafe { next::REALLOC.get()(block, size) })
}

/// `reallocarray(3)`, as the C library does it: by `realloc`.
///
/// # Safety
/// As of [`realloc`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn reallocarray(block: *mut c_void, count: usize, size: usize) -> *mut c_void {
    match count.checked_mul(size) {
        // SAFETY: the caller keeps the contract.
        Some(bytes) => unsafe { realloc(block, bytes) },
        None => {
            // SAFETY: errno's address is valid in every thread.
            unsafe { *libc::__errno_location() = libc::ENOMEM };
            record::note(Event::Failed { call: Call::Realloc, size: u64::MAX });
            core::ptr::null_mut()
        }
    }
}

/// `cfree`, an old name of [`free`].
///
/// # Safety
/// As of [`free`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn cfree(block: *mut c_void) {
    let function = next::CFREE.find().unwrap_or(next::FREE.get());
    // SAFETY: the caller keeps the contract.
    record::before(freed(block), || unsafe { function(block) });
}

/// C23's `free_sized`; `free` where the next allocator has none.
///
/// # Safety
/// As of [`free`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free_sized(block: *mut c_void, size: usize) {
    match next::FREE_SIZED.find() {
        // SAFETY: the caller keeps the contract.
        Some(function) => record::before(freed(block), || unsafe { function(block, size) }),
        // SAFETY: the caller keeps the contract.
        None => unsafe { free(block) },
    }
}

/// C23's `free_aligned_sized`; `free` where the next allocator has none.
///
/// # Safety
/// As of [`free`].
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free_aligned_sized(block: *mut c_void, alignment: usize, size: usize) {
    match next::FREE_ALIGNED_SIZED.find() {
        // SAFETY: the caller keeps the contract.
        Some(function) => record::before(freed(block), || unsafe { function(block, alignment, size) }),
        // SAFETY: the caller keeps the contract.
        None => unsafe { free(block) },
    }
}

/// `posix_memalign(3)`.
///
/// # Safety
/// `result` can be written to.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn posix_memalign(
    result: *mut *mut c_void,
    alignment: usize,
    size: usize,
) -> c_int {
    record::behind(
        // SAFETY: the caller keeps the contract.
        || unsafe { next::POSIX_MEMALIGN.get()(result, alignment, size) },
        |&status| {
            // SAFETY: where it succeeded, the block is there.
            let block = if status == 0 { unsafe { *result } } else { core::ptr::null_mut() };
            aligned(block, alignment, size)
        },
    )
}

/// `aligned_alloc(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    record::behind(
        // SAFETY: it takes any two numbers.
        || unsafe { next::ALIGNED_ALLOC.get()(alignment, size) },
        |&block| aligned(block, alignment, size),
    )
}

/// `memalign(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    record::behind(
        // SAFETY: it takes any two numbers.
        || unsafe { next::MEMALIGN.get()(alignment, size) },
        |&block| aligned(block, alignment, size),
    )
}

/// `valloc(3)`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn valloc(size: usize) -> *mut c_void {
    record::behind(
        // SAFETY: it takes any size.
        || unsafe { next::VALLOC.get()(size) },
        |&block| aligned(block, system::page_bytes(), size),
    )
}

/// `pvalloc(3)`: the size is recorded as asked, not as rounded to pages.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn pvalloc(size: usize) -> *mut c_void {
    record::behind(
        // SAFETY: it takes any size.
        || unsafe { next::PVALLOC.get()(size) },
        |&block| aligned(block, system::page_bytes(), size),
    )
}

/// `malloc_usable_size(3)`: passed through.
///
/// # Safety
/// As of the next allocator's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    // SAFETY: the caller keeps the contract.
    unsafe { next::USABLE_SIZE.get()(block) }
}

/// Calls `function`, a realloc, and records it: before it that the block may move, behind it where it is.
#[inline]
pub(crate) fn resized(
    block: *mut c_void,
    size: usize,
    function: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let Some(thread) = record::enter() else { return function() };
    if block.is_null() {
        let moved = function();
        record::leave(thread, allocated(Allocation::ReallocNull, moved, size));
        return moved;
    }
    let entry = large::entry(block);
    record::put(thread, Event::ReallocBegin { address: block as u64 });
    let moved = function();
    if moved.is_null() && size > 0 {
        large::restore(entry);
    }
    let event = match (moved.is_null(), size) {
        (false, _) => Event::ReallocEnd { address: moved as u64, size: size as u64 },
        (true, 0) => Event::ReallocFreed,
        (true, _) => Event::Failed { call: Call::Realloc, size: size as u64 },
    };
    record::leave(thread, event);
    moved
}

/// What an allocation was, by what it returned.
pub(crate) fn allocated(by: Allocation, block: *mut c_void, size: usize) -> Event {
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

/// As [`allocated`], of an aligned allocation. An allocator that returned a block took the alignment.
pub(crate) fn aligned(block: *mut c_void, alignment: usize, size: usize) -> Event {
    if block.is_null() {
        return Event::Failed { call: Call::Aligned, size: size as u64 };
    }
    // memalign rounds an alignment that is no power of two up to one.
    let alignment_log2 =
        alignment.checked_next_power_of_two().map_or(63, |power| power.trailing_zeros() as u8);
    Event::Aligned { address: block as u64, size: size as u64, alignment_log2 }
}

/// What a free is.
pub(crate) fn freed(block: *mut c_void) -> Event {
    if block.is_null() { Event::FreeNull } else { Event::Free { address: block as u64 } }
}
