//! How much fresh memory a replay used, and in which pages: the same is warmed before the variant's next
//! sample.
//!
//! Two reads of `/proc` around the replay, none in it. Every figure is an upper bound: warming too much costs time,
//! warming too little falsifies the measurement.

use procfs::process::Process;

use super::extent::{Extent, Footprint};
use super::memory::{PAGE_BYTES, Rollup};

const HUGE_PAGE_BYTES: u64 = Extent::HUGE_PAGE_BYTES;
/// Less than this costs a few ticks of the kernel's clock even if the host has to back all of it.
const REMARKED_BYTES: u64 = 4 << 20;

/// What the kernel counts, at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counters {
    /// Most resident bytes so far, of whatever kind.
    peak_bytes: u64,
    /// Resident bytes of files and shared mappings.
    shared_bytes: u64,
    /// Huge pages with which faults of any process were served; none if the kernel does not count them.
    huge_faults: Option<u64>,
}

impl Counters {
    pub(super) fn read() -> Result<Counters, String> {
        let status = Process::myself()
            .and_then(|process| process.status())
            .map_err(|error| format!("cannot read /proc/self/status: {error}"))?;
        let bytes = |kib: Option<u64>| kib.unwrap_or(0) * 1024;
        Ok(Counters {
            peak_bytes: bytes(status.vmhwm),
            shared_bytes: bytes(status.rssfile) + bytes(status.rssshmem),
            huge_faults: read_huge_faults(),
        })
    }
}

fn read_huge_faults() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("thp_fault_alloc "))?.trim().parse().ok()
}

/// What was used between two moments, with `faults` minor page faults.
pub(super) fn find_footprint(begin: Counters, end: Counters, faults: u64) -> Result<Footprint, String> {
    let huge_faults = end.huge_faults.zip(begin.huge_faults).map(|(end, begin)| end.saturating_sub(begin));
    let huge_bytes = match huge_faults {
        Some(faults) => faults.saturating_mul(HUGE_PAGE_BYTES),
        None => Rollup::read()?.anon_huge_bytes,
    };
    let peak = end.peak_bytes.saturating_sub(end.shared_bytes.min(begin.shared_bytes));
    Ok(Footprint {
        extent: divide(peak, huge_bytes, faults),
        huge_faults: huge_faults.map(|huge| huge.min(faults)),
    })
}

/// What a replay used beyond what was warmed for it; none if that can hardly show. A load that is simulated anew for each
/// block may need more than all before it.
pub(super) fn remark_uncovered(warmed: Extent, used: Extent) -> Option<String> {
    let beyond = |used: u64, warmed: u64| used.saturating_sub(warmed);
    let small = beyond(used.small_bytes, warmed.small_bytes);
    let huge = beyond(used.huge_bytes, warmed.huge_bytes);
    (small.saturating_add(huge) >= REMARKED_BYTES).then(|| {
        format!(
            "the replay used up to {} MiB in small pages and {} in huge ones more than were warmed for it: the host may \
             have backed them during the replay",
            small >> 20,
            huge >> 20
        )
    })
}

/// How much of `peak` bytes was in huge pages and in small ones, at most.
fn divide(peak: u64, huge_bytes: u64, faults: u64) -> Extent {
    let huge_bytes = huge_bytes.min(peak);
    let small_faults = faults.saturating_sub(huge_bytes / HUGE_PAGE_BYTES);
    // NOTE: a fault may bring several small pages (medium-sized folios): everything that is not huge counts
    // as small.
    let small_bytes = small_faults.saturating_mul(PAGE_BYTES).min(peak).max(peak - huge_bytes);
    Extent { small_bytes, huge_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_in_huge_pages_as_far_as_faults_brought_any() {
        const MIB: u64 = 1 << 20;
        let extent = |small_bytes, huge_bytes| Extent { small_bytes, huge_bytes };
        assert_eq!(divide(10 * MIB, 0, 2560), extent(10 * MIB, 0));
        assert_eq!(divide(10 * MIB, 8 * MIB, 4 + 512), extent(2 * MIB, 8 * MIB));
        assert_eq!(divide(10 * MIB, 8 * MIB, 4 + 1024), extent(4 * MIB, 8 * MIB), "pages came and went");
        assert_eq!(
            divide(10 * MIB, 800 * MIB, 9),
            extent(9 * 4096 - 5 * 4096, 10 * MIB),
            "others' huge pages"
        );
        assert_eq!(divide(10 * MIB, 0, 100), extent(10 * MIB, 0), "folios of 64 KiB");
    }

    #[test]
    fn what_was_used_beyond_what_was_there_is_said_for_each_size() {
        const MIB: u64 = 1 << 20;
        let extent = |small, huge| Extent { small_bytes: small * MIB, huge_bytes: huge * MIB };
        let remark = |used| remark_uncovered(extent(50, 100), used).unwrap_or_default();
        assert_eq!(remark(extent(50, 100)), "");
        assert_eq!(remark(extent(52, 101)), "", "a few ticks");
        assert!(remark(extent(60, 0)).contains("10 MiB in small pages and 0 in huge ones more"));
        let huge = remark(extent(0, 120));
        assert!(
            huge.contains("0 MiB in small pages and 20 in huge ones more"),
            "spare small ones are others"
        );
    }

    #[test]
    fn what_a_process_writes_to_is_in_its_footprint() {
        const BYTES: usize = 48 << 20;
        let begin = Counters::read().unwrap();
        let block = std::hint::black_box(vec![1u8; BYTES]);
        let end = Counters::read().unwrap();
        drop(block);
        let found = find_footprint(begin, end, BYTES as u64 / PAGE_BYTES).unwrap();
        assert!(found.extent.small_bytes + found.extent.huge_bytes >= BYTES as u64 / 2, "{found:?}");
    }
}
