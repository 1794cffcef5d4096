//! `heaplab plan`: how many processes fit on a host, per variant, from a run's files. The question is kept in the run's
//! directory, where a report answers it too.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use heaplab_workloads::simulate::parse_size_bytes;

use super::{Outcome, Usage, parse_duration};
use crate::capacity::{
    self, Capacity, Host, Kept, PlanError, PodRequest, Request, check_name, is_planned, keep_request,
};
use crate::cli::stdout::stdout;
use crate::report::{Columns, Format, draw_plan, draw_pods, pod_patch, print_capacity, warn_of_hosts};
use crate::results::{self, Run, Status};
use crate::session::validated_runs;

/// Odds for a pod unless others are given.
const DEFAULT_ODDS: f64 = 1e-3;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Directories of runs with a memory pass, or of a validation; more than one for the loads of --per-connection
    #[arg(required_unless_present = "loads", value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Memory of a host, such as 16GiB; once for each type of host
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    host_memory: Vec<u64>,
    /// Processes that run on such a host today, to say what they would need and how many hosts a fleet needs; once for each
    /// type of host
    #[arg(long, value_name = "N")]
    processes: Vec<u64>,
    /// CPUs of a host: once for all, or for each type
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    host_cpus: Vec<u32>,
    /// What a host costs, in any unit: once for all, or for each type [default: 1]
    #[arg(long, value_name = "COST")]
    host_cost: Vec<f64>,
    /// Memory of each host to keep for the system and everything else
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = parse_size_bytes)]
    reserve: u64,
    /// Memory of a process outside its heap: stacks, the program's data, mapped files that it wrote to; nothing is
    /// added if the whole process is known, predicted from its recording or measured by `exec`
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = parse_size_bytes)]
    non_heap: u64,
    /// Pages that all processes of a host share: code of the program and of its libraries
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = parse_size_bytes)]
    shared: u64,
    /// CPUs that a process keeps busy, such as 0.7 [default: from `exec`, or from the recording; otherwise the plan
    /// covers memory only]
    #[arg(long, value_name = "CPUS")]
    process_cpus: Option<f64>,
    /// Share of a host's CPUs to keep free
    #[arg(long, value_name = "PERCENT", default_value = "20%", value_parser = parse_margin)]
    cpu_headroom: f64,
    /// How much larger than measured a process is assumed to be
    #[arg(long, value_name = "PERCENT", default_value = "10%", value_parser = parse_margin, allow_hyphen_values = true)]
    margin: f64,
    /// Processes of the fleet [default: those of 100 hosts as they run today, if that is known]
    #[arg(long, value_name = "N")]
    fleet: Option<u64>,
    /// Memory of a connection, from runs of a load model at several loads (`heaplab run MODEL --connections N,...`)
    #[arg(long)]
    per_connection: bool,
    /// A run at one load of the program, counted in any unit, such as 100=DIR; once for each load, in place of DIR
    #[arg(long = "load", value_name = "LOAD=DIR", value_parser = parse_load, conflicts_with = "directories")]
    loads: Vec<(f64, PathBuf)>,
    /// What the load is counted in, such as requests/s [default: connection]
    #[arg(long, value_name = "UNIT")]
    load_unit: Option<String>,
    /// A load for which to compute a process's memory, from the line through the loads, if one describes them
    #[arg(long = "at", value_name = "LOAD", value_parser = parse_number)]
    at: Vec<f64>,
    /// Plan pods: the request and the limit to write, and how often a pod is killed
    #[arg(long, requires = "node_memory")]
    pods: bool,
    /// With --pods: memory of a node, such as 64GiB; --reserve is subtracted from it
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes, requires = "pods")]
    node_memory: Option<u64>,
    /// With --pods: CPUs of a node
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096), requires = "pods")]
    node_cpus: Option<u32>,
    /// With --pods: pods of the fleet
    #[arg(long, value_name = "N", default_value_t = 1, requires = "pods")]
    replicas: u64,
    /// With --pods: additional replicas that are started while a new version is rolled out
    #[arg(long, value_name = "PERCENT", default_value = "0%", value_parser = parse_margin, requires = "pods")]
    surge: f64,
    /// Odds that a pod is killed in a day, and that a node or host has too little memory, such as 1e-3 or 5% [default for
    /// pods: 1e-3; for hosts: --margin instead]
    #[arg(long, value_name = "ODDS", value_parser = parse_odds, conflicts_with = "margin")]
    odds: Option<f64>,
    /// With --pods: all pods follow one daily curve, so that their peaks coincide
    #[arg(long, requires = "pods")]
    correlated: bool,
    /// With --pods: how long a pod lives, for the growth of its memory [default: as long as the run]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, requires = "pods")]
    uptime: Option<Duration>,
    /// With --pods: print only a patch for kubectl with the requests and the limit of this variant
    #[arg(long, value_name = "VARIANT", requires = "pods")]
    yaml: Option<String>,
    /// Keep this question under a name in the run's directory, next to others: `heaplab report` shows each
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
    /// Replace the question that is kept under that name, or without one
    #[arg(long)]
    replace: bool,
    /// The variant that savings refer to [default: ptmalloc2, if the run has it]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// Plan even with recordings that failed, lost events or explain too little of their processes' memory
    #[arg(long)]
    despite_coverage: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Columns of the table: those that decide, or all
    #[arg(long, value_enum, default_value_t)]
    columns: Columns,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let request = request(&args)?;
    let (directories, loads) = sources(&args)?;
    let runs = directories.iter().map(|path| results::load(path)).collect::<Result<Vec<Run>, _>>()?;
    let all: Vec<&Run> = runs.iter().collect();
    let capacity = capacity::plan(&all, &loads, &request).map_err(|error| match error {
        PlanError::Results(_) | PlanError::NoMemory(_) | PlanError::Gaps { .. } => error.into(),
        mistake => usage(mistake.to_string()),
    })?;
    for note in capacity.notes.iter().cloned().chain(warn_of_hosts(&capacity)) {
        say!("heaplab: {note}");
    }
    let outcome = if runs.iter().all(is_complete) { Outcome::Done } else { Outcome::Incomplete };
    if let Some(variant) = &args.yaml {
        write!(stdout(), "{}", patch(&capacity, variant)?)?;
        return Ok(outcome);
    }
    let files = keep(&args, &runs, &request, &capacity)?;
    let out = &mut stdout();
    print_capacity(&capacity, args.format, args.columns, out)?;
    if matches!(args.format, Format::Table) && !files.is_empty() {
        writeln!(out)?;
        files.iter().try_for_each(|path| writeln!(out, "{}", path.display()))?;
    }
    Ok(outcome)
}

