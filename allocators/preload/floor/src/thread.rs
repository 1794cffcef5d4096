//! What happens to a thread's heap when the thread starts and ends.
//!
//! The end of a thread is noticed through a pthread key; its heap is left to the next new thread.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

use crate::heap::{Heap, Stage};
use crate::{allocate, classes, free_object, pool, storage};

/// The key with the destructor that notices threads ending, plus one; 0 as long as there is none.
static KEY: AtomicU32 = AtomicU32::new(0);

/// Makes the key, and ensures that no fork happens while the pool's mutex is held. Runs once, before `main`.
pub(crate) extern "C" fn prepare() {
    let mut key = 0;
    // SAFETY: the destructor lives as long as this library, which is never unloaded: it is preloaded.
    unsafe {
        if libc::pthread_key_create(&mut key, Some(end)) == 0 {
            KEY.store(key.wrapping_add(1), Ordering::Release);
        }
        libc::pthread_atfork(Some(lock_pool), Some(unlock_pool), Some(unlock_pool));
    }
}

unsafe extern "C" fn lock_pool() {
    pool::lock();
}

unsafe extern "C" fn unlock_pool() {
    pool::unlock();
}

/// Ensures that the thread's end is noticed, and adopts the heap of an ended thread; true if it adopted one.
///
/// Does nothing except the first time.
pub(crate) fn begin(heap: &mut Heap) -> bool {
    let key = KEY.load(Ordering::Acquire);
    if heap.stage != Stage::New || key == 0 {
        return false;
    }
    // NOTE: before pthread_setspecific, which calls calloc for a key above 31 and so comes back here.
    heap.stage = Stage::Live;
    let orphan = pool::take_heap();
    if !orphan.is_null() {
        // SAFETY: the orphan is ours alone now; a new thread's heap is empty, so nothing is overwritten.
        unsafe {
            core::ptr::copy_nonoverlapping(orphan, heap, 1);
            heap.stage = Stage::Live;
            free_object(heap, orphan.cast());
        }
    }
    // SAFETY: the key exists. The value must only differ from NULL.
    unsafe { libc::pthread_setspecific(key.wrapping_sub(1), core::ptr::dangling::<c_void>()) };
    !orphan.is_null()
}

/// Runs at a thread's end, among the destructors of other keys and, by asking for it, after them.
unsafe extern "C" fn end(value: *mut c_void) {
    // SAFETY: the heap is the calling thread's, and no other reference to it is in use.
    let heap = unsafe { &mut *storage::heap() };
    heap.stage = match heap.stage {
        Stage::New | Stage::Live => Stage::Ending1,
        Stage::Ending1 => Stage::Ending2,
        Stage::Ending2 | Stage::Ended => return hand_over(heap),
    };
    // SAFETY: the key exists, since this is its destructor.
    unsafe { libc::pthread_setspecific(KEY.load(Ordering::Acquire).wrapping_sub(1), value) };
}

/// Leaves the heap to the next new thread.
fn hand_over(heap: &mut Heap) {
    if heap.stage == Stage::Ended {
        return;
    }
    // SAFETY: a Heap's size has a class.
    let (kept, _) = unsafe { allocate(heap, const { classes::class_of(size_of::<Heap>()) }) };
    heap.stage = Stage::Ended;
    if kept.is_null() {
        return; // no memory even for this: the thread keeps its blocks
    }
    let kept = kept.cast::<Heap>();
    // SAFETY: the block was just allocated for a Heap, and blocks are aligned to 16 bytes.
    unsafe { core::ptr::copy_nonoverlapping(heap, kept, 1) };
    *heap = Heap::EMPTY;
    heap.stage = Stage::Ended;
    pool::give_heap(kept);
}
