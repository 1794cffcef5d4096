//! The traces of ClaytonKnittel's malloc-bench: one protobuf message, `Tracefile`, usually in gzip.
//!
//! ```text
//! Tracefile { repeated TraceLine lines = 1; uint64 max_simultaneous_allocs = 2; }
//! TraceLine, one of:
//!   1 malloc  { result_id = 1, input_size = 2, input_alignment = 3 }
//!   2 free    { input_id = 1, input_size_hint = 2, input_alignment_hint = 3 }
//!   3 realloc { result_id = 1, input_id = 2, input_size = 3 }
//!   4 calloc  { result_id = 1, input_nmemb = 2, input_size = 3 }
//!
//! 0a 06 0a 04 08 00 10 30       line of 6 bytes: malloc: result_id 0, input_size 48
//! 0a 02 12 00                   line of 2 bytes: free without input_id: free(NULL)
//! 10 02                         max_simultaneous_allocs 2
//! ```
//!
//! All fields are optional uint64, and whether a field is present matters: id 0 is an id, and no id is NULL.
//! The message is never held whole: its fields are read from the stream one by one, and only a line is
//! decoded as a message.

use heaplab_trace::{Header, Note};
use prost::Message;

use super::ImportError;
use super::ledger::{Allocation, Call, Log, What};
use super::number;
use super::records::Records;

/// A line has at most four numbers of ten bytes, each with its key; anything longer has unknown fields.
const LINE_MOST_BYTES: u64 = 4096;
/// Keys of the message's fields: the number of the field, and how it is encoded.
const KEY_LINE: u64 = 1 << 3 | 2;
const KEY_MAX_SIMULTANEOUS_ALLOCS: u64 = 2 << 3;

/// What should have been there.
type Expected = &'static str;

pub(super) struct MallocBenchLog<'a> {
    records: Records<'a>,
    line: Vec<u8>,
}

