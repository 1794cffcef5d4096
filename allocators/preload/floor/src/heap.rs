//! One thread's heap: for each size class a list of free blocks, a spare list, and fresh memory.
//!
//! A block is preceded by a [`Header`] of 16 bytes, which is written once, when the block is carved. An
//! allocation pops a block, a free pushes it, on the calling thread's list, whichever thread it came
//! from. Nothing is ever given back to the system.
//!
//! Large blocks are not kept by a thread at all, but by the pool. For the others:
//! a thread that frees what others allocate would hoard for ever, and those others would fault in fresh
//! pages for ever. So a list is bounded: when it is full it becomes the spare, and a second full list
//! goes to the pool, whole and without being walked; an empty one is refilled from there in the same way. [`service`](crate::service) does all that.

use core::ptr;

use crate::classes::CLASSES;

/// What stands in front of every object: 16 bytes, so that objects lie at multiples of 16.
#[repr(C, align(16))]
pub(crate) struct Header {
    /// The block's class.
    pub(crate) class: usize,
    /// Where the block begins behind its own header: the object itself, but for aligned allocations.
    pub(crate) block: *mut Block,
}

/// A free block.
#[repr(C)]
pub(crate) struct Block {
    /// The next of the same list.
    pub(crate) next: *mut Block,
    /// In the pool, in the first block of a list: the next list.
    pub(crate) next_list: *mut Block,
}

/// Free blocks of one class.
#[repr(C)]
pub(crate) struct List {
    pub(crate) first: *mut Block,
    /// Blocks that can be added before the list is full. A list that was never used has none.
    pub(crate) room: usize,
    /// A second list, full; or NULL.
    pub(crate) spare: *mut Block,
}

/// Where a thread stands.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Stage {
    /// It has not come off the common path yet, and its heap is empty.
    New = 0,
    /// Its end will be seen.
    Live,
    /// Its key's destructor ran this often. Others' destructors may still allocate and free.
    Ending1,
    Ending2,
    /// Its heap was handed over. What it still frees is lost; it is a few blocks at the most.
    Ended,
}

/// A thread's heap. All zeros is an empty one.
#[repr(C)]
pub(crate) struct Heap {
    pub(crate) lists: [List; CLASSES],
    pub(crate) fresh: *mut u8,
    pub(crate) fresh_end: *mut u8,
    /// In the pool: the next heap of an ended thread.
    pub(crate) next_orphan: *mut Heap,
    /// Where its thread stands.
    pub(crate) stage: Stage,
}

impl Heap {
    /// A heap without any memory.
    pub(crate) const EMPTY: Heap = Heap {
        lists: [const { List { first: ptr::null_mut(), room: 0, spare: ptr::null_mut() } }; CLASSES],
        fresh: ptr::null_mut(),
        fresh_end: ptr::null_mut(),
        next_orphan: ptr::null_mut(),
        stage: Stage::New,
    };
}
