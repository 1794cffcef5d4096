//! What is to be measured: passes, paces, and the order of the samples.
//!
//! Pure: it decides, and starts nothing.

mod options;

pub use options::{Pace, Pass, Touch};
