//! Memory after the load: what is returned by itself within a minute, and what the allocator's purge call
//! frees.

use std::fmt::Write as _;
use std::path::Path;

use crate::support::heaplab;
use crate::support::rows::{column, read_samples};

/// A log of this many threads, each of which keeps blocks of `size` bytes to the end. `shift` changes the
/// state of an allocator's counters when the load is over.
fn write_log(path: &Path, threads: u64, blocks: u64, size: u64, shift: u64) {
    let mut log = String::new();
    let mut time = 0;
    let mut line = |thread: u64, text: &str| {
        time += 3_000 + shift * 700;
        let end = time + 500;
        writeln!(log, "{thread}: {text} {time} {end}").unwrap();
    };
    for pair in 0..shift * 137 {
        line(1, &format!("malloc 0x1000 {}", 16 + pair % 4000));
        line(1, "free 0x1000");
    }
    for block in 0..blocks {
        for thread in 1..=threads {
            let address = (thread << 40) + block * (size + 64);
            line(thread, &format!("malloc {address:#x} {size}"));
        }
    }
    std::fs::write(path, log).unwrap();
}

/// What one sample measured, and its resident bytes.
struct Row {
    what: String,
    peak: f64,
    drained: f64,
    settled: f64,
    purged: f64,
}

fn after_load(logs: &[&Path], arguments: &[&str]) -> Vec<Row> {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("run");
    heaplab()
        .arg("run")
        .args(logs)
        .args(["--pass", "memory", "--reps", "1", "-o", output.to_str().unwrap()])
        .args(arguments)
        .assert()
        .success();
    let samples = read_samples(&output);
    assert!(!samples.is_empty());
    samples
        .iter()
        .map(|sample| {
            assert_eq!(column(sample, "status"), "ok");
            let bytes = |name| column(sample, name).parse().unwrap();
            Row {
                what: format!("{} {}", column(sample, "workload"), column(sample, "variant")),
                peak: bytes("resident_peak_bytes"),
                drained: bytes("resident_drained_bytes"),
                settled: bytes("resident_settled_bytes"),
                purged: bytes("resident_purged_bytes"),
            }
        })
        .collect()
}

#[test]
fn what_settles_does_not_hang_on_where_an_allocators_counters_stand() {
    let directory = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..5).map(|shift| directory.path().join(format!("shift-{shift}.log"))).collect();
    for (shift, path) in (0..).zip(&paths) {
        write_log(path, 1, 9_000, 2_048, shift);
    }
    let logs: Vec<&Path> = paths.iter().map(AsRef::as_ref).collect();
    let rows = after_load(&logs, &["-a", "jemalloc", "-a", "jemalloc-system"]);
    assert_eq!(rows.len(), 10);
    for Row { what, drained, settled, .. } in &rows {
        println!("{what}: drained {drained}, settled {settled}");
        // jemalloc takes only ten seconds to give back what nobody uses, and a minute has passed.
        assert!(*drained > 15e6 && *settled < 4e6, "{what}: drained {drained}, settled {settled}");
    }
}

#[test]
fn a_purge_reaches_what_each_thread_keeps() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("threads.log");
    write_log(&log, 4, 500, 30_000, 0);
    let variants =
        ["-a", "mimalloc-system", "-a", "mimalloc:purge_delay=1000000", "-a", "jemalloc:dirty_decay_ms=-1"];
    for Row { what, drained, purged, .. } in after_load(&[&log], &variants) {
        println!("{what}: drained {drained}, purged {purged}");
        assert!(drained > 40e6 && purged < 25e6, "{what}: drained {drained}, purged {purged}");
    }
}

#[test]
fn at_a_pace_that_keeps_times_background_threads_have_theirs_after_the_load() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("background.log");
    write_log(&log, 1, 9_000, 2_048, 0);
    let variant = "jemalloc:background_thread=true,dirty_decay_ms=100";
    let rows = after_load(&[&log], &["-a", variant, "--pace", "x30"]);
    let Row { what, peak, settled, .. } = &rows[0];
    // Its thread works in real time: on a busy machine everything may be gone before the drained memory is
    // read, so what it gives back is judged from the peak.
    assert!(*peak > 15e6 && *settled < 6e6, "{what}: peak {peak}, settled {settled}");
}
