//! What is executed.
#![forbid(unsafe_code)]

pub mod catalog;
pub mod export;
pub mod import;
pub mod model;
pub mod program;
pub mod simulate;
pub mod stream;
pub mod stress;
