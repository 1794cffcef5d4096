//! The text that Android's malloc_debug records and its memory_replay reads: one call per line.
//!
//! ```text
//! TID: malloc      PTR SIZE               [START_NS END_NS]
//! TID: calloc      PTR COUNT SIZE         [START_NS END_NS]
//! TID: memalign    PTR ALIGNMENT SIZE     [START_NS END_NS]
//! TID: realloc     PTR OLD_PTR SIZE       [START_NS END_NS]
//! TID: free        PTR                    [START_NS END_NS]
//! TID: thread_done 0x0                    [END_NS]
//! ```
//!
//! One space between fields; pointers are hexadecimal with 0x, everything else is decimal. Either all lines
//! have times or none does. A call that failed has the pointer 0x0. The format has no comments.
//!
//! An alignment that is not a power of two is rounded up to the next one, as C libraries do.

use heaplab_trace::Header;

use super::ImportError;
use super::ledger::{Allocation, Call, Log, Times, What};
use super::lines::Lines;
use super::number::{self, decimal, hexadecimal};

/// What a line should have held.
type Expected = &'static str;

pub(super) struct AndroidLog<'a> {
    lines: Lines<'a>,
    /// Whether lines have times, once a line has been read.
    has_times: Option<bool>,
}

impl<'a> AndroidLog<'a> {
    pub(super) fn new(lines: Lines<'a>) -> AndroidLog<'a> {
        AndroidLog { lines, has_times: None }
    }
}

impl Log for AndroidLog<'_> {
    fn next_call(&mut self) -> Result<Option<Call>, ImportError> {
        let Some(line) = self.lines.next()? else { return Ok(None) };
        let has_times = self.has_times;
        let parsed = parse(line).and_then(|call| match (has_times, call.times) {
            (Some(true), None) => Err("times, as on the lines before"),
            (Some(false), Some(_)) => Err("no times, as on the lines before"),
            _ => Ok(call),
        });
        match parsed {
            Ok(call) => {
                self.has_times = Some(call.times.is_some());
                Ok(Some(call))
            }
            Err(expected) => Err(self.lines.malformed(expected)),
        }
    }

    fn describe(&self, header: &mut Header) {
        header.has_times = self.has_times == Some(true);
        header.has_threads = true;
        header.has_alignment = true;
    }

    fn warnings(&self) -> Vec<String> {
        self.lines.warnings()
    }
}

/// Whether a log that begins with this line is of this kind.
pub(super) fn recognises(first_line: &[u8]) -> bool {
    parse(first_line).is_ok()
}

/// The call that a line records.
fn parse(line: &[u8]) -> Result<Call, Expected> {
    let mut fields = Fields { rest: Some(line) };
    let thread = fields.next("`TID: CALL POINTER ...`")?;
    let thread = thread.strip_suffix(b":").ok_or("`TID: CALL POINTER ...`")?;
    let thread = decimal(thread).ok_or("a decimal thread id before the colon")?;
    let name = fields.next("a call after the thread id")?;
    let what = match name {
        b"malloc" => {
            What::Allocate { by: Allocation::Malloc, address: fields.pointer()?, size: fields.size()? }
        }
        b"free" => What::Free { address: fields.pointer()? },
        b"realloc" => What::Reallocate {
            address: fields.pointer()?,
            old_address: fields.pointer()?,
            size: fields.size()?,
        },
        b"calloc" => calloc(&mut fields)?,
        b"memalign" => memalign(&mut fields)?,
        b"thread_done" => {
            fields.pointer()?;
            return thread_done(thread, &mut fields);
        }
        _ => return Err("malloc, calloc, memalign, realloc, free or thread_done"),
    };
    let times = if fields.rest.is_some() {
        let start_ns = fields.time()?;
        Some(Times { start_ns, end_ns: fields.time()? })
    } else {
        None
    };
    fields.end()?;
    Ok(Call { thread, times, what })
}

fn calloc(fields: &mut Fields<'_>) -> Result<What, Expected> {
    let (address, count, size) = (fields.pointer()?, fields.size()?, fields.size()?);
    let size = number::product(address, count, size)
        .ok_or("a calloc whose two numbers have a product below 2^64, because it succeeded")?;
    Ok(What::Allocate { by: Allocation::Calloc, address, size })
}

fn memalign(fields: &mut Fields<'_>) -> Result<What, Expected> {
    let address = fields.pointer()?;
    let alignment = fields.number("a decimal alignment")?;
    let alignment = number::alignment(alignment).ok_or("an alignment of at most 2^63")?;
    Ok(What::Allocate { by: Allocation::Aligned(alignment), address, size: fields.size()? })
}

/// The only line with a single time: the thread's end.
fn thread_done(thread: u64, fields: &mut Fields<'_>) -> Result<Call, Expected> {
    let mut times = None;
    if fields.rest.is_some() {
        let end_ns = fields.time()?;
        times = Some(Times { start_ns: end_ns, end_ns });
    }
    fields.end()?;
    Ok(Call { thread, times, what: What::ThreadEnd })
}

