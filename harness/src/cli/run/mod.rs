//! `heaplab run`: replay workloads under each variant and measure.
//!
//! arguments -> plan (what is asked for) -> subjects (compiled) and variations (proven) -> samples ->
//! the run's directory -> report. All mistakes of the user are found before the directory is made.

mod itself;
pub(super) mod plan;
pub(super) mod prepare;
pub(super) mod record;
mod until;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use heaplab_workloads::catalog::Suite;
use heaplab_workloads::program::{Order, Windows};
use heaplab_workloads::simulate::{DEFAULT_SEED, parse_time_ns};

use super::percent::parse_percent;
use super::{Outcome, Usage};
use crate::cli::stdout::stdout;
use crate::plan::{Pace, Pass, Step, Touch, steps};
use crate::report::{Analysis, Format, answer, print_summary, write_report};
use crate::results::{self, SampleKey};
pub(super) use itself::measure_itself;
use plan::Plan;
use record::Agenda;
use until::Pursuit;

#[derive(clap::Args, Debug, Clone)]
pub(super) struct Args {
    /// Workloads by name (see `heaplab list workloads`), or files: a trace (.hlt), a definition (.toml), another
    /// tool's log [default: the quick suite]
    #[arg(value_name = "WORKLOAD|FILE")]
    workloads: Vec<String>,
    /// The workloads of a suite: quick or full (`heaplab list workloads` shows what is in each)
    #[arg(long, value_name = "SUITE", conflicts_with = "workloads")]
    suite: Option<Suite>,
    /// An allocator, ALLOCATOR:SETTING=VALUE,..., or NAME=/path/to/library.so; once for each variant
    /// [default: ptmalloc2, jemalloc, tcmalloc, mimalloc]
    #[arg(short, long = "allocator", value_name = "VARIANT")]
    allocators: Vec<String>,
    /// Variants over values of settings: a sweep by name (see `heaplab list sweeps`), or a file (.toml); beside those named by -a
    #[arg(long = "sweep", value_name = "NAME|FILE")]
    sweeps: Vec<String>,
    /// What to measure: throughput, latency, memory, check [default: throughput, latency, memory]
    #[arg(long = "pass", value_name = "PASS", value_delimiter = ',')]
    passes: Vec<Pass>,
    /// Samples of each workload, variant and pass; 10 make a verdict, fewer than 6 none
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    reps: u32,
    /// Go on behind --reps until every interval of time/event and of peak memory is within this: of the ratio to the
    /// baseline, or of the median where there is none
    #[arg(long, value_name = "PCT", value_parser = parse_percent)]
    until: Option<f64>,
    /// With --until: no block is begun later than this after the first
    #[arg(long, value_name = "TIME", requires = "until", value_parser = parse_timeout)]
    max_time: Option<Duration>,
    /// Where the results go [default: results/<UTC time>-<workload>]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Go on with the run in DIR: take what is missing or failed
    #[arg(long, requires = "output")]
    resume: bool,
    /// The order of the replay in every pass: causal or strict [default: strict for memory and check]
    #[arg(long, value_parser = parse_order)]
    order: Option<Order>,
    /// The pace of every pass: max, real, xK or virtual [default: virtual for memory and check, where there are times]
    #[arg(long)]
    pace: Option<Pace>,
    /// What the replay writes to: page (a byte in each), none, first (byte), full
    #[arg(long, default_value_t = Touch::Page)]
    touch: Touch,
    /// CPU count that the allocators are shown [default: the trace's, or this machine's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    cpus: Option<u32>,
    /// Checkpoints of the memory pass, in equal steps of trace time
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    checkpoints: u32,
    /// Events in a window of the replay, of which two are in flight
    #[arg(long, value_name = "EVENTS", default_value_t = Windows::EVENTS, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    window: u64,
    /// A worker that takes longer is ended
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = parse_timeout)]
    timeout: Duration,
    /// Decides the order of the variants, and the simulated workloads
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// Simulated time of load models, such as 60s or 24h [default: the definition's; 60s in the quick suite]
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    duration: Option<u64>,
    /// Set a field of a load model, such as connections=200
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Run each load model once with each of these numbers of connections, such as 40,80,160
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    connections: Vec<u32>,
    /// The variant that ratios refer to [default: ptmalloc2, if it is among the variants]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// In which form the summary is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn parse_order(text: &str) -> Result<Order, String> {
    match text {
        "causal" => Ok(Order::Causal),
        "strict" => Ok(Order::Strict),
        _ => Err(format!("unknown order `{text}`: there are causal and strict")),
    }
}

pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    parse_time_ns(text).map(Duration::from_nanos)
}

/// Runs, reports, and says what came of it.
pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals()?;
    let plan = match &args.output {
        Some(directory) if args.resume => Plan::resumed(&args, directory)?,
        _ => Plan::new(&args)?,
    };
    plan.notes.iter().for_each(|note| say!("heaplab: {note}"));
    let variations = prepare::prove_variants(&plan.variants, plan.settings.cpus)?;
    let compiled = match prepare::compile_workloads(&plan, &stop)? {
        Some(compiled) => compiled,
        None => return Ok(Outcome::Interrupted),
    };
    let mut directory = record::open_directory(&args, &plan, &compiled, &variations)?;
    let pursuit = match &plan.goal {
        Some(goal) => Some(Pursuit::new(&plan, goal, &results::load(directory.path())?.samples)),
        None => None,
    };
    let agenda = match &pursuit {
        Some(pursuit) => Agenda {
            steps: Box::new(std::iter::from_fn(|| pursuit.next_step())),
            count: None,
            seen: Box::new(|sample| pursuit.add(sample)),
        },
        None => all_missing(&plan, directory.done()),
    };
    let finished = record::take_samples(&plan, &compiled, &variations, agenda, &mut directory, &stop)?;
    if !finished {
        let path = directory.path().display();
        say!("heaplab: stopped; what was measured is kept. Go on with: heaplab run --resume -o {path}");
        return Ok(Outcome::Interrupted);
    }
    if let Some(pursuit) = &pursuit {
        pursuit.describe().iter().for_each(|sentence| say!("heaplab: {sentence}"));
        directory.update(|file| file.options.reps = pursuit.blocks())?;
    }
    directory.finish()?;
    let path = directory.path().to_path_buf();
    drop(directory);
    report(&path, args.baseline.as_deref(), args.format)
}

/// Every sample of the plan's blocks that is not there yet.
fn all_missing<'a>(plan: &Plan, done: &BTreeSet<SampleKey>) -> Agenda<'a> {
    let settings = &plan.settings;
    let (workloads, variants) = (plan.workloads.len(), plan.variants.len());
    let all = steps(settings.seed, settings.reps, workloads, &settings.passes, variants);
    let missing: Vec<Step> = all.into_iter().filter(|step| !done.contains(&plan.key(step))).collect();
    Agenda { count: Some(missing.len() as u64), steps: Box::new(missing.into_iter()), seen: Box::new(|_| ()) }
}

/// A flag that SIGINT and SIGTERM set; a second one ends the process at once.
pub(super) fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot handle signals")?;
    }
    Ok(stop)
}

/// Reports on a finished run, from its files.
fn report(path: &Path, baseline: Option<&str>, format: Format) -> anyhow::Result<Outcome> {
    let run = results::load(path)?;
    let analysis = Analysis::new(&run, baseline)?;
    let report = write_report(&analysis)?;
    for note in &report.notes {
        say!("heaplab: {note}");
    }
    let out = &mut stdout();
    print_summary(&analysis, format, out)?;
    if matches!(format, Format::Table) {
        writeln!(out)?;
        for sentence in answer(&analysis).all() {
            writeln!(out, "{sentence}")?;
        }
        writeln!(out)?;
        for plot in &report.plots {
            writeln!(out, "{}", plot.path.display())?;
        }
        writeln!(out, "{}", path.display())?;
    } else {
        say!("{}", path.display());
    }
    Ok(if analysis.is_complete() { Outcome::Done } else { Outcome::Incomplete })
}

/// Whether the run was asked to stop.
pub(super) fn stopped(stop: &AtomicBool) -> bool {
    stop.load(Ordering::Relaxed)
}

/// What the user got wrong, as an error that ends with status 2.
pub(super) fn usage(text: impl Into<String>) -> anyhow::Error {
    Usage(text.into()).into()
}
