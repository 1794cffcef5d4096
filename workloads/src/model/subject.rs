//! A recording that a model is fitted to, as its reader sees it.

use std::path::PathBuf;

use super::error::ModelError;
use crate::stream::RecordStream;

/// Opens a recording at its start.
pub type Open<'a> = dyn Fn() -> Result<Box<dyn RecordStream + Send>, ModelError> + Sync + 'a;

/// A recording that a model is fitted to.
pub struct Subject<'a> {
    /// Its path.
    pub path: PathBuf,
    /// The load that it was recorded at.
    pub load: f64,
    /// Opens it; it is read several times.
    pub open: Box<Open<'a>>,
}
