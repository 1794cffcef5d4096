//! The text of Firefox's logalloc: one call per line, with the process and the thread that made it.
//!
//! ```text
//! PID [TID] malloc(SIZE)=PTR
//! PID [TID] calloc(COUNT,SIZE)=PTR
//! PID [TID] realloc(PTR,SIZE)=PTR
//! PID [TID] memalign(ALIGNMENT,SIZE)=PTR        the same for posix_memalign and aligned_alloc
//! PID [TID] valloc(SIZE)=PTR
//! PID [TID] free(PTR)
//! PID [TID] jemalloc_stats()                    a mark: statistics were printed here
//! ```
//!
//! Decimal numbers; pointers hexadecimal, with 0x or without (as Windows prints them), NULL as 0x0, 0 or
//! (nil). What logalloc_munge.py makes of such a log has `#1`, `#2`, ... for pointers: slot numbers, which
//! are reused. Old logs have no thread. A free is logged before it happens and everything else afterwards,
//! under one lock.

use heaplab_trace::{Header, Note};

use super::ImportError;
use super::ledger::{Allocation, Call, Log, What};
use super::lines::Lines;
use super::number::{self, decimal, hexadecimal};
use super::process::Process;

/// What a line should have held.
type Expected = &'static str;

/// valloc aligns to a page.
const PAGE_BYTES: u64 = 4096;

pub(super) struct LogallocLog<'a> {
    lines: Lines<'a>,
    process: Process,
    /// Whether lines have threads, once a line has been read.
    has_threads: Option<bool>,
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    process: u64,
    thread: Option<u64>,
    what: What,
}

impl<'a> LogallocLog<'a> {
    pub(super) fn new(lines: Lines<'a>, process: Process) -> LogallocLog<'a> {
        LogallocLog { lines, process, has_threads: None }
    }
}

impl Log for LogallocLog<'_> {
    fn next_call(&mut self) -> Result<Option<Call>, ImportError> {
        loop {
            let Some(line) = self.lines.next()? else { return Ok(None) };
            let parsed = parse(line).and_then(|line| match (self.has_threads, line.thread) {
                (Some(true), None) => Err("a thread id after the process id, as on the lines before"),
                (Some(false), Some(_)) => Err("no thread id after the process id, as on the lines before"),
                _ => Ok(line),
            });
            let line = match parsed {
                Ok(line) => line,
                Err(expected) => return Err(self.lines.malformed(expected)),
            };
            self.has_threads = Some(line.thread.is_some());
            if self.process.takes(line.process) {
                let thread = line.thread.unwrap_or(0);
                return Ok(Some(Call { thread, times: None, what: line.what }));
            }
        }
    }

    fn describe(&self, header: &mut Header) {
        header.has_threads = self.has_threads == Some(true);
        header.has_alignment = true;
        if let Some(process) = self.process.taken() {
            header.notes.push(Note { name: "process".to_string(), value: process.to_string() });
        }
        header.notes.push(Note {
            name: "not_in_log".to_string(),
            value: "ends of threads (a thread lives to the end, and two that had one id are one)".to_string(),
        });
    }

    fn warnings(&self) -> Vec<String> {
        self.process.warning().into_iter().chain(self.lines.warnings()).collect()
    }

    fn check(&self) -> Result<(), ImportError> {
        self.process.check(self.lines.path())
    }
}

/// Whether a log that begins with this line is of this kind.
pub(super) fn recognises(first_line: &[u8]) -> bool {
    parse(first_line).is_ok()
}

