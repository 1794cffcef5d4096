//! What valgrind logs with `--trace-malloc=yes`: calls and their results, each line after the process id.
//!
//! ```text
//! --PID-- malloc(48) = 0x4A8C040
//! --PID-- calloc(4,16) = 0x4A8C140
//! --PID-- realloc(0x4A8C040,200) = 0x4A8C1C0
//! --PID-- realloc(0x0,32)malloc(32) = 0x4A8C2D0           realloc of NULL calls malloc
//! --PID-- realloc(0x4A8C2D0,0)free(0x4A8C2D0)             realloc to 0 calls free...
//! --PID--  = 0                                            ...and tells its result on a line of its own
//! --PID-- memalign(al 64, size 256) = 0x4A8C340           posix_memalign, aligned_alloc, valloc too
//! --PID-- _ZnwmSt11align_val_t(size 72, al 32) = 0x4A8C3C0
//! --PID-- free(0x4A8C040)                                 and _ZdlPv, _ZdaPvm, ...
//! ```
//!
//! Sizes are decimal, pointers hexadecimal with capitals. A call and its result are written separately, and a
//! line ends only with a result or a free. So a call that has no result (a calloc whose product overflows),
//! or one during which valgrind switched to another thread, is followed by the next call on the same line. A
//! result on its own belongs to the oldest call that has none. With `--time-stamp=yes` each line has the time
//! since valgrind's start before the process id: `--00:00:00:01.250 PID-- `. It is ignored: valgrind slows
//! the program down, and not every part equally. All other lines (`==PID==`, the program's own,
//! `malloc_usable_size`) are ignored.

use std::collections::VecDeque;

use heaplab_trace::{Header, Note};

use super::ImportError;
use super::ledger::{Allocation, Call, Log, What};
use super::lines::Lines;
use super::number::{self, decimal, pointer};
use super::process::Process;

/// The most calls that may wait for their results: one for each thread that valgrind left inside a call.
const OPEN_MOST: usize = 4096;
/// How much of the program's command line is kept.
const COMMAND_MOST_BYTES: usize = 4096;

/// What a line should have held.
type Expected = &'static str;

pub(super) struct ValgrindLog<'a> {
    lines: Lines<'a>,
    process: Process,
    command: String,
    /// Calls of a line that have been read and not handed out.
    ahead: VecDeque<What>,
    /// Calls that have no result yet, oldest first.
    open: VecDeque<Asked>,
    /// Calls for which the log has no result.
    unfinished: u64,
}

/// A call, before its result is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Allocate {
        by: Allocation,
        size: u64,
    },
    /// A calloc whose product has more than 64 bits.
    Overflow,
    Reallocate {
        old_address: u64,
        size: u64,
    },
    Free {
        address: u64,
    },
    /// A call that asks nothing of the heap.
    Silent,
}

impl<'a> ValgrindLog<'a> {
    pub(super) fn new(lines: Lines<'a>, process: Process) -> ValgrindLog<'a> {
        let (ahead, open) = (VecDeque::new(), VecDeque::new());
        ValgrindLog { lines, process, command: String::new(), ahead, open, unfinished: 0 }
    }

    /// Reads one line more into `ahead`; false at the end.
    fn read_line(&mut self) -> Result<bool, ImportError> {
        let Some(line) = self.lines.next_or_part()? else { return Ok(false) };
        let Some((process, text)) = split(line) else {
            if let Some(command) = command(line).filter(|_| self.command.is_empty()) {
                let shown = &command[..command.len().min(COMMAND_MOST_BYTES)];
                self.command = String::from_utf8_lossy(shown).into_owned();
            }
            return Ok(true);
        };
        if !is_call(text) || !self.process.takes(process) {
            return Ok(true);
        }
        match enter(text, &mut self.ahead, &mut self.open) {
            Ok(()) => Ok(true),
            Err(expected) => Err(self.lines.malformed(expected)),
        }
    }
}

impl Log for ValgrindLog<'_> {
    fn next_call(&mut self) -> Result<Option<Call>, ImportError> {
        loop {
            if let Some(what) = self.ahead.pop_front() {
                return Ok(Some(Call { thread: 0, times: None, what }));
            }
            if !self.read_line()? {
                self.unfinished = self.open.len() as u64;
                return Ok(None);
            }
        }
    }

