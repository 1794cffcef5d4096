//! Large live blocks, and how much of each is resident when it is freed or the process exits.
//!
//! A replay must know how much of a block was written to, or it fills blocks that the program hardly touched. When a
//! large block is freed, and when the process exits, the kernel is asked which of the block's pages are resident. A
//! table by address has a word for each large block, because asking the allocator for a block's size costs more than
//! an event.
//!
//! ```text
//! entry    63              20   19   18   0
//!          | address >> 4    | unit | size |     of an address of 48 bits the low four are 0
//! unit     0: size in KiB, 1: size in MiB; rounded up
//!
//! 1 MiB at 0x7f00_1234_5010: 0x7f00_1234_501 | 0_0400, at place 0x7f00_1234_5010 / 0x2_0000 % 0x1_0000 = 0x091a
//! 2 GiB there:               0x7f00_1234_501 | 8_0800
//! ```
//!
//! The place of an entry is its address in units of [`LARGE_BYTES`], modulo the table's length: two live large
//! blocks less than 8 GiB apart never share one, and the frees of a small heap all read the same few. If two
//! share one, the later stays; the other is forgotten, and nothing is recorded about it. An entry that outlived
//! its block, because its free was not seen, can only match a block at the same address, for which it reports no
//! less than is true: a smaller block is within the range that is asked about, and a large one has replaced the
//! entry, or its allocation was not seen either: then no trace has it.
//!
//! PERF: a free of a block that is not large pays a load and a comparison, ten instructions in all.
//!
//! The table is in the library's own memory, of which a page is used for each 64 MiB of addresses that
//! contain large blocks. A forked child has a copy, as it has of the blocks.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};

use heaplab_raw::{Event, LARGE_BYTES};

use crate::system;

const PLACES: usize = 1 << 16;
const ADDRESS_SHIFT: u32 = 16;
/// Bits of the size and its unit.
const SIZE_BITS: u32 = 20;
/// Set if the size is in MiB.
const IN_MIB: u64 = 1 << 19;
/// Pages per system call: each takes a byte of stack, and stacks may be small.
const PIECE_PAGES: usize = 1024;

static BLOCKS: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

#[inline(always)]
fn place(address: u64) -> &'static AtomicU64 {
    &BLOCKS[(address / LARGE_BYTES) as usize % PLACES]
}

/// Whether a block may be a large one.
#[inline(always)]
pub(crate) fn may_hold(block: *mut c_void) -> bool {
    let address = block as u64;
    is_of(place(address).load(Ordering::Relaxed), address)
}

#[inline(always)]
fn is_of(entry: u64, address: u64) -> bool {
    entry ^ address << ADDRESS_SHIFT < 1 << SIZE_BITS
}

/// A size as encoded in an entry; none for 512 GiB and more, which fits into no memory.
fn pack(bytes: u64) -> Option<u64> {
    let (kib, mib) = (bytes.div_ceil(1 << 10), bytes.div_ceil(1 << 20));
    if kib < IN_MIB { Some(kib) } else { (mib < IN_MIB).then_some(IN_MIB | mib) }
}

/// The size in an entry, and its unit, both in bytes: it exceeds the block's by less than a unit.
fn unpack(entry: u64) -> (u64, u64) {
    let unit = if entry & IN_MIB == 0 { 1 << 10 } else { 1 << 20 };
    ((entry & (IN_MIB.wrapping_sub(1))).wrapping_mul(unit), unit)
}

/// Remembers a block that was just allocated, if it is large, and not at an odd address.
#[inline]
pub(crate) fn remember(event: &Event) {
    let (Event::Allocate { address, size, .. }
    | Event::Aligned { address, size, .. }
    | Event::ReallocEnd { address, size }) = *event
    else {
        return;
    };
    if size >= LARGE_BYTES
        && address.is_multiple_of(16)
        && let Some(size) = pack(size)
    {
        place(address).store(address << ADDRESS_SHIFT | size, Ordering::Relaxed);
    }
}

/// The entry of a block; 0 if it has none.
#[inline]
pub(crate) fn entry(block: *mut c_void) -> u64 {
    let entry = place(block as u64).load(Ordering::Relaxed);
    if is_of(entry, block as u64) { entry } else { 0 }
}

/// Restores the entry of a block that was not freed after all.
pub(crate) fn restore(entry: u64) {
    if entry != 0 {
        place(address_of(entry)).store(entry, Ordering::Relaxed);
    }
}

/// What to record before a block is freed, if it is large: how much of it is resident.
#[inline]
pub(crate) fn take(event: &Event) -> Option<Event> {
    let (Event::Free { address } | Event::ReallocBegin { address }) = *event else { return None };
    let place = place(address);
    let entry = place.load(Ordering::Relaxed);
    if !is_of(entry, address) {
        return None;
    }
    tell(place, entry)
}

/// What to record when the process exits, for the blocks that are still live.
pub(crate) fn take_all() -> impl Iterator<Item = Event> {
    BLOCKS.iter().filter_map(|place| {
        let entry = place.load(Ordering::Relaxed);
        if entry == 0 { None } else { tell(place, entry) }
    })
}

fn tell(place: &AtomicU64, entry: u64) -> Option<Event> {
    // The thread that removes the entry records the block.
    place.compare_exchange(entry, 0, Ordering::Relaxed, Ordering::Relaxed).ok()?;
    let address = address_of(entry);
    let (bytes, unit_bytes) = unpack(entry);
    Some(Event::Touched { address, bytes: resident_bytes(address, bytes, unit_bytes)? })
}

fn address_of(entry: u64) -> u64 {
    entry >> ADDRESS_SHIFT & !0xf
}

/// How many bytes of a block are on resident pages; none if the kernel does not tell. The block is less than
/// `unit_bytes` shorter than `bytes`.
#[cold]
#[inline(never)]
fn resident_bytes(address: u64, bytes: u64, unit_bytes: u64) -> Option<u64> {
    let page_bytes = system::page_bytes();
    let begin = address as usize & page_bytes.wrapping_neg();
    // A power of two, which the compiler does not know: rounding by division would add a path that can panic.
    let end_of = |bytes: u64| {
        let end = (address as usize).wrapping_add(bytes as usize);
        end.wrapping_add(page_bytes.wrapping_sub(1)) & page_bytes.wrapping_neg()
    };
    // NOTE: the block may end before the last of these pages, and if nothing is mapped there the kernel
    // refuses the whole request. PERF: asking about that page separately took 0.6 us more, each time.
    let pages = count_resident(begin, end_of(bytes), page_bytes).or_else(|| {
        count_resident(begin, end_of(bytes.wrapping_sub(unit_bytes).wrapping_add(1)), page_bytes)
    })?;
    Some((pages as u64).wrapping_mul(page_bytes as u64).min(bytes))
}

/// How many of the pages from `at` to `end` are resident.
fn count_resident(mut at: usize, end: usize, page_bytes: usize) -> Option<usize> {
    let mut pages = [0_u8; PIECE_PAGES];
    let mut resident_pages = 0_usize;
    while at < end {
        let piece_bytes = end.wrapping_sub(at).min(PIECE_PAGES.wrapping_mul(page_bytes));
        system::resident(at, piece_bytes, &mut pages).ok()?;
        let asked = pages.iter().take(piece_bytes.checked_div(page_bytes).unwrap_or(0));
        resident_pages = resident_pages.wrapping_add(asked.filter(|&page| page & 1 != 0).count());
        at = at.wrapping_add(piece_bytes);
    }
    Some(resident_pages)
}
