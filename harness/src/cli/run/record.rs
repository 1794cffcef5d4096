//! Takes the samples and keeps them: the run's directory, its run.toml, and a progress bar.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use anyhow::Context;
use heaplab_allocators::hash_file;
use heaplab_workloads::catalog::{Source, Suite, Workload};
use indicatif::{ProgressBar, ProgressStyle};

use super::plan::Plan;
use super::prepare::Compiled;
use super::{Args, usage};
use crate::doctor::{Level, Machine, Readings, cgroup_memory_limit, examine};
use crate::measure::{Campaign, Variation};
use crate::plan::Step;
use crate::results::{
    RecordedPoint, Rows, RunDirectory, RunFile, RunOptions, RunVariant, RunWorkload, SCHEMA, Sample, Status,
};

/// Makes the run's directory, or opens the one to go on with.
pub(super) fn open_directory(
    args: &Args,
    plan: &Plan,
    compiled: &Compiled,
    variations: &[Variation],
) -> anyhow::Result<RunDirectory> {
    if let Some(directory) = args.output.as_deref().filter(|_| args.resume) {
        let run = RunDirectory::resume(directory)?;
        let workloads = describe_workloads(plan, compiled)?;
        check_unchanged(directory, run.file(), &workloads, variations)?;
        return Ok(run);
    }
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let run_id = format!("{}-{}", now.replace(['-', ':'], ""), directory_name(&plan.workloads));
    let directory = args.output.clone().unwrap_or_else(|| Path::new("results").join(&run_id));
    let mut warnings = machine_warnings();
    for warning in &warnings {
        say!("heaplab: {warning}");
    }
    warnings.extend(plan.notes.iter().cloned());
    let settings = &plan.settings;
    let file = RunFile {
        schema: SCHEMA,
        heaplab_version: env!("CARGO_PKG_VERSION").to_owned(),
        run_id,
        started_utc: now,
        argv: plan.argv.clone(),
        seed: settings.seed,
        finished: false,
        warnings,
        options: RunOptions {
            passes: settings.passes.clone(),
            reps: settings.reps,
            order: settings.order.map(|order| order.to_string()),
            pace: settings.pace.map(|pace| pace.to_string()),
            touch: settings.touch.to_string(),
            cpus: settings.cpus,
            checkpoints: u64::from(settings.checkpoints),
            window_events: settings.window_events,
            timeout_s: settings.timeout.as_secs(),
            exec: None,
        },
        workloads: describe_workloads(plan, compiled)?,
        variants: variations.iter().map(describe_variant).collect(),
        machine: toml::Table::try_from(Machine::read()).context("the machine's facts")?,
    };
    let directory = RunDirectory::create(&directory, file)?;
    directory.write_recorded(&recorded_points(plan, compiled))?;
    Ok(directory)
}

/// Refuses to add samples of other files to a run.
pub(in crate::cli) fn check_unchanged(
    directory: &Path,
    run: &RunFile,
    workloads: &[RunWorkload],
    variations: &[Variation],
) -> anyhow::Result<()> {
    let variants: Vec<RunVariant> = variations.iter().map(describe_variant).collect();
    run.check_unchanged(workloads, &variants).map_err(|what| {
        usage(format!(
            "{}: {what}: what is measured now would not belong to it; begin another run",
            directory.display()
        ))
    })
}

/// What was recorded of the workloads' processes, for predictions. A trace without times has no time to predict at.
fn recorded_points(plan: &Plan, compiled: &Compiled) -> Vec<RecordedPoint> {
    let workloads = plan.workloads.iter().zip(&compiled.recordings).zip(&compiled.subjects);
    let timed = workloads.filter(|(_, subject)| subject.has_times);
    let points = timed.flat_map(|(((workload, _), recording), _)| {
        recording.memory.iter().map(|&(time_ns, resident_bytes)| RecordedPoint {
            workload: workload.name.clone(),
            time_ns,
            resident_bytes,
        })
    });
    points.collect()
}

/// What a directory is called by: its only workload, or its suite, or how many there are.
fn directory_name(workloads: &[(Workload, heaplab_workloads::simulate::Options)]) -> String {
    let names: Vec<&str> = workloads.iter().map(|(workload, _)| workload.name.as_str()).collect();
    let is_suite = |suite: &Suite| {
        let members = suite.workloads();
        members.iter().map(|(workload, _)| workload.name.as_str()).eq(names.iter().copied())
    };
    match names[..] {
        [name] => name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
            .collect(),
        _ => match Suite::ALL.into_iter().find(is_suite) {
            Some(suite) => suite.name().to_owned(),
            None => format!("{}-workloads", names.len()),
        },
    }
}

pub(in crate::cli) fn machine_warnings() -> Vec<String> {
    let spoils = |check: &crate::doctor::Check| check.level == Level::Warning;
    let sentence = |check: crate::doctor::Check| format!("{}: {}; {}", check.what, check.found, check.advice);
    examine(&Readings::read()).into_iter().filter(spoils).map(sentence).collect()
}

