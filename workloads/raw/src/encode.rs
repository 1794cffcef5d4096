//! Events as bytes. Most records have two or three; none is longer than sixteen.
//!
//! The first byte tells form and length, and is never 0. `d` is the difference of the address to the one
//! before it of the same chunk, plus a bias that makes it positive, in units of 16 bytes; a difference that
//! is no multiple of 16 takes a wider form. A field of n bits holds numbers below 2^n.
//!
//! ```text
//! low bits of the first byte      length  fields, from the low bit up
//! ..01      malloc                   3    2 form, 9 size, 13 d (bias 2^12)
//! ..10      free                     2    2 form, 14 d (bias 2^13)
//! .011      malloc                   5    3 form, 15 size, 22 d (bias 2^21)
//! .111      free                     4    3 form, 29 d (bias 2^28)
//! kkkkkk00  all else: kind k, from 1
//!    1  malloc                       8    8 kind, 20 size, 36 d (bias 2^35)
//!    2  calloc                       5    8 kind, 12 size, 20 d (bias 2^19)
//!    3  calloc                       8    as 1
//!    4  realloc of NULL              5    as 2
//!    5  realloc of NULL              8    as 1
//!    6  realloc's end                5    as 2
//!    7  realloc's end                8    as 1
//!    8  realloc's begin              4    8 kind, 24 d (bias 2^23)
//!    9  realloc's begin              8    8 kind, 56 address
//!   10  free                         8    8 kind, 56 address
//!   11  malloc                      16    8 kind, 56 address; 64 size
//!   12  calloc                      16    as 11
//!   13  realloc of NULL             16    as 11
//!   14  realloc's end               16    as 11
//!   15  aligned allocation          16    8 kind, 56 address; 58 size, 6 binary logarithm of the alignment
//!   16  a call failed               16    8 kind, 8 call, 48 zeros; 64 size
//!   17  free of NULL                 1
//!   18  realloc freed                1
//!   19  tick                         8    8 kind, 56 microseconds since the beginning
//!   20  thread begins                1
//!   21  thread ends                  1
//!   22  pthread_create entered       1
//!   23  pthread_create left          1
//!   24  lost                         8    8 kind, 56 count
//!   25  mark                         8    8 kind, 8 what, 16 detail, 32 argument
//!   26  touched                     16    8 kind, 56 address; 64 bytes that were resident
//! ```
//!
//! A worked example, a thread's first records, the last address being 0x5000 (20480):
//!
//! ```text
//! malloc(48) = 0x50a0    c1 50 80     01, 48 << 2, (0xa0 / 16 + 4096) << 11
//! free(0x5000)           da 7f        10, (-0xa0 / 16 + 8192) << 2
//! free(NULL)             44           17 << 2
//! touched(0x5000, 8192)  68 00 50 00 00 00 00 00   00 20 00 00 00 00 00 00   26 << 2, 0x5000; 0x2000
//! ```
//!
//! A record of up to 8 bytes is stored by one 8-byte store, so that a process that is killed leaves whole
//! records: the zeros after it are what the next one overwrites. Of a longer one the second word is
//! stored first.
//!
//! PERF: [`encode_allocation`] and its like have one branch that is hardly ever taken; the shorter and the longer
//! form are told apart without one, because a program's mixture of both cannot be foreseen.

use core::hint::select_unpredictable;

use crate::event::{Allocation, Event};

/// The longest record.
pub const RECORD_MOST_BYTES: usize = 16;
/// What must be free after the cursor for a record to be written there: any record, and the zeros that an
/// 8-byte store of its end writes after it.
pub const RECORD_ROOM_BYTES: usize = 24;

/// A record as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    /// The first eight bytes, zeros after a shorter record: stored last.
    pub first: u64,
    /// The second eight bytes of a record of 16: stored first. 0 otherwise.
    pub second: u64,
    /// 1 to 16.
    pub bytes: usize,
}

pub(crate) mod kind {
    pub(crate) const MALLOC: u8 = 1;
    pub(crate) const CALLOC_SHORT: u8 = 2;
    pub(crate) const CALLOC: u8 = 3;
    pub(crate) const REALLOC_NULL_SHORT: u8 = 4;
    pub(crate) const REALLOC_NULL: u8 = 5;
    pub(crate) const REALLOC_END_SHORT: u8 = 6;
    pub(crate) const REALLOC_END: u8 = 7;
    pub(crate) const REALLOC_BEGIN_SHORT: u8 = 8;
    pub(crate) const REALLOC_BEGIN: u8 = 9;
    pub(crate) const FREE: u8 = 10;
    pub(crate) const MALLOC_WIDE: u8 = 11;
    pub(crate) const CALLOC_WIDE: u8 = 12;
    pub(crate) const REALLOC_NULL_WIDE: u8 = 13;
    pub(crate) const REALLOC_END_WIDE: u8 = 14;
    pub(crate) const ALIGNED: u8 = 15;
    pub(crate) const FAILED: u8 = 16;
    pub(crate) const FREE_NULL: u8 = 17;
    pub(crate) const REALLOC_FREED: u8 = 18;
    pub(crate) const TICK: u8 = 19;
    pub(crate) const THREAD_BEGIN: u8 = 20;
    pub(crate) const THREAD_END: u8 = 21;
    pub(crate) const CREATE_ENTER: u8 = 22;
    pub(crate) const CREATE_LEAVE: u8 = 23;
    pub(crate) const LOST: u8 = 24;
    pub(crate) const MARK: u8 = 25;
    pub(crate) const TOUCHED: u8 = 26;
}

