//! What a run was made of, as stored in `run.toml` and `recorded.csv`.

use std::path::PathBuf;

use heaplab_allocators::hash_file;
use heaplab_workloads::catalog::{Source, Workload};

use super::error::SessionError;
use super::programs::Compiled;
use super::replays::Replays;
use crate::doctor::{Level, Readings, examine};
use crate::measure::Variation;
use crate::results::{RecordedPoint, RunTree, RunVariant, RunWorkload};

/// What was recorded about the workloads' processes, for predictions. A trace without times has no time to
/// predict at, and a trace with gaps cannot be predicted from, unless the user insists.
pub(super) fn recorded_points(compiled: &Compiled, despite_coverage: bool) -> Vec<RecordedPoint> {
    let recordings = compiled.subjects.iter().zip(compiled.recordings.iter().zip(&compiled.gaps));
    let usable =
        recordings.filter(|(subject, (_, gaps))| subject.has_times && (gaps.is_empty() || despite_coverage));
    let points = usable.flat_map(|(subject, (recording, _))| {
        recording.memory.iter().map(|&(time_ns, resident_bytes)| RecordedPoint {
            workload: subject.name.clone(),
            time_ns,
            resident_bytes,
        })
    });
    points.collect()
}

/// What on this machine would spoil a measurement, in sentences.
pub(super) fn machine_warnings() -> Vec<String> {
    let spoils = |check: &crate::doctor::Check| check.level == Level::Warning;
    let sentence = |check: crate::doctor::Check| format!("{}: {}; {}", check.what, check.found, check.advice);
    examine(&Readings::read()).into_iter().filter(spoils).map(sentence).collect()
}

/// The workloads as stored in `run.toml`.
pub(super) fn describe_workloads(
    replays: &Replays,
    compiled: &Compiled,
) -> Result<Vec<RunWorkload>, SessionError> {
    let hash = |path: &PathBuf| hash_file(path).map_err(SessionError::failed("cannot hash a workload"));
    let mut described = Vec::new();
    for (index, (workload, options)) in replays.workloads.iter().enumerate() {
        let (source, path) = match &workload.source {
            Source::Definition { origin, .. } => {
                let mut source = format!("definition {origin}, seed {}", options.seed);
                if let Some(duration) = options.duration_ns {
                    source += &format!(", {} s", duration as f64 / 1e9);
                }
                options.overrides.iter().for_each(|set| source += &format!(", {set}"));
                (source, None)
            }
            Source::Model { path, bytes, .. } => {
                let mut source = format!("model {}, seed {}", path.display(), options.seed);
                if let Some(duration) = options.duration_ns {
                    source += &format!(", {} s", duration as f64 / 1e9);
                }
                options.overrides.iter().for_each(|set| source += &format!(", {set}"));
                (source, bytes.is_none().then_some(path))
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
        let Some((program, info)) = programs.first().map(|program| &***program) else { continue };
        let recording = compiled.recordings.get(index);
        let requests = recording.and_then(|recording| recording.requests);
        let recorded = recording.and_then(|recording| recording.allocator.as_ref());
        described.push(RunWorkload {
            name: workload.name.clone(),
            source,
            trace_hash: path.map(hash).transpose()?,
            program_hash: Some(hash(&program.path())?),
            load_seed: replays.load_seed(index, 0),
            varies_load: replays.varies_load(index),
            has_times: info.has_times,
            lacks: compiled.lacks.get(index).cloned().unwrap_or_default(),
            gaps: compiled.gaps.get(index).cloned().unwrap_or_default(),
            cpus: info.cpus,
            events: Some(info.events),
            threads: Some(u64::from(info.threads)),
            duration_ns: info.has_times.then_some(info.duration_ns),
            requested_peak_bytes: Some(info.requested_peak_bytes),
            truncated: info.truncated,
            model: connections.map(|_| model_of(workload)),
            connections,
            requests: requests.map(|requests| requests.made),
            refused: requests.map(|requests| requests.refused),
            recorded_allocator: recorded.map(|allocator| allocator.name.clone()),
            recorded_library_hash: recorded
                .map(|allocator| allocator.hash.clone())
                .filter(|hash| !hash.is_empty()),
            recorded_cpu_ns: recording.and_then(|recording| recording.cpu_ns),
            recorder_cpu_ns: recording.and_then(|recording| recording.recorder_cpu_ns(info.events)),
            recorded_sampling_interval_ns: recording.and_then(|recording| recording.sampling_interval_ns),
            thinned: recording.and_then(|recording| recording.thinned.clone()),
            extrapolation: recording.and_then(|recording| recording.extrapolation.clone()),
            extrapolation_band: recording.and_then(|recording| recording.extrapolation_band.clone()),
            outside_malloc_bytes: recording.and_then(|recording| recording.outside_malloc_bytes),
            phases: recording.map_or_else(Vec::new, |recording| recording.phases.clone()),
            on: None,
        });
    }
    Ok(described)
}

/// The name of a load model at any load: its own name with all other overrides.
fn model_of(workload: &Workload) -> String {
    let Some((name, changes)) = workload.name.split_once(':') else { return workload.name.clone() };
    let others: Vec<&str> = changes
        .split(',')
        .filter(|change| !change.starts_with("connections=") && !change.starts_with("load="))
        .collect();
    if others.is_empty() { name.to_owned() } else { format!("{name}:{}", others.join(",")) }
}

/// The trees of processes as stored in `run.toml`.
pub(super) fn describe_trees(replays: &Replays, compiled: &Compiled) -> Result<Vec<RunTree>, SessionError> {
    let recording_of = |name: &str| {
        let at = compiled.subjects.iter().position(|subject| subject.name == name)?;
        compiled.recordings.get(at)
    };
    replays.trees.iter().map(|tree| tree.describe(recording_of, replays.replay.despite_coverage)).collect()
}

/// A variant as stored in `run.toml`.
pub(super) fn describe_variant(variation: &Variation) -> RunVariant {
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
        is_harness: false,
    }
}
