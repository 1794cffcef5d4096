//! Heap maps: for each workload and variant the cells of the first block that has them.

use std::collections::HashMap;

use crate::results::{Moment, ResultsError, Run};
use crate::worker::HeapCell;

/// The cells of one map, in order of address.
pub(super) type Cells = Vec<HeapCell>;

/// Maps by workload, variant and moment.
#[derive(Debug, Default)]
pub(super) struct HeapMaps(HashMap<(String, String, Moment), Cells>);

impl HeapMaps {
    /// Streams heapmap.csv once. Notes rows that were left out.
    pub(super) fn read(run: &Run, notes: &mut Vec<String>) -> Result<HeapMaps, ResultsError> {
        let mut by_sample: HashMap<(usize, Moment), Cells> = HashMap::new();
        let mut first: HashMap<(&str, &str), u32> = HashMap::new();
        for sample in &run.samples {
            let block = first.entry((&sample.workload, &sample.variant)).or_insert(sample.block);
            *block = (*block).min(sample.block);
        }
        notes.extend(run.each_heap_cell(|place, moment, cell| {
            let sample = &run.samples[place];
            // NOTE: maps are drawn only in the first block; those of others would only take memory.
            if first.get(&(&*sample.workload, &*sample.variant)) == Some(&sample.block) {
                by_sample.entry((place, moment)).or_default().push(cell);
            }
        })?);
        let named = by_sample.into_iter().map(|((place, moment), mut cells)| {
            cells.sort_by_key(|cell| (cell.region, cell.offset_bytes));
            let sample = &run.samples[place];
            ((sample.workload.clone(), sample.variant.clone(), moment), cells)
        });
        Ok(HeapMaps(named.collect()))
    }

    /// The map of a variant; none if there is none.
    pub(super) fn get(&self, workload: &str, variant: &str, moment: Moment) -> Option<&Cells> {
        self.0.get(&(workload.to_owned(), variant.to_owned(), moment))
    }
}

/// Cells merged into larger ones, so that maps of several variants can be compared with each other.
pub(super) fn join(cells: &[HeapCell], span_bytes: u64) -> Cells {
    let span_bytes = span_bytes.max(1);
    let mut joined: Cells = Vec::new();
    for cell in cells {
        let offset_bytes = cell.offset_bytes / span_bytes * span_bytes;
        match joined.last_mut() {
            Some(last) if last.region == cell.region && last.offset_bytes == offset_bytes => {
                last.resident_bytes = last.resident_bytes.saturating_add(cell.resident_bytes);
                last.live_bytes = last.live_bytes.saturating_add(cell.live_bytes);
            }
            _ => joined.push(HeapCell { offset_bytes, span_bytes, ..*cell }),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(region: u64, offset_bytes: u64, resident_bytes: u64, live_bytes: u64) -> HeapCell {
        HeapCell { region, offset_bytes, span_bytes: 4096, resident_bytes, live_bytes }
    }

    #[test]
    fn cells_are_joined_within_a_region_and_nothing_is_lost() {
        let cells =
            [cell(0, 0, 4096, 10), cell(0, 4096, 4096, 0), cell(0, 12288, 4096, 5), cell(1, 0, 100, 1)];
        let joined = join(&cells, 8192);
        let figures: Vec<(u64, u64, u64, u64)> = joined
            .iter()
            .map(|cell| (cell.region, cell.offset_bytes, cell.resident_bytes, cell.live_bytes))
            .collect();
        assert_eq!(figures, [(0, 0, 8192, 10), (0, 8192, 4096, 5), (1, 0, 100, 1)]);
        assert!(joined.iter().all(|cell| cell.span_bytes == 8192));
    }
}