/// One call. Its fields have the names that the format gives them.
#[derive(Clone, PartialEq, Message)]
struct TraceLine {
    #[prost(oneof = "Op", tags = "1, 2, 3, 4")]
    op: Option<Op>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Op {
    #[prost(message, tag = "1")]
    Malloc(Malloc),
    #[prost(message, tag = "2")]
    Free(Free),
    #[prost(message, tag = "3")]
    Realloc(Realloc),
    #[prost(message, tag = "4")]
    Calloc(Calloc),
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Malloc {
    #[prost(uint64, optional, tag = "1")]
    result_id: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    input_size: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    input_alignment: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Free {
    #[prost(uint64, optional, tag = "1")]
    input_id: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Realloc {
    #[prost(uint64, optional, tag = "1")]
    result_id: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    input_id: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    input_size: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Calloc {
    #[prost(uint64, optional, tag = "1")]
    result_id: Option<u64>,
    #[prost(uint64, optional, tag = "2")]
    input_nmemb: Option<u64>,
    #[prost(uint64, optional, tag = "3")]
    input_size: Option<u64>,
}

impl<'a> MallocBenchLog<'a> {
    pub(super) fn new(records: Records<'a>) -> MallocBenchLog<'a> {
        MallocBenchLog { records, line: Vec::new() }
    }

    /// A number of the message itself; none at the end of the stream, or where it was cut off inside the
    /// number.
    fn varint(&mut self) -> Result<Option<u64>, ImportError> {
        let begin = self.records.offset();
        let (mut value, mut bytes) = (0u64, Vec::new());
        while let Some(byte) = self.records.byte()? {
            bytes.push(byte);
            let shift = 7 * (bytes.len() as u32 - 1);
            // The tenth byte has one bit left.
            if bytes.len() > 10 || (bytes.len() == 10 && byte > 1) {
                return Err(self.records.malformed(begin, "a number of at most 64 bits", &bytes));
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(Some(value));
            }
        }
        if !bytes.is_empty() {
            self.records.cut(begin);
        }
        Ok(None)
    }

    /// Reads the next line into `line`; false at the end.
    fn read_line(&mut self, begin: u64) -> Result<bool, ImportError> {
        let Some(length) = self.varint()? else {
            self.records.cut(begin);
            return Ok(false);
        };
        if length > LINE_MOST_BYTES {
            return Err(self.records.malformed(begin, "a line of at most 4096 bytes", &length.to_be_bytes()));
        }
        self.line.resize(length as usize, 0);
        let whole = self.records.fill(&mut self.line)?;
        if !whole {
            self.records.cut(begin);
        }
        Ok(whole)
    }
}

impl Log for MallocBenchLog<'_> {
    fn next_call(&mut self) -> Result<Option<Call>, ImportError> {
        loop {
            let begin = self.records.offset();
            match self.varint()? {
                None => return Ok(None),
                Some(KEY_LINE) => {
                    if !self.read_line(begin)? {
                        return Ok(None);
                    }
                    let what = parse(&self.line);
                    let what =
                        what.map_err(|expected| self.records.malformed(begin, expected, &self.line))?;
                    return Ok(Some(Call { thread: 0, times: None, what }));
                }
                // The number of objects, stated in advance; not needed.
                Some(KEY_MAX_SIMULTANEOUS_ALLOCS) => {
                    if self.varint()?.is_none() {
                        self.records.cut(begin);
                        return Ok(None);
                    }
                }
                Some(key) => {
                    let expected = "a line (key 10) or max_simultaneous_allocs (key 16)";
                    return Err(self.records.malformed(begin, expected, &shown(key)));
                }
            }
        }
    }

    fn describe(&self, header: &mut Header) {
        header.has_alignment = true;
        header.notes.push(Note {
            name: "not_in_log".to_string(),
            value: "calls that failed, what was live at the end (it is freed there, in no order that means anything)"
                .to_string(),
        });
    }

    fn warnings(&self) -> Vec<String> {
        self.records.warnings()
    }
}

/// Whether a log that begins with `head` is of this kind: its first line must be valid.
pub(super) fn recognises(head: &[u8]) -> bool {
    match *head {
        // A real line is shorter than 128 bytes, so its length takes one byte.
        [0x0a, length, ref rest @ ..] if length < 0x80 => {
            rest.get(..length.into()).is_some_and(|line| parse(line).is_ok())
        }
        _ => false,
    }
}

fn shown(key: u64) -> Vec<u8> {
    key.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect()
}

fn parse(line: &[u8]) -> Result<What, Expected> {
    let line = TraceLine::decode(line).map_err(|_| "a TraceLine in protobuf's encoding")?;
    Ok(match line.op.ok_or("a malloc, free, realloc or calloc in the line")? {
        Op::Malloc(Malloc { result_id, input_size, input_alignment }) => {
            let alignment =
                input_alignment.map(|asked| number::alignment(asked).ok_or("an alignment of at most 2^63"));
            let by = alignment.transpose()?.map_or(Allocation::Malloc, Allocation::Aligned);
            What::Allocate { by, address: address(result_id)?, size: input_size.unwrap_or(0) }
        }
        Op::Free(Free { input_id }) => What::Free { address: address(input_id)? },
        Op::Realloc(Realloc { result_id, input_id, input_size }) => What::Reallocate {
            address: address(result_id)?,
            old_address: address(input_id)?,
            size: input_size.unwrap_or(0),
        },
        Op::Calloc(Calloc { result_id, input_nmemb, input_size }) => {
            let address = address(result_id)?;
            let product = number::product(address, input_nmemb.unwrap_or(0), input_size.unwrap_or(0));
            let size = product
                .ok_or("a calloc whose two numbers have a product below 2^64, because it succeeded")?;
            What::Allocate { by: Allocation::Calloc, address, size }
        }
    })
}

/// The address that an id stands for: id 0 is an id, and no id is NULL.
fn address(id: Option<u64>) -> Result<u64, Expected> {
    id.map_or(Some(0), |id| id.checked_add(1)).ok_or("an id below 2^64 - 1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(op: Op) -> Vec<u8> {
        TraceLine { op: Some(op) }.encode_to_vec()
    }

    #[test]
    fn the_encoding_is_that_of_the_worked_example() {
        let malloc = Malloc { result_id: Some(0), input_size: Some(48), input_alignment: None };
        assert_eq!(line(Op::Malloc(malloc)), [0x0a, 4, 8, 0, 0x10, 0x30]);
        assert_eq!(parse(&[0x12, 0]), Ok(What::Free { address: 0 }));
        assert_eq!(parse(&[0x12, 2, 8, 1]), Ok(What::Free { address: 2 }));
        let calloc = What::Allocate { by: Allocation::Calloc, address: 2, size: 32 };
        assert_eq!(parse(&[0x22, 6, 8, 1, 0x10, 4, 0x18, 8]), Ok(calloc));
        let realloc = What::Reallocate { address: 1, old_address: 1, size: 200 };
        assert_eq!(parse(&[0x1a, 7, 8, 0, 0x10, 0, 0x18, 0xc8, 1]), Ok(realloc));
    }

    #[test]
    fn what_is_not_there_matters() {
        let malloc = Malloc { result_id: Some(0), input_size: None, input_alignment: Some(24) };
        let aligned = What::Allocate { by: Allocation::Aligned(32), address: 1, size: 0 };
        assert_eq!(parse(&line(Op::Malloc(malloc))), Ok(aligned));
        let realloc = Realloc { result_id: Some(3), input_id: None, input_size: Some(5) };
        let of_null = What::Reallocate { address: 4, old_address: 0, size: 5 };
        assert_eq!(parse(&line(Op::Realloc(realloc))), Ok(of_null));
        let hint = [0x12, 4, 8, 1, 0x10, 9];
        assert_eq!(parse(&hint), Ok(What::Free { address: 2 }), "hints are ignored");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let huge = Calloc { result_id: Some(0), input_nmemb: Some(1 << 63), input_size: Some(2) };
        for (line, expected) in [
            (vec![], "a malloc, free, realloc or calloc in the line"),
            (vec![0x0a, 9, 8], "a TraceLine in protobuf's encoding"),
            (vec![0x0b; 300], "a TraceLine in protobuf's encoding"),
            (line(Op::Free(Free { input_id: Some(u64::MAX) })), "an id below 2^64 - 1"),
            (
                line(Op::Calloc(huge)),
                "a calloc whose two numbers have a product below 2^64, because it succeeded",
            ),
        ] {
            assert_eq!(parse(&line), Err(expected), "{line:?}");
        }
        assert!(recognises(&[0x0a, 2, 0x12, 0, 0x10, 2]) && !recognises(&[0x0a, 2, 0x12]));
        assert!(!recognises(b"\n\n") && !recognises(b"\nv 1 3\n") && !recognises(b""));
    }

    proptest! {
        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&line);
        }
    }
}