fn describe_workloads(plan: &Plan, compiled: &Compiled) -> anyhow::Result<Vec<RunWorkload>> {
    let mut described = Vec::new();
    for (index, (workload, options)) in plan.workloads.iter().enumerate() {
        let (source, path) = match &workload.source {
            Source::Definition { origin, .. } => {
                let mut source = format!("definition {origin}, seed {}", options.seed);
                if let Some(duration) = options.duration_ns {
                    source += &format!(", {} s", duration as f64 / 1e9);
                }
                options.overrides.iter().for_each(|set| source += &format!(", {set}"));
                (source, None)
            }
            Source::Stress { name } => {
                let mut source = format!("stress pattern {name}, seed {}", options.seed);
                options.overrides.iter().for_each(|set| source += &format!(", {set}"));
                (source, None)
            }
            Source::ShippedLog { file_name, .. } => (format!("shipped {file_name}"), None),
            Source::ShippedTrace { .. } => (format!("shipped {}.hlt", workload.name), None),
            Source::Trace { path } | Source::Log { path } => (path.display().to_string(), Some(path)),
        };
        let connections = workload.connections(options)?;
        let programs = compiled.programs.of_workload(index);
        let Some((program, info)) = programs.first() else { continue };
        let recording = compiled.recordings.get(index);
        let recorded = recording.and_then(|recording| recording.allocator.as_ref());
        described.push(RunWorkload {
            name: workload.name.clone(),
            source,
            trace_hash: path.map(|path: &PathBuf| hash_file(path)).transpose()?,
            program_hash: Some(hash_file(program)?),
            has_times: info.has_times,
            lacks: compiled.lacks.get(index).cloned().unwrap_or_default(),
            cpus: info.cpus,
            events: Some(info.events),
            threads: Some(u64::from(info.threads)),
            duration_ns: info.has_times.then_some(info.duration_ns),
            requested_peak_bytes: Some(info.requested_peak_bytes),
            truncated: info.truncated,
            model: connections.map(|_| model_of(workload)),
            connections,
            recorded_allocator: recorded.map(|allocator| allocator.name.clone()),
            recorded_library_hash: recorded
                .map(|allocator| allocator.hash.clone())
                .filter(|hash| !hash.is_empty()),
            recorded_cpu_ns: recording.and_then(|recording| recording.cpu_ns),
            recorded_looks_every_ns: recording.and_then(|recording| recording.looks_every_ns),
            thinned: recording.and_then(|recording| recording.thinned.clone()),
            phases: recording.map_or_else(Vec::new, |recording| recording.phases.clone()),
        });
    }
    Ok(described)
}

/// The name that a load model has at any load.
fn model_of(workload: &Workload) -> String {
    workload.name.split(":connections=").next().unwrap_or(&workload.name).to_owned()
}

pub(in crate::cli) fn describe_variant(variation: &Variation) -> RunVariant {
    let (variant, proven) = (&variation.variant, variation.proven.as_ref().ok());
    RunVariant {
        label: variant.label.clone(),
        allocator: variant.allocator.clone(),
        version: proven.map(|proven| proven.loaded.version.clone()).filter(|version| !version.is_empty()),
        settings: variant
            .settings
            .iter()
            .map(|setting| format!("{}={}", setting.name, setting.value))
            .collect(),
        library_path: variant.library.as_ref().map(|path| path.display().to_string()),
        library_hash: proven.map(|proven| proven.library_hash.clone()),
    }
}

/// Takes the samples of an agenda and keeps each as it comes; false if the run was stopped.
pub(super) fn take_samples(
    plan: &Plan,
    compiled: &Compiled,
    variations: &[Variation],
    agenda: Agenda<'_>,
    directory: &mut RunDirectory,
    stop: &AtomicBool,
) -> anyhow::Result<bool> {
    let bar = progress_bar(agenda.count)?;
    let campaign = campaign(plan, compiled, variations, stop);
    let run_id = directory.file().run_id.clone();
    let begin = |step: &Step| {
        let (subject, variation) = (&compiled.subjects[step.workload], &variations[step.variant]);
        bar.set_message(format!("{} {} {}", subject.name, step.pass, variation.variant.label));
    };
    let mut said = std::collections::HashSet::new();
    let finished = campaign.run(agenda.steps, begin, |taken| -> anyhow::Result<()> {
        let rows = Rows::new(&run_id, plan.settings.touch, &taken);
        directory.append(&rows)?;
        (agenda.seen)(&rows.sample);
        if let Some(detail) = rows.sample.status_detail.as_ref().filter(|_| rows.sample.status != Status::Ok)
        {
            let name = &rows.sample.variant;
            // Once for each variant: what fails in one sample mostly fails in all.
            if said.insert((name.clone(), detail.clone())) {
                bar.suspend(|| {
                    say!("heaplab: {} {} under {name}: {detail}", taken.subject.name, taken.step.pass);
                });
            }
        }
        bar.inc(1);
        Ok(())
    });
    bar.finish_and_clear();
    finished
}

/// Which samples to take.
pub(super) struct Agenda<'a> {
    /// One after another; asked for the next when the last was seen.
    pub(super) steps: Box<dyn Iterator<Item = Step> + 'a>,
    /// How many they are, if that is known.
    pub(super) count: Option<u64>,
    /// Is shown each sample.
    pub(super) seen: Box<dyn Fn(&Sample) + 'a>,
}

/// A bar where the number of samples is known, else a count.
pub(super) fn progress_bar(count: Option<u64>) -> anyhow::Result<ProgressBar> {
    let (bar, style) = match count {
        Some(count) => (ProgressBar::new(count), "{bar:30} {pos}/{len}  {msg}  {eta} left"),
        None => (ProgressBar::new_spinner(), "{pos} samples in {elapsed}  {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(style)?);
    Ok(bar)
}

/// A plan's samples on this machine.
pub(super) fn campaign<'a>(
    plan: &'a Plan,
    compiled: &'a Compiled,
    variations: &'a [Variation],
    stop: &'a AtomicBool,
) -> Campaign<'a> {
    Campaign {
        settings: &plan.settings,
        subjects: &compiled.subjects,
        variations,
        programs: &compiled.programs,
        machine_cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        memory_limit_bytes: cgroup_memory_limit(),
        footprints: &compiled.footprints,
        stop,
    }
}
