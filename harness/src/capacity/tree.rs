//! What a tree of processes needs of a host's memory: it is placed as one unit, so that what its processes share counts
//! once.

use super::need::{Basis, BlockNeed, Need, held_from};
use super::node::{Curve, PodBlock};
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
    let mut found = predict_trees(run, &predict(run)?);
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
        let of_variants = run.file.variants.iter().map(|variant| need(run, tree, &variant.label, &found));
        needs.extend(of_variants.flatten());
    }
    Ok(needs)
}

/// What a tree needs under a variant; none where nothing is predicted.
fn need(run: &Run, tree: &RunTree, variant: &str, found: &TreePredictions) -> Option<Need> {
    let is_member = |sample: &Sample| tree.members.iter().any(|member| member.workload == sample.workload);
    let of_variant =
        |sample: &&Sample| sample.pass == Pass::Memory && sample.variant == variant && is_member(sample);
    let samples: Vec<&Sample> = run.samples.iter().filter(of_variant).collect();
    let mut need = Need {
        workload: tree.name.clone(),
        variant: variant.to_owned(),
        basis: Basis::Tree,
        failed: samples.iter().filter(|sample| sample.status != Status::Ok).count() as u64,
        cpus: samples.iter().map(|sample| sample.cpus).collect(),
        library_bytes: samples.iter().filter_map(|sample| sample.library_file_bytes).max(),
        ..Need::default()
    };
    let is_it = |found: &&TreePrediction| found.tree == tree.name && found.variant == variant;
    for found in found.all.iter().filter(is_it) {
        let prediction = found.once.as_ref().unwrap_or(&found.sum);
        // Each process has its own page tables.
        let page_tables = samples.iter().filter(|sample| sample.block == found.block).filter_map(|sample| {
            let own = sample.page_table_bytes?.saturating_sub(sample.page_table_harness_bytes.unwrap_or(0));
            Some(own as f64)
        });
        let page_table_bytes: f64 = page_tables.sum();
        let held = held_of(prediction);
        let Some(resident) = percentile_over_time(&held, 0, PLANNED_FRACTION) else { continue };
        let block = BlockNeed { resident_p99_bytes: resident as f64, page_table_bytes };
        need.blocks.insert(found.block, block);
        need.pods.insert(found.block, pod(&held, page_table_bytes));
    }
    (!need.blocks.is_empty()).then_some(need)
}

/// Pairs of time and bytes, from where memory counts.
fn held_of(prediction: &Prediction) -> Vec<(u64, u64)> {
    let points = prediction.points.iter().copied().map(<(u64, u64)>::from).collect();
    held_from(points, prediction.counted_from_ns)
}

fn pod(held: &[(u64, u64)], page_table_bytes: f64) -> PodBlock {
    let end = held.last().map_or(0, |point| point.0);
    let curve = Curve::of(held, end).raised_by(page_table_bytes as f32);
    let time_s = end as f64 / 1e9;
    let steps_a_second = if time_s > 0.0 { Curve::STEPS as f64 / time_s } else { 0.0 };
    PodBlock {
        peak_bytes: curve.peak(),
        kernel_bytes: None,
        file_bytes: None,
        growth_bytes_per_s: curve.growth() * steps_a_second,
        time_s,
        curve,
    }
}
