//! `heaplab run`: replays workloads under each variant and measures.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;
use heaplab_workloads::catalog::Suite;
use heaplab_workloads::model::parse_load;
use heaplab_workloads::program::{Order, Windows};
use heaplab_workloads::simulate::{DEFAULT_SEED, parse_time_ns};

use super::limits::LimitArgs;
use super::report::{View, show_report};
use super::screen::Screen;
use super::stdout::stdout;
use super::{Outcome, argv_of_process, is_asked_for_more, nanoseconds, parse_duration, stop_on_signals};
use crate::design::{CountFrom, Pace, Pass, ReplayOptions, RunOptions, Shard, Touch, Unit, parse_percent};
use crate::report::Format;
use crate::results::{self, Status};
use crate::session::{Ended, Start, is_begun, list_units, measure_replays};

/// The passes of a run for which none is named.
const DEFAULT_PASSES: [Pass; 3] = [Pass::Throughput, Pass::Latency, Pass::Memory];

#[derive(clap::Args)]
pub(super) struct Args {
    /// Workloads by name (see `heaplab list workloads`), or files: a trace (.hlt), a definition (.toml), the
    /// manifest of a recorded tree (.tree.toml), another tool's log [default: the quick suite]
    #[arg(value_name = "WORKLOAD|FILE")]
    workloads: Vec<String>,
    /// The workloads of a suite: quick or full (`heaplab list workloads` shows what is in each)
    #[arg(long, value_name = "SUITE", conflicts_with = "workloads")]
    suite: Option<Suite>,
    /// An allocator, ALLOCATOR:SETTING=VALUE,..., or NAME=/path/to/library.so; once for each variant [default:
    /// ptmalloc2, jemalloc, tcmalloc, mimalloc]. floor is measured too if speed is: it shows the harness's share
    #[arg(short, long = "allocator", value_name = "VARIANT")]
    allocators: Vec<String>,
    /// Variants over values of settings: a sweep by name (see `heaplab list sweeps`), or a file (.toml); in
    /// addition to those named by -a
    #[arg(long = "sweep", value_name = "NAME|FILE")]
    sweeps: Vec<String>,
    /// What to measure: throughput, latency, memory, check [default: throughput, latency, memory]
    #[arg(long = "pass", value_name = "PASS", value_delimiter = ',')]
    passes: Vec<Pass>,
    /// Samples of each workload, variant and pass; 10 make a verdict, fewer than 6 none
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    reps: u32,
    /// Continue past --reps until every interval of busy/event and of peak memory is this narrow: that of the ratio to the
    /// baseline, or of the median if there is none
    #[arg(long, value_name = "PCT", value_parser = parse_percent)]
    until: Option<f64>,
    /// With --until: start no block later than this after the first
    #[arg(long, value_name = "TIME", requires = "until", value_parser = parse_duration)]
    max_time: Option<Duration>,
    /// Where the results go [default: results/<UTC time>-<workload>]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Continue the run in DIR: take what is missing or failed
    #[arg(long, requires = "output")]
    resume: bool,
    /// With --resume: continue a run of another version or build of heaplab, or of another kind of machine, too; the run
    /// then carries a warning
    #[arg(long, requires = "resume")]
    resume_anyway: bool,
    /// Take only the units of shard K of N, 1 to N; `heaplab merge` makes one run of all shards. With --resume, the shard
    /// starts where DIR holds nothing yet
    #[arg(long, value_name = "K/N")]
    shard: Option<Shard>,
    /// Print the run's units (blocks of a workload), or those of the shard, one per line, and measure nothing
    #[arg(long, conflicts_with_all = ["output", "resume", "resume_anyway"])]
    list_units: bool,
    /// The order of the replay in every pass: causal or strict [default: strict for memory and check]
    #[arg(long, value_parser = parse_order)]
    order: Option<Order>,
    /// The pace of every pass: max, real, xK or virtual [default: virtual for memory and check, where there are times]
    #[arg(long)]
    pace: Option<Pace>,
    /// What the replay writes to: page (a byte in each), none, first (byte), full
    #[arg(long, default_value_t = Touch::Page)]
    touch: Touch,
    /// CPU count that the allocators see [default: the trace's, or this machine's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    cpus: Option<u32>,
    /// Exclude the start from means and percentiles of memory: a time such as 90s, or `steady` for when the load settles
    /// [default: count the whole run]
    #[arg(long = "from", value_name = "TIME|steady", value_parser = CountFrom::parse)]
    count_from: Option<CountFrom>,
    /// Checkpoints of the memory pass, in equal steps of trace time
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    checkpoints: u32,
    /// Events in a window of the replay; two windows are replayed at a time
    #[arg(long, value_name = "EVENTS", default_value_t = Windows::EVENTS, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    window: u64,
    /// Stop a worker that takes longer
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    limits: LimitArgs,
    /// Decides the order of the variants, and each block's layout and simulated load (--set seed=N: one load for all blocks)
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// Simulated time of load models, such as 60s or 24h [default: the definition's]
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    duration: Option<u64>,
    /// The load of a model of recordings (.hlm), in its unit [default: the highest recorded]
    #[arg(long, value_name = "LOAD", value_parser = parse_load)]
    load: Option<f64>,
    /// Set a field of a load model, such as connections=200
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Run each load model once with each of these numbers of connections, such as 40,80,160
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    connections: Vec<u32>,
    /// Predict even from a recording that failed, lost events or explains too little of its process's memory
    #[arg(long)]
    despite_coverage: bool,
    /// The variant that ratios refer to [default: ptmalloc2, if it is among the variants]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// Give every block the same load and layout, for debugging: nothing is allocated before the replay, and the
    /// environment has the same length [default: each block has its own layout and, for a load model, its own load, the
    /// same for all variants]
    #[arg(long)]
    fixed: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    view: View,
}

