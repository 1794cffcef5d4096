//! The kinds of log that can be imported: their names, and how each is recognised by its content.
//!
//! To add one, add a variant, a row in [`Kind::name`] and [`Kind::recognises`], its place in [`Kind::ALL`],
//! and the arm of [`import`](super::import) that reads it. The command line, its messages and the guess all
//! come from these.

use std::path::Path;
use std::str::FromStr;

use super::{ImportError, android, heaptrack, logalloc, malloc_bench, mtrace, valgrind, webkit};

/// The tools whose logs can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text that Android's malloc_debug records and its memory_replay reads.
    Android,
    /// What heaptrack records, raw or interpreted.
    Heaptrack,
    /// What valgrind logs with `--trace-malloc=yes`.
    Valgrind,
    /// The log of glibc's mtrace(3).
    Mtrace,
    /// The text of Firefox's logalloc, either as logged or as munged for its replay.
    Logalloc,
    /// The protobuf of ClaytonKnittel's malloc-bench.
    MallocBench,
    /// The `.ops` files of WebKit's MallocBench.
    Webkit,
    /// What our recorder leaves when it cannot finish: a directory, or one image's file in it.
    Raw,
}

/// How much of a log is read to recognise its kind.
pub(super) const HEAD_BYTES: usize = 64 << 10;

impl Kind {
    /// Every kind.
    pub const ALL: &'static [Kind] = &[
        Kind::Android,
        Kind::Heaptrack,
        Kind::Valgrind,
        Kind::Mtrace,
        Kind::Logalloc,
        Kind::MallocBench,
        Kind::Webkit,
        Kind::Raw,
    ];

    /// Its name on the command line and in a trace's header.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Android => "android",
            Kind::Heaptrack => "heaptrack",
            Kind::Valgrind => "valgrind",
            Kind::Mtrace => "mtrace",
            Kind::Logalloc => "logalloc",
            Kind::MallocBench => "malloc-bench",
            Kind::Webkit => "webkit",
            Kind::Raw => "raw",
        }
    }

    /// What a log of this kind has for each event, in words.
    fn event(self) -> &'static str {
        match self {
            Kind::Android => "a line like `TID: malloc 0xADDRESS SIZE`",
            Kind::Heaptrack => "a line `+` or `-`, as heaptrack writes for each allocation and free",
            Kind::Valgrind => {
                "a call as valgrind's --trace-malloc=yes writes it: `--PID-- malloc(SIZE) = 0xADDRESS`"
            }
            Kind::Mtrace => "a line like `@ PLACE + 0xADDRESS 0xSIZE`",
            Kind::Logalloc => "a line like `PID TID malloc(SIZE)=0xADDRESS`",
            Kind::MallocBench => "a line of a trace, as malloc-bench's protobuf has them",
            Kind::Webkit => "an operation of 24 bytes",
            Kind::Raw => {
                "a call that the recorder wrote down: the program allocated nothing, or exited at once"
            }
        }
    }

    /// The error that a log, taken for one of this kind, holds no event; with its warnings.
    pub(super) fn no_events(self, path: &Path, warnings: &[String]) -> ImportError {
        let (expected, known) = (self.event(), Kind::names());
        let warnings = warnings.iter().map(|warning| format!("; {warning}")).collect();
        ImportError::NoEvents { path: path.to_path_buf(), kind: self.name(), expected, known, warnings }
    }

    /// Whether its logs are text.
    pub(super) fn is_text(self) -> bool {
        !matches!(self, Kind::MallocBench | Kind::Webkit | Kind::Raw)
    }

    /// Whether its logs may hold several processes, and distinguish them.
    pub(super) fn has_processes(self) -> bool {
        matches!(self, Kind::Valgrind | Kind::Logalloc | Kind::Raw)
    }

    /// Whether a log that begins with `head` is of this kind.
    fn recognises(self, head: &Head<'_>) -> bool {
        match self {
            Kind::Android => head.first_line().is_some_and(android::recognises),
            Kind::Heaptrack => head.first_line().is_some_and(heaptrack::recognises),
            // A banner precedes the first call, and the program may have written output before tracing began.
            Kind::Valgrind => head.lines().any(valgrind::recognises),
            Kind::Mtrace => head.lines().any(mtrace::recognises),
            Kind::Logalloc => head.first_line().is_some_and(logalloc::recognises),
            Kind::MallocBench => malloc_bench::recognises(head.bytes),
            Kind::Webkit => webkit::recognises(head.bytes),
            // Recognised by its path, before it is opened.
            Kind::Raw => false,
        }
    }

    /// The names of all kinds, for messages.
    pub fn names() -> String {
        names(Kind::ALL)
    }
}

/// The kinds that match a log which begins with `head`.
pub(super) fn guess(head: &[u8]) -> Vec<Kind> {
    let head = Head { bytes: head };
    Kind::ALL.iter().copied().filter(|kind| kind.recognises(&head)).collect()
}

/// The names of these kinds, for messages.
pub(super) fn names(kinds: &[Kind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

/// The first bytes of a log, [`HEAD_BYTES`] at most.
pub(super) struct Head<'a> {
    bytes: &'a [u8],
}

impl<'a> Head<'a> {
    /// The complete lines, and the last line of a log that ends without a line feed.
    fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        let whole = self.bytes.len() < HEAD_BYTES;
        let last = self.bytes.iter().rposition(|&byte| byte == b'\n').unwrap_or(0);
        let used = if whole { self.bytes } else { &self.bytes[..last] };
        let lines = used.split(|&byte| byte == b'\n');
        lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn first_line(&self) -> Option<&'a [u8]> {
        self.lines().next()
    }
}

/// A name that no kind has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of log {0:?}: the kinds are {known}", known = Kind::names())]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Kind, UnknownKind> {
        let found = Kind::ALL.iter().copied().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownKind(name.to_string()))
    }
}
