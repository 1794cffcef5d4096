//! The single range of addresses that contains all blocks, and the class of each of its cards.
//!
//! The range is reserved once, and used from its start on: a page counts when it is first written to. One
//! byte per card of 1 KiB, in a table before the range, states the class of its blocks, so that a free need
//! read neither the block nor anything beside it.

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

pub(crate) const PAGE_BYTES: usize = 4096;
/// The smallest amount that is taken, all of it for one class: a quarter of a page, so that a process that
/// needs little of many classes writes to few pages.
pub(crate) const CARD_BYTES: usize = 1 << CARD_SHIFT;
const CARD_SHIFT: u32 = 10;
/// How many addresses are reserved if the system allows it, and the fewest that are enough.
const MOST_BYTES: usize = 4 << 40;
const LEAST_BYTES: usize = 16 << 20;
/// How much of it becomes memory at a time.
///
/// NOTE: not all of it. A tool that asks the kernel which pages of the process are present would ask about
/// each of a billion.
const STEP_BYTES: usize = 64 << 20;
const HUGE_PAGE_BYTES: usize = 2 << 20;
/// The most cards, of those taken at once, in which blocks begin: a longer span is one block, which begins in
/// the first card.
const SHARED_CARDS: usize = MOST_SPAN_BYTES >> CARD_SHIFT;
/// The longest span that may hold more than one block.
pub(crate) const MOST_SPAN_BYTES: usize = 64 << 10;

/// Where the table's entry for card 0 of the process's addresses would be: the index is a block's address in
/// cards.
static CLASSES_OF_CARDS: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// The class of the block at `address`.
///
/// # Safety
/// There is a block at that address.
#[inline(always)]
pub(crate) unsafe fn class_at(address: usize) -> usize {
    // NOTE: a thread that has a block either got it from a thread that saw the table, or saw the table
    // itself, so relaxed is enough.
    let table = CLASSES_OF_CARDS.load(Ordering::Relaxed);
    // SAFETY: the block's card is in the range, and so has an entry.
    usize::from(unsafe { *table.wrapping_add(address >> CARD_SHIFT) })
}

/// What is left of the range. Accessed only under the pool's mutex.
pub(crate) struct Arena {
    begin: *mut u8,
    next: *mut u8,
    /// The range is memory up to here.
    open_end: *mut u8,
    end: *mut u8,
}

impl Arena {
    /// Nothing is reserved yet.
    pub(crate) const NONE: Arena = Arena {
        begin: ptr::null_mut(),
        next: ptr::null_mut(),
        open_end: ptr::null_mut(),
        end: ptr::null_mut(),
    };

    /// Fresh cards of at least `bytes` for blocks of `class`, zeroed by the kernel, at a multiple of
    /// `alignment`, a power of two. None if there is no room.
    pub(crate) fn take(&mut self, bytes: usize, alignment: usize, class: u8) -> Option<*mut u8> {
        if self.begin.is_null() {
            self.reserve()?;
        }
        let bytes = bytes.checked_next_multiple_of(CARD_BYTES)?;
        let alignment = alignment.max(if bytes < PAGE_BYTES { CARD_BYTES } else { PAGE_BYTES });
        let gap = (self.next as usize).wrapping_neg() & alignment.wrapping_sub(1);
        self.open(gap.checked_add(bytes)?)?;
        let begin = self.next.wrapping_add(gap);
        self.next = begin.wrapping_add(bytes);
        let table = CLASSES_OF_CARDS.load(Ordering::Relaxed);
        let cards = (bytes >> CARD_SHIFT).min(SHARED_CARDS);
        // SAFETY: these cards are in the range, and so have entries, which nobody else reads before there is
        // a block.
        unsafe { table.wrapping_add(begin as usize >> CARD_SHIFT).write_bytes(class, cards) };
        Some(begin)
    }

