//! Blocks by usable size: which sizes lose the most between requested and usable bytes.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::grid::Grid;
use super::units;
use crate::results::{ResultsError, Run};
use crate::worker::SizeClass;

/// Most rows of a workload's table, besides the worst of each variant.
const MOST_ROWS: usize = 10;

/// Sizes by workload and variant, of the first block that has them.
#[derive(Debug, Default)]
pub(super) struct Sizes(BTreeMap<(String, String), Vec<SizeClass>>);

impl Sizes {
    /// Streams sizes.csv once. Notes rows that were left out.
    pub(super) fn read(run: &Run, notes: &mut Vec<String>) -> Result<Sizes, ResultsError> {
        let mut by_sample: HashMap<usize, Vec<SizeClass>> = HashMap::new();
        notes.extend(run.each_size(|place, size| by_sample.entry(place).or_default().push(size))?);
        let mut places: Vec<usize> = by_sample.keys().copied().collect();
        places.sort_by_key(|&place| run.samples[place].block);
        let mut sizes = Sizes::default();
        for place in places {
            let sample = &run.samples[place];
            let key = (sample.workload.clone(), sample.variant.clone());
            sizes.0.entry(key).or_insert_with(|| by_sample.remove(&place).unwrap_or_default());
        }
        Ok(sizes)
    }

    /// The sizes of a workload that lose the most, and the worst of each variant; those that lose
    /// the most come first.
    pub(super) fn ranked(&self, workload: &str) -> Vec<Ranked<'_>> {
        let mut ranked: Vec<Ranked<'_>> = Vec::new();
        for ((of, variant), sizes) in &self.0 {
            if of != workload {
                continue;
            }
            let lost = |size: &SizeClass| size.live_usable_bytes.saturating_sub(size.live_requested_bytes);
            let variant_lost_bytes = sizes.iter().map(lost).fold(0, u64::saturating_add);
            ranked.extend(sizes.iter().filter(|size| lost(size) > 0).map(|size| Ranked {
                variant,
                size,
                lost_bytes: lost(size),
                variant_lost_bytes,
            }));
        }
        ranked
            .sort_by(|one, other| other.lost_bytes.cmp(&one.lost_bytes).then(one.variant.cmp(other.variant)));
        let mut seen = HashSet::new();
        let mut at = 0;
        ranked.retain(|row| {
            at += 1;
            seen.insert(row.variant) || at <= MOST_ROWS
        });
        ranked
    }

    /// The same as a table; none if nothing is known.
    pub(super) fn grid(&self, workload: &str) -> Option<Grid> {
        let header =
            ["usable size", "variant", "live blocks", "requested", "lost", "of its size", "share", "calls"];
        let ranked = self.ranked(workload);
        let rows = ranked.iter().map(|row| {
            vec![
                units::bytes(row.size.usable_bytes as f64),
                row.variant.to_owned(),
                row.size.live_blocks.to_string(),
                units::bytes(row.size.live_requested_bytes as f64),
                units::bytes(row.lost_bytes as f64),
                percent(row.lost_bytes, row.size.live_usable_bytes),
                percent(row.lost_bytes, row.variant_lost_bytes),
                row.size.calls.to_string(),
            ]
        });
        let grid = Grid { names: 2, header: header.map(str::to_owned).to_vec(), rows: rows.collect() };
        (!grid.rows.is_empty()).then_some(grid)
    }
}

/// A size of a variant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranked<'a> {
    pub(super) variant: &'a str,
    pub(super) size: &'a SizeClass,
    /// Usable bytes of its live blocks minus the requested bytes.
    pub(super) lost_bytes: u64,
    /// What the variant loses in this way over all sizes.
    variant_lost_bytes: u64,
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", part as f64 / whole as f64 * 100.0) }
}
