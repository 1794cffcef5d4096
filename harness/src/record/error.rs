//! What can go wrong with a recording.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use super::LIBRARY_VARIABLE;

/// Why there is no recording, or no trace of it.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The recorder's library is in none of the searched places.
    #[error(
        "the recorder's library is in none of {}: build it with `cargo build --release --workspace`, or name its file in {LIBRARY_VARIABLE}",
        .places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoLibrary {
        /// The places that were searched.
        places: Vec<PathBuf>,
    },
    /// The program would fail with the recorder's library in it.
    #[error("{reason}; with the recorder's library it would not start, so it was not started")]
    Unrecordable {
        /// Which program, and why.
        reason: String,
    },
    /// The loader would read the library's path as several.
    #[error(
        "{}: LD_PRELOAD cannot name a path with a space or a colon in it: copy the library elsewhere and name it in {LIBRARY_VARIABLE}",
        .path.display()
    )]
    LibraryName {
        /// The library.
        path: PathBuf,
    },
    /// An earlier recording of that name was never turned into a trace.
    #[error(
        "{} already exists: it has the raw files of a recording that is in progress, or that was cut off; make a \
         trace from them with `heaplab trace import --from raw {0}`, or remove them",
        .path.display()
    )]
    Unfinished {
        /// The directory.
        path: PathBuf,
    },
    /// The directory for the trace is missing.
    #[error("{}: there is no directory {}: make it first", .output.display(), .directory.display())]
    NoDirectory {
        /// The trace.
        output: PathBuf,
        /// The missing directory.
        directory: PathBuf,
    },
    /// No trace can be written to the given path.
    #[error("no trace can be made there, so the program was not started")]
    NoTrace {
        /// Why.
        source: heaplab_trace::TraceError,
    },
    /// The program did not start.
    #[error("{}: {}", .program.display(), describe_start(.source))]
    Start {
        /// The program.
        program: OsString,
        /// The system's error.
        source: io::Error,
    },
    /// The program ran, but none of its processes wrote anything.
    #[error("nothing was recorded: {reason}")]
    Nothing {
        /// Why, as far as it can be seen.
        reason: String,
    },
    /// The raw files could not be turned into a trace.
    #[error(
        "the recording could not be made a trace; its raw files are kept: {} `heaplab trace import --from raw {} -o {}`",
        if is_full(.source) { "make it where there is room, with" } else { "when that is fixed, run" },
        .directory.display(),
        if is_full(.source) { "/ELSEWHERE/FILE.hlt" } else { "FILE.hlt" },
    )]
    Merge {
        /// Where the raw files are.
        directory: PathBuf,
        /// What went wrong.
        source: heaplab_workloads::import::ImportError,
    },
    /// A file or a call of the system failed.
    #[error("cannot {what}: {}", .path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// Whether the cause is an exhausted disk, quota or limit.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if let Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge) =
            kind
        {
            return true;
        }
        cause = error.source();
    }
    false
}

fn describe_start(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => "there is no such program".to_string(),
        io::ErrorKind::PermissionDenied => "it may not be executed".to_string(),
        _ => format!("it cannot be executed: {source}"),
    }
}

impl RecordError {
    /// The exit status of a shell that cannot start a program; none for any other error.
    pub fn start_code(&self) -> Option<u8> {
        match self {
            RecordError::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => Some(127),
            RecordError::Start { .. } => Some(126),
            _ => None,
        }
    }
}
