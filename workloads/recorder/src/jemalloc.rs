//! jemalloc's own functions, if the next allocator has them.
//!
//! NOTE: they are exported until it is known that there is no other. A program that checks by a weak reference
//! whether `mallocx` exists finds it while it is recorded; without jemalloc, it allocates nothing.

use core::ffi::{c_int, c_void};

use heaplab_raw::{Allocation, Event};

use crate::call::{self, aligned};
use crate::{next, record, storage};

/// The binary logarithm of the alignment in the flags.
const ALIGNMENT_MASK: c_int = 0x3f;
/// The flag that asks for zeros.
const ZERO: c_int = 0x40;

/// `mallocx`.
///
/// # Safety
/// As of jemalloc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mallocx(size: usize, flags: c_int) -> *mut c_void {
    let Some(function) = next::MALLOCX.find_rare() else { return refuse() };
    // SAFETY: the caller keeps the contract.
    let function = move || unsafe { function(size, flags) };
    let alignment_log2 = flags & ALIGNMENT_MASK;
    if alignment_log2 > 0 {
        return record::after(storage::depth(), function, |&block| aligned(block, 1 << alignment_log2, size));
    }
    let by = if flags & ZERO == 0 { Allocation::Malloc } else { Allocation::Calloc };
    call::allocate(size, storage::depth(), by, function)
}

/// `rallocx`.
///
/// # Safety
/// As of jemalloc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn rallocx(block: *mut c_void, size: usize, flags: c_int) -> *mut c_void {
    let Some(function) = next::RALLOCX.find_rare() else { return refuse() };
    // SAFETY: the caller keeps the contract.
    call::resize(block, size, storage::depth(), move || unsafe { function(block, size, flags) })
}

/// `xallocx`: resizes a block in place, up to `size` and `extra`; returns its size afterwards.
///
/// # Safety
/// As of jemalloc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn xallocx(
    block: *mut c_void,
    size: usize,
    extra: usize,
    flags: c_int,
) -> usize {
    let Some(function) = next::XALLOCX.find_rare() else { return 0 };
    let Some(thread) = record::enter(storage::depth()) else {
        // SAFETY: the caller keeps the contract.
        return unsafe { function(block, size, extra, flags) };
    };
    // SAFETY: the caller keeps the contract.
    let usable_bytes = unsafe { function(block, size, extra, flags) };
    let address = block as u64;
    if usable_bytes >= size {
        record::put(thread, Event::ReallocBegin { address });
        let size = usable_bytes.min(size.saturating_add(extra)) as u64;
        record::leave(thread, Event::ReallocEnd { address, size });
    } else {
        // It stays unchanged: not a failure for the program, and nothing for a replay.
        thread.tick.set(thread.written_tick.get());
    }
    usable_bytes
}

/// `dallocx`.
///
/// # Safety
/// As of jemalloc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn dallocx(block: *mut c_void, flags: c_int) {
    if let Some(function) = next::DALLOCX.find_rare() {
        // SAFETY: the caller keeps the contract.
        call::free(block, storage::depth(), move || unsafe { function(block, flags) });
    }
}

/// `sdallocx`.
///
/// # Safety
/// As of jemalloc's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sdallocx(block: *mut c_void, size: usize, flags: c_int) {
    if let Some(function) = next::SDALLOCX.find_rare() {
        // SAFETY: the caller keeps the contract.
        call::free(block, storage::depth(), move || unsafe { function(block, size, flags) });
    }
}

fn refuse() -> *mut c_void {
    // SAFETY: errno's address is valid in every thread.
    unsafe { *libc::__errno_location() = libc::ENOMEM };
    core::ptr::null_mut()
}