/// The rest of a line that has not been read yet; none after its last field.
struct Fields<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    fn next(&mut self, expected: Expected) -> Result<&'a [u8], Expected> {
        let rest = self.rest.ok_or(expected)?;
        match rest.iter().position(|&byte| byte == b' ') {
            Some(blank) => {
                self.rest = Some(&rest[blank + 1..]);
                Ok(&rest[..blank])
            }
            None => {
                self.rest = None;
                Ok(rest)
            }
        }
    }

    fn number(&mut self, expected: Expected) -> Result<u64, Expected> {
        decimal(self.next(expected)?).ok_or(expected)
    }

    fn size(&mut self) -> Result<u64, Expected> {
        self.number("a decimal size below 2^64")
    }

    fn time(&mut self) -> Result<u64, Expected> {
        self.number("two times in decimal ns (one after thread_done), or none")
    }

    fn pointer(&mut self) -> Result<u64, Expected> {
        let expected = "a hexadecimal pointer that begins with 0x";
        hexadecimal(self.next(expected)?.strip_prefix(b"0x").ok_or(expected)?).ok_or(expected)
    }

    fn end(&self) -> Result<(), Expected> {
        if self.rest.is_some() { Err("the end of the line after the last field") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn call(thread: u64, times: Option<(u64, u64)>, what: What) -> Result<Call, Expected> {
        let times = times.map(|(start_ns, end_ns)| Times { start_ns, end_ns });
        Ok(Call { thread, times, what })
    }

    #[test]
    fn every_call_is_parsed() {
        let malloc = What::Allocate { by: Allocation::Malloc, address: 0x7b40001000, size: 48 };
        assert_eq!(parse(b"4211: malloc 0x7b40001000 48"), call(4211, None, malloc));
        let calloc = What::Allocate { by: Allocation::Calloc, address: 0x7b, size: 384 };
        assert_eq!(
            parse(b"1: calloc 0x7b 16 24 901000120 901000410"),
            call(1, Some((901000120, 901000410)), calloc)
        );
        let aligned = What::Allocate { by: Allocation::Aligned(64), address: 0x7c, size: 256 };
        assert_eq!(parse(b"1: memalign 0x7C 64 256"), call(1, None, aligned));
        let realloc = What::Reallocate { address: 3, old_address: 1, size: 200 };
        assert_eq!(parse(b"1: realloc 0x3 0x1 200"), call(1, None, realloc));
        assert_eq!(parse(b"1: free 0x0"), call(1, None, What::Free { address: 0 }));
        assert_eq!(parse(b"1: thread_done 0x0"), call(1, None, What::ThreadEnd));
        assert_eq!(parse(b"1: thread_done 0x0 9"), call(1, Some((9, 9)), What::ThreadEnd));
    }

    #[test]
    fn a_calloc_that_overflows_can_only_have_failed() {
        let failed = What::Allocate { by: Allocation::Calloc, address: 0, size: u64::MAX };
        assert_eq!(parse(b"1: calloc 0x0 9223372036854775808 2"), call(1, None, failed));
        assert!(parse(b"1: calloc 0x8 9223372036854775808 2").unwrap_err().contains("product below 2^64"));
    }

    #[test]
    fn an_odd_alignment_is_raised() {
        for (text, alignment) in [("0", 1), ("1", 1), ("24", 32), ("4096", 4096)] {
            let aligned = What::Allocate { by: Allocation::Aligned(alignment), address: 8, size: 1 };
            assert_eq!(parse(format!("1: memalign 0x8 {text} 1").as_bytes()), call(1, None, aligned));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("", "`TID: CALL POINTER ...`"),
            ("1 malloc 0x1 2", "`TID: CALL POINTER ...`"),
            ("x: malloc 0x1 2", "a decimal thread id before the colon"),
            ("1: mallok 0x1 2", "malloc, calloc, memalign, realloc, free or thread_done"),
            ("1: malloc 1 2", "a hexadecimal pointer that begins with 0x"),
            ("1: malloc 0x 2", "a hexadecimal pointer that begins with 0x"),
            ("1: malloc 0x11112222333344445 2", "a hexadecimal pointer that begins with 0x"),
            ("1: malloc 0x1", "a decimal size below 2^64"),
            ("1: malloc 0x1 18446744073709551616", "a decimal size below 2^64"),
            ("1: malloc 0x1 -2", "a decimal size below 2^64"),
            ("1: malloc 0x1 2 3", "two times in decimal ns (one after thread_done), or none"),
            ("1: malloc 0x1 2 3 4 5", "the end of the line after the last field"),
            ("1: free 0x1 ", "two times in decimal ns (one after thread_done), or none"),
            ("1: thread_done 0x0 5 6", "the end of the line after the last field"),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line.as_bytes()), Err(expected), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }

        #[test]
        fn any_line_like_one_is_answered(line in "[0-9]{0,21}: (malloc|calloc|realloc|memalign|free|thread_done) (0x[0-9a-f]{0,18} ?){0,2}([0-9]{0,21} ?){0,4}") {
            let _ = parse(line.as_bytes());
        }
    }
}