    fn describe(&self, header: &mut Header) {
        header.program = self.command.clone();
        header.has_alignment = true;
        if let Some(process) = self.process.taken() {
            header.notes.push(Note { name: "process".to_string(), value: process.to_string() });
        }
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings: Vec<String> =
            self.process.warning().into_iter().chain(self.lines.warnings()).collect();
        if self.unfinished > 0 {
            warnings.push(format!("{} calls of which the log has no result: left out", self.unfinished));
        }
        warnings
    }

    fn check(&self) -> Result<(), ImportError> {
        self.process.check(self.lines.path())
    }
}

/// Whether a log that holds this line is of this kind.
pub(super) fn recognises(line: &[u8]) -> bool {
    let (mut ahead, mut open) = (VecDeque::new(), VecDeque::new());
    split(line).is_some_and(|(_, text)| is_call(text) && enter(text, &mut ahead, &mut open).is_ok())
}

/// The process and the text of a line that begins with `--PID-- `.
fn split(line: &[u8]) -> Option<(u64, &[u8])> {
    let rest = behind_stamp(line.strip_prefix(b"--")?);
    let end = rest.iter().position(|&byte| byte == b'-')?;
    Some((decimal(&rest[..end])?, rest[end..].strip_prefix(b"-- ")?))
}

/// What follows a time stamp (`DD:HH:MM:SS.mmm `), or everything where there is none.
fn behind_stamp(text: &[u8]) -> &[u8] {
    let is_stamp = |stamp: &[u8]| {
        stamp.iter().filter(|byte| **byte == b':').count() == 3
            && stamp.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.'))
    };
    match text.iter().position(|byte| *byte == b' ') {
        Some(end) if is_stamp(&text[..end]) => &text[end + 1..],
        _ => text,
    }
}

/// The program's command line, from the banner line that has it.
fn command(line: &[u8]) -> Option<&[u8]> {
    let rest = behind_stamp(line.strip_prefix(b"==")?);
    let end = rest.iter().position(|&byte| byte == b'=')?;
    decimal(&rest[..end])?;
    rest[end..].strip_prefix(b"== Command: ")
}

/// Whether the text begins with a call that allocates or frees, or is a result.
fn is_call(text: &[u8]) -> bool {
    let open = text.iter().position(|&byte| byte == b'(');
    text.starts_with(b" = ") || open.is_some_and(|open| function(&text[..open]) != Function::Other)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Malloc,
    Calloc,
    Realloc,
    Aligned,
    Free,
    /// Asks nothing of the heap.
    Silent,
    /// Not a known call: a line with another meaning.
    Other,
}

/// What a name stands for: C's functions, and the operators of C++ by their mangled names.
fn function(name: &[u8]) -> Function {
    match name {
        b"malloc" | b"__builtin_new" | b"builtin_new" | b"__builtin_vec_new" | b"builtin_vec_new" => {
            Function::Malloc
        }
        b"calloc" => Function::Calloc,
        b"realloc" => Function::Realloc,
        b"memalign" | b"aligned_alloc" | b"posix_memalign" | b"valloc" | b"pvalloc" => Function::Aligned,
        b"free" | b"cfree" | b"free_sized" | b"free_aligned_sized" => Function::Free,
        b"__builtin_delete" | b"builtin_delete" | b"__builtin_vec_delete" | b"builtin_vec_delete" => {
            Function::Free
        }
        b"malloc_usable_size" => Function::Silent,
        _ if name.starts_with(b"_Znw") || name.starts_with(b"_Zna") => {
            let aligned = name.windows(b"align_val_t".len()).any(|part| part == b"align_val_t");
            if aligned { Function::Aligned } else { Function::Malloc }
        }
        _ if name.starts_with(b"_Zdl") || name.starts_with(b"_Zda") => Function::Free,
        _ => Function::Other,
    }
}

