//! The memory that a run's plan uses and its report answers with: the same figure in `plan`, `report` and `validate`.

use crate::capacity::{Basis, Capacity, Need};
use crate::stats::{Ratio, median, paired_ratio};

/// A variant that finished every sample, with its figure.
#[derive(Debug, Clone)]
pub(super) struct Entrant<'a> {
    pub(super) variant: &'a str,
    /// Blocks.
    pub(super) n: usize,
    pub(super) median: f64,
    pub(super) interval: Option<(f64, f64)>,
}

/// What processes need, by block, as in the first plan of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlannedMemory {
    needs: Vec<Need>,
    non_heap_bytes: u64,
}

impl PlannedMemory {
    pub(super) fn of(capacity: &Capacity) -> PlannedMemory {
        let non_heap_bytes = capacity.request.non_heap_bytes;
        PlannedMemory { needs: capacity.needs.clone(), non_heap_bytes }
    }

    /// Which figure it is.
    pub(super) fn describe(&self) -> String {
        "Memory is the figure for planning: what a process does not exceed in 99 % of its time; `heaplab plan` and \
         `heaplab validate` use the same."
            .to_owned()
    }

    fn of_workload<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = &'a Need> {
        self.needs.iter().filter(move |need| need.workload == workload)
    }

    fn bytes(&self, need: &Need, block: u32) -> Option<f64> {
        let more = if need.basis == Basis::Heap { self.non_heap_bytes as f64 } else { 0.0 };
        Some(need.blocks.get(&block)?.process_bytes() + more)
    }

    /// The variants whose samples of a workload are all ok.
    pub(super) fn entrants<'a>(&'a self, workload: &'a str) -> Vec<Entrant<'a>> {
        let complete = self.of_workload(workload).filter(|need| need.failed == 0);
        let entrants = complete.filter_map(|need| {
            let values: Vec<f64> = need.blocks.keys().filter_map(|block| self.bytes(need, *block)).collect();
            Some(Entrant {
                variant: &need.variant,
                n: values.len(),
                median: median(&values)?,
                interval: need.interval(&values).map(|interval| (interval.low, interval.high)),
            })
        });
        entrants.collect()
    }

    /// One variant's memory divided by another's, within blocks.
    pub(super) fn ratio(&self, workload: &str, own: &str, base: &str) -> Option<Ratio> {
        let of = |variant: &str| self.of_workload(workload).find(|need| need.variant == variant);
        let (own, base) = (of(own)?, of(base)?);
        let pair = |block: &u32| Some((self.bytes(own, *block)?, self.bytes(base, *block)?));
        paired_ratio(&own.blocks.keys().filter_map(pair).collect::<Vec<(f64, f64)>>())
    }
}
