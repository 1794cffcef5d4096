//! What can go wrong while a trace is compiled.

use std::io;
use std::path::{Path, PathBuf};

use crate::stream::StreamError;

/// A trace that cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The records could not be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The program file could not be written.
    #[error("cannot write a program file in {folder}")]
    Write {
        /// The folder.
        folder: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The folder does not have enough room.
    #[error(
        "{folder} has no room for a program file of {needed_bytes} bytes; set TMPDIR to a folder that has"
    )]
    NoRoom {
        /// The folder.
        folder: PathBuf,
        /// Length of the whole file.
        needed_bytes: u64,
        /// The system's error.
        source: io::Error,
    },
    /// The records contradict each other.
    #[error("event {event} of the trace: {what}; `heaplab trace verify` tells more")]
    Law {
        /// Index of the event.
        event: u64,
        /// The law that is broken.
        what: String,
    },
    /// More than a program can hold.
    #[error("the trace has more {what} than a program can hold ({limit})")]
    Limit {
        /// What there are too many of.
        what: &'static str,
        /// How many it can hold.
        limit: u64,
    },
}

/// An error that does not know the file's folder yet.
pub(super) enum Fault {
    /// The program file could not be written.
    Write(io::Error),
    /// Anything else.
    Other(CompileError),
}

impl Fault {
    /// The error, about the program file in `folder`.
    pub(super) fn at(self, folder: &Path) -> CompileError {
        match self {
            Fault::Write(source) => CompileError::Write { folder: folder.to_path_buf(), source },
            Fault::Other(error) => error,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Write(error)
    }
}

impl From<CompileError> for Fault {
    fn from(error: CompileError) -> Fault {
        Fault::Other(error)
    }
}