/// Enters the calls and results of a text: complete calls into `ahead`, waiting ones into `open`.
fn enter(text: &[u8], ahead: &mut VecDeque<What>, open: &mut VecDeque<Asked>) -> Result<(), Expected> {
    if let Some(result) = text.strip_prefix(b" = ") {
        let asked = open.pop_front().ok_or("a call before its result")?;
        ahead.extend(complete(asked, asked.result(result)?));
        return Ok(());
    }
    let mut rest = text;
    // Whether the call before this one, on the same line, waits for its result.
    let mut waits = false;
    while !rest.is_empty() {
        let (mut asked, result) = take_call(&mut rest)?;
        match (open.back().copied().filter(|_| waits), asked) {
            // The call that a realloc of NULL makes; its result is the realloc's.
            (
                Some(outer @ Asked::Reallocate { old_address: 0, size }),
                Asked::Allocate { by: Allocation::Malloc, size: inner },
            ) if size == inner => {
                open.pop_back();
                asked = outer;
            }
            // The call that a realloc to 0 makes.
            (Some(Asked::Reallocate { old_address, size: 0 }), Asked::Free { address })
                if old_address == address =>
            {
                waits = false;
                continue;
            }
            _ => {}
        }
        let result = result.map(|result| asked.result(result)).transpose()?;
        waits = result.is_none() && asked.has_result();
        if !waits {
            ahead.extend(complete(asked, result.unwrap_or(0)));
        } else if open.len() < OPEN_MOST {
            open.push_back(asked);
        } else {
            return Err("the results of 4096 calls before");
        }
    }
    Ok(())
}

/// Takes the next call of a line, and its result if there is one.
fn take_call<'a>(rest: &mut &'a [u8]) -> Result<(Asked, Option<&'a [u8]>), Expected> {
    const SHAPE: Expected = "`CALL(ARGUMENTS) = RESULT`, as valgrind's --trace-malloc=yes writes it (with --log-file, so that nothing of the program stands between)";
    let open = rest.iter().position(|&byte| byte == b'(').ok_or(SHAPE)?;
    let close = rest.iter().position(|&byte| byte == b')').filter(|&close| close > open).ok_or(SHAPE)?;
    let asked = ask(function(&rest[..open]), &rest[open + 1..close])?.ok_or(SHAPE)?;
    *rest = &rest[close + 1..];
    let Some(result) = rest.strip_prefix(b" = ") else { return Ok((asked, None)) };
    let end = result.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(result.len());
    *rest = &result[end..];
    Ok((asked, Some(&result[..end])))
}

/// What a call with these arguments asked for; none if it is not a known call.
fn ask(function: Function, arguments: &[u8]) -> Result<Option<Asked>, Expected> {
    let mut words = arguments.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let (first, second) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    Ok(Some(match function {
        Function::Other => return Ok(None),
        Function::Silent => Asked::Silent,
        Function::Free => Asked::Free { address: address(first)? },
        Function::Malloc => Asked::Allocate { by: Allocation::Malloc, size: size(first)? },
        Function::Realloc => Asked::Reallocate { old_address: address(first)?, size: size(second)? },
        Function::Calloc => match size(first)?.checked_mul(size(second)?) {
            Some(size) => Asked::Allocate { by: Allocation::Calloc, size },
            None => Asked::Overflow,
        },
        Function::Aligned => aligned(first, second)?,
    }))
}