    /// Bytes taken so far.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.next as usize).wrapping_sub(self.begin as usize)
    }

    /// Has the kernel populate the next `bytes` of the range, in huge pages where it provides them. False if
    /// it does not.
    pub(crate) fn populate(&mut self, bytes: usize) -> bool {
        if self.begin.is_null() && self.reserve().is_none() {
            return false;
        }
        if self.open(bytes).is_none() {
            return false;
        }
        let table = CLASSES_OF_CARDS.load(Ordering::Relaxed);
        let first = table.wrapping_add(self.next as usize >> CARD_SHIFT);
        write_to_pages(first, bytes >> CARD_SHIFT) && write_to_pages(self.next, bytes)
    }

    /// Ensures that the next `bytes` of the range, and their entries, are memory.
    fn open(&mut self, bytes: usize) -> Option<()> {
        let end = (self.next as usize).checked_add(bytes)?;
        if end <= self.open_end as usize {
            return Some(());
        }
        if end > self.end as usize {
            return None;
        }
        let missing = end.wrapping_sub(self.open_end as usize).next_multiple_of(STEP_BYTES);
        let missing = missing.min((self.end as usize).wrapping_sub(self.open_end as usize));
        let entries =
            CLASSES_OF_CARDS.load(Ordering::Relaxed).wrapping_add(self.open_end as usize >> CARD_SHIFT);
        let is_open = make_memory(entries, missing >> CARD_SHIFT) && make_memory(self.open_end, missing);
        self.open_end = self.open_end.wrapping_add(if is_open { missing } else { 0 });
        is_open.then_some(())
    }

    /// Reserves table and range: only a part of what the system allows if it limits addresses, because others
    /// need some too.
    fn reserve(&mut self) -> Option<()> {
        let mut bytes = MOST_BYTES;
        while bytes >= LEAST_BYTES {
            let table_bytes = (bytes >> CARD_SHIFT).next_multiple_of(HUGE_PAGE_BYTES);
            let whole = bytes.wrapping_add(table_bytes).wrapping_add(HUGE_PAGE_BYTES);
            if let Some(table) = map(whole) {
                let after = table.wrapping_add(table_bytes);
                let gap = (after as usize).wrapping_neg() & (HUGE_PAGE_BYTES - 1);
                self.begin = after.wrapping_add(gap);
                self.next = self.begin;
                self.open_end = self.begin;
                self.end = self.begin.wrapping_add(bytes);
                let card_0 = table.wrapping_sub(self.begin as usize >> CARD_SHIFT);
                CLASSES_OF_CARDS.store(card_0, Ordering::Relaxed);
                return Some(());
            }
            bytes /= 4;
        }
        None
    }
}

/// New addresses that are not memory yet; none if the system refuses them.
fn map(bytes: usize) -> Option<*mut u8> {
    // SAFETY: a new private mapping touches nothing that exists.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    (address != libc::MAP_FAILED).then_some(address.cast())
}

/// Turns reserved addresses into memory.
fn make_memory(begin: *mut u8, bytes: usize) -> bool {
    let offset = begin as usize & (PAGE_BYTES - 1);
    let bytes = bytes.wrapping_add(offset).next_multiple_of(PAGE_BYTES);
    // SAFETY: the pages are in our mapping, and nothing that was written to them changes.
    unsafe {
        libc::mprotect(begin.wrapping_sub(offset).cast(), bytes, libc::PROT_READ | libc::PROT_WRITE) == 0
    }
}

/// Has the kernel populate the pages of `bytes` from `begin` on, as a write to each would.
fn write_to_pages(begin: *mut u8, bytes: usize) -> bool {
    let offset = begin as usize & (PAGE_BYTES - 1);
    let begin = begin.wrapping_sub(offset);
    let bytes = bytes.wrapping_add(offset).next_multiple_of(PAGE_BYTES);
    // SAFETY: the pages are in our mapping; neither call changes what they hold. A lack of huge pages is not
    // a fault.
    unsafe {
        libc::madvise(begin.cast(), bytes, libc::MADV_HUGEPAGE);
        libc::madvise(begin.cast(), bytes, libc::MADV_POPULATE_WRITE) == 0
    }
}
