//! Why a run could not be made or continued. A sample that fails is not an error: it is a row.

use std::error::Error;

use heaplab_workloads::catalog::CatalogError;

use crate::exec::CannotStart;
use crate::measure::{MeasureError, ProgramsError};
use crate::results::ResultsError;

/// A run could not be made or continued.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// What was asked for does not exist or is not allowed: the sentence says what was found and what is allowed.
    #[error("{0}")]
    Usage(String),
    /// A run's directory.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A workload that cannot be read or simulated.
    #[error(transparent)]
    Catalog(CatalogError),
    /// A workload that cannot be compiled.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// A sample that cannot be taken.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// A program that cannot be started.
    #[error(transparent)]
    CannotStart(#[from] CannotStart),
    /// Something else failed along the way.
    #[error("{what}")]
    Failed {
        /// What was being done, and to what.
        what: String,
        /// The error from the system, or from the allocators' table.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl SessionError {
    /// The error of doing `what`.
    pub(super) fn failed<E: Error + Send + Sync + 'static>(
        what: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        let what = what.into();
        move |source| SessionError::Failed { what, source: Box::new(source) }
    }
}

/// A user's mistake exits with a different status from a failure.
impl From<CatalogError> for SessionError {
    fn from(error: CatalogError) -> SessionError {
        if error.is_usage() { SessionError::Usage(chain(&error)) } else { SessionError::Catalog(error) }
    }
}

/// An error with its causes, in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// The error for a user's mistake, which the sentence describes.
pub(super) fn usage(text: impl Into<String>) -> SessionError {
    SessionError::Usage(text.into())
}
