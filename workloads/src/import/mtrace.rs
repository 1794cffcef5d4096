//! The log of glibc's mtrace(3): one call per line, two lines for a realloc.
//!
//! ```text
//! = Start
//! [@ PLACE ]+ PTR SIZE      malloc, calloc, memalign, realloc of NULL
//! [@ PLACE ]- PTR           free, realloc to 0
//! [@ PLACE ]< OLD_PTR       a realloc, of which the next line tells the rest:
//! [@ PLACE ]> PTR SIZE
//! [@ PLACE ]! PTR SIZE      a realloc that failed
//! = End
//! ```
//!
//! Pointers and sizes are hexadecimal with 0x, size zero is `0`, NULL is `(nil)`. A place may contain spaces,
//! so a line is read from its end. Under threads each line is whole, but lines of other threads may come
//! between the two of a realloc, and a free may come after the allocation that it made possible. A realloc
//! has happened before its first line is written; so it is entered there, and the calls between its lines
//! come after it.

use std::collections::VecDeque;

use heaplab_trace::{Header, Note};

use super::ImportError;
use super::ledger::{Allocation, Call, Log, What};
use super::lines::Lines;
use super::number::{hexadecimal, pointer};

/// The most lines that may come between the two of a realloc.
const BETWEEN_MOST: usize = 4096;

/// What a line should have held.
type Expected = &'static str;

pub(super) struct MtraceLog<'a> {
    lines: Lines<'a>,
    /// What has been read and not handed out; empty except while the second line of a realloc is searched
    /// for.
    ahead: VecDeque<Ahead>,
    /// Reallocs whose second line is missing.
    unfinished: u64,
}

enum Ahead {
    Call(What),
    /// A realloc of this address.
    Opened(u64),
}

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Call(What),
    /// The first half of a realloc.
    Old(u64),
    /// The second half.
    New {
        address: u64,
        size: u64,
    },
    /// `= Start` and `= End`, or nothing.
    Silent,
}

