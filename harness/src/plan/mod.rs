//! What is to be measured: passes, paces, and the order of the samples.
//!
//! Pure: it decides, and starts nothing.

mod blocks;
mod options;
mod settings;

pub use blocks::{Step, steps};
pub use options::{Pace, Pass, Touch};
pub use settings::Settings;
