//! How many processes fit on a host: from the memory samples of a run to hosts and their cost.
//!
//! Data goes one way: a run's files -> [`Need`] (what a process needs, a figure a block) -> [`HostRow`] (what that means on
//! each type of host) and [`ConnectionRow`] (memory of a connection, where a model was run at several loads). Pure but
//! for reading the run; sentences and human units are made of it in `report`.

mod host;
mod line;
mod need;

pub use host::{Host, HostRow, Request, RequestError, TODAYS_HOSTS, plan_hosts};
pub use line::{ConnectionRow, fit_connections};
pub use need::{BlockNeed, Need, read_needs};

/// A plan: what was asked, what a process needs, and what follows from both.
#[derive(Debug, Clone, PartialEq)]
pub struct Capacity {
    /// What was asked.
    pub request: Request,
    /// The variant that ratios and savings refer to.
    pub baseline: Option<String>,
    /// What processes need.
    pub needs: Vec<Need>,
    /// Each variant of each workload on each host.
    pub hosts: Vec<HostRow>,
    /// Memory of a connection; empty unless it was asked for.
    pub connections: Vec<ConnectionRow>,
    /// What spoils the samples or is missing, in sentences.
    pub notes: Vec<String>,
}
