//! From arguments to what is asked for: workloads, variants and settings, all checked.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Context;
use clap::Parser;
use heaplab_allocators::{Sweep, SweepError, Variant, VariantError};
use heaplab_workloads::catalog::{self, CatalogError, Suite, Workload};
use heaplab_workloads::simulate::Options;

use super::until::Goal;
use super::{Args, usage};
use crate::cli::{Cli, Command};
use crate::plan::{Pace, Pass, Settings, Step};
use crate::results::{self, SampleKey};

/// The variants of a run for which none is named.
const DEFAULT_VARIANTS: [&str; 4] = ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"];
/// The passes of a run for which none is named.
const DEFAULT_PASSES: [Pass; 3] = [Pass::Throughput, Pass::Latency, Pass::Memory];

/// What a run is asked to measure.
pub(super) struct Plan {
    /// The workloads, each with what is asked of a simulation.
    pub(super) workloads: Vec<(Workload, Options)>,
    pub(super) variants: Vec<Variant>,
    pub(super) settings: Settings,
    /// How narrow intervals shall be; none where `reps` says all.
    pub(super) goal: Option<Goal>,
    /// What was left out, in sentences.
    pub(super) notes: Vec<String>,
    /// The command line that asked for it.
    pub(super) argv: Vec<String>,
}

impl Plan {
    /// The plan of these arguments.
    pub(super) fn new(args: &Args) -> anyhow::Result<Plan> {
        let argv = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
        let settings = settings(args);
        let (variants, notes) = find_variants(args, &settings)?;
        let goal = find_goal(args, &settings)?;
        let plan = Plan { workloads: find_workloads(args)?, variants, settings, goal, notes, argv };
        if let Some(baseline) = &args.baseline
            && !plan.variants.iter().any(|variant| variant.label == *baseline)
        {
            let labels: Vec<&str> = plan.variants.iter().map(|variant| variant.label.as_str()).collect();
            return Err(usage(format!(
                "baseline {baseline:?} is none of the variants {}",
                labels.join(", ")
            )));
        }
        Ok(plan)
    }

    /// The plan of the run in `directory`, which its run.toml holds. Whatever else the user gave must be the same.
    pub(super) fn resumed(args: &Args, directory: &Path) -> anyhow::Result<Plan> {
        let run = results::read_run_file(directory)?;
        let recorded = Cli::try_parse_from(&run.argv)
            .ok()
            .and_then(|cli| match cli.command {
                Command::Run(recorded) => Some(recorded),
                _ => None,
            })
            .with_context(|| {
                format!("{}: its argv is not a `heaplab run`", directory.join("run.toml").display())
            })?;
        let plan = Plan { argv: run.argv, ..Plan::new(&recorded)? };
        let labels = |variants: &mut dyn Iterator<Item = &str>| variants.collect::<Vec<_>>().join(", ");
        let then = labels(&mut run.variants.iter().map(|variant| variant.label.as_str()));
        let now = labels(&mut plan.variants.iter().map(|variant| variant.label.as_str()));
        if then != now {
            return Err(usage(format!(
                "{} was begun with the variants {then}, and its sweep now makes {now}: begin another run",
                directory.display()
            )));
        }
        let bare = Args { resume: true, output: args.output.clone(), format: args.format, ..bare_args()? };
        if !same(args, &bare) && !same(args, &recorded) {
            return Err(usage(format!(
                "{} was made by `{}`: to go on with it, give no other arguments than --resume -o",
                directory.display(),
                plan.argv.join(" ")
            )));
        }
        Ok(plan)
    }
}

impl Plan {
    /// What a step is a sample of.
    pub(super) fn key(&self, step: &Step) -> SampleKey {
        SampleKey {
            block: step.block,
            workload: self.workloads[step.workload].0.name.clone(),
            variant: self.variants[step.variant].label.clone(),
            pass: step.pass,
        }
    }
}

/// The arguments of a `heaplab run` without any.
pub(super) fn bare_args() -> anyhow::Result<Args> {
    match Cli::try_parse_from(["heaplab", "run"])?.command {
        Command::Run(args) => Ok(args),
        _ => anyhow::bail!("`heaplab run` is not what it was"),
    }
}

/// Whether two sets of arguments ask for the same samples.
fn same(one: &Args, other: &Args) -> bool {
    let asked = |args: &Args| {
        let blind =
            Args { output: None, resume: false, format: Default::default(), baseline: None, ..args.clone() };
        format!("{blind:?}")
    };
    asked(one) == asked(other)
}

fn find_goal(args: &Args, settings: &Settings) -> anyhow::Result<Option<Goal>> {
    let Some(within) = args.until else { return Ok(None) };
    if within <= 0.0 {
        return Err(usage("--until 0%: no interval is that narrow; give a percentage above 0, such as 2%"));
    }
    if !settings.passes.iter().any(|pass| matches!(pass, Pass::Throughput | Pass::Memory)) {
        return Err(usage("--until looks at the throughput and memory passes, and neither is asked for"));
    }
    Ok(Some(Goal { within, max_time: args.max_time, baseline: args.baseline.clone() }))
}

