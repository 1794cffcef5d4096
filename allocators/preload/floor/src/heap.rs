//! One thread's heap: for each size class a magazine of free blocks, a second one, and fresh memory.
//!
//! A magazine is an array of addresses. An allocation takes the last one, a free adds one, on the calling thread's
//! magazine, whichever thread the block came from. The blocks themselves are neither read nor written, and have no
//! header: the class of a block follows from its address ([`arena`](crate::arena)). Nothing is ever given back to the system.
//!
//! A thread that frees what others allocate would hoard forever, and those others would take fresh memory
//! forever. So a magazine is bounded: when it is full it becomes the second one, and a second full one goes
//! to the pool as a whole; an empty one is exchanged there for a full one in the same way.
//! [`service`](crate::service) does all that.

use core::ptr;

use crate::classes::CLASSES;

/// A magazine: a word that links it while it is in the pool, followed by the addresses of free blocks.
pub(crate) type Magazine = *mut *mut u8;

/// Free blocks of one class.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct List {
    /// The last block of the magazine in use; its first word if there is none.
    pub(crate) top: Magazine,
    /// The magazine in use. A list that was never used has none: all three are NULL.
    pub(crate) magazine: Magazine,
    /// Its last word.
    pub(crate) limit: Magazine,
    /// A second magazine, or NULL; with [`List::FULL`] added if it is full; otherwise it is empty.
    pub(crate) second: usize,
}

impl List {
    /// What is added to the address of a full second magazine.
    pub(crate) const FULL: usize = 1;
}

/// Memory that was never used, for one class.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Fresh {
    pub(crate) begin: *mut u8,
    pub(crate) bytes: usize,
    /// How often some was taken.
    pub(crate) taken: usize,
}

/// The stage of a thread's life.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Stage {
    /// It has not left the common path yet, and its heap is empty.
    New = 0,
    /// Its end will be noticed.
    Live,
    /// Its key's destructor has run this many times. Other destructors may still allocate and free.
    Ending1,
    Ending2,
    /// Its heap was handed over. What it still frees is lost: a few blocks at most.
    Ended,
}

/// A thread's heap. All zeros is an empty one.
#[repr(C)]
pub(crate) struct Heap {
    pub(crate) lists: [List; CLASSES],
    pub(crate) fresh: [Fresh; CLASSES],
    /// In the pool: the next heap of an ended thread.
    pub(crate) next_orphan: *mut Heap,
    /// The stage of its thread.
    pub(crate) stage: Stage,
}

impl Heap {
    /// A heap without any memory.
    pub(crate) const EMPTY: Heap = Heap {
        lists: [List { top: ptr::null_mut(), magazine: ptr::null_mut(), limit: ptr::null_mut(), second: 0 };
            CLASSES],
        fresh: [Fresh { begin: ptr::null_mut(), bytes: 0, taken: 0 }; CLASSES],
        next_orphan: ptr::null_mut(),
        stage: Stage::New,
    };
}
