//! Traces from the logs of other tools: a foreign log in, a `.hlt` file out.
//!
//! The parts, in the order in which data goes through them: `source` opens the file and its container (plain,
//! gzip, zstd or zip), `kind` recognises the log by its first bytes, `lines` or `records` cuts it up, one
//! module per kind of log parses it into calls with raw addresses, and `ledger` gives the objects that
//! addresses stand for their identities, repairs what a log cannot say correctly, and writes the trace.
//!
//! The trace's header says what a kind of log does not hold: threads, times and alignment by flags,
//! everything else by notes called `not_in_log`.
//!
//! A log is read once and streamed: memory grows with its live objects and threads, not with its length.

mod android;
mod error;
mod heaptrack;
mod kind;
mod ledger;
mod lines;
mod logalloc;
mod malloc_bench;
mod members;
mod mtrace;
mod number;
mod process;
pub mod raw;
mod records;
mod source;
mod valgrind;
mod webkit;

use std::fs;
use std::io::Read;
use std::path::Path;

use heaplab_trace::{Header, Note, Summary, TraceFile};

pub use error::ImportError;
pub use kind::{Kind, UnknownKind};

use android::AndroidLog;
use heaptrack::HeaptrackLog;
use ledger::{Ledger, Log};
use lines::Lines;
use logalloc::LogallocLog;
use malloc_bench::MallocBenchLog;
use mtrace::MtraceLog;
use process::Process;
use records::Records;
use source::Source;
use valgrind::ValgrindLog;
use webkit::WebkitLog;

/// What some editors and shells put before text.
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";
const UTF_16_MARKS: [&[u8]; 2] = [b"\xff\xfe", b"\xfe\xff"];

/// What is known about a log before it is read. By default nothing: its kind is guessed from its content, and
/// the first of several processes is imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The kind of log; none to guess it.
    pub kind: Option<Kind>,
    /// The process whose calls are wanted, where a log may hold several.
    pub process: Option<u64>,
}

/// How far an import has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input file read so far (compressed bytes, if it is compressed).
    pub read_bytes: u64,
    /// Bytes in the input file.
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
    /// What the user should know: what was repaired and what was omitted. Sentences without the log's name.
    pub warnings: Vec<String>,
    /// For a raw recording, the imported images, beginning with the one that the trace is of; otherwise
    /// empty.
    pub images: Vec<raw::Imported>,
}

