//! Blocks by usable size: which sizes lose the most between what was requested and what a block has room for.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::grid::Grid;
use super::units;
use crate::results::{ResultsError, Run, SizeFigures};

/// Rows of a workload's table, beside the worst of each variant.
const MOST_ROWS: usize = 10;

/// Sizes by workload and variant, of the first block that has them.
#[derive(Debug, Default)]
pub(super) struct Sizes(BTreeMap<(String, String), Vec<SizeFigures>>);

impl Sizes {
    /// Streams sizes.csv once. Notes what was left out.
    pub(super) fn read(run: &Run, notes: &mut Vec<String>) -> Result<Sizes, ResultsError> {
        let mut by_sample: HashMap<usize, Vec<SizeFigures>> = HashMap::new();
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

    /// The sizes of a workload that lose the most, and the worst of each variant; none where nothing is known.
    pub(super) fn grid(&self, workload: &str) -> Option<Grid> {
        let mut ranked: Vec<(u64, &str, &SizeFigures)> = Vec::new();
        let mut totals: HashMap<&str, u64> = HashMap::new();
        for ((of, variant), sizes) in &self.0 {
            if of != workload {
                continue;
            }
            for size in sizes {
                let lost = size.live_usable_bytes.saturating_sub(size.live_requested_bytes);
                *totals.entry(variant).or_default() += lost;
                ranked.push((lost, variant, size));
            }
        }
        ranked.retain(|row| row.0 > 0);
        ranked.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
        let mut seen = HashSet::new();
        let mut at = 0;
        ranked.retain(|row| {
            at += 1;
            seen.insert(row.1) || at <= MOST_ROWS
        });
        let header =
            ["usable size", "variant", "live blocks", "requested", "lost", "of its size", "share", "calls"];
        let rows = ranked.iter().map(|&(lost, variant, size)| {
            vec![
                units::bytes(size.usable_bytes as f64),
                variant.to_owned(),
                size.live_blocks.to_string(),
                units::bytes(size.live_requested_bytes as f64),
                units::bytes(lost as f64),
                percent(lost, size.live_usable_bytes),
                percent(lost, totals.get(variant).copied().unwrap_or_default()),
                size.calls.to_string(),
            ]
        });
        let grid = Grid { names: 2, header: header.map(str::to_owned).to_vec(), rows: rows.collect() };
        (!grid.rows.is_empty()).then_some(grid)
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 { "-".to_owned() } else { format!("{:.1} %", part as f64 / whole as f64 * 100.0) }
}
