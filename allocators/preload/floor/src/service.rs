//! How a heap serves: an allocation pops a block, a free pushes it.

use core::ptr;

use crate::classes::{class_bytes, list_limit};
use crate::heap::{Block, Header, Heap};
use crate::{pool, refuse, thread};

/// Blocks above this have a mapping of their own (and are recycled by their class as all others).
const CARVED_BYTES: usize = 256 << 10;
const PAGE_BYTES: usize = 4096;

impl Heap {
    /// A block of `class`, and whether it is fresh (zeroed by the kernel); NULL with ENOMEM where
    /// memory is refused.
    ///
    /// # Safety
    /// `class` is below CLASSES.
    #[inline(always)]
    pub(crate) unsafe fn allocate(&mut self, class: usize) -> (*mut Block, bool) {
        // SAFETY: the class is in range, and a list holds free blocks alone.
        unsafe {
            let list = self.lists.as_mut_ptr().add(class);
            let block = (*list).first;
            if block.is_null() {
                return self.refill(class);
            }
            (*list).first = (*block).next;
            (*list).room = (*list).room.wrapping_add(1);
            (block, false)
        }
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// `class` is below CLASSES and `block` is one of that class, not free.
    #[inline(always)]
    pub(crate) unsafe fn free(&mut self, class: usize, block: *mut Block) {
        // SAFETY: the class is in range, and the block is the caller's to give.
        unsafe {
            let list = self.lists.as_mut_ptr().add(class);
            if (*list).room == 0 && !self.make_room(class) {
                (*block).next = ptr::null_mut();
                pool::give_list(class, block);
                return;
            }
            (*block).next = (*list).first;
            (*list).first = block;
            (*list).room = (*list).room.wrapping_sub(1);
        }
    }

    /// [`Heap::allocate`] where the list is empty: the spare, else the pool, else fresh memory.
    #[cold]
    #[inline(never)]
    unsafe fn refill(&mut self, class: usize) -> (*mut Block, bool) {
        if thread::begin(self) {
            // SAFETY: the class is in range. An adopted heap may hold blocks now; the second time it begins nothing.
            return unsafe { self.allocate(class) };
        }
        // SAFETY: the class is in range; spares and pooled lists are full lists of their class.
        unsafe {
            let list = self.lists.as_mut_ptr().add(class);
            let mut full = core::mem::replace(&mut (*list).spare, ptr::null_mut());
            if full.is_null() {
                full = pool::take_list(class);
            }
            if full.is_null() {
                if (*list).room == 0 {
                    (*list).room = list_limit(class);
                }
                return (self.carve(class), true);
            }
            (*list).first = (*full).next;
            (*list).room = list_limit(class).min(1);
            (full, false)
        }
    }

    /// Empties a full list: it becomes the spare, and an older spare goes to the pool. False where a thread
    /// keeps no blocks of this class.
    #[cold]
    #[inline(never)]
    unsafe fn make_room(&mut self, class: usize) -> bool {
        thread::begin(self);
        // SAFETY: the class is in range.
        let list = unsafe { &mut *self.lists.as_mut_ptr().add(class) };
        if list.room != 0 {
            return true; // an adopted heap had room
        }
        if list_limit(class) == 0 {
            return false;
        }
        if !list.first.is_null() {
            if !list.spare.is_null() {
                pool::give_list(class, list.spare);
            }
            list.spare = core::mem::replace(&mut list.first, ptr::null_mut());
        }
        list.room = list_limit(class);
        true
    }

    /// A block of fresh memory, its header written; NULL with ENOMEM where memory is refused.
    fn carve(&mut self, class: usize) -> *mut Block {
        let bytes = class_bytes(class).wrapping_add(size_of::<Header>());
        let begin = if bytes > CARVED_BYTES {
            match bytes.checked_next_multiple_of(PAGE_BYTES).and_then(pool::map_fresh) {
                Some(begin) => begin,
                None => return refuse().cast(),
            }
        } else {
            if (self.fresh_end as usize).wrapping_sub(self.fresh as usize) < bytes {
                match pool::take_span(bytes) {
                    Some((begin, end)) => (self.fresh, self.fresh_end) = (begin, end),
                    None => return refuse().cast(),
                }
            }
            let begin = self.fresh;
            self.fresh = begin.wrapping_add(bytes);
            begin
        };
        let header = begin.cast::<Header>();
        let block = header.wrapping_add(1).cast::<Block>();
        // SAFETY: `begin` is the start of `bytes` of memory that nobody else has.
        unsafe { header.write(Header { class, block }) };
        block
    }
}
