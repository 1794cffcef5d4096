//! A plan in words: its [`tables`], its [`answer`], every assumption that they rest on ([`assumptions`]), and how they
//! are printed ([`output`]).

mod answer;
mod assumptions;
mod output;
mod pods;
mod tables;

pub use answer::plan_answer;
pub use assumptions::{assume, warn_of_hosts};
pub use output::print_capacity;
pub use pods::pod_patch;
pub(super) use pods::{pod_grid, pod_workloads};
pub(super) use tables::{
    connection_grid, describe_host, describe_place, describe_saving, host_grid, load_grid, rows_of, sections,
};