fn parse_order(text: &str) -> Result<Order, String> {
    match text {
        "causal" => Ok(Order::Causal),
        "strict" => Ok(Order::Strict),
        _ => Err(format!("unknown order `{text}`: there are causal and strict")),
    }
}

/// Runs, reports, and prints the outcome.
pub(super) fn main(args: Args, matches: &ArgMatches) -> anyhow::Result<Outcome> {
    let (baseline, format, view, shard) = (args.baseline.clone(), args.format, args.view, args.shard);
    if args.list_units {
        return print_units(&list_units(&options(args), shard)?, format);
    }
    let stop = stop_on_signals()?;
    let screen = Screen::new()?;
    match measure_replays(start(args, matches), &stop, &|notice| screen.show(notice))? {
        Ended::Finished(path) if results::read_run_file(&path)?.shard.is_some() => show_shard(&path),
        Ended::Finished(path) => show_report(&path, baseline.as_deref(), format, view),
        Ended::Stopped(path) => Ok(say_stopped("run", path.as_deref())),
    }
}

/// How the run starts. A report's baseline may differ from the run's, and so may its format.
fn start(args: Args, matches: &ArgMatches) -> Start {
    let (output, resume, anyway, shard) = (args.output.clone(), args.resume, args.resume_anyway, args.shard);
    let free = ["output", "resume", "resume_anyway", "format", "shard"];
    let more = is_asked_for_more("run", matches, &[&free[..], &View::IDS].concat());
    let options = options(args);
    match output {
        // A cluster job is one command, both the first time and after it was killed.
        Some(directory) if resume && (shard.is_none() || is_begun(&directory)) => {
            Start::Resume { directory, given: more.then_some(options), shard, anyway }
        }
        output => Start::New { options, argv: argv_of_process(), output, shard },
    }
}

fn options(args: Args) -> RunOptions {
    let mut passes = if args.passes.is_empty() { DEFAULT_PASSES.to_vec() } else { args.passes };
    passes.sort_unstable();
    passes.dedup();
    RunOptions {
        seed: args.seed,
        passes,
        reps: args.reps,
        allocators: args.allocators,
        baseline: args.baseline,
        timeout_ns: Some(nanoseconds(args.timeout)),
        group: args.limits.limits(),
        count_from: args.count_from,
        replay: Some(ReplayOptions {
            workloads: args.workloads,
            suite: args.suite.map(|suite| suite.name().to_owned()),
            sweeps: args.sweeps,
            duration_ns: args.duration,
            set: args.overrides.into_iter().chain(args.load.map(|load| format!("load={load}"))).collect(),
            connections: args.connections,
            order: args.order,
            pace: args.pace,
            touch: args.touch,
            cpus: args.cpus,
            checkpoints: args.checkpoints,
            window_events: args.window,
            fixed: args.fixed,
            until: args.until,
            max_time_ns: args.max_time.map(nanoseconds),
            despite_coverage: args.despite_coverage,
        }),
        exec: None,
    }
}

/// Prints units, one per line or as an array.
fn print_units(units: &[Unit], format: Format) -> anyhow::Result<Outcome> {
    let ids: Vec<String> = units.iter().map(Unit::to_string).collect();
    let mut out = stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&ids)?)?,
        _ => ids.iter().try_for_each(|id| writeln!(out, "{id}"))?,
    }
    Ok(Outcome::Done)
}

/// Prints the outcome of a shard. There is no report on it: other machines have the rest of its blocks.
fn show_shard(path: &Path) -> anyhow::Result<Outcome> {
    let run = results::load(path)?;
    let failed = run.samples.iter().filter(|sample| sample.status != Status::Ok).count();
    let shard = run.file.shard.map(|shard| shard.to_string()).unwrap_or_default();
    say!(
        "heaplab: shard {shard}: {} samples, {failed} of them failed; heaplab merge makes one run of all shards",
        run.samples.len()
    );
    writeln!(stdout(), "{}", path.display())?;
    Ok(if failed == 0 { Outcome::Done } else { Outcome::Incomplete })
}

/// Says that a run was stopped, and how to continue it.
pub(super) fn say_stopped(command: &str, directory: Option<&Path>) -> Outcome {
    if let Some(path) = directory {
        let path = path.display();
        say!(
            "heaplab: stopped; what was measured is kept. Continue with: heaplab {command} --resume -o {path}"
        );
    }
    Outcome::Interrupted
}
