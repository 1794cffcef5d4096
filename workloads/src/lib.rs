//! What is executed.
#![forbid(unsafe_code)]

pub mod program;
pub mod stream;
