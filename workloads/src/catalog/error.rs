//! What can be wrong with a workload that a user names.

use std::io;
use std::path::{Path, PathBuf};

use heaplab_trace::TraceError;

use crate::import::ImportError;
use crate::model::ModelError;
use crate::simulate::DefinitionError;

/// A name or a file that is no workload, or one that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// Neither a workload's name nor a file.
    #[error(
        "unknown workload {name:?}{}: the workloads are {known}, or name a file (.hlt, .hlm, .toml, or a log)",
        ask_whether(.similar)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that are like it.
        similar: Vec<String>,
        /// The names that there are.
        known: String,
    },
    /// A path that leads to nothing.
    #[error(
        "{}: there is no such file{}: name a file (.hlt, .hlm, .toml, or a log), or a workload of `heaplab list workloads`",
        path.display(),
        ask_whether(.similar)
    )]
    NoFile {
        /// The path.
        path: PathBuf,
        /// The shipped workloads whose names are like the file's.
        similar: Vec<String>,
    },
    /// A definition or an override has a fault.
    #[error(transparent)]
    Definition(#[from] DefinitionError),
    /// Something was asked for that only a load model can do.
    #[error(
        "{name} is a recording, not a load model: {asked} cannot be set (leave it away, or name a load model: {known})"
    )]
    NotAModel {
        /// The workload.
        name: String,
        /// What was asked for.
        asked: &'static str,
        /// The names of load models that there are.
        known: String,
    },
    /// A file cannot be read.
    #[error("{}: cannot {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What came of it.
        #[source]
        source: io::Error,
    },
    /// A trace cannot be opened.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A model of recordings cannot be used as was asked.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A log cannot be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
}

impl CatalogError {
    /// Whether the user asked for something that there is not, as opposed to a fault while reading it.
    pub fn is_usage(&self) -> bool {
        match self {
            CatalogError::Unknown { .. }
            | CatalogError::NoFile { .. }
            | CatalogError::Definition(_)
            | CatalogError::NotAModel { .. } => true,
            CatalogError::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            CatalogError::Model(error) => error.is_usage(),
            CatalogError::Trace(_) | CatalogError::Import(_) => false,
        }
    }
}

/// What may have been meant, as part of a sentence; nothing where nothing is similar.
fn ask_whether(similar: &[String]) -> String {
    if similar.is_empty() { String::new() } else { format!(" (is {} meant?)", similar.join(" or ")) }
}

pub(super) fn io_error(path: &Path, doing: &'static str, source: io::Error) -> CatalogError {
    CatalogError::Io { path: path.to_path_buf(), doing, source }
}
