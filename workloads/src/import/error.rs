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
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// A zip file that does not hold exactly one log, or cannot be understood.
    #[error("{}: {problem}", path.display())]
    Container {
        /// The zip file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// No kind of log begins like this one.
    #[error("{}: no known kind of log begins like this: name its kind with --from ({known})", path.display())]
    UnknownLog {
        /// The file.
        path: PathBuf,
        /// The kinds that there are.
        known: String,
    },
    /// The file is a trace already.
    #[error("{}: is a heaplab trace already, and can be used as it is", path.display())]
    AlreadyTrace {
        /// The file.
        path: PathBuf,
    },
    /// A line is not what lines of this kind of log are.
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
