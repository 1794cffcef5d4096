//! Why nothing was found.

use std::path::PathBuf;

use crate::session::SessionError;

/// A search that could not be made. A search that ends among several suspects is not an error.
#[derive(Debug, thiserror::Error)]
pub enum BisectError {
    /// What was asked for does not exist or is not allowed.
    #[error("{0}")]
    Usage(String),
    /// A folder or file.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// git did not do what it was asked.
    #[error("git {arguments}: {complaint}")]
    Git {
        /// What it was asked.
        arguments: String,
        /// What it said.
        complaint: String,
    },
    /// A build that must be tested cannot be.
    #[error("{name} cannot be tested: {reason}")]
    Untestable {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// The bad one is not worse: which, by how much, and what was measured.
    #[error("{0}: there is nothing to search for")]
    NotWorse(String),
    /// The good one differs from itself by more than half of the threshold in too many blocks.
    #[error(
        "{what} is too noisy to tell {threshold}: the good one differed from itself by more than half of that in {off} of {blocks} \
         blocks, and a step's odds hold where that is one of four; use a larger threshold or workload"
    )]
    Noise {
        /// The metric and the workload.
        what: String,
        /// The threshold.
        threshold: String,
        /// Blocks in which it differed.
        off: usize,
        /// The number of blocks.
        blocks: usize,
    },
    /// A measurement that failed.
    #[error(transparent)]
    Session(#[from] SessionError),
}
