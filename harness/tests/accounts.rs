//! What allocators say about their own memory: stats.csv, and whether it agrees with what the replay knows.

use std::fmt::Write as _;

use crate::support::heaplab;
use crate::support::rows::{Row, column};

/// 20,000 blocks of ten sizes, every second of which is freed at the end.
fn write_log(path: &std::path::Path) {
    let mut log = String::new();
    let sizes = [24u64, 56, 120, 200, 312, 504, 760, 1_016, 1_500, 2_008];
    let address = |block: u64| (1u64 << 32) + block * 4_096;
    for block in 0..20_000 {
        writeln!(log, "1: malloc {:#x} {}", address(block), sizes[block as usize % 10]).unwrap();
    }
    for block in (0..20_000).step_by(2) {
        writeln!(log, "1: free {:#x}", address(block)).unwrap();
    }
    std::fs::write(path, log).unwrap();
}

fn number(row: &Row, name: &str) -> u64 {
    column(row, name).parse().unwrap_or_else(|_| panic!("{name}: {row:?}"))
}

#[test]
fn accounts_agree_with_what_the_replay_holds() {
    let directory = tempfile::tempdir().unwrap();
    let (log, out) = (directory.path().join("blocks.log"), directory.path().join("out"));
    write_log(&log);
    let mut command = heaplab();
    command.arg("run").arg(&log).args(["--pass", "memory", "--reps", "2", "-o"]).arg(&out);
    for name in ["ptmalloc2", "jemalloc", "jemalloc-system", "tcmalloc", "mimalloc"] {
        command.args(["-a", name]);
    }
    command.assert().success();
    let mut reader = csv::Reader::from_path(out.join("stats.csv")).unwrap();
    let stats: Vec<Row> = reader.deserialize().map(|row| row.unwrap()).collect();
    assert!(stats.iter().all(|row| column(row, "block") == "0"), "the first block alone");
    let whole = |variant: &str, moment: &str| {
        let is = |row: &&Row| {
            column(row, "variant") == variant
                && column(row, "moment") == moment
                && column(row, "size_bytes").is_empty()
        };
        stats.iter().filter(is).collect::<Vec<_>>()
    };
    for variant in ["ptmalloc2", "jemalloc-system", "tcmalloc"] {
        let [peak] = whole(variant, "peak")[..] else { panic!("{variant}: {stats:?}") };
        let (live, usable) = (number(peak, "live_bytes"), number(peak, "usable_bytes"));
        assert!(usable > 13_000_000, "{variant}: {peak:?}");
        assert!(live.abs_diff(usable) < usable / 20, "{variant}: {live} is not {usable}");
        assert!(number(peak, "system_bytes") >= live, "{variant}: {peak:?}");
        // What is left belongs to the process itself: the replay holds nothing.
        let [drained] = whole(variant, "drained")[..] else { panic!("{variant}: {stats:?}") };
        assert_eq!(number(drained, "usable_bytes"), 0);
        assert!(number(drained, "live_bytes") < 1_000_000, "{variant}: {drained:?}");
    }
    // Built without statistics, jemalloc still knows its pages, and mimalloc what it has from the system.
    let [peak] = whole("jemalloc", "peak")[..] else { panic!("{stats:?}") };
    assert!(number(peak, "active_bytes") >= number(peak, "usable_bytes"), "{peak:?}");
    assert_eq!(column(peak, "live_bytes"), "");
    let [peak] = whole("mimalloc", "peak")[..] else { panic!("{stats:?}") };
    assert!(number(peak, "system_bytes") >= number(peak, "usable_bytes"), "{peak:?}");

    // By size: 2,000 blocks of each size are live at the peak, however much room each has.
    let of_size = |variant: &str, moment: &str, size: u64| {
        let is = |row: &&Row| {
            column(row, "variant") == variant
                && column(row, "moment") == moment
                && column(row, "size_bytes").parse() == Ok(size)
        };
        stats.iter().find(is).cloned().unwrap_or_else(|| panic!("{variant}, {size}"))
    };
    let kib = of_size("jemalloc-system", "peak", 1_024);
    assert!((2_000 * 1_024..2_200 * 1_024).contains(&number(&kib, "live_bytes")), "{kib:?}");
    let free = of_size("tcmalloc", "drained", 1_024);
    assert!(number(&free, "cached_bytes") > 1_000 * 1_024, "{free:?}");

    let report = std::fs::read_to_string(out.join("report.md")).unwrap();
    assert!(report.contains("| variant | moment | said to be live | live | metadata | cached |"), "{report}");
    assert!(out.join("plots/blocks-account.png").is_file());
}
