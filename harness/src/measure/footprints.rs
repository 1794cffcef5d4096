//! How much memory each variant's replays of a workload have used so far, and so what the next one is going to use.
//!
//! Outlives one campaign: several campaigns over the same workloads share their footprints.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::worker::{Extent, Footprint, Need, PageCosts, Reply, Warmed};

/// One part in this many is added to what was used before: concurrent threads do not interleave in the same way each
/// time.
const MARGIN: u64 = 4;
/// What the kernel uses in addition: page tables, stacks, the structures of threads and mappings.
const KERNEL_BYTES: u64 = 8 << 20;
/// From this ratio of a sample's kernel time to what its page faults cost on warm memory, memory was not warm. Memory
/// that the host has yet to back costs 8 to 17 times as much; an allocator's system calls and faults of many threads
/// at once come to less than twice.
const COLD: u64 = 4;
/// Kernel time below which nothing is judged: the kernel counts it in ticks of up to 10 ms.
const JUDGED_NS: u64 = 20_000_000;

/// Footprints by workload and variant.
#[derive(Debug, Default)]
pub struct Footprints {
    known: RefCell<HashMap<(usize, String), Option<Extent>>>,
    costs: RefCell<PageCosts>,
}

impl Footprints {
    /// Whether a rehearsal could still show what a variant's replay uses.
    pub(super) fn lacks(&self, workload: usize, variant: &str) -> bool {
        !self.known.borrow().contains_key(&(workload, variant.to_owned()))
    }

    /// Records what a replay used, or that it failed before that was known.
    pub(super) fn note(&self, workload: usize, variant: &str, reply: &Reply) {
        let mut known = self.known.borrow_mut();
        let of_variant = known.entry((workload, variant.to_owned())).or_default();
        if let Some(Footprint { extent, .. }) = reply.footprint {
            let before = of_variant.unwrap_or_default();
            *of_variant = Some(Extent {
                small_bytes: extent.small_bytes.max(before.small_bytes),
                huge_bytes: extent.huge_bytes.max(before.huge_bytes),
            });
        }
        if let Some(Warmed { last, is_warm: true, .. }) = reply.warmed {
            let mut costs = self.costs.borrow_mut();
            *costs = costs.least(last);
        }
    }

    /// What to back before a replay: what earlier ones used plus a margin. None if those failed: then this one is
    /// likely to fail too, and what it would have used is not known.
    pub(super) fn need(&self, workload: usize, variant: &str) -> Option<Need> {
        let known = self.known.borrow().get(&(workload, variant.to_owned())).copied().flatten()?;
        let more = |bytes: u64| bytes.saturating_add(bytes / MARGIN);
        let extent = Extent {
            small_bytes: more(known.small_bytes).saturating_add(KERNEL_BYTES),
            huge_bytes: more(known.huge_bytes),
        };
        Some(Need { extent, known: *self.costs.borrow() })
    }
}

/// Whether the host backed memory during the replay, or took the CPU away: its kernel time is far above what its page
/// faults cost on warm memory. None if that cannot be judged: too little kernel time, or an unknown cost of a fault.
pub(super) fn was_cold(reply: &Reply, known: PageCosts) -> Option<bool> {
    let (warmed, footprint) = (reply.warmed?, reply.footprint?);
    let kernel_ns = reply.measured.busy_system_ns?;
    let faults = reply.measured.page_faults_minor?;
    if kernel_ns < JUDGED_NS {
        return Some(false);
    }
    let huge =
        footprint.huge_faults.unwrap_or(footprint.extent.huge_bytes / Extent::HUGE_PAGE_BYTES).min(faults);
    let cost = |pages: u64, each: Option<u64>| match (pages, each) {
        (0, _) => Some(0),
        (pages, each) => Some(pages.saturating_mul(each?)),
    };
    let costs = known.least(warmed.last).least(warmed.first);
    let warm_ns = cost(faults - huge, costs.small_ns)?.saturating_add(cost(huge, costs.huge_ns)?);
    Some(kernel_ns > warm_ns.saturating_mul(COLD))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::worker::Measured;

    const MIB: u64 = 1 << 20;

    fn reply(small_bytes: u64, huge_bytes: u64) -> Reply {
        let footprint = Footprint { extent: Extent { small_bytes, huge_bytes }, huge_faults: Some(100) };
        let costs = PageCosts { small_ns: Some(1000), huge_ns: Some(400_000) };
        let warmed = Warmed { first: costs, last: costs, is_warm: true, ..Warmed::default() };
        Reply { footprint: Some(footprint), warmed: Some(warmed), ..Reply::default() }
    }

    #[test]
    fn a_need_is_the_most_that_was_used_and_a_quarter() {
        let footprints = Footprints::default();
        let extent = |variant: &str| footprints.need(0, variant).map(|need| need.extent);
        assert!(footprints.lacks(0, "a"));
        assert_eq!(extent("a"), None, "nothing is known");
        footprints.note(0, "a", &reply(40 * MIB, 0));
        footprints.note(0, "a", &reply(4 * MIB, 400 * MIB));
        let most = Extent { small_bytes: 50 * MIB + KERNEL_BYTES, huge_bytes: 500 * MIB };
        assert_eq!(extent("a"), Some(most));
        assert!(!footprints.lacks(0, "a") && footprints.lacks(0, "b") && footprints.lacks(1, "a"));
        footprints.note(0, "b", &Reply::default());
        assert!(!footprints.lacks(0, "b"), "a rehearsal that failed is not tried again");
        assert_eq!(extent("b"), None);
        footprints.note(0, "b", &reply(0, 0));
        assert_eq!(footprints.need(0, "b").unwrap().known.huge_ns, Some(400_000), "costs are the machine's");
    }

    #[test]
    fn kernel_time_far_above_that_of_warm_faults_is_cold() {
        let after = |system_ns: u64, faults: u64| {
            let measured = Measured {
                busy_system_ns: Some(system_ns),
                page_faults_minor: Some(faults),
                ..Measured::default()
            };
            was_cold(&Reply { measured, ..reply(0, 0) }, PageCosts::default())
        };
        // 100 huge pages at 0.4 ms and 10,000 small ones at 1 us are 50 ms.
        assert_eq!(after(60_000_000, 10_100), Some(false));
        assert_eq!(after(190_000_000, 10_100), Some(false));
        assert_eq!(after(700_000_000, 10_100), Some(true));
        assert_eq!(after(15_000_000, 0), Some(false), "a few ticks");
        assert_eq!(was_cold(&Reply::default(), PageCosts::default()), None, "nothing was warmed");
    }
}
