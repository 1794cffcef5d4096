//! Predicts the memory of a whole process under a variant from a recording and its replays.
//!
//! ```text
//! predicted(t, X) = recorded(t) - replayed(t, the build recorded under) + replayed(t, X)
//! ```
//!
//! The difference cancels memory outside malloc: stacks, other mappings, static data that the program wrote to. All
//! three are anonymous resident memory. The two replays belong to the same block, so that a disturbance affects both. A
//! prediction is made at the times at which the recorder sampled the process, because reality is sampled in the same
//! way.
//!
//! A sample does not fall on the exact instant of a checkpoint: in a process that is just freeing much memory, it finds
//! pages whose free was recorded but which the kernel has not reclaimed yet: in one sample out of thousands, tens of
//! megabytes that would count as memory outside malloc, and be added to another allocator's peak. Memory outside
//! malloc, recorded minus replayed, should be about the median of its values at a sample and the two neighbouring
//! samples. If it is not, the heap is assumed to be between two samples, just far enough towards the neighbour to
//! explain the difference; both replays are then evaluated there. For the build recorded under, the prediction equals
//! the recording.
//!
//! A model of recordings has no recorded process. What the process has outside malloc was measured when the model was
//! fitted, with the same formula, and is added to each of its replays.
//!
//! It reads only a run's files, and fits no constant.

mod adding;
mod causes;
mod held;
mod modelled;
mod prediction;
mod processor;
mod progress;
mod ranking;
mod recording;
mod samples;
mod shortfall;
mod subject;
mod tree;
mod validation;

pub use held::{Figure, Held, HeldCpu, PLANNED_FRACTION};
pub use modelled::{measure_outside_malloc, predict};
pub use prediction::{Prediction, Predictions};
pub use processor::predict_cpu_times_ns;
pub use ranking::{CLEAR_DIFFERENCE, Ranking, Standing, chance_apart, rank};
pub use subject::Curves;
pub use tree::{RecordedTree, TreePrediction, TreePredictions, predict_trees};
pub use validation::{Errors, Validation, validate};
