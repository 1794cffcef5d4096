//! `heaplab plan`: how many processes fit on a host, per variant, from a run's files. What was asked stays in the run's
//! directory, where a report answers it too.

use std::io::Write;
use std::path::PathBuf;

use heaplab_workloads::simulate::parse_size_bytes;

use super::{Outcome, Usage};
use crate::capacity::{self, Host, PlanError, Request, is_planned, write_request};
use crate::cli::stdout::stdout;
use crate::report::{Columns, Format, draw_plan, print_capacity, warn_of_hosts};
use crate::results::{self, Run, Status};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Directories of runs with a memory pass; more than one for the loads of --per-connection
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Memory of a host, such as 16GiB; once for each type of host
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    host_memory: Vec<u64>,
    /// Processes that run on such a host today; once for each type of host
    #[arg(long, value_name = "N")]
    processes: Vec<u64>,
    /// CPUs of a host: once for all, or for each type
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    host_cpus: Vec<u32>,
    /// What a host costs, in any unit: once for all, or for each type [default: 1]
    #[arg(long, value_name = "COST")]
    host_cost: Vec<f64>,
    /// Memory of each host that is kept for the system and others
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = parse_size_bytes)]
    reserve: u64,
    /// Memory of a process that is not its heap's: stacks, the program's data, mapped files that it wrote to; where the
    /// whole process is known, predicted from its recording or measured by `exec`, nothing is added
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = parse_size_bytes)]
    non_heap: u64,
    /// Pages that all processes of a host share: code of the program and of its libraries
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = parse_size_bytes)]
    shared: u64,
    /// CPUs that a process keeps busy, such as 0.7 [default: from `exec`, or from the recording; else the plan is of memory
    /// only]
    #[arg(long, value_name = "CPUS")]
    process_cpus: Option<f64>,
    /// Part of a host's CPUs that is kept free
    #[arg(long, value_name = "PERCENT", default_value = "20%", value_parser = parse_margin)]
    cpu_headroom: f64,
    /// By how much a process is taken to be larger than it was measured
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = parse_margin, allow_hyphen_values = true)]
    margin: f64,
    /// Processes of the fleet [default: those of 100 hosts as they run today]
    #[arg(long, value_name = "N")]
    fleet: Option<u64>,
    /// Memory of a connection, from runs of a load model at several loads (`heaplab run MODEL --connections N,...`)
    #[arg(long)]
    per_connection: bool,
    /// The variant that savings refer to [default: ptmalloc2, if the run has it]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// Plan with recordings that failed, lost events or explain too little of their processes' memory, all the same
    #[arg(long)]
    despite_coverage: bool,
    /// In which form the plan is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Which columns the table has: those that decide, or all
    #[arg(long, value_enum, default_value_t)]
    columns: Columns,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let request = request(&args)?;
    let runs = args.directories.iter().map(|path| results::load(path)).collect::<Result<Vec<Run>, _>>()?;
    let all: Vec<&Run> = runs.iter().collect();
    if !args.despite_coverage {
        capacity::check_coverage(&all)?;
    }
    let capacity = capacity::plan(&all, &request).map_err(|error| match error {
        PlanError::UnknownBaseline { .. } => usage(error.to_string()),
        other => other.into(),
    })?;
    for note in capacity.notes.iter().cloned().chain(warn_of_hosts(&capacity)) {
        say!("heaplab: {note}");
    }
    let mut files: Vec<PathBuf> =
        draw_plan(&capacity, &runs[0].directory.join("plots"))?.into_iter().map(|plot| plot.path).collect();
    // A report is about one run: a plan of several is in none.
    if let [run] = &runs[..] {
        files.push(write_request(&run.directory, &request)?);
    }
    let out = &mut stdout();
    print_capacity(&capacity, args.format, args.columns, out)?;
    if matches!(args.format, Format::Table) && !files.is_empty() {
        writeln!(out)?;
        files.iter().try_for_each(|path| writeln!(out, "{}", path.display()))?;
    }
    Ok(if runs.iter().all(is_complete) { Outcome::Done } else { Outcome::Incomplete })
}

/// Whether every memory sample was taken and is ok. That a variant does not fit is an answer, and no fault.
fn is_complete(run: &Run) -> bool {
    let failed = |sample: &results::Sample| is_planned(sample) && sample.status != Status::Ok;
    run.file.finished && !run.samples.iter().any(failed)
}

fn request(args: &Args) -> anyhow::Result<Request> {
    let types = args.host_memory.len();
    if args.processes.len() != types {
        return Err(usage(format!(
            "{types} --host-memory and {} --processes: give both once for each type of host",
            args.processes.len()
        )));
    }
    let cpus = for_each("--host-cpus", &args.host_cpus, types)?;
    let costs = for_each("--host-cost", &args.host_cost, types)?;
    let host = |at: usize| Host {
        memory_bytes: args.host_memory[at],
        processes: args.processes[at],
        cpus: cpus.get(at).copied(),
        cost: costs.get(at).copied().unwrap_or(1.0),
    };
    let request = Request {
        hosts: (0..types).map(host).collect(),
        reserve_bytes: args.reserve,
        non_heap_bytes: args.non_heap,
        shared_bytes: args.shared,
        margin: args.margin,
        fleet: args.fleet,
        baseline: args.baseline.clone(),
        per_connection: args.per_connection,
        process_cpus: args.process_cpus,
        cpu_headroom: args.cpu_headroom,
    };
    request.check().map_err(|error| usage(error.to_string()))?;
    Ok(request)
}

/// A value for each type of host: none, one for all, or as many as there are.
fn for_each<T: Copy>(name: &str, given: &[T], types: usize) -> anyhow::Result<Vec<T>> {
    match given {
        [] => Ok(Vec::new()),
        [one] => Ok(vec![*one; types]),
        all if all.len() == types => Ok(all.to_vec()),
        _ => Err(usage(format!(
            "{} {name} for {types} types of host: give it once for all, or once for each",
            given.len()
        ))),
    }
}

/// A percentage with its sign, such as 10%, as a fraction: 0.1 alone could mean either.
fn parse_margin(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match number.filter(|number| number.is_finite()) {
        Some(number) => Ok(number / 100.0),
        None => Err(format!("{text:?} is no percentage: write it such as 10%")),
    }
}

fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}
