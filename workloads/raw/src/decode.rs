//! Bytes as events. The bytes may be anything: a process was killed while it wrote them, or a disk lied.

use crate::Fault;
use crate::encode::kind;
use crate::event::{Allocation, Call, Event, MarkKind};

/// A record that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// What it says.
    pub event: Event,
    /// How long it is.
    pub bytes: usize,
}

/// Reads the record that begins in the low byte of `first`, where `last` is the address before it and
/// `second` the eight bytes after `first`. None at a zero byte: nothing was written there.
#[inline(always)]
pub fn decode(first: u64, second: u64, last: u64) -> Result<Option<Decoded>, Fault> {
    let (event, bytes) = match first & 0b111 {
        0b001 | 0b101 => {
            let address = address(field(first, 11, 13), last, 13);
            (Event::Allocate { by: Allocation::Malloc, address, size: field(first, 2, 9) }, 3)
        }
        0b010 | 0b110 => (Event::Free { address: address(field(first, 2, 14), last, 14) }, 2),
        0b011 => {
            let address = address(field(first, 18, 22), last, 22);
            (Event::Allocate { by: Allocation::Malloc, address, size: field(first, 3, 15) }, 5)
        }
        0b111 => (Event::Free { address: address(field(first, 3, 29), last, 29) }, 4),
        _ => return decode_other(first, second, last),
    };
    Ok(Some(Decoded { event, bytes }))
}

fn decode_other(first: u64, second: u64, last: u64) -> Result<Option<Decoded>, Fault> {
    let long = || (address(field(first, 28, 36), last, 36), field(first, 8, 20));
    let short = || (address(field(first, 20, 20), last, 20), field(first, 8, 12));
    let allocate = |by, (address, size)| Event::Allocate { by, address, size };
    let realloc_end = |(address, size)| Event::ReallocEnd { address, size };
    let rest = first >> 8;
    let wide = (rest, second);
    let (event, bytes) = match first as u8 >> 2 {
        0 => return Ok(None),
        kind::MALLOC => (allocate(Allocation::Malloc, long()), 8),
        kind::CALLOC_SHORT => (allocate(Allocation::Calloc, short()), 5),
        kind::CALLOC => (allocate(Allocation::Calloc, long()), 8),
        kind::REALLOC_NULL_SHORT => (allocate(Allocation::ReallocNull, short()), 5),
        kind::REALLOC_NULL => (allocate(Allocation::ReallocNull, long()), 8),
        kind::REALLOC_END_SHORT => (realloc_end(short()), 5),
        kind::REALLOC_END => (realloc_end(long()), 8),
        kind::REALLOC_BEGIN_SHORT => {
            (Event::ReallocBegin { address: address(field(first, 8, 24), last, 24) }, 4)
        }
        kind::REALLOC_BEGIN => (Event::ReallocBegin { address: rest }, 8),
        kind::FREE => (Event::Free { address: rest }, 8),
        kind::MALLOC_WIDE => (allocate(Allocation::Malloc, wide), 16),
        kind::CALLOC_WIDE => (allocate(Allocation::Calloc, wide), 16),
        kind::REALLOC_NULL_WIDE => (allocate(Allocation::ReallocNull, wide), 16),
        kind::REALLOC_END_WIDE => (realloc_end(wide), 16),
        kind::ALIGNED => {
            let (size, alignment_log2) = (field(second, 0, 58), (second >> 58) as u8);
            (Event::Aligned { address: rest, size, alignment_log2 }, 16)
        }
        kind::FAILED => {
            let call = u8::try_from(rest).ok().and_then(Call::from_number);
            let call = call.ok_or(Fault::Value { what: "the call that failed", found: rest })?;
            (Event::Failed { call, size: second }, 16)
        }
        kind::FREE_NULL => (Event::FreeNull, 1),
        kind::REALLOC_FREED => (Event::ReallocFreed, 1),
        kind::TICK => (Event::Tick { elapsed_us: rest }, 8),
        kind::THREAD_BEGIN => (Event::ThreadBegin, 1),
        kind::THREAD_END => (Event::ThreadEnd, 1),
        kind::CREATE_ENTER => (Event::CreateEnter, 1),
        kind::CREATE_LEAVE => (Event::CreateLeave, 1),
        kind::LOST => (Event::Lost { count: rest }, 8),
        kind::MARK => (mark(rest)?, 8),
        kind::TOUCHED => (Event::Touched { address: rest, bytes: second }, 16),
        _ => return Err(Fault::Kind(first as u8)),
    };
    Ok(Some(Decoded { event, bytes }))
}

fn mark(rest: u64) -> Result<Event, Fault> {
    let what = MarkKind::from_number(rest as u8);
    let what = what.ok_or(Fault::Value { what: "the kind of a mark", found: rest & 0xff })?;
    Ok(Event::Mark { kind: what, argument: (rest >> 24) as i32, detail: (rest >> 8) as i16 })
}

#[inline(always)]
const fn field(word: u64, from: u32, bits: u32) -> u64 {
    word >> from & ((1 << bits) - 1)
}

/// The address of a field of differences: see `encode::difference`.
#[inline(always)]
const fn address(field: u64, last: u64, bits: u32) -> u64 {
    last.wrapping_add(field << 4).wrapping_sub(8 << bits)
}

/// Reads the records of a chunk one after another.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    at: usize,
    last: u64,
}

impl Decoder {
    /// Of a chunk whose head says `last_address`, over its content without the head.
    pub fn new(last_address: u64) -> Decoder {
        Decoder { at: 0, last: last_address }
    }

    /// How much of the content was read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Says that what was read was removed from the front of the content.
    pub fn rebase(&mut self) {
        self.at = 0;
    }

