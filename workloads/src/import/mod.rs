//! Traces from the logs of other tools: a foreign log in, a `.hlt` file out.
//!
//! The parts, in the order in which data goes through them: `source` opens the file and its
//! container (plain, gzip, zstd or zip), `lines` cuts it into lines, one module for each kind of log
//! parses them into calls with raw addresses, and `ledger` gives the objects behind the addresses
//! their identities, mends what a log cannot say right, and writes the trace.
//!
//! A log is read once and streamed: memory grows with its live objects and threads, not with its length.

mod android;
mod error;
mod ledger;
mod lines;
pub mod raw;
mod source;

use std::fs;
use std::path::Path;
use std::str::FromStr;

use heaplab_trace::{Header, Note, Summary, TraceFile};

pub use error::ImportError;

use android::AndroidLog;
use ledger::{Ledger, Log};
use lines::Lines;
use source::Source;

/// The tools whose logs can be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The text that Android's malloc_debug records and its memory_replay reads.
    Android,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 1] = [Kind::Android];

    /// Its name on the command line and in a trace's header.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Android => "android",
        }
    }

    /// The kind of a log by its first line; none if no kind has such lines.
    pub fn guess(first_line: &[u8]) -> Option<Kind> {
        android::parse(first_line).is_ok().then_some(Kind::Android)
    }
}

/// A name that is no kind's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of log {0:?}: the kinds are {known}", known = kind_names())]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Kind, UnknownKind> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownKind(name.to_string()))
    }
}

fn kind_names() -> String {
    Kind::ALL.map(Kind::name).join(", ")
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input file (compressed, if it is) that were read.
    pub read_bytes: u64,
    /// Bytes that it has.
    pub total_bytes: u64,
    /// Events written.
    pub events: u64,
}

/// What an import made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// The kind of log that it was.
    pub kind: Kind,
    /// The header of the trace.
    pub header: Header,
    /// Its totals, repairs among them.
    pub summary: Summary,
}

/// Imports the log at `input`, of `kind` or of the kind that its first line shows, as the trace `output`.
///
/// `output` appears, or is replaced, only when the trace is complete. `progress` is called now and then.
pub fn import(
    input: &Path,
    kind: Option<Kind>,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<ImportReport, ImportError> {
    refuse_same_file(input, output)?;
    let source = Source::open(input)?;
    let (read_bytes, total_bytes) = (source.position(), source.total_bytes());
    let report =
        |events| progress(Progress { read_bytes: read_bytes.get().min(total_bytes), total_bytes, events });
    source.read(|content| {
        let mut lines = Lines::new(content, input);
        let kind = match kind {
            Some(kind) => kind,
            None => guess_kind(&mut lines, input)?,
        };
        match kind {
            Kind::Android => write_trace(kind, AndroidLog::new(lines), input, output, report),
        }
    })
}

fn guess_kind(lines: &mut Lines<'_>, input: &Path) -> Result<Kind, ImportError> {
    let kind = lines.peek()?.and_then(Kind::guess);
    kind.ok_or_else(|| ImportError::UnknownLog { path: input.to_path_buf(), known: kind_names() })
}

fn write_trace<L: Log>(
    kind: Kind,
    mut log: L,
    input: &Path,
    output: &Path,
    report: impl FnMut(u64),
) -> Result<ImportReport, ImportError> {
    // The header stands before the first event, and only the first call tells whether there are times.
    let first = log.next_call()?;
    let name = input.file_name().unwrap_or(input.as_os_str()).to_string_lossy().into_owned();
    let header = Header {
        source: kind.name().to_string(),
        has_times: first.as_ref().is_some_and(|call| call.times.is_some()),
        has_threads: true,
        has_alignment: true,
        notes: vec![Note { name: "imported_from".to_string(), value: name }],
        ..Header::default()
    };
    let mut trace = TraceFile::create(output, &header)?;
    Ledger::new(first, &mut trace).write_all(&mut log, report)?;
    Ok(ImportReport { kind, header, summary: trace.finish()? })
}

/// A log that is replaced by its own trace is lost.
fn refuse_same_file(input: &Path, output: &Path) -> Result<(), ImportError> {
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(input), Ok(output)) if input == output => Err(ImportError::SameFile { path: output }),
        // One that does not exist is no input (and opening it says so), or not yet an output.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