/// An aligned allocation: `al A, size N`, in either order.
fn aligned(first: &[u8], second: &[u8]) -> Result<Asked, Expected> {
    let find = |name: &[u8]| [first, second].into_iter().find_map(|word| word.strip_prefix(name));
    let expected = "`al ALIGNMENT, size SIZE` in either order";
    let (alignment, bytes) = (find(b"al ").ok_or(expected)?, find(b"size ").ok_or(expected)?);
    let alignment =
        decimal(alignment).and_then(number::alignment).ok_or("a decimal alignment of at most 2^63")?;
    Ok(Asked::Allocate { by: Allocation::Aligned(alignment), size: size(bytes)? })
}

impl Asked {
    /// Whether a result follows.
    fn has_result(self) -> bool {
        !matches!(self, Asked::Overflow | Asked::Free { .. })
    }

    /// The address that a result gives; the result of a call that asks nothing of the heap is ignored.
    fn result(self, text: &[u8]) -> Result<u64, Expected> {
        if self == Asked::Silent { Ok(0) } else { address(text) }
    }
}

/// What was done, once the result is known; none if nothing was.
fn complete(asked: Asked, address: u64) -> Option<What> {
    Some(match asked {
        Asked::Allocate { by, size } => What::Allocate { by, address, size },
        Asked::Overflow => What::Allocate { by: Allocation::Calloc, address: 0, size: u64::MAX },
        Asked::Reallocate { old_address, size } => What::Reallocate { address, old_address, size },
        Asked::Free { address } => What::Free { address },
        Asked::Silent => return None,
    })
}

fn size(text: &[u8]) -> Result<u64, Expected> {
    decimal(text).ok_or("a decimal size below 2^64")
}

