//! What on this machine would spoil a measurement, and how to fix it.
//!
//! Data goes one way: [`Readings`] are gathered from /proc and /sys, [`examine`] judges them and nothing else,
//! and the command prints the result. [`Machine`] is the part of the readings that a run keeps. A missing file
//! is a missing reading, never a failure.

mod checks;
mod kernel;
mod machine;
mod readings;

pub use checks::{Check, Level, examine};
pub use machine::Machine;
pub use readings::{AllocatorPresence, FirstWrites, Readings};