/// The patch for kubectl: of one workload, because a container has one.
fn patch(capacity: &Capacity, variant: &str) -> anyhow::Result<String> {
    let named = |of: fn(&capacity::PodRow) -> &str| {
        let mut names: Vec<&str> = Vec::new();
        for name in capacity.pods.iter().map(of) {
            names.extend((!names.contains(&name)).then_some(name));
        }
        names
    };
    let workloads = named(|row| &row.workload);
    if workloads.len() > 1 {
        return Err(usage(format!(
            "--yaml is of one workload, and this run has {}: measure the one that becomes the pod by itself",
            workloads.join(", ")
        )));
    }
    pod_patch(capacity, variant).ok_or_else(|| {
        let known = named(|row| &row.variant).join(", ");
        usage(format!("no limit of a variant `{variant}` in this run: it has {known}"))
    })
}

/// Keeps the question, and draws its answer next to it; returns the files. A report is about one run, so a plan for
/// several runs appears in none.
fn keep(args: &Args, runs: &[Run], request: &Request, capacity: &Capacity) -> anyhow::Result<Vec<PathBuf>> {
    let directory = &runs[0].directory;
    let name = args.name.as_deref();
    let kept = match (runs, &args.loads[..]) {
        ([run], []) => Some(keep_request(&run.directory, name, request, args.replace)?),
        _ if name.is_some() => return Err(usage("--name keeps a plan of one run: a report shows no other")),
        _ => None,
    };
    if let Some(Kept::Other(path)) = &kept {
        let path = path.display();
        if name.is_some() {
            return Err(usage(format!(
                "{path} has a different question: choose another --name, or --replace it"
            )));
        }
        say!(
            "heaplab: {path} has a different question, so this one is not saved: --name saves it too, --replace \
             saves it instead"
        );
        return Ok(Vec::new());
    }
    let folder = directory.join("plots");
    let mut plots = draw_plan(capacity, name, &folder)?;
    plots.extend(draw_pods(capacity, name, &folder)?);
    let mut files: Vec<PathBuf> = plots.into_iter().map(|plot| plot.path).collect();
    if let Some(Kept::In(path)) = kept {
        files.push(path);
    }
    Ok(files)
}

