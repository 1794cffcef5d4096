//! How a heap serves: an allocation takes the last block of a magazine, a free adds one.

use crate::arena::{CARD_BYTES, MOST_SPAN_BYTES, PAGE_BYTES};
use crate::classes::{class_alignment, class_bytes, magazine_blocks};
use crate::heap::{Heap, List, Magazine};
use crate::{pool, refuse, thread};

/// How much fresh memory a thread takes for a class at first; it takes twice as much each time, up to
/// [`MOST_SPAN_BYTES`], so that hundreds of threads that need little take little. Larger blocks are taken one
/// by one.
const LEAST_SPAN_BYTES: usize = CARD_BYTES;
/// Fresh blocks up to this size fill a magazine; for larger ones it matters that they are known to be zero.
const BATCHED_BYTES: usize = 1 << 10;
/// How far blocks of whole pages are moved apart; otherwise their first lines would all lie in one set of a
/// cache.
const COLOUR_BYTES: usize = 64;

impl Heap {
    /// A block of `class`, and whether it is fresh (zeroed by the kernel); NULL with ENOMEM if memory is
    /// refused.
    ///
    /// # Safety
    /// `class` is below CLASSES.
    #[inline(always)]
    pub(crate) unsafe fn allocate(&mut self, class: usize) -> (*mut u8, bool) {
        // SAFETY: the class is in range, and above its first word a magazine holds only free blocks.
        unsafe {
            let list = self.lists.as_mut_ptr().add(class);
            let top = (*list).top;
            if top == (*list).magazine {
                return self.refill(class);
            }
            (*list).top = top.sub(1);
            (*top, false)
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `class` is below CLASSES and `block` is one of that class, not free.
    #[inline(always)]
    pub(crate) unsafe fn free(&mut self, class: usize, block: *mut u8) {
        // SAFETY: the class is in range, and the block is the caller's to give.
        unsafe {
            let list = self.lists.as_mut_ptr().add(class);
            let top = (*list).top;
            if top == (*list).limit {
                return self.free_beyond(class, block);
            }
            *top.add(1) = block;
            (*list).top = top.add(1);
        }
    }

    /// [`Heap::free`] when the magazine is full, or does not exist yet.
    #[cold]
    #[inline(never)]
    unsafe fn free_beyond(&mut self, class: usize, block: *mut u8) {
        // SAFETY: the caller keeps the contract.
        unsafe {
            if self.make_room(class) {
                self.free(class, block);
            }
            // Otherwise there is no memory even for a magazine: the block is lost.
        }
    }

    /// [`Heap::allocate`] when the magazine is empty: uses the second one, else fresh memory that the thread
    /// has, else a full one from the pool, else new fresh memory.
    #[cold]
    #[inline(never)]
    unsafe fn refill(&mut self, class: usize) -> (*mut u8, bool) {
        if thread::begin(self) {
            // SAFETY: the class is in range. An adopted heap may hold blocks now; the second time, `begin`
            // does nothing.
            return unsafe { self.allocate(class) };
        }
        // SAFETY: the class is in range.
        let list = unsafe { &mut *self.lists.as_mut_ptr().add(class) };
        if list.second & List::FULL != 0 {
            let empty = list.magazine;
            use_magazine(list, class, (list.second & !List::FULL) as Magazine, true);
            list.second = empty as usize;
            // SAFETY: the class is in range, and the magazine is full.
            return unsafe { self.allocate(class) };
        }
        // SAFETY: the class is in range.
        if let Some(block) = unsafe { self.take_fresh(class) } {
            return (block, true);
        }
        // SAFETY: as above.
        let list = unsafe { &mut *self.lists.as_mut_ptr().add(class) };
        let full = pool::exchange_empty(class, list.magazine);
        if !full.is_null() {
            use_magazine(list, class, full, true);
            // SAFETY: the class is in range, and the magazine is full.
            return unsafe { self.allocate(class) };
        }
        // SAFETY: the class is in range.
        match unsafe { self.extend(class).and_then(|()| self.take_fresh(class)) } {
            Some(block) => (block, true),
            None => (refuse().cast(), false),
        }
    }

    /// Makes room in a magazine that is full, or does not exist yet. False if memory is refused.
    unsafe fn make_room(&mut self, class: usize) -> bool {
        thread::begin(self);
        // SAFETY: the class is in range.
        let list = unsafe { &mut *self.lists.as_mut_ptr().add(class) };
        if list.top != list.limit {
            return true; // an adopted heap had room
        }
        let second = (list.second & !List::FULL) as Magazine;
        let empty = if list.second & List::FULL != 0 {
            pool::exchange_full(class, second)
        } else if second.is_null() {
            pool::take_empty(class)
        } else {
            second
        };
        if empty.is_null() {
            return false;
        }
        list.second = if list.magazine.is_null() { 0 } else { list.magazine as usize | List::FULL };
        use_magazine(list, class, empty, false);
        true
    }

    /// A block of the fresh memory that the thread has for `class`. For small blocks, the magazine, which
    /// must be empty, is also filled with as many as it holds.
    ///
    /// # Safety
    /// `class` is below CLASSES.
    unsafe fn take_fresh(&mut self, class: usize) -> Option<*mut u8> {
        let stride = stride_bytes(class);
        // SAFETY: the class is in range.
        let (fresh, list) =
            unsafe { (&mut *self.fresh.as_mut_ptr().add(class), &mut *self.lists.as_mut_ptr().add(class)) };
        if fresh.bytes < stride {
            return None;
        }
        let first = fresh.begin;
        let mut blocks = 1;
        if stride <= BATCHED_BYTES {
            if list.magazine.is_null() {
                let empty = pool::take_empty(class);
                if !empty.is_null() {
                    use_magazine(list, class, empty, false);
                }
            }
            if !list.magazine.is_null() {
                blocks = (fresh.bytes / stride).min(magazine_blocks(class));
                for block in (1..blocks).rev() {
                    // SAFETY: fewer than the magazine holds, and it is empty.
                    unsafe {
                        list.top = list.top.add(1);
                        *list.top = first.add(block.wrapping_mul(stride));
                    }
                }
            }
        }
        fresh.begin = first.wrapping_add(blocks.wrapping_mul(stride));
        fresh.bytes = fresh.bytes.wrapping_sub(blocks.wrapping_mul(stride));
        Some(first)
    }

    /// Takes fresh memory for `class`. None if it is refused.
    ///
    /// # Safety
    /// `class` is below CLASSES.
    unsafe fn extend(&mut self, class: usize) -> Option<()> {
        // SAFETY: the class is in range.
        let fresh = unsafe { &mut *self.fresh.as_mut_ptr().add(class) };
        let stride = stride_bytes(class);
        let share = LEAST_SPAN_BYTES.checked_shl(fresh.taken as u32).unwrap_or(0).wrapping_sub(1);
        let bytes = share.min(MOST_SPAN_BYTES - 1).wrapping_add(1).max(stride);
        fresh.begin = pool::take_span(bytes, class)?;
        fresh.bytes = bytes;
        fresh.taken = fresh.taken.wrapping_add(1);
        Some(())
    }
}

/// How far apart the blocks of `class` are.
const fn stride_bytes(class: usize) -> usize {
    let bytes = class_bytes(class);
    if bytes.is_multiple_of(PAGE_BYTES) && class_alignment(class) < PAGE_BYTES {
        bytes.wrapping_add(COLOUR_BYTES)
    } else {
        bytes
    }
}

/// Has a list use a magazine that is full or empty.
fn use_magazine(list: &mut List, class: usize, magazine: Magazine, is_full: bool) {
    list.magazine = magazine;
    list.limit = magazine.wrapping_add(magazine_blocks(class));
    list.top = if is_full { list.limit } else { magazine };
}
