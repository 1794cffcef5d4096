//! Virtual time: an allocator's timers see the trace's clock, however fast the replay runs.

use std::fmt::Write as _;
use std::path::Path;

use crate::support::heaplab;
use crate::support::rows::{column, read_samples};

const SECOND: u64 = 1_000_000_000;
/// Blocks of a burst. NOTE: jemalloc counts about a thousand slow-path operations between two reads of the
/// clock; with bursts of 40 blocks, which its thread cache serves, nothing decays in any kind of time.
const BURST: u64 = 200;

/// A log of 128 MB in 32 KB blocks, 98 % of which are freed, and then a minute of small bursts.
fn write_log(path: &Path) {
    let (blocks, kept) = (4096u64, 82);
    let mut log = String::new();
    let mut time = 0;
    let mut line = |time: &mut u64, text: &str| {
        *time += 1000;
        let end = *time + 500;
        writeln!(log, "1: {text} {time} {end}").unwrap();
    };
    let address = |block: u64| 0x10_0000_0000 + block * 0x1_0000;
    for block in 0..blocks {
        line(&mut time, &format!("malloc {:#x} 32768", address(block)));
    }
    for block in 0..blocks {
        // The kept blocks lie apart, so that they pin only their own pages.
        if block % (blocks / kept) != 0 {
            line(&mut time, &format!("free {:#x}", address(block)));
        }
    }
    for burst in 1..=120u64 {
        time = SECOND + burst * SECOND / 2;
        for step in 0..BURST {
            let size = 64u64 << (step % 9);
            line(&mut time, &format!("malloc 0x7f00{:06x}0 {size}", step + 1));
        }
        for step in 0..BURST {
            line(&mut time, &format!("free 0x7f00{:06x}0", step + 1));
        }
    }
    std::fs::write(path, log).unwrap();
}

#[test]
fn a_minute_of_idling_gives_memory_back_in_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("idle.log");
    write_log(&log);
    let mean = |pace: &str| -> Vec<(String, f64)> {
        let output = directory.path().join(pace);
        heaplab()
            .args(["run", log.to_str().unwrap(), "--pass", "memory", "--reps", "1", "--pace", pace])
            .args(["-a", "jemalloc", "-a", "mimalloc", "-a", "ptmalloc2", "-o", output.to_str().unwrap()])
            .assert()
            .success();
        let samples = read_samples(&output);
        samples
            .iter()
            .map(|sample| {
                assert_eq!(column(sample, "status"), "ok");
                let wall_ns: u64 = column(sample, "wall_ns").parse().unwrap();
                assert!(wall_ns < 20 * SECOND, "a minute took {wall_ns} ns");
                let mean = column(sample, "resident_mean_bytes").parse().unwrap();
                (column(sample, "allocator").to_owned(), mean)
            })
            .collect()
    };
    let (paced, unpaced) = (mean("virtual"), mean("max"));
    let of = |means: &[(String, f64)], allocator: &str| {
        means.iter().find(|(name, _)| name == allocator).map(|(_, mean)| *mean).unwrap()
    };
    for allocator in ["jemalloc", "mimalloc"] {
        let ratio = of(&paced, allocator) / of(&unpaced, allocator);
        println!("{allocator}: mean resident memory at virtual pace over that at max: {ratio:.3}");
        assert!(ratio < 0.6, "{allocator}: {ratio}");
    }
    // The known answer for an allocator without timers: nothing changes.
    let ratio = of(&paced, "ptmalloc2") / of(&unpaced, "ptmalloc2");
    assert!((0.95..1.05).contains(&ratio), "ptmalloc2: {ratio}");
}
