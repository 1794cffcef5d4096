//! Whether the kernel had huge pages to give. If it had none, an allocator that asks for them got small ones, and less
//! of its memory is resident than on a host with free ones.
//!
//! The kernel counts that for the machine and not for a process, so it is reported only for a process that
//! has huge pages.

use super::job::Measured;
use crate::stats::NOISE_THRESHOLD;

const HUGE_PAGE_BYTES: u64 = 2 << 20;

const REMARK: &str = "the kernel had too few free huge pages meanwhile, so that less is resident than on a host that has \
    them: end what fills the memory, or let the kernel join free pages (as root: echo 1 > /proc/sys/vm/compact_memory)";

/// Faults on the whole machine, since it started, that should have got a huge page but got a small one; none
/// if the kernel does not tell.
pub(super) fn count_fallbacks() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/vmstat").ok()?)
}

fn parse(vmstat: &str) -> Option<u64> {
    vmstat.lines().find_map(|line| line.strip_prefix("thp_fault_fallback "))?.trim().parse().ok()
}

/// The warning for a memory sample, from the counts before and after it: none if the fallbacks are within the noise.
pub(super) fn remark(before: Option<u64>, after: Option<u64>, measured: &Measured) -> Option<String> {
    let fallbacks = after?.saturating_sub(before?);
    let peak_bytes = measured.resident_peak_bytes?;
    let has_huge_pages = measured.anon_huge_bytes.is_some_and(|bytes| bytes > 0);
    let is_much = (fallbacks * HUGE_PAGE_BYTES) as f64 > NOISE_THRESHOLD * peak_bytes as f64;
    (has_huge_pages && is_much).then(|| REMARK.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_found_among_its_neighbours() {
        let vmstat = "thp_fault_alloc 9\nthp_fault_fallback 1507\nthp_fault_fallback_charge 17\n";
        assert_eq!(parse(vmstat), Some(1_507));
        assert_eq!(parse("thp_fault_fallback_charge 17\n"), None);
        assert!(count_fallbacks().is_none_or(|count| count < u64::MAX));
    }

    #[test]
    fn only_who_has_huge_pages_and_lacks_many_is_marked() {
        let sample = |peak: u64, huge: u64| Measured {
            resident_peak_bytes: Some(peak << 20),
            anon_huge_bytes: Some(huge << 20),
            ..Measured::default()
        };
        let is_marked =
            |fallbacks: u64, measured: Measured| remark(Some(10), Some(10 + fallbacks), &measured).is_some();
        assert!(is_marked(5, sample(400, 300)), "10 of 400 MiB");
        assert!(!is_marked(3, sample(400, 300)), "6 of 400 MiB are noise");
        assert!(!is_marked(500, sample(400, 0)), "another process's");
        assert_eq!(remark(None, Some(500), &sample(400, 300)), None);
    }
}