/// Kinds of an event with size and address: 5, 8 and 16 bytes long.
struct Sized {
    short: u8,
    long: u8,
    wide: u8,
}

const CALLOC: Sized = Sized { short: kind::CALLOC_SHORT, long: kind::CALLOC, wide: kind::CALLOC_WIDE };
const REALLOC_NULL: Sized =
    Sized { short: kind::REALLOC_NULL_SHORT, long: kind::REALLOC_NULL, wide: kind::REALLOC_NULL_WIDE };
const REALLOC_END: Sized =
    Sized { short: kind::REALLOC_END_SHORT, long: kind::REALLOC_END, wide: kind::REALLOC_END_WIDE };

/// The difference of addresses as a field: below 2^`bits` if it fits, else more.
#[inline(always)]
pub(crate) const fn difference(address: u64, last: u64, bits: u32) -> u64 {
    // Turned, not shifted: the low four bits of a difference that is no multiple of 16 come to stand on top.
    address.wrapping_sub(last).wrapping_add(8 << bits).rotate_right(4)
}

/// The record of an allocation in a form of at most 8 bytes: the word to store, and the record's length. None
/// where [`encode`] must be asked, which is hardly ever.
#[inline(always)]
pub fn encode_allocation(by: Allocation, size: u64, address: u64, last: u64) -> Option<(u64, usize)> {
    match by {
        Allocation::Malloc => malloc(size, address, last),
        Allocation::Calloc => sized(&CALLOC, size, address, last),
        Allocation::ReallocNull => sized(&REALLOC_NULL, size, address, last),
    }
}

/// As [`encode_allocation`], of a realloc's end.
#[inline(always)]
pub fn encode_realloc_end(size: u64, address: u64, last: u64) -> Option<(u64, usize)> {
    sized(&REALLOC_END, size, address, last)
}

/// As [`encode_allocation`], of a realloc's begin, which has no other form.
#[inline(always)]
pub fn encode_realloc_begin(address: u64, last: u64) -> (u64, usize) {
    let near = difference(address, last, 24);
    let is_short = near >> 24 == 0;
    let short = head(kind::REALLOC_BEGIN_SHORT) | near << 8;
    let long = head(kind::REALLOC_BEGIN) | address << 8;
    (select_unpredictable(is_short, short, long), select_unpredictable(is_short, 4, 8))
}

/// As [`encode_allocation`], of a free.
#[inline(always)]
pub fn encode_free(address: u64, last: u64) -> Option<(u64, usize)> {
    let near = difference(address, last, 14);
    let medium = difference(address, last, 29);
    if medium >> 29 != 0 {
        return None;
    }
    let is_short = near >> 14 == 0;
    Some((
        select_unpredictable(is_short, 0b10 | near << 2, 0b111 | medium << 3),
        select_unpredictable(is_short, 2, 4),
    ))
}

#[inline(always)]
fn malloc(size: u64, address: u64, last: u64) -> Option<(u64, usize)> {
    let near = difference(address, last, 13);
    let medium = difference(address, last, 22);
    if (medium >> 22) | (size >> 15) != 0 {
        return None;
    }
    let is_short = (near >> 13) | (size >> 9) == 0;
    let short = 0b01 | size << 2 | near << 11;
    let long = 0b011 | size << 3 | medium << 18;
    Some((select_unpredictable(is_short, short, long), select_unpredictable(is_short, 3, 5)))
}

/// A malloc that [`malloc`] has no form for.
fn malloc_far(size: u64, address: u64, last: u64) -> Encoded {
    let far = difference(address, last, 36);
    if (far >> 36) | (size >> 20) != 0 {
        return wide(kind::MALLOC_WIDE, address, size);
    }
    Encoded { first: head(kind::MALLOC) | size << 8 | far << 28, second: 0, bytes: 8 }
}

#[inline(always)]
fn sized(kinds: &Sized, size: u64, address: u64, last: u64) -> Option<(u64, usize)> {
    let near = difference(address, last, 20);
    let far = difference(address, last, 36);
    if (far >> 36) | (size >> 20) != 0 {
        return None;
    }
    let is_short = (near >> 20) | (size >> 12) == 0;
    let short = head(kinds.short) | size << 8 | near << 20;
    let long = head(kinds.long) | size << 8 | far << 28;
    Some((select_unpredictable(is_short, short, long), select_unpredictable(is_short, 5, 8)))
}