impl<'a> MtraceLog<'a> {
    pub(super) fn new(lines: Lines<'a>) -> MtraceLog<'a> {
        MtraceLog { lines, ahead: VecDeque::new(), unfinished: 0 }
    }

    /// Reads one line more into `ahead`; false at the end.
    fn read_line(&mut self) -> Result<bool, ImportError> {
        let Some(line) = self.lines.next()? else { return Ok(false) };
        let entered = match parse(line) {
            Ok(Line::Call(what)) => {
                self.ahead.push_back(Ahead::Call(what));
                Ok(())
            }
            Ok(Line::Old(_)) if self.ahead.len() >= BETWEEN_MOST => {
                Err("a line that begins with `>`, within 4096 lines after one that begins with `<`")
            }
            Ok(Line::Old(address)) => {
                self.ahead.push_back(Ahead::Opened(address));
                Ok(())
            }
            Ok(Line::New { address, size }) => self.close(address, size),
            Ok(Line::Silent) => Ok(()),
            Err(expected) => Err(expected),
        };
        match entered {
            Ok(()) => Ok(true),
            Err(expected) => Err(self.lines.malformed(expected)),
        }
    }

    /// Completes a realloc: one of this address, which stayed where it was, or else the oldest.
    fn close(&mut self, address: u64, size: u64) -> Result<(), Expected> {
        let mut chosen = None;
        for entry in &mut self.ahead {
            match *entry {
                Ahead::Opened(old) if old == address => {
                    chosen = Some((old, entry));
                    break;
                }
                Ahead::Opened(old) if chosen.is_none() => chosen = Some((old, entry)),
                _ => {}
            }
        }
        let (old_address, entry) =
            chosen.ok_or("a line that begins with `<` before one that begins with `>`")?;
        *entry = Ahead::Call(What::Reallocate { address, old_address, size });
        Ok(())
    }
}

impl Log for MtraceLog<'_> {
    fn next_call(&mut self) -> Result<Option<Call>, ImportError> {
        loop {
            match self.ahead.front() {
                Some(&Ahead::Call(what)) => {
                    self.ahead.pop_front();
                    return Ok(Some(Call { thread: 0, times: None, what }));
                }
                Some(Ahead::Opened(_)) if self.ahead.len() > BETWEEN_MOST => {
                    // The error names the line read last, where the search was given up.
                    self.ahead.clear();
                    let expected = "the line that begins with `>` of a realloc within 4096 lines";
                    return Err(self.lines.malformed(expected));
                }
                Some(Ahead::Opened(_)) => {
                    if !self.read_line()? {
                        self.ahead.pop_front();
                        self.unfinished += 1;
                    }
                }
                None => {
                    if !self.read_line()? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn describe(&self, header: &mut Header) {
        header.notes.push(Note {
            name: "not_in_log".to_string(),
            value: "which function allocated (a calloc, and all that is neither realloc nor free, stands as malloc), free(NULL)"
                .to_string(),
        });
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.lines.warnings();
        if self.unfinished > 0 {
            warnings.push(format!(
                "{} reallocs of which the log has only the first line: left out",
                self.unfinished
            ));
        }
        warnings
    }
}

/// Whether a log that holds this line is of this kind.
pub(super) fn recognises(line: &[u8]) -> bool {
    line == b"= Start" || parse(line).is_ok_and(|line| line != Line::Silent)
}

fn parse(line: &[u8]) -> Result<Line, Expected> {
    if line.is_empty() || line.starts_with(b"= ") {
        return Ok(Line::Silent);
    }
    // From the end, because a place may hold anything.
    let mut words = line.rsplitn(4, |&byte| byte == b' ');
    let (last, second, third) = (words.next(), words.next(), words.next());
    let place = words.next();
    match (second, third) {
        (Some(b"-"), place) if is_place(place) => Ok(Line::Call(What::Free { address: address(last)? })),
        (Some(b"<"), place) if is_place(place) => Ok(Line::Old(address(last)?)),
        (Some(pointer), Some(&[mark @ (b'+' | b'>' | b'!')])) if is_place(place) => {
            let (address, size) = (address(Some(pointer))?, size(last)?);
            Ok(match mark {
                b'+' => Line::Call(What::Allocate { by: Allocation::Malloc, address, size }),
                b'>' => Line::New { address, size },
                _ if size == 0 => return Err("a size above 0, for a realloc to 0 cannot fail"),
                _ => Line::Call(What::Reallocate { address: 0, old_address: address, size }),
            })
        }
        _ => Err("`@ PLACE + POINTER SIZE`, `- POINTER`, `< POINTER`, `> POINTER SIZE` or `! POINTER SIZE`"),
    }
}

/// Whether this may be (the end of) the place that precedes a call; the place may be absent.
fn is_place(words: Option<&[u8]>) -> bool {
    words.is_none_or(|words| !words.is_empty())
}

fn address(text: Option<&[u8]>) -> Result<u64, Expected> {
    text.and_then(pointer).ok_or("a hexadecimal pointer that begins with 0x, or (nil)")
}

fn size(text: Option<&[u8]>) -> Result<u64, Expected> {
    let parse = |text: &[u8]| match text {
        b"0" => Some(0),
        _ => hexadecimal(text.strip_prefix(b"0x")?),
    };
    text.and_then(parse).ok_or("a hexadecimal size that begins with 0x, or 0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_line_is_parsed() {
        let allocate =
            |address, size| Ok(Line::Call(What::Allocate { by: Allocation::Malloc, address, size }));
        assert_eq!(parse(b"@ ./demo:(load+0x1d)[0x401196] + 0x55c2a0 0x30"), allocate(0x55c2a0, 0x30));
        assert_eq!(parse(b"@ /a b/c + d:[0x4] + 0x55c2a0 0"), allocate(0x55c2a0, 0));
        assert_eq!(parse(b"@ [0x401196] + (nil) 0x7f"), allocate(0, 0x7f));
        assert_eq!(parse(b"+ 0x10 0x8"), allocate(16, 8));
        assert_eq!(parse(b"- 0x10"), Ok(Line::Call(What::Free { address: 16 })));
        assert_eq!(parse(b"@ ./d:[0x4] - 0x10"), Ok(Line::Call(What::Free { address: 16 })));
        assert_eq!(parse(b"@ ./d:[0x4] < 0x10"), Ok(Line::Old(16)));
        assert_eq!(parse(b"@ ./d:[0x4] > 0x10 0xc8"), Ok(Line::New { address: 16, size: 200 }));
        let failed = What::Reallocate { address: 0, old_address: 16, size: 9 };
        assert_eq!(parse(b"@ ./d:[0x4] ! 0x10 0x9"), Ok(Line::Call(failed)));
        for line in ["= Start", "= End", ""] {
            assert_eq!(parse(line.as_bytes()), Ok(Line::Silent));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, expected) in [
            ("hello", "`@ PLACE + POINTER SIZE`"),
            ("@ x * 0x10 0x10", "`@ PLACE + POINTER SIZE`"),
            ("+ 10 0x10", "a hexadecimal pointer"),
            ("+ 0x11112222333344445 0x10", "a hexadecimal pointer"),
            ("- 16", "a hexadecimal pointer"),
            ("+ 0x10 10", "a hexadecimal size"),
            ("! 0x10 0", "a size above 0"),
        ] {
            let found = parse(line.as_bytes()).unwrap_err();
            assert!(found.starts_with(expected), "{line}: {found}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_answered(line in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&line);
        }

        #[test]
        fn any_line_like_one_is_answered(line in "(@ [ -~]{0,9} )?[-+<>!] (0x[0-9a-f]{0,18} ?|\\(nil\\) ?){0,3}") {
            let _ = parse(line.as_bytes());
        }
    }
}
