//! How allocators are measured: the library behind the `heaplab` command.

pub mod cli;
pub mod results;
