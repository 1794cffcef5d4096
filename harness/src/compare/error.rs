//! What can go wrong in a comparison.

/// Runs could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// Runs of several kinds of machines, and the kinds differ between the two.
    #[error(
        "a run is of several kinds of machines, and they are not the same in both: compare runs of one kind, or of the same \
         kinds in the same order"
    )]
    OtherMachines,
    /// The metric is not in the runs.
    #[error("no metric `{named}` was measured: there are {known}")]
    UnknownMetric {
        /// What was named.
        named: String,
        /// The metrics that exist.
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
