//! How allocators are measured: the library that the `heaplab` command calls.
//!
//! One direction: stats, group, sharing, users, signals, design, worker, measure, results, predict, capacity, session, report, compare, self_check, bisect, cli; a
//! module uses only what stands before it.

pub mod bisect;
pub mod capacity;
pub mod cli;
pub mod compare;
pub mod design;
pub mod doctor;
pub mod exec;
pub mod group;
pub mod measure;
pub mod predict;
pub mod record;
pub mod report;
pub mod results;
pub mod self_check;
pub mod session;
pub mod sharing;
mod signals;
pub mod stats;
mod users;
pub mod worker;
