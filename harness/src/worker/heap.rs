//! The heap of the `heaplab` binary itself: never the allocator under test.
//!
//! dlmalloc on shared mappings, protected by one lock. The harness allocates in set-up and reporting only, so
//! the lock does not affect measurements; and because shared mappings do not count in `RssAnon`, a worker's
//! own memory is not mistaken for the tested allocator's.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr;

use dlmalloc::{Allocator, Dlmalloc};

use super::lock::Lock;

/// A global allocator for binaries whose own memory must not be on the heap under test.
pub struct PrivateHeap {
    lock: Lock,
    heap: UnsafeCell<Dlmalloc<SharedPages>>,
}

// SAFETY: `heap` is reached only while `lock` is held.
unsafe impl Sync for PrivateHeap {}

impl PrivateHeap {
    /// An empty heap, for a static.
    #[must_use]
    pub const fn new() -> PrivateHeap {
        PrivateHeap { lock: Lock::new(), heap: UnsafeCell::new(Dlmalloc::new_with_allocator(SharedPages)) }
    }

    fn locked<R>(&self, action: impl FnOnce(&mut Dlmalloc<SharedPages>) -> R) -> R {
        let _guard = self.lock.hold();
        // SAFETY: the lock is held until the end of this function, and `action` does not call back into the heap.
        action(unsafe { &mut *self.heap.get() })
    }
}

impl Default for PrivateHeap {
    fn default() -> Self {
        PrivateHeap::new()
    }
}

// SAFETY: dlmalloc's functions are what GlobalAlloc asks for, and the lock makes them exclusive.
unsafe impl GlobalAlloc for PrivateHeap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's duties are the same.
        self.locked(|heap| unsafe { heap.malloc(layout.size(), layout.align()) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's duties are the same.
        self.locked(|heap| unsafe { heap.free(block, layout.size(), layout.align()) });
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's duties are the same.
        self.locked(|heap| unsafe { heap.calloc(layout.size(), layout.align()) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's duties are the same.
        self.locked(|heap| unsafe { heap.realloc(block, layout.size(), layout.align(), new_size) })
    }
}

/// Where that heap gets its pages.
struct SharedPages;

// SAFETY: `alloc` hands out fresh mappings, and `free` and `free_part` give back only what it handed out.
unsafe impl Allocator for SharedPages {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let pages = super::mapping::map_shared(size);
        if pages.is_null() { (ptr::null_mut(), 0, 0) } else { (pages, size, 0) }
    }

    fn remap(&self, _block: *mut u8, _old: usize, _new: usize, _can_move: bool) -> *mut u8 {
        // NOTE: a shared anonymous mapping has a fixed length after it: mremap would grow the addresses,
        // and the first touch of the new part would be a SIGBUS.
        ptr::null_mut()
    }

    fn free_part(&self, block: *mut u8, old: usize, new: usize) -> bool {
        // SAFETY: the part after `new` lies within a mapping of ours that dlmalloc no longer uses.
        unsafe { libc::munmap(block.add(new).cast(), old - new) == 0 }
    }

    fn free(&self, block: *mut u8, size: usize) -> bool {
        // SAFETY: the mapping is ours and dlmalloc no longer uses it.
        unsafe { libc::munmap(block.cast(), size) == 0 }
    }

    fn can_release_part(&self, _flags: u32) -> bool {
        true
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        4096
    }
}
