//! What to measure: passes, paces, and the order of the samples.
//!
//! Pure: it decides, and starts nothing.

mod count_from;
mod number;
mod options;
mod percent;
mod run_options;
mod shard;
mod unit;

pub use count_from::CountFrom;
pub(crate) use number::wide;
pub use options::{Pace, Pass, Touch};
pub(crate) use percent::{parse_percent, show_percent};
pub use run_options::{ExecOptions, ReplayOptions, RunOptions};
pub use shard::Shard;
pub use unit::{Design, Step, Unit};
