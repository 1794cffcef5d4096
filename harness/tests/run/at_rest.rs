//! When memory is inspected: at the requested peak, and while nothing is in flight.

use std::fmt::Write as _;
use std::fs;

use super::Place;
use crate::support::rows::column;

/// The peak is a small block, and a large one goes soon after it: what is measured there is measured in between.
#[test]
fn the_requested_peak_is_measured_before_what_follows_it() {
    let place = Place::new();
    let mut log = "1: malloc 0x10 50000000\n".to_owned();
    (1..1000).for_each(|block| writeln!(log, "1: malloc {:#x} 1000", block << 20).unwrap());
    log.push_str("1: free 0x10\n");
    fs::write(place.path("small.log"), log).unwrap();
    place.run(&["small.log", "--pass", "memory", "--reps", "1"]).success();
    for sample in place.samples() {
        let number = |name: &str| column(&sample, name).parse::<u64>().unwrap();
        let (peak, measured) = (number("requested_peak_bytes"), number("at_peak_requested_bytes"));
        assert!(peak - measured <= peak / 512, "{sample:?}");
        assert!(number("at_peak_resident_bytes") > 50_000_000, "{sample:?}");
    }
}

/// A block that a thread frees may be unmapped at any time while others run: the heap is inspected between windows.
#[test]
fn in_causal_order_blocks_are_inspected_while_none_is_freed() {
    let mut log = String::new();
    for index in 0..40_000u64 {
        let (thread, address) = (1 + index % 4, 0x10_0000 + index * 0x100_0000);
        writeln!(log, "{thread}: malloc {address:#x} {}", 140_000 + index).unwrap();
        if index >= 100 && index % 100 != 0 {
            writeln!(log, "{}: free {:#x}", 1 + index % 3, address - 100 * 0x100_0000).unwrap();
        }
    }
    let place = Place::new();
    fs::write(place.path("small.log"), &log).unwrap();
    let mapped = "ptmalloc2:MALLOC_MMAP_THRESHOLD_=131072";
    let how = ["--order", "causal", "-a", mapped, "-a", "jemalloc"];
    place.run(&[&["small.log", "--pass", "memory", "--reps", "3"][..], &how].concat()).success();
    for sample in place.samples() {
        assert_eq!(column(&sample, "status"), "ok", "{}", column(&sample, "status_detail"));
        assert!(!column(&sample, "at_resident_peak_resident_bytes").is_empty(), "{sample:?}");
    }
}