    /// The next event of `content`; none at its end. After a fault it stands where it stood.
    #[inline(always)]
    pub fn next(&mut self, content: &[u8]) -> Result<Option<Event>, Fault> {
        let rest = content.get(self.at..).unwrap_or(&[]);
        let (first, second) = match rest.first_chunk::<16>() {
            Some(both) => {
                let both = u128::from_le_bytes(*both);
                (both as u64, (both >> 64) as u64)
            }
            None => padded(rest),
        };
        let Some(decoded) = decode(first, second, self.last)? else { return Ok(None) };
        if decoded.bytes > rest.len() {
            return Err(Fault::Cut);
        }
        self.at += decoded.bytes;
        self.last = decoded.event.address().unwrap_or(self.last);
        Ok(Some(decoded.event))
    }
}

#[cold]
fn padded(rest: &[u8]) -> (u64, u64) {
    let mut both = [0; 16];
    for (to, from) in both.iter_mut().zip(rest) {
        *to = *from;
    }
    let both = u128::from_le_bytes(both);
    (both as u64, (both >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::encode;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn address() -> impl Strategy<Value = u64> {
        prop_oneof![
            (0..1u64 << 14).prop_map(|unit| 0x7f00_0000_0000 + unit * 16),
            (0..1u64 << 30).prop_map(|unit| 0x7e00_0000_0000 + unit * 8),
            0..1u64 << 56,
        ]
    }

    fn size() -> impl Strategy<Value = u64> {
        prop_oneof![0..600u64, 0..1u64 << 17, any::<u64>()]
    }

    fn event() -> impl Strategy<Value = Event> {
        let by =
            prop_oneof![Just(Allocation::Malloc), Just(Allocation::Calloc), Just(Allocation::ReallocNull)];
        let call = (0..5u8).prop_map(|number| Call::from_number(number).unwrap());
        let kind = prop_oneof![
            Just(MarkKind::MallocTrim),
            Just(MarkKind::Mallopt),
            Just(MarkKind::HugePages),
            Just(MarkKind::Fork),
            Just(MarkKind::Filter)
        ];
        prop_oneof![
            4 => (by, address(), size())
                .prop_map(|(by, address, size)| Event::Allocate { by, address, size }),
            4 => address().prop_map(|address| Event::Free { address }),
            1 => (address(), 0..1u64 << 58, 0..64u8).prop_map(|(address, size, alignment_log2)| {
                Event::Aligned { address, size, alignment_log2 }
            }),
            1 => address().prop_map(|address| Event::ReallocBegin { address }),
            1 => (address(), any::<u64>()).prop_map(|(address, bytes)| Event::Touched { address, bytes }),
            1 => (address(), size()).prop_map(|(address, size)| Event::ReallocEnd { address, size }),
            1 => (call, any::<u64>()).prop_map(|(call, size)| Event::Failed { call, size }),
            1 => (0..1u64 << 56).prop_map(|elapsed_us| Event::Tick { elapsed_us }),
            1 => (0..1u64 << 56).prop_map(|count| Event::Lost { count }),
            1 => (kind, any::<i32>(), any::<i16>())
                .prop_map(|(kind, argument, detail)| Event::Mark { kind, argument, detail }),
            1 => prop_oneof![
                Just(Event::FreeNull),
                Just(Event::ReallocFreed),
                Just(Event::ThreadBegin),
                Just(Event::ThreadEnd),
                Just(Event::CreateEnter),
                Just(Event::CreateLeave),
            ],
        ]
    }

    /// What a recorder leaves behind: each word stored over the zeros of the one before.
    fn write(events: &[Event], mut last: u64) -> Vec<u8> {
        let mut content = Vec::new();
        for &event in events {
            let encoded = encode(event, last);
            let both = [encoded.first.to_le_bytes(), encoded.second.to_le_bytes()].concat();
            content.extend(&both[..encoded.bytes]);
            last = event.address().unwrap_or(last);
        }
        content
    }

    fn read(content: &[u8], last: u64) -> (Vec<Event>, Result<Option<Event>, Fault>) {
        let (mut decoder, mut events) = (Decoder::new(last), Vec::new());
        loop {
            match decoder.next(content) {
                Ok(Some(event)) => events.push(event),
                end => return (events, end),
            }
        }
    }

    proptest! {
        #[test]
        fn events_come_back(events in proptest::collection::vec(event(), 0..200), last in address(), zeros in 0..20usize) {
            let mut content = write(&events, last);
            content.extend(std::vec![0; zeros]);
            prop_assert_eq!(read(&content, last), (events, Ok(None)));
        }

        #[test]
        fn a_cut_leaves_the_records_before_it(events in proptest::collection::vec(event(), 1..50), at in any::<proptest::sample::Index>()) {
            let whole = write(&events, 0);
            let (found, _) = read(&whole[..at.index(whole.len())], 0);
            prop_assert_eq!(&found[..], &events[..found.len()]);
        }

        #[test]
        fn any_bytes_are_answered(content in proptest::collection::vec(any::<u8>(), 0..300), last in any::<u64>()) {
            let (events, end) = read(&content, last);
            prop_assert!(events.len() <= content.len());
            prop_assert!(!matches!(end, Ok(Some(_))));
        }
    }

    #[test]
    fn a_byte_that_no_record_begins_with_is_named() {
        assert_eq!(read(&[0xfc], 0).1, Err(Fault::Kind(0xfc)));
        assert_eq!(read(&[0x01, 0x02], 0).1, Err(Fault::Cut));
        assert!(matches!(read(&[64, 9, 0, 0, 0, 0, 0, 0, 0], 0).1, Err(Fault::Value { found: 9, .. })));
    }
}
