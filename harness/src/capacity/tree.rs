//! What a tree of processes needs of a host's memory: it is placed as one unit, so that what its processes share counts
//! once.

use super::need::{Basis, BlockNeed, Measured, Need, held_from};
use crate::predict::{PLANNED_FRACTION, Prediction, TreePrediction, TreePredictions, predict, predict_trees};
use crate::results::{Pass, ResultsError, Run, RunTree, Sample, Status};
use crate::stats::percentile_over_time;

/// Reads the needs of a run's trees that have predictions, in the order of its variants. Adds to `notes` what their
/// figures lack.
///
/// # Errors
///
/// timeline.csv cannot be read.
pub(super) fn read_tree_needs(run: &Run, notes: &mut Vec<String>) -> Result<Vec<Need>, ResultsError> {
    if run.file.trees.is_empty() {
        return Ok(Vec::new());
    }
    let predictions = predict(run)?;
    let mut found = predict_trees(run, &predictions);
    notes.append(&mut found.notes);
    let mut needs = Vec::new();
    for tree in &run.file.trees {
        if tree.shared_unknown.is_some() && found.recorded.contains_key(&tree.name) {
            notes.push(format!(
                "{}: planned with the sum of its processes' memory, because it is not known what they share: too large by \
                 that",
                tree.name
            ));
        }
        // A sum and memory that counts shared pages once have no common ratio.
        let mut of_tree = found.all.iter().filter(|found| found.tree == tree.name).peekable();
        let by_once = of_tree.peek().is_some() && of_tree.all(|found| found.once.is_some());
        let of_variants = run.file.variants.iter();
        let of_variants = of_variants.filter_map(|variant| need(run, tree, &variant.label, &found, by_once));
        let recorded_under = predictions.recorded_under(run, &tree.name);
        needs.extend(
            of_variants.map(|need| Need { is_one_recording: recorded_under == Some(&*need.variant), ..need }),
        );
        let has_some = found.all.iter().any(|found| found.tree == tree.name && found.once.is_some());
        if has_some && !by_once {
            notes.push(format!(
                "{}: planned with the sum of its processes' memory under every variant, because under some it is not known \
                 what they share",
                tree.name
            ));
        }
    }
    Ok(needs)
}

/// What a tree needs under a variant; none where nothing is predicted.
fn need(run: &Run, tree: &RunTree, variant: &str, found: &TreePredictions, by_once: bool) -> Option<Need> {
    let is_member = |sample: &Sample| tree.members.iter().any(|member| member.workload == sample.workload);
    let of_variant =
        |sample: &&Sample| sample.pass == Pass::Memory && sample.variant == variant && is_member(sample);
    let samples: Vec<&Sample> = run.samples.iter().filter(of_variant).collect();
    let mut need = Need {
        workload: tree.name.clone(),
        variant: variant.to_owned(),
        basis: Basis::Tree,
        is_of_one_load: true,
        failed: samples.iter().filter(|sample| sample.status != Status::Ok).count() as u64,
        cpus: samples.iter().map(|sample| sample.cpus).collect(),
        library_bytes: samples.iter().filter_map(|sample| sample.library_file_bytes).max(),
        threads: count_threads(tree, &samples),
        ..Need::default()
    };
    let is_it = |found: &&TreePrediction| found.tree == tree.name && found.variant == variant;
    for found in found.all.iter().filter(is_it) {
        let prediction = found.once.as_ref().filter(|_| by_once).unwrap_or(&found.sum);
        // Each process has its own page tables.
        let page_tables = samples.iter().filter(|sample| sample.block == found.block).filter_map(|sample| {
            let own = sample.page_table_bytes?.saturating_sub(sample.page_table_harness_bytes.unwrap_or(0));
            Some(own as f64)
        });
        let page_table_bytes: f64 = page_tables.sum();
        let (peak_bytes, held) = held_of(prediction);
        let Some(resident) = percentile_over_time(&held, 0, PLANNED_FRACTION) else { continue };
        let block = BlockNeed { resident_p99_bytes: resident as f64, page_table_bytes };
        need.blocks.insert(found.block, block);
        let measured = Measured { peak_bytes, held: &held, page_table_bytes };
        need.pods.insert(found.block, measured.pod(0, true));
    }
    (!need.blocks.is_empty()).then_some(need)
}

/// Threads of all processes together, as far as their samples say.
fn count_threads(tree: &RunTree, samples: &[&Sample]) -> Option<u64> {
    let of_member = |workload: &str| {
        let own = samples.iter().filter(|sample| sample.workload == workload);
        own.filter_map(|sample| sample.threads).max()
    };
    tree.members.iter().filter_map(|member| of_member(&member.workload)).reduce(u64::saturating_add)
}

/// The most memory of all, and pairs of time and bytes from where memory counts.
fn held_of(prediction: &Prediction) -> (u64, Vec<(u64, u64)>) {
    let points: Vec<(u64, u64)> = prediction.points.iter().copied().map(<(u64, u64)>::from).collect();
    (prediction.peak_bytes, held_from(points, prediction.counted_from_ns))
}