/// Imports the log at `input` as the trace `output`.
///
/// `output` appears, or is replaced, only when the trace is complete. `progress` is called from time to time.
pub fn import(
    input: &Path,
    options: &Options,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<ImportReport, ImportError> {
    refuse_same_file(input, output)?;
    if options.kind == Some(Kind::Raw) || (options.kind.is_none() && raw::recognises(input)) {
        return raw::import(input, options.process, output, progress);
    }
    let source = Source::open(input)?;
    let (read_bytes, total_bytes, cut_off) = (source.position(), source.total_bytes(), source.cut_off());
    let report =
        |events| progress(Progress { read_bytes: read_bytes.get().min(total_bytes), total_bytes, events });
    let mut imported = source.read(|content| {
        let head = read_head(content, input, options.kind)?;
        let kind = match options.kind {
            Some(kind) => kind,
            None => guess_kind(&head, input)?,
        };
        let process = Process::new(options.process);
        if options.process.is_some() && !kind.has_processes() {
            return Err(ImportError::NoProcesses { path: input.to_path_buf(), kind: kind.name() });
        }
        let content = &mut head.as_slice().chain(content);
        let trace = Destination { kind, input, output };
        match kind {
            Kind::Android => trace.write(AndroidLog::new(Lines::new(content, input)), report),
            Kind::Heaptrack => trace.write(HeaptrackLog::new(Lines::new(content, input)), report),
            Kind::Valgrind => trace.write(ValgrindLog::new(Lines::new(content, input), process), report),
            Kind::Mtrace => trace.write(MtraceLog::new(Lines::new(content, input)), report),
            Kind::Logalloc => trace.write(LogallocLog::new(Lines::new(content, input), process), report),
            Kind::MallocBench => trace.write(MallocBenchLog::new(Records::new(content, input)), report),
            Kind::Webkit => trace.write(WebkitLog::new(Records::new(content, input)), report),
            // A raw recording is not a stream of bytes: it was handled above, and no content is recognised as
            // one.
            Kind::Raw => raw::import(input, options.process, output, &mut |_| {}),
        }
    })?;
    if cut_off.get() {
        imported
            .warnings
            .push("the compressed log was cut off: what stands before the cut is taken".to_string());
    }
    Ok(imported)
}

/// The bytes by which the kind of a log is recognised. A byte-order mark is removed, except for a kind that
/// is not text.
fn read_head(content: &mut dyn Read, input: &Path, kind: Option<Kind>) -> Result<Vec<u8>, ImportError> {
    let mut head = Vec::new();
    let read = content.take(kind::HEAD_BYTES as u64).read_to_end(&mut head);
    read.map_err(|source| ImportError::Io { path: input.to_path_buf(), doing: "read", source })?;
    if kind.is_none_or(Kind::is_text) {
        if UTF_16_MARKS.iter().any(|mark| head.starts_with(mark)) {
            let problem = "is UTF-16: make it UTF-8 first (`iconv -f UTF-16 -t UTF-8`)".to_string();
            return Err(ImportError::Container { path: input.to_path_buf(), problem });
        }
        if head.starts_with(UTF_8_MARK) {
            head.drain(..UTF_8_MARK.len());
        }
    }
    Ok(head)
}

fn guess_kind(head: &[u8], input: &Path) -> Result<Kind, ImportError> {
    let (path, looked_at, known) = (input.to_path_buf(), head.len(), Kind::names());
    match kind::guess(head)[..] {
        [kind] => Ok(kind),
        [] => {
            let found = format!("\"{}\"", head[..head.len().min(40)].escape_ascii());
            Err(ImportError::UnknownLog { path, looked_at, found, known })
        }
        ref several => {
            Err(ImportError::AmbiguousLog { path, looked_at, candidates: kind::names(several), known })
        }
    }
}

/// Where the calls of a log go.
struct Destination<'a> {
    kind: Kind,
    input: &'a Path,
    output: &'a Path,
}

impl Destination<'_> {
    fn write<L: Log>(self, mut log: L, report: impl FnMut(u64)) -> Result<ImportReport, ImportError> {
        let Destination { kind, input, output } = self;
        // The header comes before the first event, and only the first call shows whether there are times.
        let first = log.next_call()?;
        let name = input.file_name().unwrap_or(input.as_os_str()).to_string_lossy().into_owned();
        let mut header = Header {
            source: kind.name().to_string(),
            notes: vec![Note { name: "imported_from".to_string(), value: name }],
            ..Header::default()
        };
        log.describe(&mut header);
        let mut trace = TraceFile::create(output, &header)?;
        Ledger::new(first, &header, input, &mut trace).write_all(&mut log, report)?;
        log.check()?;
        if trace.summary().events == 0 {
            return Err(kind.no_events(input, &log.warnings()));
        }
        let summary = trace.finish()?;
        let warnings = [log.warnings(), list_repairs(&summary)].concat();
        Ok(ImportReport { kind, header, summary, warnings, images: Vec::new() })
    }
}

/// What was repaired, in words.
fn list_repairs(summary: &Summary) -> Vec<String> {
    let repairs = [
        (summary.unseen_frees, "frees of an object that was never seen: without effect"),
        (summary.unseen_reallocs, "reallocs of an object that was never seen: taken as new objects"),
        (summary.frees_hoisted, "frees logged late: moved before the allocation at their address"),
        (
            summary.frees_missed,
            "allocations at a live address whose free was never logged: the older object ends there",
        ),
        (summary.order_guessed, "events whose order among threads is a guess"),
        (summary.times_raised, "times that went back: raised to the time before"),
        (summary.lost, "events lost by the recorder"),
    ];
    let found = repairs.into_iter().filter(|&(count, _)| count > 0);
    found.map(|(count, what)| format!("{count} {what}")).collect()
}

/// A log that is replaced by its own trace is lost.
fn refuse_same_file(input: &Path, output: &Path) -> Result<(), ImportError> {
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(input), Ok(output)) if input == output => Err(ImportError::SameFile { path: output }),
        // A file that does not exist is either no input (opening it says so) or an output that does not exist
        // yet.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
