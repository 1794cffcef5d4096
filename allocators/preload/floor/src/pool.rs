//! What all threads share: fresh memory, full lists that a thread gave away, and the heaps of ended threads.
//!
//! Everything here is behind one mutex and off the common path: it is reached once for each list
//! (up to 256 blocks), for each span of fresh memory, and at the begin and end of a thread.

use core::cell::UnsafeCell;
use core::ptr;

use crate::classes::CLASSES;
use crate::heap::{Block, Heap};

/// Fresh memory that a thread takes at once.
const SPAN_BYTES: usize = 1 << 20;
/// Fresh memory that is mapped at once. Reserved, not used: a page counts when it is first written to.
const SEGMENT_BYTES: usize = 64 << 20;

/// State that the mutex guards.
struct Shared {
    /// For each class a stack of full lists, linked through their first block's second word.
    lists: [*mut Block; CLASSES],
    /// Heaps of ended threads, linked through [`Heap::next_orphan`].
    orphans: *mut Heap,
    /// What is left of the current segment.
    segment: *mut u8,
    segment_end: *mut u8,
}

struct Pool {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    shared: UnsafeCell<Shared>,
}

// SAFETY: `shared` is reached through `with_shared` alone, which holds the mutex.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    shared: UnsafeCell::new(Shared {
        lists: [ptr::null_mut(); CLASSES],
        orphans: ptr::null_mut(),
        segment: ptr::null_mut(),
        segment_end: ptr::null_mut(),
    }),
};

/// Runs `work` on the shared state, which no other thread then sees.
fn with_shared<T>(work: impl FnOnce(&mut Shared) -> T) -> T {
    lock();
    // SAFETY: the mutex is held, and `work` cannot come back here: it is one of this module's closures.
    let result = work(unsafe { &mut *POOL.shared.get() });
    unlock();
    result
}

/// Takes the mutex; alone where a fork is prepared, which must not find it held by another thread.
pub(crate) extern "C" fn lock() {
    // SAFETY: the mutex is initialised statically and never destroyed.
    unsafe { libc::pthread_mutex_lock(POOL.mutex.get()) };
}

/// Gives the mutex back.
pub(crate) extern "C" fn unlock() {
    // SAFETY: the calling thread (in a forked child: its only one, a copy of it) holds the mutex.
    unsafe { libc::pthread_mutex_unlock(POOL.mutex.get()) };
}

/// Gives away a full list of `class`.
pub(crate) fn give_list(class: usize, list: *mut Block) {
    with_shared(|shared| {
        // SAFETY: a class below CLASSES; `list` is a free block, which holds at least two words.
        unsafe {
            let stack = shared.lists.as_mut_ptr().add(class);
            (*list).next_list = *stack;
            *stack = list;
        }
    });
}

/// Takes a full list of `class`; NULL if no thread gave one away.
pub(crate) fn take_list(class: usize) -> *mut Block {
    with_shared(|shared| {
        // SAFETY: a class below CLASSES; what lies on the stack is a free block.
        unsafe {
            let stack = shared.lists.as_mut_ptr().add(class);
            let list = *stack;
            if !list.is_null() {
                *stack = (*list).next_list;
            }
            list
        }
    })
}

/// Leaves the heap of an ended thread for the next new one.
pub(crate) fn give_heap(heap: *mut Heap) {
    with_shared(|shared| {
        // SAFETY: the caller hands over a heap that nobody else sees.
        unsafe { (*heap).next_orphan = shared.orphans };
        shared.orphans = heap;
    });
}

/// Takes the heap of an ended thread; NULL if there is none.
pub(crate) fn take_heap() -> *mut Heap {
    with_shared(|shared| {
        let heap = shared.orphans;
        if !heap.is_null() {
            // SAFETY: what lies on the stack was handed over by `give_heap`.
            shared.orphans = unsafe { (*heap).next_orphan };
        }
        heap
    })
}

/// Fresh memory of at least `bytes` (and a span's worth), zeroed by the kernel: where it begins and ends.
pub(crate) fn take_span(bytes: usize) -> Option<(*mut u8, *mut u8)> {
    with_shared(|shared| {
        let bytes = bytes.max(SPAN_BYTES);
        if (shared.segment_end as usize).wrapping_sub(shared.segment as usize) < bytes {
            let segment = map_fresh(SEGMENT_BYTES.max(bytes))?;
            shared.segment = segment;
            shared.segment_end = segment.wrapping_add(SEGMENT_BYTES.max(bytes));
        }
        let begin = shared.segment;
        shared.segment = begin.wrapping_add(bytes);
        Some((begin, shared.segment))
    })
}

/// A new anonymous mapping; none where the system refuses it.
pub(crate) fn map_fresh(bytes: usize) -> Option<*mut u8> {
    // SAFETY: a new private mapping touches nothing that exists.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    (address != libc::MAP_FAILED).then_some(address.cast())
}
