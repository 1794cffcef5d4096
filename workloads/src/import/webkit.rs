//! The `.ops` files of WebKit's MallocBench: one record of 24 bytes for each call, little-endian.
//!
//! ```text
//!  0         4          6          8                    16                   24
//! +---------+----------+----------+--------------------+--------------------+
//! | opcode  | thread   | log2 of  | slot               | size in bytes      |
//! | u32     | u16      | align.   | u64                | u64                |
//! +---------+----------+----------+--------------------+--------------------+
//! opcode: 0 malloc, 1 free, 2 realloc, 3 aligned allocation; thread 0 is the main thread
//!
//! 00 00 00 00  00 00  00 00  07 00 00 00 00 00 00 00  30 00 00 00 00 00 00 00     slot 7 = malloc(48)
//! ```
//!
//! Slots stand for pointers: each object has one, which is reused after the object is freed. The logarithm
//! 65535 stands for an alignment that was not a power of two; MallocBench uses 0xff00 for it, which an
//! allocator rounds up to 65,536.

use heaplab_trace::{Header, Note};

use super::ImportError;
use super::ledger::{Allocation, Call, Log, What};
use super::records::Records;

const RECORD_BYTES: usize = 24;
/// The alignment that an allocator makes of MallocBench's value for one that was not a power of two.
const ODD_ALIGNMENT: u64 = 1 << 16;
/// How many records are examined to recognise a log.
const LOOKED_AT: usize = 64;

/// What a record should have held.
type Expected = &'static str;

pub(super) struct WebkitLog<'a> {
    records: Records<'a>,
}

impl<'a> WebkitLog<'a> {
    pub(super) fn new(records: Records<'a>) -> WebkitLog<'a> {
        WebkitLog { records }
    }
}

impl Log for WebkitLog<'_> {
    fn next_call(&mut self) -> Result<Option<Call>, ImportError> {
        let offset = self.records.offset();
        let mut record = [0; RECORD_BYTES];
        if !self.records.fill(&mut record)? {
            return Ok(None);
        }
        parse(&record).map(Some).map_err(|expected| self.records.malformed(offset, expected, &record))
    }

    fn describe(&self, header: &mut Header) {
        header.has_threads = true;
        header.has_alignment = true;
        header.notes.push(Note {
            name: "not_in_log".to_string(),
            value: "callocs (they stand as malloc), free(NULL), calls that failed, ends of threads"
                .to_string(),
        });
    }

    fn warnings(&self) -> Vec<String> {
        self.records.warnings()
    }
}

/// Whether a log that begins with `head` is of this kind: its first records must all be valid.
pub(super) fn recognises(head: &[u8]) -> bool {
    let records = head.as_chunks::<RECORD_BYTES>().0;
    let records = &records[..records.len().min(LOOKED_AT)];
    // A slot counts objects, and no program has 2^40; the letters of a text already make a larger number. And
    // one of the first records must ask for memory, so a file of zeros is not a log.
    let is_record = |record: &[u8; RECORD_BYTES]| parse(record).is_ok() && number(record, 8) < 1 << 40;
    records.iter().all(is_record) && records.iter().any(|record| number(record, 16) > 0)
}

fn parse(record: &[u8; RECORD_BYTES]) -> Result<Call, Expected> {
    let opcode = u32::from_le_bytes([record[0], record[1], record[2], record[3]]);
    let thread = u16::from_le_bytes([record[4], record[5]]).into();
    let alignment_log2 = u16::from_le_bytes([record[6], record[7]]);
    let size = number(record, 16);
    // Slot 0 is a slot, and address 0 is NULL.
    let address = number(record, 8).checked_add(1).ok_or("a slot below 2^64 - 1")?;
    let what = match opcode {
        0 => What::Allocate { by: Allocation::Malloc, address, size },
        1 => What::Free { address },
        2 => What::Reallocate { address, old_address: address, size },
        3 => {
            let alignment = match alignment_log2 {
                u16::MAX => ODD_ALIGNMENT,
                log2 => {
                    1u64.checked_shl(log2.into()).ok_or("the logarithm of an alignment of at most 2^63")?
                }
            };
            What::Allocate { by: Allocation::Aligned(alignment), address, size }
        }
        _ => return Err("an opcode from 0 to 3"),
    };
    Ok(Call { thread, times: None, what })
}

fn number(record: &[u8; RECORD_BYTES], at: usize) -> u64 {
    record[at..at + 8].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(opcode: u32, thread: u16, log2: u16, slot: u64, size: u64) -> [u8; RECORD_BYTES] {
        let parts = [
            &opcode.to_le_bytes()[..],
            &thread.to_le_bytes(),
            &log2.to_le_bytes(),
            &slot.to_le_bytes(),
            &size.to_le_bytes(),
        ];
        parts.concat().try_into().unwrap()
    }

    #[test]
    fn every_opcode_is_parsed() {
        let call = |what| Ok(Call { thread: 2, times: None, what });
        let by = Allocation::Malloc;
        assert_eq!(parse(&record(0, 2, 0, 7, 48)), call(What::Allocate { by, address: 8, size: 48 }));
        assert_eq!(parse(&record(1, 2, 0, 0, 0)), call(What::Free { address: 1 }));
        let realloc = What::Reallocate { address: 8, old_address: 8, size: 9 };
        assert_eq!(parse(&record(2, 2, 0, 7, 9)), call(realloc));
        for (log2, alignment) in [(6, 64), (63, 1 << 63), (u16::MAX, 1 << 16)] {
            let by = Allocation::Aligned(alignment);
            assert_eq!(parse(&record(3, 2, log2, 7, 9)), call(What::Allocate { by, address: 8, size: 9 }));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(parse(&record(4, 0, 0, 0, 0)), Err("an opcode from 0 to 3"));
        assert_eq!(parse(&record(3, 0, 64, 0, 0)), Err("the logarithm of an alignment of at most 2^63"));
        assert_eq!(parse(&record(0, 0, 0, u64::MAX, 0)), Err("a slot below 2^64 - 1"));
    }

    #[test]
    fn text_is_not_taken_for_records() {
        assert!(recognises(&record(0, 0, 0, 7, 48)));
        assert!(recognises(&[record(0, 0, 0, 7, 48), record(1, 0, 0, 7, 0)].concat()));
        assert!(!recognises(&[record(0, 0, 0, 7, 48), record(9, 0, 0, 7, 0)].concat()));
        assert!(
            !recognises(b"1: malloc 0x10 8\n1: free 0x10\n") && !recognises(b"") && !recognises(&[0; 23])
        );
    }

    proptest! {
        #[test]
        fn any_record_is_answered(record: [u8; RECORD_BYTES]) {
            let _ = parse(&record);
        }
    }
}
