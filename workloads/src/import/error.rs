//! Why a log cannot be imported.

use std::io;
use std::path::PathBuf;

use heaplab_trace::TraceError;

/// A log cannot be imported; the message names the file and, where there is one, the line.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The operating system refused, or a compressed file is damaged.
    #[error("{}: cannot {doing}", path.display())]
    Io {
        /// The log.
        path: PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// The error that resulted.
        #[source]
        source: io::Error,
    },
    /// A zip file that does not hold exactly one log, or cannot be read.
    #[error("{}: {problem}", path.display())]
    Container {
        /// The zip file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// No kind of log begins like this one.
    #[error(
        "{}: no known kind of log begins like this (its first {looked_at} bytes were examined; they begin with {found}): name its kind with --from ({known})",
        path.display()
    )]
    UnknownLog {
        /// The file.
        path: PathBuf,
        /// How many bytes of its content were examined.
        looked_at: usize,
        /// The first few of them.
        found: String,
        /// All known kinds.
        known: String,
    },
    /// Several kinds of log begin like this one.
    #[error(
        "{}: by its first {looked_at} bytes the log may be of several kinds ({candidates}): name its kind with --from (of all there are: {known})",
        path.display()
    )]
    AmbiguousLog {
        /// The file.
        path: PathBuf,
        /// How many bytes of its content were examined.
        looked_at: usize,
        /// The kinds that match.
        candidates: String,
        /// All known kinds.
        known: String,
    },
    /// A process was asked for, but this kind of log does not distinguish processes.
    #[error("{}: logs of kind {kind} do not tell processes apart: leave --process away", path.display())]
    NoProcesses {
        /// The log.
        path: PathBuf,
        /// Its kind.
        kind: &'static str,
    },
    /// The log has no call of the process that was asked for.
    #[error("{}: has no call of process {wanted}: the processes are {found}", path.display())]
    UnknownProcess {
        /// The log.
        path: PathBuf,
        /// The process that was asked for.
        wanted: u64,
        /// The processes in the log.
        found: String,
    },
    /// A log was read as one of a kind, but has no event of that kind.
    #[error(
        "{}: holds no event; in a {kind} log, {expected} was expected: is the log of another kind? (--from takes {known}){warnings}",
        path.display()
    )]
    NoEvents {
        /// The log.
        path: PathBuf,
        /// The kind that it was read as.
        kind: &'static str,
        /// What such a log has for each event.
        expected: &'static str,
        /// All known kinds.
        known: String,
        /// What else is to be known of the log, each part after a semicolon.
        warnings: Box<str>,
    },
    /// More than any program has: the log is broken, or crafted to exhaust memory.
    #[error("{}: more than {most} {what} after event {events}: no program is known to have so many, and reading stops here", path.display())]
    TooMany {
        /// The log.
        path: PathBuf,
        /// What there are too many of.
        what: &'static str,
        /// How many there may be.
        most: u64,
        /// Events read before that.
        events: u64,
    },
    /// The file is a trace already.
    #[error("{}: is a heaplab trace already, and can be used as it is", path.display())]
    AlreadyTrace {
        /// The file.
        path: PathBuf,
    },
    /// A line is not valid in this kind of log.
    #[error("{}:{line}: expected {expected}, found {found:?}", path.display())]
    Malformed {
        /// The log.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// What the line should have held.
        expected: &'static str,
        /// The line, shortened if it is long.
        found: String,
    },
    /// The bytes at some offset are not valid in this kind of log.
    #[error("{}: byte {offset} of the content: expected {expected}, found {found}", path.display())]
    MalformedBytes {
        /// The log.
        path: PathBuf,
        /// Offset in the decompressed content, from 0.
        offset: u64,
        /// What should have been there.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The log and the trace are the same file.
    #[error("{}: is the log itself: name another output", path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// A raw recording that cannot be used at all.
    #[error("{}: {problem}", path.display())]
    Raw {
        /// The directory, or a file in it.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// The trace cannot be written.
    #[error(transparent)]
    Trace(#[from] TraceError),
}
