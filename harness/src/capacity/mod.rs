//! How many processes fit on a host: from the memory samples of a run to hosts and their cost.
//!
//! Data goes one way: a run's files -> [`Need`] (what a process needs, one figure per block) -> [`HostRow`] (what that
//! means on each type of host) and [`ConnectionRow`] (memory of a connection, where a model was run at several loads).
//! Everything is pure except reading the run and the file that keeps the request; `report` turns the rows into
//! sentences and human units.

mod caveats;
mod charge;
mod connection;
mod host;
mod load;
mod need;
mod node;
mod pods;
mod request;
mod tree;

pub use connection::{ConnectionRow, MOST_BEND, fit_connections};
pub use host::{HostRow, plan_hosts};
pub use load::{LoadRow, LoadSource, read_loads};
pub use need::{Basis, BlockNeed, Need, is_planned, read_needs};
pub use node::{Curve, PodBlock};
pub use pods::{PodRow, Stated, plan_pods};
pub use request::{
    Host, Kept, PlanFileError, PodRequest, Request, RequestError, TODAYS_HOSTS, check_name, keep_request,
    list_requests, read_request,
};

use heaplab_allocators::registry::DEFAULT_BASELINE;

use crate::results::{ResultsError, Run, RunWorkload};
use caveats::describe_caveats;
use need::members_of_trees;
use tree::read_tree_needs;

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
    /// What a process needs at each load; empty unless that was asked for.
    pub loads: Vec<LoadRow>,
    /// Each variant as pods; empty unless that was asked for.
    pub pods: Vec<PodRow>,
    /// What spoils the samples, or what they lack, in sentences.
    pub notes: Vec<String>,
}

/// Why runs cannot be planned with.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A run's files cannot be read.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A run has nothing that a plan could use.
    #[error(
        "{0} holds no memory sample: measure with `heaplab run --pass memory`, or the program itself with `heaplab exec`"
    )]
    NoMemory(String),
    /// A workload's recording cannot be planned with.
    #[error(
        "{workload}: {}; so there is no plan: --despite-coverage makes one anyway", .gaps.join("; ")
    )]
    Gaps {
        /// The workload.
        workload: String,
        /// What its recording does not cover.
        gaps: Vec<String>,
    },
    /// The loads at which the runs were measured are not known.
    #[error(
        "{0}: no workload is a load model of a server, so its load is not known: say it for each directory, \
         --load 100=DIR --load 300=DIR"
    )]
    NoLoads(String),
    /// Loads of different programs have no line.
    #[error("the loads are of different programs: {one} in {one_path}, {other} in {other_path}")]
    DifferentPrograms {
        /// A workload.
        one: String,
        /// Where.
        one_path: String,
        /// Another.
        other: String,
        /// Where.
        other_path: String,
    },
    /// A line through both heaps and whole processes would describe neither.
    #[error(
        "the loads are of different memory: {one} in {one_path}, {other} in {other_path}: measure all of them with \
         `heaplab exec`, or all with `heaplab run`"
    )]
    DifferentMemory {
        /// Whose memory the one is.
        one: &'static str,
        /// Where.
        one_path: String,
        /// Whose memory the other is.
        other: &'static str,
        /// Where.
        other_path: String,
    },
    /// A run of several workloads was given one load.
    #[error("{0} holds several workloads: a directory that --load names holds one")]
    SeveralWorkloads(String),
    /// The named baseline was not measured.
    #[error("no variant `{named}` in this run to be the baseline: it has {known}")]
    UnknownBaseline {
        /// What was named.
        named: String,
        /// The variants that were measured.
        known: String,
    },
}

/// Plans with runs: several runs for the loads of one model. `loads` are those of the runs, in their order, and empty
/// where the runs state their own. Savings refer to the request's baseline or else to that of the first run, if it was
/// measured.
///
/// # Errors
///
/// A run cannot be read or has no memory samples, its recording does not cover its process, or the baseline was not
/// measured.
pub fn plan(runs: &[&Run], loads: &[f64], request: &Request) -> Result<Capacity, PlanError> {
    let mut notes = Vec::new();
    for (name, gaps) in gaps_of(runs) {
        if !request.despite_coverage {
            return Err(PlanError::Gaps { workload: name.to_owned(), gaps });
        }
        notes.push(format!("{name}: planned despite what its recording does not cover: {}", gaps.join("; ")));
    }
    let is_of_pods_alone = request.pods.is_some() && request.hosts.is_empty();
    let needs = read_all(runs, loads, is_of_pods_alone, &mut notes)?;
    let default = runs.first().map_or(DEFAULT_BASELINE, |run| run.file.baseline());
    let baseline = find_baseline(&needs, request.baseline.as_deref(), default)?;
    let seed = runs.first().map_or(0, |run| run.file.options.seed);
    let hosts = plan_hosts(&needs, request, baseline.as_deref(), seed);
    let pods = request.pods.map_or_else(Vec::new, |pods| {
        let stated = Stated { non_heap_bytes: request.non_heap_bytes, cpus: request.process_cpus };
        plan_pods(&needs, &pods, stated, baseline.as_deref(), seed)
    });
    let beside = request.non_heap_bytes;
    let connections = if request.per_connection { fit_connections(&needs, beside, seed) } else { Vec::new() };
    if request.per_connection && connections.is_empty() {
        let path = runs.first().map(|run| run.directory.display().to_string()).unwrap_or_default();
        return Err(PlanError::NoLoads(path));
    }
    let loads =
        if request.per_connection { read_loads(&needs, &request.at, beside, seed) } else { Vec::new() };
    if request.non_heap_bytes > 0 {
        notes.extend(describe_whole_processes(&needs));
    }
    Ok(Capacity { request: request.clone(), baseline, needs, hosts, connections, loads, pods, notes })
}