fn parse(line: &[u8]) -> Result<Line, Expected> {
    const SHAPE: Expected = "`PID TID CALL(ARGUMENTS)=RESULT`";
    let open = line.iter().position(|&byte| byte == b'(').ok_or(SHAPE)?;
    // NULL may be `(nil)`, as an argument and as a result.
    let close = match line.windows(2).position(|two| two == b")=") {
        Some(close) => close,
        None if line.ends_with(b")") => line.len() - 1,
        None => return Err(SHAPE),
    };
    if close < open {
        return Err(SHAPE);
    }
    let mut words = line[..open].split(|&byte| byte == b' ');
    let process = words.next().and_then(decimal).ok_or("a decimal process id first")?;
    let (thread, name) = match (words.next(), words.next(), words.next()) {
        (Some(name), None, None) => (None, name),
        (Some(thread), Some(name), None) => {
            (Some(decimal(thread).ok_or("a decimal thread id after the process id")?), name)
        }
        _ => return Err(SHAPE),
    };
    let result = match &line[close + 1..] {
        b"" => None,
        rest => Some(pointer(rest.strip_prefix(b"=").ok_or(SHAPE)?)?),
    };
    let call = Parts { arguments: &line[open + 1..close], result };
    Ok(Line { process, thread, what: call.what(name)? })
}

/// A call without its name.
struct Parts<'a> {
    arguments: &'a [u8],
    result: Option<u64>,
}

impl<'a> Parts<'a> {
    fn what(&self, name: &[u8]) -> Result<What, Expected> {
        Ok(match name {
            b"malloc" => self.allocate(Allocation::Malloc, size(self.one()?)?)?,
            b"calloc" => {
                let (count, each) = self.two()?;
                let product = number::product(self.result()?, size(count)?, size(each)?);
                let bytes = product
                    .ok_or("a calloc whose two numbers have a product below 2^64, because it succeeded")?;
                self.allocate(Allocation::Calloc, bytes)?
            }
            b"realloc" => {
                let (old, bytes) = self.two()?;
                What::Reallocate { address: self.result()?, old_address: pointer(old)?, size: size(bytes)? }
            }
            b"memalign" | b"posix_memalign" | b"aligned_alloc" => {
                let (alignment, bytes) = self.two()?;
                let alignment = decimal(alignment).and_then(number::alignment);
                let alignment = alignment.ok_or("a decimal alignment of at most 2^63")?;
                self.allocate(Allocation::Aligned(alignment), size(bytes)?)?
            }
            b"valloc" => self.allocate(Allocation::Aligned(PAGE_BYTES), size(self.one()?)?)?,
            b"free" if self.result.is_none() => What::Free { address: pointer(self.one()?)? },
            b"jemalloc_stats" if self.result.is_none() && self.arguments.is_empty() => {
                What::Mark("jemalloc_stats")
            }
            b"free" | b"jemalloc_stats" => {
                return Err("no result of free, and no argument of jemalloc_stats");
            }
            _ => {
                return Err(
                    "malloc, calloc, realloc, free, memalign, posix_memalign, aligned_alloc, valloc or jemalloc_stats",
                );
            }
        })
    }

    fn allocate(&self, by: Allocation, size: u64) -> Result<What, Expected> {
        Ok(What::Allocate { by, address: self.result()?, size })
    }

    fn result(&self) -> Result<u64, Expected> {
        self.result.ok_or("`=RESULT` after the call")
    }

    fn one(&self) -> Result<&'a [u8], Expected> {
        if self.arguments.contains(&b',') { Err("one argument") } else { Ok(self.arguments) }
    }

    fn two(&self) -> Result<(&'a [u8], &'a [u8]), Expected> {
        let mut arguments = self.arguments.split(|&byte| byte == b',');
        match (arguments.next(), arguments.next(), arguments.next()) {
            (Some(first), Some(second), None) => Ok((first, second)),
            _ => Err("two arguments with a comma between them"),
        }
    }
}

fn size(text: &[u8]) -> Result<u64, Expected> {
    decimal(text).ok_or("a decimal size below 2^64")
}

