//! What is executed.
#![forbid(unsafe_code)]

pub mod stream;
