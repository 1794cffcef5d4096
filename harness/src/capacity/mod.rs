//! How many processes fit on a host: from the memory samples of a run to hosts and their cost.
//!
//! Data goes one way: a run's files -> [`Need`] (what a process needs, a figure a block) -> [`HostRow`] (what that means on
//! each type of host) and [`ConnectionRow`] (memory of a connection, where a model was run at several loads). Pure but
//! for reading the run, and for the file that keeps what was asked; sentences and human units are made of it in `report`.

mod caveats;
mod connection;
mod host;
mod need;
mod request;

pub use connection::{ConnectionRow, fit_connections};
pub use host::{HostRow, plan_hosts};
pub use need::{Basis, BlockNeed, Need, is_planned, read_needs};
pub use request::{Host, PlanFileError, Request, RequestError, TODAYS_HOSTS, read_request, write_request};

use heaplab_allocators::registry::DEFAULT_BASELINE;

use crate::results::{ResultsError, Run};
use caveats::describe_caveats;

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

/// Runs cannot be planned with.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A run's files cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A run has nothing to plan with.
    #[error(
        "{0} holds no memory sample: measure with `heaplab run --pass memory`, or the program itself with `heaplab exec`"
    )]
    NoMemory(String),
    /// A workload's recording is nothing to plan with.
    #[error(
        "{workload}: {}; so there is no plan: --despite-coverage makes one all the same", .gaps.join("; ")
    )]
    Gaps {
        /// The workload.
        workload: String,
        /// What its recording does not cover.
        gaps: Vec<String>,
    },
    /// The baseline that was named was not measured.
    #[error("no variant `{named}` in this run to be the baseline: it has {known}")]
    UnknownBaseline {
        /// What was named.
        named: String,
        /// The variants that were measured.
        known: String,
    },
}

/// Plans with runs: several for the loads of one model. Savings refer to the request's baseline, else to that of the first run, if it was measured.
///
/// # Errors
///
/// A run cannot be read or has no memory sample, or the baseline was not measured.
pub fn plan(runs: &[&Run], request: &Request) -> Result<Capacity, PlanError> {
    let mut notes = Vec::new();
    let needs = read_all(runs, &mut notes)?;
    let default = runs.first().map_or(DEFAULT_BASELINE, |run| run.file.baseline());
    let baseline = find_baseline(&needs, request.baseline.as_deref(), default)?;
    let hosts = plan_hosts(&needs, request, baseline.as_deref());
    let seed = runs.first().map_or(0, |run| run.file.options.seed);
    let connections = if request.per_connection { fit_connections(&needs, seed) } else { Vec::new() };
    if request.per_connection && connections.is_empty() {
        notes.push("--per-connection: no workload of the run is a load model of a server".to_owned());
    }
    if request.non_heap_bytes > 0 {
        notes.extend(describe_whole_processes(&needs));
    }
    Ok(Capacity { request: request.clone(), baseline, needs, hosts, connections, notes })
}

/// Whether the recordings of all workloads cover their processes.
///
/// # Errors
///
/// The first workload whose recording has gaps.
pub fn check_coverage(runs: &[&Run]) -> Result<(), PlanError> {
    let mut workloads = runs.iter().flat_map(|run| &run.file.workloads);
    match workloads.find(|workload| !workload.gaps.is_empty()) {
        None => Ok(()),
        Some(found) => Err(PlanError::Gaps { workload: found.name.clone(), gaps: found.gaps.clone() }),
    }
}

/// The needs of all runs. A workload that an earlier run has too is named with its directory.
fn read_all(runs: &[&Run], notes: &mut Vec<String>) -> Result<Vec<Need>, PlanError> {
    let mut all: Vec<Need> = Vec::new();
    for run in runs {
        let path = run.directory.display();
        let mut of_run = run.notes.clone();
        let mut needs = read_needs(run, &mut of_run)?;
        of_run.extend(describe_caveats(run));
        if needs.is_empty() {
            return Err(PlanError::NoMemory(path.to_string()));
        }
        let measured = |name: &str| needs.iter().any(|need| need.workload == name);
        let missing = run.file.workloads.iter().filter(|workload| !measured(&workload.name));
        of_run.extend(missing.map(|workload| format!("{}: no memory sample, so no plan", workload.name)));
        for need in &mut needs {
            if all.iter().any(|earlier| earlier.workload == need.workload) {
                need.workload = format!("{} ({path})", need.workload);
            }
        }
        all.extend(needs);
        let name = |note: String| if runs.len() > 1 { format!("{path}: {note}") } else { note };
        notes.extend(of_run.into_iter().map(name));
    }
    Ok(all)
}

fn find_baseline(needs: &[Need], named: Option<&str>, default: &str) -> Result<Option<String>, PlanError> {
    let has = |name: &str| needs.iter().any(|need| need.variant == name);
    match named {
        Some(named) if !has(named) => {
            let mut known: Vec<&str> = needs.iter().map(|need| need.variant.as_str()).collect();
            known.sort_unstable();
            known.dedup();
            Err(PlanError::UnknownBaseline { named: named.to_owned(), known: known.join(", ") })
        }
        Some(named) => Ok(Some(named.to_owned())),
        None => Ok(has(default).then(|| default.to_owned())),
    }
}

/// Workloads of which the whole process is known, so that nothing is to be added to it.
fn describe_whole_processes(needs: &[Need]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for need in needs {
        let whole = match need.basis {
            Basis::Heap => continue,
            Basis::Predicted => "the whole process's, predicted from its recording",
            Basis::Program => "the program's own",
        };
        notes.push(format!("{}: --non-heap is not added, because the memory is {whole}", need.workload));
    }
    notes.dedup();
    notes
}