/// A raw pointer, or the number of a slot, which serves as one.
fn pointer(text: &[u8]) -> Result<u64, Expected> {
    let value = match text {
        [b'#', slot @ ..] => decimal(slot),
        [b'0', b'x', digits @ ..] => hexadecimal(digits),
        b"(nil)" => Some(0),
        digits => hexadecimal(digits),
    };
    value.ok_or("a hexadecimal pointer, or # and the number of a slot")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn what(line: &str) -> Result<What, Expected> {
        parse(line.as_bytes()).map(|line| line.what)
    }

    #[test]
    fn every_call_is_parsed() {
        let allocate = |by, address, size| Ok(What::Allocate { by, address, size });
        assert_eq!(what("1 2 malloc(48)=0x7f90ab000040"), allocate(Allocation::Malloc, 0x7f90ab000040, 48));
        assert_eq!(what("1 2 malloc(48)=000000000A0"), allocate(Allocation::Malloc, 0xa0, 48));
        assert_eq!(what("1 2 calloc(4,16)=#7"), allocate(Allocation::Calloc, 7, 64));
        assert_eq!(what("1 2 memalign(24,256)=0x40"), allocate(Allocation::Aligned(32), 0x40, 256));
        assert_eq!(what("1 2 posix_memalign(64,5)=0x40"), allocate(Allocation::Aligned(64), 0x40, 5));
        assert_eq!(what("1 2 aligned_alloc(8,5)=0x40"), allocate(Allocation::Aligned(8), 0x40, 5));
        assert_eq!(what("1 2 valloc(5)=0x1000"), allocate(Allocation::Aligned(4096), 0x1000, 5));
        for null in ["0x0", "0", "(nil)", "#0"] {
            assert_eq!(what(&format!("1 2 malloc(9)={null}")), allocate(Allocation::Malloc, 0, 9));
            assert_eq!(what(&format!("1 2 free({null})")), Ok(What::Free { address: 0 }));
        }
        let realloc = What::Reallocate { address: 16, old_address: 1, size: 200 };
        assert_eq!(what("1 2 realloc(0x1,200)=0x10"), Ok(realloc));
        assert_eq!(what("1 2 jemalloc_stats()"), Ok(What::Mark("jemalloc_stats")));
        let old = parse(b"18545 free(0x10)").unwrap();
        assert_eq!((old.process, old.thread), (18545, None));
        let new = parse(b"18545 140257012340480 free(0x10)").unwrap();
        assert_eq!((new.process, new.thread), (18545, Some(140257012340480)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let shape = "`PID TID CALL(ARGUMENTS)=RESULT`";
        for (line, expected) in [
            ("", shape),
            ("1 2 malloc", shape),
            ("1 2 )malloc(", shape),
            ("1 2 3 malloc(4)=0x1", shape),
            ("1 2 malloc(4)0x1", shape),
            ("x 2 malloc(4)=0x1", "a decimal process id first"),
            ("1 x malloc(4)=0x1", "a decimal thread id after the process id"),
            ("1 2 malloc(4)", "`=RESULT` after the call"),
            ("1 2 malloc(4,5)=0x1", "one argument"),
            ("1 2 malloc(-4)=0x1", "a decimal size below 2^64"),
            ("1 2 malloc(4)=0xg", "a hexadecimal pointer, or # and the number of a slot"),
            ("1 2 calloc(4)=0x1", "two arguments with a comma between them"),
            (
                "1 2 calloc(9223372036854775808,2)=0x1",
                "a calloc whose two numbers have a product below 2^64, because it succeeded",
            ),
            ("1 2 memalign(18446744073709551615,2)=0x1", "a decimal alignment of at most 2^63"),
            ("1 2 free(0x1)=0x2", "no result of free, and no argument of jemalloc_stats"),
            (
                "1 2 strdup(0x1)=0x2",
                "malloc, calloc, realloc, free, memalign, posix_memalign, aligned_alloc, valloc or jemalloc_stats",
            ),
        ] {
            assert_eq!(what(line), Err(expected), "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }

        #[test]
        fn any_line_like_one_is_answered(line in "([0-9]{0,21} ){0,3}(malloc|calloc|realloc|memalign|free|valloc)\\(([#x0-9a-f]{0,18},?){0,3}\\)?=?(0x|#)?[0-9a-f]{0,18}") {
            let _ = parse(line.as_bytes());
        }
    }
}
