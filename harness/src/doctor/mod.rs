//! What on this machine would spoil a measurement, and how to mend it.
//!
//! Data flows one way: [`Readings`] are gathered from /proc and /sys, [`examine`] judges them without looking at
//! anything else, and the command prints what it says. [`Machine`] is the part of the readings that a run keeps.
//! A file that is not there is a reading that is not there, never a failure.

mod checks;
mod kernel;
mod machine;
mod readings;

pub use checks::{Check, Level, examine};
pub use kernel::cgroup_memory_limit;
pub use machine::Machine;
pub use readings::{AllocatorPresence, FirstWrites, Readings};
