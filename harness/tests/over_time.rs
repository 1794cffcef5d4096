//! Memory over time: when it starts to count, and whether it still grows at the end.

use std::fmt::Write as _;
use std::path::Path;

use crate::support::heaplab;
use crate::support::rows::{Row, column, read_samples};

/// Blocks of this size, one per ms.
const BYTES: u64 = 20_000;

/// A log of this many steps: in the first `rising` each allocates a block, in the others each frees one and
/// allocates one.
fn write_log(path: &Path, steps: u64, rising: u64) {
    let mut log = String::new();
    let address = |block: u64| (1u64 << 32) + block * 32_768;
    for step in 0..steps {
        let time = step * 1_000_000;
        if step >= rising {
            writeln!(log, "1: free {:#x} {time} {}", address(step - rising), time + 100).unwrap();
        }
        writeln!(log, "1: malloc {:#x} {BYTES} {} {}", address(step), time + 200, time + 300).unwrap();
    }
    std::fs::write(path, log).unwrap();
}

/// Runs the log, and returns the output and the samples.
fn run(log: &Path, output: &str, arguments: &[&str]) -> (String, Vec<Row>) {
    let output = log.with_file_name(output);
    let said = heaplab()
        .arg("run")
        .arg(log)
        .args(["--pass", "memory", "--reps", "6", "-a", "ptmalloc2", "-o", output.to_str().unwrap()])
        .args(arguments)
        .assert()
        .success();
    (String::from_utf8(said.get_output().stdout.clone()).unwrap(), read_samples(&output))
}

#[test]
fn memory_that_still_grows_is_marked_with_its_slope() {
    let directory = tempfile::tempdir().unwrap();
    let grows = directory.path().join("grows.log");
    write_log(&grows, 3_000, 3_000);
    let (said, _) = run(&grows, "grows", &[]);
    // 20 MB a second are 19 MiB; the mean memory of the last third is 5/3 of the second third's.
    let mut lines = said.lines().skip_while(|line| !line.starts_with("* memory still grew"));
    let mark = lines.nth(1).unwrap_or_else(|| panic!("{said}"));
    assert!(mark.starts_with("    grows: ptmalloc2 66.") && mark.ends_with(" MiB a second)"), "{mark}");
    assert!(mark.contains("(19."), "{mark}");
    let report = std::fs::read_to_string(directory.path().join("grows/report.md")).unwrap();
    assert!(report.contains("6, growing") && report.contains(" growing: memory still grew in"), "{report}");
    let note = "memory still grew in the last third of the time, and a longer run has other figures: grows (ptmalloc2 66.";
    assert!(report.contains(note), "{report}");
    let all = heaplab().args(["report", "--columns", "all"]).arg(directory.path().join("grows")).assert();
    let all = String::from_utf8(all.success().get_output().stdout.clone()).unwrap();
    assert!(all.contains("\ngrowing memory still grew in the last third"), "{all}");
    // A plan uses it all the same, and must not do so silently.
    let plan =
        heaplab().current_dir(directory.path()).args(["plan", "grows", "--host-memory", "1GiB"]).assert();
    let told = String::from_utf8(plan.success().get_output().clone().stderr).unwrap();
    assert!(
        told.contains(
            "memory still grew from the second third of the time to the last: grows (ptmalloc2 by 67 %)"
        ),
        "{told}"
    );

    let stays = directory.path().join("stays.log");
    write_log(&stays, 3_000, 600);
    let (said, _) = run(&stays, "stays", &[]);
    assert!(!said.contains("memory still grew"), "{said}");
}

#[test]
fn the_start_can_be_left_out() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("stays.log");
    write_log(&log, 3_000, 600);
    let mean = |row: &Row| column(row, "resident_mean_bytes").parse::<f64>().unwrap();
    let requested = |row: &Row| column(row, "requested_mean_bytes").parse::<f64>().unwrap();
    let full = (600 * BYTES) as f64;
    let (_, whole) = run(&log, "whole", &[]);
    let (_, steady) = run(&log, "steady", &["--from", "steady"]);
    let (_, timed) = run(&log, "timed", &["--from", "1s"]);
    for ((whole, steady), timed) in whole.iter().zip(&steady).zip(&timed) {
        assert_eq!(column(whole, "counted_from_ns"), "");
        assert_eq!(column(timed, "counted_from_ns"), "1000000000");
        let from: f64 = column(steady, "counted_from_ns").parse().unwrap();
        assert!((0.55e9..0.7e9).contains(&from), "{from}");
        // It rose for a fifth of the time: the mean was nine tenths.
        assert!((requested(whole) / full - 0.9).abs() < 0.01, "{}", requested(whole));
        for row in [steady, timed] {
            assert!((requested(row) / full - 1.0).abs() < 0.01, "{}", requested(row));
            let share = mean(row) / mean(whole);
            assert!((1.05..1.2).contains(&share), "{} of {full}, {}", mean(row), mean(whole));
        }
    }
    // A run keeps the setting, and a resumed run continues with it.
    let run_file = std::fs::read_to_string(directory.path().join("steady/run.toml")).unwrap();
    assert!(run_file.contains("count_from = \"steady\""), "{run_file}");

    let grows = directory.path().join("grows.log");
    write_log(&grows, 3_000, 3_000);
    let (_, samples) = run(&grows, "grows", &["--from", "steady"]);
    assert!(column(&samples[0], "status_detail").contains("no part of it is steady"));
    let output = heaplab().args(["run", "threaded", "--from", "soon"]).assert().code(2).get_output().clone();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("soon") && said.contains("steady"), "{said}");
}
