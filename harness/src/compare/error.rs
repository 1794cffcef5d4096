//! What can go wrong in a comparison.

/// Runs could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// The metric is not in the runs.
    #[error("no metric `{named}` was measured: there are {known}")]
    UnknownMetric {
        /// What was named.
        named: String,
        /// The metrics that there are.
        known: String,
    },
    /// The baseline is not in a run.
    #[error("no variant `{named}` in {run} to be the baseline: it has {known}")]
    UnknownBaseline {
        /// What was named.
        named: String,
        /// The run's directory.
        run: String,
        /// The run's variants.
        known: String,
    },
}
