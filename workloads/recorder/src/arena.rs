//! Memory for calls that arrive during the search for the next allocator.
//!
//! The loader may allocate during that search, when there is nothing to forward to yet. Such blocks are few,
//! come from a small static arena, are never reused and are in no recording. Their number is kept.

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const ARENA_BYTES: usize = 64 << 10;
/// Alignment of every block; each is preceded by its size.
const GRAIN_BYTES: usize = 16;

#[repr(C, align(4096))]
struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

// SAFETY: every block is given out once.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));
static USED_BYTES: AtomicUsize = AtomicUsize::new(0);
static CALLS: AtomicU64 = AtomicU64::new(0);

/// A block of zeros; NULL if there is no room.
pub(crate) fn allocate(size: usize, alignment: usize) -> *mut c_void {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if size > ARENA_BYTES || alignment > 4096 {
        return ptr::null_mut();
    }
    let room = size.wrapping_add(GRAIN_BYTES).wrapping_add(alignment).wrapping_add(GRAIN_BYTES);
    let begin = USED_BYTES.fetch_add(room & !(GRAIN_BYTES - 1), Ordering::Relaxed);
    if begin > ARENA_BYTES || ARENA_BYTES.wrapping_sub(begin) < room {
        return ptr::null_mut();
    }
    let first = (base() as usize).wrapping_add(begin).wrapping_add(GRAIN_BYTES);
    let aligned = first.wrapping_add(alignment).wrapping_sub(1) & alignment.wrapping_neg();
    let block = base().wrapping_add(aligned.wrapping_sub(base() as usize));
    // SAFETY: a grain of the block's own room lies before it.
    unsafe { block.sub(GRAIN_BYTES).cast::<usize>().write(size) };
    block.cast()
}

/// Whether a block belongs to the arena.
pub(crate) fn holds(block: *const c_void) -> bool {
    (block as usize).wrapping_sub(base() as usize) < ARENA_BYTES
}

/// The requested size of a block of the arena.
///
/// # Safety
/// The arena [holds] the block.
pub(crate) unsafe fn size_of_block(block: *const c_void) -> usize {
    // SAFETY: its size lies a grain before a block.
    unsafe { block.cast::<u8>().sub(GRAIN_BYTES).cast::<usize>().read() }
}

/// Calls that were served here.
pub(crate) fn calls() -> u64 {
    CALLS.load(Ordering::Relaxed)
}

fn base() -> *mut u8 {
    ARENA.0.get().cast()
}