/// The runs' directories, and what is known about their loads.
fn sources(args: &Args) -> anyhow::Result<(Vec<PathBuf>, Vec<f64>)> {
    let given = args.directories.iter().chain(args.loads.iter().map(|(_, path)| path));
    let directories = given.map(|path| {
        let Some(validated) = validated_runs(path) else { return path.clone() };
        say!(
            "heaplab: {} holds two runs: planned with the program's own, {}; {} predicts it from the replays",
            path.display(),
            validated.program.display(),
            validated.replays.display()
        );
        validated.program
    });
    let directories: Vec<PathBuf> = directories.collect();
    let of_runs: Vec<f64> = args.loads.iter().map(|(load, _)| *load).collect();
    for (at, load) in of_runs.iter().enumerate() {
        if of_runs[..at].contains(load) {
            return Err(usage(format!("--load {load} is given twice: a line takes different loads")));
        }
    }
    if !args.at.is_empty() && of_runs.is_empty() && !args.per_connection {
        return Err(usage("--at takes loads: --per-connection, or --load LOAD=DIR for each"));
    }
    Ok((directories, of_runs))
}

/// Whether every memory sample was taken and is ok. A variant that does not fit is an answer, not an error.
fn is_complete(run: &Run) -> bool {
    let failed = |sample: &results::Sample| is_planned(sample) && sample.status != Status::Ok;
    run.file.finished && !run.samples.iter().any(failed)
}

fn request(args: &Args) -> anyhow::Result<Request> {
    let types = args.host_memory.len();
    if !args.processes.is_empty() && args.processes.len() != types {
        return Err(usage(format!(
            "{types} --host-memory and {} --processes: give --processes once for each type of host, or not at all",
            args.processes.len()
        )));
    }
    let cpus = for_each("--host-cpus", &args.host_cpus, types)?;
    let costs = for_each("--host-cost", &args.host_cost, types)?;
    let host = |at: usize| Host {
        memory_bytes: args.host_memory[at],
        processes: args.processes.get(at).copied(),
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
        per_connection: args.per_connection || !args.loads.is_empty(),
        load_unit: args.load_unit.clone(),
        at: args.at.clone(),
        despite_coverage: args.despite_coverage,
        process_cpus: args.process_cpus,
        cpu_headroom: args.cpu_headroom,
        odds: args.odds,
        pods: args.pods.then(|| PodRequest {
            node_memory_bytes: args.node_memory.unwrap_or(0),
            reserve_bytes: args.reserve,
            node_cpus: args.node_cpus,
            cpu_headroom: args.cpu_headroom,
            replicas: args.replicas,
            surge: args.surge,
            odds: args.odds.unwrap_or(DEFAULT_ODDS),
            correlated: args.correlated,
            uptime_s: args.uptime.map(|time| time.as_secs_f64()),
        }),
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

/// Parses odds given as a number or a percentage.
fn parse_odds(text: &str) -> Result<f64, String> {
    let odds = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.trim().parse::<f64>(),
    };
    match odds {
        Ok(odds) if odds.is_finite() => Ok(odds),
        _ => Err(format!("{text:?} is no odds: write them such as 1e-3 or 5%")),
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned())
}

fn parse_number(text: &str) -> Result<f64, String> {
    let number = text.trim().parse::<f64>().ok().filter(|load| load.is_finite() && *load >= 0.0);
    number.ok_or_else(|| format!("{text:?} is no load: a number, 0 or above"))
}

/// Parses a load and the directory of the run that was measured at it.
fn parse_load(text: &str) -> Result<(f64, PathBuf), String> {
    match text.split_once('=') {
        Some((load, path)) if !path.is_empty() => Ok((parse_number(load)?, path.into())),
        _ => Err(format!("{text:?} is no load with its directory: write it such as 100=DIR")),
    }
}

/// Parses a percentage with its sign, such as 10%, into a fraction: 0.1 alone could mean either.
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
