//! What can be wrong with a run's directory. Every message names the file.

use std::path::{Path, PathBuf};

/// A run's directory could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The operating system reported an error; no space left is one of these.
    #[error("{path}: cannot {action}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried: `write`, `read`, ...
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A new run was to be written where a run already is.
    #[error("{path} holds a run already: choose another directory, or continue it with --resume")]
    HoldsRun {
        /// The directory.
        path: PathBuf,
    },
    /// A run was to be made from others where something already is.
    #[error("{path} is not empty: choose another directory")]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// The directory has no `run.toml`.
    #[error(
        "{path} holds no run: {}: name the directory that `heaplab run -o` wrote", describe_missing(.path)
    )]
    NoRun {
        /// The directory.
        path: PathBuf,
    },
    /// Another process writes to the same run.
    #[error("{path} is being written by another process: wait for it to end")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// `run.toml` is not valid.
    #[error("{path}: {detail}")]
    RunFile {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// The run was written by a later heaplab.
    #[error(
        "{path}: schema {found} is newer than {known}, the newest that this heaplab reads: use a later heaplab"
    )]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// The schema that it states.
        found: u32,
        /// The newest known here.
        known: u32,
    },
    /// A CSV file lacks a column.
    #[error("{path}: column `{column}` is missing from its first line")]
    MissingColumn {
        /// The file.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A file to which rows are to be added has different columns.
    #[error(
        "{path}: its columns are not those that this heaplab writes: continue with the heaplab that started the run, or start a new run"
    )]
    OtherColumns {
        /// The file.
        path: PathBuf,
    },
    /// A row that is not the last cannot be read.
    #[error("{path}, line {line}: {detail}")]
    Row {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        detail: String,
    },
}

fn describe_missing(path: &Path) -> &'static str {
    match path.metadata() {
        Ok(found) if found.is_dir() => "it has no run.toml",
        Ok(_) => "it is no directory",
        Err(_) => "there is no such directory",
    }
}
