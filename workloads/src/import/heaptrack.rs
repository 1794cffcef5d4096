//! What heaptrack records: the raw log, which has addresses, and the interpreted one, which has none.
//!
//! Numbers are lowercase hexadecimal without 0x. The first character is the kind of line:
//!
//! ```text
//! v TOOL_VERSION FILE_VERSION    always first            c MS         time since the start, about each 10 ms
//! X COMMAND LINE                 the program             A            attached to a process that ran already
//! raw:                                                   interpreted:
//! x LENGTH PATH   m ...          files and mappings      s LENGTH STRING   i ...   strings and places
//! t IP PARENT                    a place                 t IP PARENT       a place
//!                                                        a SIZE PLACE      an allocation-info: numbered from 0
//! + SIZE PLACE ADDRESS           an allocation           + INFO            an allocation
//! - ADDRESS                      a free                  - INFO            a free
//! R, I, S, # and empty lines     of no use here
//! ```
//!
//! The command line stands as it is, at most 4,096 bytes of it, with the line feeds that its arguments have. After it
//! comes `I PAGE_BYTES PAGES`, in all versions that write a command line; a log by another program may do without.
//! `heaptrack_interpret` passes on all these lines that it takes for none of its own.
//!
//! A realloc is a free and an allocation. An interpreted log does not distinguish objects of one size and
//! place: it does not say which of the live ones a free ends, so the youngest is assumed, because most
//! objects die young. (The requested bytes are the same whichever it is; the positions of the holes are not.)
//! Interpreted logs of file version 0 have addresses.

use heaplab_trace::{Header, Note};

use super::ImportError;
use super::ledger::{Allocation, Call, Log, Times, What};
use super::lines::Lines;
use super::number::hexadecimal;

/// The newest known version of the file format.
const FILE_VERSION: u64 = 3;
/// The most infos that are held; each is a size and a place in the program, and no program has nearly so
/// many. (Tests use a smaller bound, to reach it sooner.)
pub(super) const INFOS_MOST: usize = if cfg!(test) { 20_000 } else { 1 << 24 };
/// Time between two timestamp lines, and so the resolution of times.
const TICK_NS: u64 = 10_000_000;
/// How much of the program's command line heaptrack writes.
const COMMAND_MOST_BYTES: usize = 4096;

/// What a line should have held.
type Expected = &'static str;

pub(super) struct HeaptrackLog<'a> {
    lines: Lines<'a>,
    state: State,
}

/// What the lines so far have said.
#[derive(Default)]
struct State {
    /// File version, once its line has been read.
    version: Option<u64>,
    form: Form,
    infos: Vec<Info>,
    time_ns: u64,
    command: Vec<u8>,
    has_command: bool,
    attached: bool,
}

/// The two layers of heaptrack's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Form {
    /// No line has said yet.
    #[default]
    Unknown,
    Raw,
    Interpreted,
}

/// Objects of one size and place.
struct Info {
    size: u64,
    live: u32,
}

impl<'a> HeaptrackLog<'a> {
    pub(super) fn new(lines: Lines<'a>) -> HeaptrackLog<'a> {
        HeaptrackLog { lines, state: State::default() }
    }
}

impl HeaptrackLog<'_> {
    /// Reads the rest of a command line whose arguments have line feeds.
    fn read_command(&mut self) -> Result<(), ImportError> {
        let lines = self.lines.count_until(COMMAND_MOST_BYTES, is_system)?.unwrap_or(0);
        for _ in 0..lines {
            if let Some(line) = self.lines.next_or_part()? {
                self.state.add_to_command(&[b"\n", line].concat());
            }
        }
        Ok(())
    }
}

impl Log for HeaptrackLog<'_> {
    fn next_call(&mut self) -> Result<Option<Call>, ImportError> {
        loop {
            // Names of C++ functions may be longer than any line that matters here.
            let Some(line) = self.lines.next_or_part()? else { return Ok(None) };
            let is_command = line.starts_with(b"X") && !self.state.has_command;
            match self.state.read(line) {
                Ok(None) if is_command => self.read_command()?,
                Ok(Some(what)) => {
                    let start_ns = self.state.time_ns;
                    let times = Some(Times { start_ns, end_ns: start_ns.saturating_add(TICK_NS) });
                    return Ok(Some(Call { thread: 0, times, what }));
                }
                Ok(None) => {}
                Err(expected) => return Err(self.lines.malformed(expected)),
            }
        }
    }

    fn describe(&self, header: &mut Header) {
        header.has_times = true;
        header.program = String::from_utf8_lossy(&self.state.command).into_owned();
        let mut note = |name: &str, value: &str| {
            header.notes.push(Note { name: name.to_string(), value: value.to_string() });
        };
        let addresses = self.state.has_addresses();
        note("form", if addresses { "raw" } else { "interpreted" });
        note("times", "good to 10 ms: a call has the time of the tick before it");
        note(
            "not_in_log",
            "which function allocated (all stand as malloc), reallocs (each is a free and a malloc), free(NULL), calls that failed, memalign and pvalloc",
        );
        if !addresses {
            note(
                "object_identity",
                "not in the log: of the live objects of one size and place, the youngest is freed first",
            );
        }
        if self.state.attached {
            note("attached", "to a process that ran already: what it had allocated before is not known");
        }
    }

    fn warnings(&self) -> Vec<String> {
        self.lines.warnings()
    }
}