/// The trees and workloads whose recordings do not cover their processes, with what they lack.
fn gaps_of<'a>(runs: &'a [&Run]) -> impl Iterator<Item = (&'a str, Vec<String>)> {
    let trees = runs.iter().flat_map(|run| &run.file.trees);
    let trees = trees.filter_map(|tree| Some((tree.name.as_str(), vec![tree.refused.clone()?])));
    let workloads = runs.iter().flat_map(|run| &run.file.workloads);
    let workloads = workloads.filter(|workload| !workload.gaps.is_empty());
    trees.chain(workloads.map(|workload| (workload.name.as_str(), workload.gaps.clone())))
}

/// Reads the needs of all runs. A workload that also occurs in an earlier run is named with its directory.
fn read_all(
    runs: &[&Run],
    loads: &[f64],
    is_of_pods_alone: bool,
    notes: &mut Vec<String>,
) -> Result<Vec<Need>, PlanError> {
    let mut all: Vec<Need> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let path = run.directory.display();
        let mut of_run = run.notes.clone();
        let mut needs = read_needs(run, &mut of_run)?;
        needs.extend(read_tree_needs(run, &mut of_run)?);
        of_run.extend(describe_caveats(run, is_of_pods_alone));
        if needs.is_empty() {
            return Err(PlanError::NoMemory(path.to_string()));
        }
        let measured = |name: &str| needs.iter().any(|need| need.workload == name);
        let of_trees = members_of_trees(run);
        let is_alone = |workload: &&RunWorkload| !of_trees.contains(&*workload.name);
        let missing = run.file.workloads.iter().filter(is_alone).filter(|workload| !measured(&workload.name));
        of_run.extend(missing.map(|workload| format!("{}: no memory sample, so no plan", workload.name)));
        if let Some(load) = loads.get(at) {
            name_load(&mut needs, *load, (runs[0], *run), &all)?;
        }
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

/// Marks a run's needs as those of one load of a program. `runs` are the first run and the one that `needs` belong to.
fn name_load(needs: &mut [Need], load: f64, runs: (&Run, &Run), earlier: &[Need]) -> Result<(), PlanError> {
    let path = runs.1.directory.display().to_string();
    let name = needs[0].workload.clone();
    if needs.iter().any(|need| need.workload != name) {
        return Err(PlanError::SeveralWorkloads(path));
    }
    let model = needs[0].load.as_ref().map_or(name, |(model, _)| model.clone());
    if let Some((first, _)) = earlier.first().and_then(|need| need.load.as_ref())
        && *first != model
    {
        let one_path = runs.0.directory.display().to_string();
        return Err(PlanError::DifferentPrograms {
            one: first.clone(),
            one_path,
            other: model,
            other_path: path,
        });
    }
    let (basis, of_first) = (needs[0].basis, earlier.first().map(|need| need.basis));
    if let Some(first) = of_first.filter(|first| *first != basis) {
        return Err(PlanError::DifferentMemory {
            one: first.describe(),
            one_path: runs.0.directory.display().to_string(),
            other: basis.describe(),
            other_path: path,
        });
    }
    for need in needs {
        need.workload = format!("{model} at {load}");
        need.load = Some((model.clone(), load));
    }
    Ok(())
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

/// Names the workloads whose whole process is known, so that nothing is added to them.
fn describe_whole_processes(needs: &[Need]) -> Vec<String> {
    let mut notes: Vec<String> = Vec::new();
    for need in needs {
        let whole = match need.basis {
            Basis::Heap => continue,
            Basis::Predicted => "the whole process's, predicted from its recording",
            Basis::Tree => "that of all processes of the tree, predicted from its recording",
            Basis::Program => "the program's own",
        };
        notes.push(format!("{}: --non-heap is not added, because the memory is {whole}", need.workload));
    }
    notes.dedup();
    notes
}
