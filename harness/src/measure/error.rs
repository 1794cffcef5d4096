//! Why samples could not be taken.

use crate::group::GroupError;
use heaplab_workloads::program::Order;

/// Samples could not be taken at all; a sample that fails is not an error.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The harness's own share of memory is not known.
    #[error("the harness's own share of resident memory cannot be measured on floor: {0}")]
    Constant(String),
    /// A worker could not be started.
    #[error("a worker cannot be started")]
    Start(#[source] std::io::Error),
    /// A sample's own control group failed.
    #[error("each sample's own control group")]
    Group(#[source] GroupError),
    /// The load of a block could not be made.
    #[error("the load of {unit} (seed {seed})")]
    Load {
        /// The unit.
        unit: String,
        /// The seed with which it was to be simulated.
        seed: u64,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A program that the design needs was not compiled.
    #[error("workload {workload} was not compiled for {order} order")]
    NoProgram {
        /// The workload.
        workload: String,
        /// The order.
        order: Order,
    },
}