/// Whether a log that begins with this line is of this kind.
pub(super) fn recognises(first_line: &[u8]) -> bool {
    State::default().read(first_line).is_ok_and(|_| first_line.starts_with(b"v "))
}

impl State {
    /// Reads a line; returns the call, if it is one.
    fn read(&mut self, line: &[u8]) -> Result<Option<What>, Expected> {
        let (kind, rest) = match line {
            [] | [b'#', ..] => return Ok(None),
            [kind] => (*kind, &b""[..]),
            [kind, b' ', rest @ ..] => (*kind, rest),
            _ => return Err("a line that begins with one character and a blank"),
        };
        if self.version.is_none() && kind != b'v' {
            return Err("heaptrack's version first: `v VERSION FILE_VERSION`");
        }
        match kind {
            b'v' => self.version = Some(version(rest)?),
            b'X' if !self.has_command => {
                self.has_command = true;
                self.add_to_command(rest);
            }
            b'A' => self.attached = true,
            b'c' => self.time_ns = time(rest)?,
            b'x' | b'm' => self.become_form(Form::Raw)?,
            b's' | b'i' => self.become_form(Form::Interpreted)?,
            b'a' => self.add_info(rest)?,
            b'+' => return self.allocate(rest).map(Some),
            b'-' => return self.free(rest).map(Some),
            b't' | b'R' | b'I' | b'S' | b'X' => {}
            _ => return Err("a line of kind v, x, X, I, A, S, m, s, i, t, a, +, -, c or R"),
        }
        Ok(None)
    }

    fn add_to_command(&mut self, more: &[u8]) {
        let room = COMMAND_MOST_BYTES - self.command.len();
        self.command.extend_from_slice(&more[..more.len().min(room)]);
    }

    fn become_form(&mut self, form: Form) -> Result<(), Expected> {
        if self.form == Form::Unknown {
            self.form = form;
        }
        if self.form == form {
            Ok(())
        } else {
            Err("lines of a raw log or of an interpreted one, not of both")
        }
    }

    /// Whether allocations and frees name addresses.
    fn has_addresses(&self) -> bool {
        self.form == Form::Raw || self.version == Some(0)
    }

    fn add_info(&mut self, rest: &[u8]) -> Result<(), Expected> {
        self.become_form(Form::Interpreted)?;
        let [size, _place] = numbers(rest).ok_or("`a SIZE PLACE`, hexadecimal")?;
        if self.infos.len() >= INFOS_MOST {
            return Err("at most 16777216 lines of kind a: no program is known to have so many");
        }
        self.infos.push(Info { size, live: 0 });
        Ok(())
    }

    fn allocate(&mut self, rest: &[u8]) -> Result<What, Expected> {
        if self.form == Form::Unknown && numbers::<3>(rest).is_some() {
            self.form = Form::Raw;
        }
        let by = Allocation::Malloc;
        if self.has_addresses() {
            let [size, _place, address] = numbers(rest).ok_or("`+ SIZE PLACE ADDRESS`, hexadecimal")?;
            return Ok(What::Allocate { by, address, size });
        }
        let (info, number) = self.info(rest)?;
        info.live = info.live.checked_add(1).ok_or("fewer than 2^32 live objects of one size and place")?;
        Ok(What::Allocate { by, address: number << 32 | u64::from(info.live), size: info.size })
    }

    fn free(&mut self, rest: &[u8]) -> Result<What, Expected> {
        if self.has_addresses() || self.form == Form::Unknown {
            let [address] = numbers(rest).ok_or("`- ADDRESS`, hexadecimal")?;
            return Ok(What::Free { address });
        }
        let (info, number) = self.info(rest)?;
        let address = number << 32 | u64::from(info.live);
        info.live = info.live.saturating_sub(1);
        Ok(What::Free { address })
    }

    /// The allocation-info that a line names, and its number counted from 1. That way no object is at address
    /// 0, and a free too many frees the address at which none was ever allocated.
    fn info(&mut self, rest: &[u8]) -> Result<(&mut Info, u64), Expected> {
        const EXPECTED: Expected = "the hexadecimal number of an `a` line before";
        let [index] = numbers(rest).ok_or(EXPECTED)?;
        let place = usize::try_from(index).map_err(|_| EXPECTED)?;
        Ok((self.infos.get_mut(place).ok_or(EXPECTED)?, index + 1))
    }
}

/// Whether a line is the one that follows the command line.
fn is_system(line: &[u8]) -> bool {
    line.strip_prefix(b"I ").is_some_and(|rest| numbers::<2>(rest).is_some())
}