fn settings(args: &Args) -> Settings {
    let mut passes = if args.passes.is_empty() { DEFAULT_PASSES.to_vec() } else { args.passes.clone() };
    passes.sort_unstable();
    passes.dedup();
    Settings {
        passes,
        reps: args.reps,
        order: args.order,
        pace: args.pace,
        touch: args.touch,
        cpus: args.cpus,
        checkpoints: args.checkpoints,
        window_events: args.window,
        timeout: args.timeout,
        seed: args.seed,
    }
}

fn find_workloads(args: &Args) -> anyhow::Result<Vec<(Workload, Options)>> {
    let options = Options { duration_ns: args.duration, seed: args.seed, overrides: args.overrides.clone() };
    let sets_connections =
        |set: &&String| set.split('=').next().is_some_and(|key| key.trim() == "connections");
    if let Some(set) = args.overrides.iter().find(sets_connections).filter(|_| !args.connections.is_empty()) {
        return Err(usage(format!("--set {set} and --connections contradict each other: leave one away")));
    }
    if args.workloads.is_empty() {
        if !args.overrides.is_empty() {
            return Err(usage("--set needs a load model: name the workload that it is for"));
        }
        if !args.connections.is_empty() {
            return Err(usage("--connections needs a load model: name the workload that it is for"));
        }
        let suite = args.suite.unwrap_or(Suite::Quick);
        let with_asked = |(workload, options): (Workload, Options)| {
            let asked = args.duration.filter(|_| workload.is_model());
            (workload, Options { seed: args.seed, duration_ns: asked.or(options.duration_ns), ..options })
        };
        return Ok(suite.workloads().into_iter().map(with_asked).collect());
    }
    let mut names = HashSet::new();
    let mut workloads = Vec::new();
    for name in &args.workloads {
        let workload = catalog::find(name).and_then(|found| found.named_by(&options)).map_err(as_usage)?;
        for (workload, options) in at_each_load(workload, &options, args)? {
            if !names.insert(workload.name.clone()) {
                return Err(usage(format!(
                    "two workloads are called {:?}: rename a file, or leave one away",
                    workload.name
                )));
            }
            workloads.push((workload, options));
        }
    }
    Ok(workloads)
}

/// The workload as it is, or once with each number of connections that was asked for.
fn at_each_load(
    workload: Workload,
    options: &Options,
    args: &Args,
) -> anyhow::Result<Vec<(Workload, Options)>> {
    if args.connections.is_empty() {
        return Ok(vec![(workload, options.clone())]);
    }
    if workload.connections(options).map_err(as_usage)?.is_none() {
        return Err(usage(format!(
            "{} is no load model of a server, and has no connections: leave --connections away",
            workload.name
        )));
    }
    let load = |connections: &u32| {
        let name = format!("{}:connections={connections}", workload.name);
        let mut options = options.clone();
        options.overrides.push(format!("connections={connections}"));
        (Workload { name, ..workload.clone() }, options)
    };
    Ok(args.connections.iter().map(load).collect())
}

/// The variants that are named, then those of the sweeps, each once; with notes on those that are left out.
fn find_variants(args: &Args, settings: &Settings) -> anyhow::Result<(Vec<Variant>, Vec<String>)> {
    let mut variants = match args.allocators.as_slice() {
        [] if !args.sweeps.is_empty() => Vec::new(),
        specs => parse_variants(specs)?,
    };
    let mut notes = Vec::new();
    for name in &args.sweeps {
        let sweep = Sweep::find(name).map_err(|error| match error {
            SweepError::Io { ref source, .. } if source.kind() != std::io::ErrorKind::NotFound => {
                error.into()
            }
            _ => usage(format!("{:#}", anyhow::Error::from(error))),
        })?;
        for spec in &sweep.variants {
            let variant = parse_variant(spec).with_context(|| format!("sweep {name}"))?;
            if variant.sleeps_in_real_time() && may_be_virtual(settings) {
                notes.push(format!(
                    "{spec} of the sweep {name} is left out: its background thread sleeps in real time, which virtual \
                     pace does not have; measure it with --pace real"
                ));
            } else if !variants.iter().any(|other| other.label == variant.label) {
                variants.push(variant);
            }
        }
    }
    Ok((variants, notes))
}

/// Whether any pass replays a trace with times at virtual pace.
fn may_be_virtual(settings: &Settings) -> bool {
    settings.passes.iter().any(|&pass| settings.pace(pass, true) == Pace::Virtual)
}

/// The variants that are named, or the default ones.
pub(in crate::cli) fn parse_variants(specs: &[String]) -> anyhow::Result<Vec<Variant>> {
    let named: Vec<&str> = match specs {
        [] => DEFAULT_VARIANTS.to_vec(),
        specs => specs.iter().map(String::as_str).collect(),
    };
    let mut variants: Vec<Variant> = Vec::new();
    for spec in named {
        let variant = parse_variant(spec)?;
        if variants.iter().any(|other| other.label == variant.label) {
            return Err(usage(format!("variant {:?} is named twice", variant.label)));
        }
        variants.push(variant);
    }
    Ok(variants)
}

fn parse_variant(spec: &str) -> anyhow::Result<Variant> {
    Variant::parse(spec).map_err(|error| match error {
        VariantError::Absent(absent) => anyhow::Error::from(absent),
        other => usage(other.to_string()),
    })
}

/// What the user got wrong ends with another status than what went wrong.
pub(super) fn as_usage(error: CatalogError) -> anyhow::Error {
    if error.is_usage() { usage(format!("{:#}", anyhow::Error::from(error))) } else { error.into() }
}
