//! Merges many directories into one run: the shards of a run, from as many machines, or the same run from
//! several kinds of machines.
//!
//! directories -> the same plan, or refused -> machines distinguished -> where each sample's rows are -> what
//! is duplicated or missing, or refused -> rows copied in the order of a run that was never divided. Nothing
//! is written before everything is checked.

mod machines;
mod sources;
mod units;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::{SessionError, usage};
use crate::results::{MergedDirectory, ResultsError, RunFile, RunMachine};
pub(super) use machines::differing_facts;
use machines::{Kinds, common_facts};
use sources::Source;
use units::Inventory;

/// What to merge.
#[derive(Debug, Clone)]
pub struct Merge {
    /// The directories, as the user named them.
    pub directories: Vec<PathBuf>,
    /// Where the merged run goes.
    pub output: PathBuf,
    /// Whether units may be missing.
    pub allow_missing: bool,
    /// The command line that asks for it, for display.
    pub argv: Vec<String>,
}

/// What a merged run consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// Units of the plan.
    pub units: usize,
    /// Number of samples.
    pub samples: usize,
    /// Samples that are not ok.
    pub failed: usize,
    /// Whether no unit is missing, and no run was interrupted before its goal.
    pub is_whole: bool,
    /// Kinds of machines.
    pub machines: usize,
    /// What the user must know, in sentences.
    pub notes: Vec<String>,
}

/// Merges many runs into one; none if it was stopped, in which case nothing of it is left.
///
/// # Errors
///
/// Directories that do not share one plan, or have duplicate or missing units ([`SessionError::Usage`]); what
/// cannot be read or written.
pub fn merge_runs(merge: &Merge, stop: &AtomicBool) -> Result<Option<Merged>, SessionError> {
    let sources = sources::read_sources(&merge.directories)?;
    let kinds = Kinds::of(&sources);
    let inventory = Inventory::take(&sources, &kinds)?;
    inventory.refuse_twice(&sources, &kinds)?;
    let missing = inventory.describe_missing();
    if let Some(missing) = missing.as_ref().filter(|_| !merge.allow_missing) {
        return Err(usage(format!("{missing}; measure them, or add --allow-missing")));
    }
    let unfinished = describe_unfinished(&sources);
    let is_whole = inventory.is_whole() && unfinished.is_none();
    let told = [missing, unfinished].into_iter().flatten();
    let notes: Vec<String> = told.chain(inventory.describe_machines(&kinds)).collect();
    let file = RunFile { finished: is_whole, ..run_file(merge, &sources, &kinds, &inventory, &notes) };
    let mut directory = MergedDirectory::create(&merge.output, &file.run_id).map_err(refuse_full)?;
    for sample in inventory.in_order() {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        directory.append(&sources[sample.source].directory, sample.rows, kinds.name(sample.source))?;
    }
    directory.copy_file(&sources[0].directory, "recorded.csv")?;
    directory.finish(&file)?;
    Ok(Some(Merged {
        units: inventory.units(),
        samples: inventory.in_order().count(),
        failed: inventory.in_order().filter(|sample| !sample.rows.is_ok).count(),
        is_whole,
        machines: kinds.count(),
        notes,
    }))
}

/// The runs that were to go on until their intervals are narrow enough, and were stopped before; none if there are none.
/// Their plan does not say how many units they have.
fn describe_unfinished(sources: &[Source]) -> Option<String> {
    let unfinished = sources.iter().filter(|source| {
        source.file.options.replay.as_ref().is_some_and(|replay| replay.until.is_some())
            && !source.file.finished
    });
    let names: Vec<String> = unfinished.map(|source| source.directory.display().to_string()).collect();
    (!names.is_empty()).then(|| format!("interrupted before --until was reached: {}", names.join(", ")))
}

/// An output that already exists is the user's mistake.
fn refuse_full(error: ResultsError) -> SessionError {
    match error {
        ResultsError::NotEmpty { .. } => usage(error.to_string()),
        other => other.into(),
    }
}

/// `run.toml` of the merged run.
fn run_file(
    merge: &Merge,
    sources: &[Source],
    kinds: &Kinds,
    inventory: &Inventory<'_>,
    notes: &[String],
) -> RunFile {
    let first = &sources[0].file;
    let machines: Vec<RunMachine> = (0..kinds.count())
        .map(|kind| RunMachine {
            name: kinds.label(kind),
            directories: kinds.members(kind).map(|at| sources[at].directory.display().to_string()).collect(),
            units: inventory.whole_units(kind) as u64,
            facts: kinds.facts(kind).clone(),
        })
        .collect();
    let mut warnings: Vec<String> = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        for warning in &source.file.warnings {
            let warning = match kinds.count() {
                1 => warning.clone(),
                _ => format!("{}: {warning}", kinds.name(at)),
            };
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    warnings.extend(notes.iter().cloned());
    let started =
        sources.iter().map(|source| &source.file.started_utc).min().unwrap_or(&first.started_utc).clone();
    RunFile {
        run_id: format!("{}-{}", started.replace(['-', ':'], ""), sources[0].name()),
        started_utc: started,
        shard: None,
        argv: merge.argv.clone(),
        warnings,
        machine: common_facts(&machines),
        machines,
        ..first.clone()
    }
}