fn version(rest: &[u8]) -> Result<u64, Expected> {
    let [_tool, file] = numbers(rest).ok_or("`v VERSION FILE_VERSION`, hexadecimal")?;
    if file > FILE_VERSION {
        Err("a file version of at most 3: this heaplab knows no newer one")
    } else {
        Ok(file)
    }
}

fn time(rest: &[u8]) -> Result<u64, Expected> {
    let time_ns = numbers(rest).and_then(|[time_ms]| time_ms.checked_mul(1_000_000));
    time_ns.ok_or("`c MILLISECONDS`, hexadecimal, and below 2^64 ns")
}

/// Exactly this many numbers, separated by single spaces.
fn numbers<const COUNT: usize>(rest: &[u8]) -> Option<[u64; COUNT]> {
    let mut words = rest.split(|&byte| byte == b' ');
    let mut found = [0; COUNT];
    for number in &mut found {
        *number = hexadecimal(words.next()?)?;
    }
    words.next().is_none().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the lines after a version line say.
    fn read(lines: &[&str]) -> Result<Vec<What>, Expected> {
        let mut state = State::default();
        let mut calls = Vec::new();
        for line in [&["v 10400 3"], lines].concat() {
            calls.extend(state.read(line.as_bytes())?);
        }
        Ok(calls)
    }

    fn malloc(address: u64, size: u64) -> What {
        What::Allocate { by: Allocation::Malloc, address, size }
    }

    #[test]
    fn a_raw_log_has_addresses() {
        let lines =
            ["x a /tmp/imp/t", "m 1 -", "t 55d0 0", "+ 30 1 55d0d0002a0", "R 4b2", "- 55d0d0002a0", "- 9"];
        let freed = |address| What::Free { address };
        assert_eq!(read(&lines), Ok(vec![malloc(0x55d0d0002a0, 48), freed(0x55d0d0002a0), freed(9)]));
        assert_eq!(
            read(&["- 9", "+ 30 1 10"]),
            Ok(vec![freed(9), malloc(16, 48)]),
            "attached, without a mapping"
        );
    }

    #[test]
    fn of_an_interpreted_log_the_youngest_dies_first() {
        let lines = [
            "s 2 ab", "i 1 1", "t 1 0", "a 30 1", "a 8 1", "+ 0", "+ 0", "+ 1", "- 0", "+ 0", "- 0", "- 0",
            "- 0",
        ];
        let (first, second, other) = (1 << 32 | 1, 1 << 32 | 2, 2 << 32 | 1);
        let freed = |address| What::Free { address };
        let expected = vec![
            malloc(first, 48),
            malloc(second, 48),
            malloc(other, 8),
            freed(second),
            malloc(second, 48),
            freed(second),
            freed(first),
            freed(1 << 32),
        ];
        assert_eq!(read(&lines), Ok(expected));
    }

    #[test]
    fn version_0_has_addresses_though_it_is_interpreted() {
        let mut state = State::default();
        for line in ["v 10000 0", "s ab", "i 1 1", "t 1 0"] {
            assert_eq!(state.read(line.as_bytes()), Ok(None));
        }
        assert_eq!(state.read(b"+ 30 1 10"), Ok(Some(malloc(16, 48))));
        assert_eq!(state.read(b"- 10"), Ok(Some(What::Free { address: 16 })));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (lines, expected) in [
            (&["+ 30 1 10 1"][..], "the hexadecimal number of an `a` line"),
            (&["x a b", "+ 30 1"], "`+ SIZE PLACE ADDRESS`"),
            (&["x a b", "+ 30 1 11112222333344445"], "`+ SIZE PLACE ADDRESS`"),
            (&["x a b", "a 30 1"], "lines of a raw log or of an interpreted one"),
            (&["a 30"], "`a SIZE PLACE`"),
            (&["a 30 1", "+ 1"], "the hexadecimal number of an `a` line"),
            (&["a 30 1", "+ ffffffffffffffff"], "the hexadecimal number of an `a` line"),
            (&["a 30 1", "- 1"], "the hexadecimal number of an `a` line"),
            (&["c 10c6f7a0b5ee"], "`c MILLISECONDS`"),
            (&["hello"], "a line that begins with one character and a blank"),
            (&["z 1"], "a line of kind"),
            (&["v 1 4"], "a file version of at most 3"),
        ] {
            let found = read(lines).unwrap_err();
            assert!(found.starts_with(expected), "{lines:?}: {found}");
        }
        assert!(State::default().read(b"+ 1 2 3").unwrap_err().starts_with("heaptrack's version first"));
        assert!(
            recognises(b"v 10400 3") && !recognises(b"v 10400 4") && !recognises(b"v") && !recognises(b"")
        );
    }

    proptest! {
        #[test]
        fn any_lines_are_answered(lines in proptest::collection::vec("[-+acvxsitA#m] ?([0-9a-f]{0,18} ?){0,4}", 0..20)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let _ = read(&lines);
        }
    }
}
