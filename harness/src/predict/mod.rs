//! Predicts the memory of a whole process under a variant from a recording and its replays.
//!
//! ```text
//! predicted(t, X) = recorded(t) - replayed(t, the build recorded under) + replayed(t, X)
//! ```
//!
//! The difference cancels what is not malloc's: stacks, other mappings, what the program wrote into its data. All
//! three are anonymous resident memory. The two replays are of one block, so that what disturbs one disturbs the other.
//! A prediction is made at the times at which the recorder sampled the process, because reality is sampled in the same way.
//!
//! A reading does not fall on the instant of a checkpoint: at a process that is just freeing much it finds pages whose free
//! was recorded, and which the kernel has not taken yet: of one reading in thousands, tens of megabytes that would count as
//! not malloc's, and be added to another allocator's peak. What is not malloc's, recorded less replayed, should be about
//! the median of a reading and its two neighbours. Where it is not, the heap was between two readings: as far towards the
//! neighbour as explains it; and there both replays are read. On the build recorded under, the prediction is what was
//! recorded.
//!
//! It reads a run's files and nothing else. It fits no constant.

mod causes;
mod held;
mod prediction;
mod processor;
mod progress;
mod ranking;
mod recording;
mod samples;
mod subject;
mod tree;
mod validation;

pub use held::{Figure, Held, HeldCpu, PLANNED_FRACTION};
pub use prediction::{Prediction, Predictions, predict};
pub use processor::predict_cpu_times_ns;
pub use ranking::{CLEAR_DIFFERENCE, Ranking, Standing, chance_apart, rank};
pub use subject::Curves;
pub use tree::{RecordedTree, TreePrediction, TreePredictions, predict_trees};
pub use validation::{Errors, Validation, validate};
