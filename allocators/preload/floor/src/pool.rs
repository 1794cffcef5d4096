//! What all threads share: fresh memory, magazines that no thread has, and the heaps of ended threads.
//!
//! Everything here is behind one mutex and off the common path: it is reached once per magazine (up to 127
//! blocks), once per span of fresh memory, and at the start and end of a thread.

use core::cell::UnsafeCell;
use core::ptr;

use crate::arena::Arena;
use crate::classes::{CLASSES, class_alignment, magazine_blocks};
use crate::heap::{Heap, Magazine};

/// How much memory for magazines is taken at a time.
const MAGAZINES_BYTES: usize = 64 << 10;

/// State that the mutex guards.
struct Shared {
    /// For each class, two stacks of magazines, linked through their first word.
    full: [Magazine; CLASSES],
    empty: [Magazine; CLASSES],
    /// Heaps of ended threads, linked through [`Heap::next_orphan`].
    orphans: *mut Heap,
    arena: Arena,
    /// What is left for new magazines.
    magazines: *mut u8,
    magazines_bytes: usize,
}

struct Pool {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    shared: UnsafeCell<Shared>,
}

// SAFETY: `shared` is accessed only through `with_shared`, which holds the mutex.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
    shared: UnsafeCell::new(Shared {
        full: [ptr::null_mut(); CLASSES],
        empty: [ptr::null_mut(); CLASSES],
        orphans: ptr::null_mut(),
        arena: Arena::NONE,
        magazines: ptr::null_mut(),
        magazines_bytes: 0,
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

/// Takes the mutex; called on its own only when a fork is prepared, which must not find it held by another
/// thread.
pub(crate) extern "C" fn lock() {
    // SAFETY: the mutex is initialised statically and never destroyed.
    unsafe { libc::pthread_mutex_lock(POOL.mutex.get()) };
}

/// Releases the mutex.
pub(crate) extern "C" fn unlock() {
    // SAFETY: the calling thread (in a forked child: its only one, a copy of it) holds the mutex.
    unsafe { libc::pthread_mutex_unlock(POOL.mutex.get()) };
}

/// Pushes a magazine onto a stack.
fn push(stack: &mut Magazine, magazine: Magazine) {
    // SAFETY: nobody else has the magazine, whose first word is its link.
    unsafe { *magazine = stack.cast() };
    *stack = magazine;
}

/// Pops a magazine from a stack; NULL if there is none.
fn pop(stack: &mut Magazine) -> Magazine {
    let magazine = *stack;
    if !magazine.is_null() {
        // SAFETY: whatever is on the stack was linked by `push`.
        *stack = unsafe { *magazine }.cast();
    }
    magazine
}

impl Shared {
    /// An empty magazine of `class`; NULL if memory is refused.
    fn take_empty(&mut self, class: usize) -> Magazine {
        let Some(stack) = self.empty.get_mut(class) else { return ptr::null_mut() };
        let magazine = pop(stack);
        if !magazine.is_null() {
            return magazine;
        }
        let words = magazine_blocks(class).wrapping_add(1);
        let bytes = words.wrapping_mul(size_of::<*mut u8>()).next_multiple_of(64);
        if self.magazines_bytes < bytes {
            let Some(begin) = self.arena.take(MAGAZINES_BYTES, 1, 0) else { return ptr::null_mut() };
            (self.magazines, self.magazines_bytes) = (begin, MAGAZINES_BYTES);
        }
        let magazine = self.magazines;
        self.magazines = magazine.wrapping_add(bytes);
        self.magazines_bytes = self.magazines_bytes.wrapping_sub(bytes);
        magazine.cast()
    }
}

/// An empty magazine of `class`; NULL if memory is refused.
pub(crate) fn take_empty(class: usize) -> Magazine {
    with_shared(|shared| shared.take_empty(class))
}

/// Exchanges an empty magazine of `class`, which may be NULL, for a full one; NULL if no thread gave one
/// away, in which case the thread keeps the empty one.
pub(crate) fn exchange_empty(class: usize, empty: Magazine) -> Magazine {
    with_shared(|shared| {
        let full = shared.full.get_mut(class).map_or(ptr::null_mut(), pop);
        if !full.is_null()
            && !empty.is_null()
            && let Some(stack) = shared.empty.get_mut(class)
        {
            push(stack, empty);
        }
        full
    })
}

/// Exchanges a full magazine of `class` for an empty one; NULL if memory is refused, in which case the thread
/// keeps the full one.
pub(crate) fn exchange_full(class: usize, full: Magazine) -> Magazine {
    with_shared(|shared| {
        let empty = shared.take_empty(class);
        if !empty.is_null()
            && let Some(stack) = shared.full.get_mut(class)
        {
            push(stack, full);
        }
        empty
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
            // SAFETY: whatever is on the stack was handed over by `give_heap`.
            shared.orphans = unsafe { (*heap).next_orphan };
        }
        heap
    })
}

/// Fresh memory of at least `bytes` for blocks of `class`, zeroed by the kernel.
pub(crate) fn take_span(bytes: usize, class: usize) -> Option<*mut u8> {
    with_shared(|shared| shared.arena.take(bytes, class_alignment(class), class as u8))
}

/// Has the kernel populate the next `bytes` of fresh memory. False if it does not.
pub(crate) fn populate(bytes: usize) -> bool {
    with_shared(|shared| shared.arena.populate(bytes))
}

/// Bytes of fresh memory taken so far.
pub(crate) fn used_bytes() -> usize {
    with_shared(|shared| shared.arena.used_bytes())
}
