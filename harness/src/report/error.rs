//! What can go wrong while making a report.

use std::path::PathBuf;

use crate::results::ResultsError;

/// A report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The run's files could not be read, or the report's could not be written.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The named baseline is not in the run.
    #[error("no variant `{named}` in this run to be the baseline: it has {known}")]
    UnknownBaseline {
        /// What was named.
        named: String,
        /// The run's variants.
        known: String,
    },
    /// A plot could not be drawn or written.
    #[error("{path}: cannot draw the plot: {detail}")]
    Plot {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A page could not be made from its template: a bug in heaplab.
    #[error("cannot make {name} of its template: {detail}")]
    Template {
        /// The page.
        name: &'static str,
        /// What the engine said.
        detail: String,
    },
}
