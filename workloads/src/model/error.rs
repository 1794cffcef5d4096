//! What can be wrong with a model, and with the recordings that it is fitted to.

use std::io;
use std::path::{Path, PathBuf};

use heaplab_trace::TraceError;

/// A model cannot be fitted, read, written or used as was asked.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The operating system refused.
    #[error("{}: cannot {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was attempted.
        doing: &'static str,
        /// The error that resulted.
        #[source]
        source: io::Error,
    },
    /// The file does not begin like a model.
    #[error("{}: not a heaplab model: `heaplab fit` makes one from recordings", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version of the format.
    #[error("{}: model format version {found}, and this heaplab reads {known}: fit it again, or use a newer heaplab", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that the file states.
        found: u32,
        /// The version that is known here.
        known: u32,
    },
    /// The file is damaged.
    #[error("{}: damaged: {what}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A recording from which no model can be made.
    #[error("{}: {why}", path.display())]
    Unfit {
        /// The recording.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// Something that a model cannot do was asked of it.
    #[error("{name}: {why}")]
    Asked {
        /// The model, or the option.
        name: String,
        /// Why not, and what is allowed.
        why: String,
    },
    /// A recording cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
}

impl ModelError {
    /// Whether the user can fix it by asking for something else.
    pub fn is_usage(&self) -> bool {
        match self {
            ModelError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            _ => true,
        }
    }

    pub(super) fn io(path: &Path, doing: &'static str, source: io::Error) -> ModelError {
        ModelError::Io { path: path.to_path_buf(), doing, source }
    }

    pub(super) fn unfit(path: &Path, why: impl Into<String>) -> ModelError {
        ModelError::Unfit { path: path.to_path_buf(), why: why.into() }
    }

    pub(super) fn asked(name: impl Into<String>, why: impl Into<String>) -> ModelError {
        ModelError::Asked { name: name.into(), why: why.into() }
    }
}