/// The shortest record of `event`, whatever it is, where `last` is the address before it.
pub fn encode(event: Event, last: u64) -> Encoded {
    let short = |record: (u64, usize)| Encoded { first: record.0, second: 0, bytes: record.1 };
    match event {
        Event::Allocate { by, address, size } => match (encode_allocation(by, size, address, last), by) {
            (Some(record), _) => short(record),
            (None, Allocation::Malloc) => malloc_far(size, address, last),
            (None, Allocation::Calloc) => wide(CALLOC.wide, address, size),
            (None, Allocation::ReallocNull) => wide(REALLOC_NULL.wide, address, size),
        },
        Event::ReallocEnd { address, size } => match encode_realloc_end(size, address, last) {
            Some(record) => short(record),
            None => wide(REALLOC_END.wide, address, size),
        },
        Event::ReallocBegin { address } => short(encode_realloc_begin(address, last)),
        Event::Free { address } => match encode_free(address, last) {
            Some(record) => short(record),
            None => word(kind::FREE, address),
        },
        Event::Aligned { address, size, alignment_log2 } => {
            wide(kind::ALIGNED, address, size & ((1 << 58) - 1) | u64::from(alignment_log2) << 58)
        }
        Event::Touched { address, bytes } => wide(kind::TOUCHED, address, bytes),
        Event::Failed { call, size } => wide(kind::FAILED, u64::from(call as u8), size),
        Event::Tick { elapsed_us } => word(kind::TICK, elapsed_us),
        Event::Lost { count } => word(kind::LOST, count),
        Event::Mark { kind: what, argument, detail } => word(
            kind::MARK,
            u64::from(what as u8) | u64::from(detail as u16) << 8 | u64::from(argument as u32) << 24,
        ),
        Event::FreeNull => byte(kind::FREE_NULL),
        Event::ReallocFreed => byte(kind::REALLOC_FREED),
        Event::ThreadBegin => byte(kind::THREAD_BEGIN),
        Event::ThreadEnd => byte(kind::THREAD_END),
        Event::CreateEnter => byte(kind::CREATE_ENTER),
        Event::CreateLeave => byte(kind::CREATE_LEAVE),
    }
}

const fn head(kind: u8) -> u64 {
    (kind as u64) << 2
}

fn byte(kind: u8) -> Encoded {
    Encoded { first: head(kind), second: 0, bytes: 1 }
}

/// A record of 8 bytes with one field of 56 bits: more than any address of a program has.
fn word(kind: u8, field: u64) -> Encoded {
    Encoded { first: head(kind) | field << 8, second: 0, bytes: 8 }
}

fn wide(kind: u8, field: u64, second: u64) -> Encoded {
    Encoded { first: head(kind) | field << 8, second, bytes: 16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(event: Event, last: u64) -> std::vec::Vec<u8> {
        let encoded = encode(event, last);
        let both = [encoded.first.to_le_bytes(), encoded.second.to_le_bytes()].concat();
        assert!(both[encoded.bytes..].iter().all(|&byte| byte == 0), "zeros after {event:?}");
        both[..encoded.bytes].to_vec()
    }

    #[test]
    fn the_example_is_as_drawn() {
        let malloc = Event::Allocate { by: Allocation::Malloc, address: 0x50a0, size: 48 };
        assert_eq!(bytes(malloc, 0x5000), [0xc1, 0x50, 0x80]);
        assert_eq!(bytes(Event::Free { address: 0x5000 }, 0x50a0), [0xda, 0x7f]);
        assert_eq!(bytes(Event::FreeNull, 0x5000), [0x44]);
        let touched = Event::Touched { address: 0x5000, bytes: 8192 };
        assert_eq!(bytes(touched, 0x50a0), [0x68, 0, 0x50, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn a_pair_of_a_small_heap_takes_five_bytes() {
        let malloc =
            |size, address| bytes(Event::Allocate { by: Allocation::Malloc, address, size }, 1 << 20);
        assert_eq!(malloc(511, (1 << 20) + 65_520).len(), 3);
        assert_eq!(malloc(511, (1 << 20) - 65_536).len(), 3);
        assert_eq!(malloc(512, 1 << 20).len(), 5);
        assert_eq!(malloc(16, (1 << 20) + 65_536).len(), 5);
        assert_eq!(malloc(16, (1 << 20) + 8).len(), 16, "no multiple of 16");
        assert_eq!(bytes(Event::Free { address: (1 << 20) - 131_072 }, 1 << 20).len(), 2);
        assert_eq!(bytes(Event::Free { address: 1 << 30 }, 1 << 20).len(), 4);
    }
}
