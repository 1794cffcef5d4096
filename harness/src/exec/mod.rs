//! Runs the real program under a variant and samples it from outside.
//!
//! `Keeper` stands between heaplab and the program: every process that the program leaves behind becomes
//! the keeper's child, so the whole tree is known, counted and ended. `tree` reads the tree's figures from
//! /proc, `series` gathers them, `readiness` tells when the program can be used, `judge` says from the probe's
//! reports whether the variant served, and [`take_sample`] puts it together for one sample.
//!
//! Nothing is kept or averaged here: an [`Execution`] goes out for each sample. Nothing here speaks to standard output,
//! which is the program's.

mod ending;
mod judge;
mod keeper;
mod message;
mod program;
mod readiness;
mod sample;
mod series;
mod tree;

pub use ending::{Ending, Limits};
pub use keeper::{SOCKET_VARIABLE, main as keep};
pub use message::{ExitStatus, Input, Usage};
pub use program::{CannotStart, find_program};
pub use readiness::Ready;
pub use sample::{Execution, GRACE, Program, prepare, take_sample};
pub use series::{Point, Series};