fn address(text: &[u8]) -> Result<u64, Expected> {
    // The result of a realloc to 0 is a bare 0.
    let parsed = if text == b"0" { Some(0) } else { pointer(text) };
    parsed.ok_or("a hexadecimal pointer that begins with 0x")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the lines say after their process ids, and how many calls wait at the end.
    fn read(lines: &[&str]) -> Result<(Vec<What>, usize), Expected> {
        let (mut ahead, mut open) = (VecDeque::new(), VecDeque::new());
        for line in lines {
            let line = format!("--7-- {line}");
            let (process, text) = split(line.as_bytes()).expect("a line of a process");
            assert_eq!(process, 7);
            assert!(is_call(text), "{line}");
            enter(text, &mut ahead, &mut open)?;
        }
        Ok((ahead.into(), open.len()))
    }

    fn allocate(by: Allocation, address: u64, size: u64) -> What {
        What::Allocate { by, address, size }
    }

    #[test]
    fn every_call_is_read() {
        for (line, what) in [
            ("malloc(48) = 0x4A8C040", allocate(Allocation::Malloc, 0x4a8c040, 48)),
            ("_Znwm(72) = 0x4A8C0B0", allocate(Allocation::Malloc, 0x4a8c0b0, 72)),
            ("_ZnamRKSt9nothrow_t(72) = 0x0", allocate(Allocation::Malloc, 0, 72)),
            ("_Znwj(72) = 0x10", allocate(Allocation::Malloc, 16, 72)),
            ("calloc(4,16) = 0x4A8C140", allocate(Allocation::Calloc, 0x4a8c140, 64)),
            ("memalign(al 64, size 256) = 0x40", allocate(Allocation::Aligned(64), 64, 256)),
            ("aligned_alloc(al 64, size 256) = 0x40", allocate(Allocation::Aligned(64), 64, 256)),
            ("_ZnwmSt11align_val_t(size 72, al 32) = 0x40", allocate(Allocation::Aligned(32), 64, 72)),
            ("realloc(0x10,200) = 0x20", What::Reallocate { address: 32, old_address: 16, size: 200 }),
            ("realloc(0x0,32)malloc(32) = 0x20", What::Reallocate { address: 32, old_address: 0, size: 32 }),
            ("free(0x10)", What::Free { address: 16 }),
            ("free(0x0)", What::Free { address: 0 }),
            ("_ZdlPvm(0x10)", What::Free { address: 16 }),
            ("_ZdaPvSt11align_val_t(0x10)", What::Free { address: 16 }),
        ] {
            assert_eq!(read(&[line]), Ok((vec![what], 0)), "{line}");
        }
        assert_eq!(read(&["malloc_usable_size(0x10) = 200"]), Ok((vec![], 0)));
        assert_eq!(
            read(&["malloc_usable_size(0x10)free(0x0)", " = 200"]),
            Ok((vec![What::Free { address: 0 }], 0))
        );
    }

    #[test]
    fn a_realloc_to_zero_has_its_result_on_the_next_line() {
        let realloc = What::Reallocate { address: 0, old_address: 16, size: 0 };
        assert_eq!(read(&["realloc(0x10,0)free(0x10)", " = 0"]), Ok((vec![realloc], 0)));
        assert_eq!(read(&["realloc(0x10,0)free(0x10)", " = 0x0"]), Ok((vec![realloc], 0)));
    }

    #[test]
    fn a_calloc_that_overflows_has_no_result() {
        let failed = allocate(Allocation::Calloc, 0, u64::MAX);
        let behind = allocate(Allocation::Malloc, 16, 5);
        assert_eq!(read(&["calloc(4611686018427387904,16)malloc(5) = 0x10"]), Ok((vec![failed, behind], 0)));
        assert_eq!(read(&["calloc(4611686018427387904,16)"]), Ok((vec![failed], 0)));
    }

    #[test]
    fn a_call_that_another_thread_came_between_gets_its_result() {
        let lines = ["realloc(0x10,393)free(0x20)", "malloc(7)malloc(8) = 0x30", " = 0x40", " = 0x50"];
        let expected = vec![
            What::Free { address: 0x20 },
            allocate(Allocation::Malloc, 0x30, 8),
            What::Reallocate { address: 0x40, old_address: 0x10, size: 393 },
            allocate(Allocation::Malloc, 0x50, 7),
        ];
        assert_eq!(read(&lines), Ok((expected, 0)));
        assert_eq!(read(&["malloc(7)free(0x20)"]), Ok((vec![What::Free { address: 0x20 }], 1)));
    }

    #[test]
    fn what_is_no_call_is_passed_over() {
        for text in ["REDIR: 0x4 (libc:strlen) redirected", "Reading syms from /usr/lib (x)", ""] {
            assert!(!is_call(text.as_bytes()), "{text}");
        }
        for line in ["==7== malloc(4)", "--x-- malloc(4) = 0x1", "hello", "--7--", "malloc(4) = 0x10"] {
            assert_eq!(split(line.as_bytes()), None, "{line}");
        }
        assert_eq!(command(b"==7== Command: ./a b"), Some(&b"./a b"[..]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("malloc(48) = 4A", "a hexadecimal pointer"),
            ("malloc(-48) = 0x4", "a decimal size below 2^64"),
            ("malloc(48) = 0x4 and more", "`CALL(ARGUMENTS) = RESULT`"),
            ("malloc(48", "`CALL(ARGUMENTS) = RESULT`"),
            ("memalign(64,256) = 0x40", "`al ALIGNMENT, size SIZE`"),
            ("memalign(al 18446744073709551615, size 1) = 0x40", "a decimal alignment"),
            (" = 0x10", "a call before its result"),
        ] {
            let found = read(&[line]).unwrap_err();
            assert!(found.starts_with(expected), "{line}: {found}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            recognises(&line);
        }

        #[test]
        fn any_line_like_one_is_answered(line in "--7-- ((malloc|calloc|realloc|memalign|free|_Znwm)\\((al |size |0x)?[0-9A-F]{0,21}(, ?(al |size )?[0-9]{0,21})?\\)( = (0x)?[0-9A-F]{0,18})?){0,3}") {
            recognises(line.as_bytes());
        }
    }
}
