//! The load of each block of a load model: what varies it, what pins it, and what is reported about it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::heaplab;
use crate::support::rows::{Row, column, read_samples};

const MODEL: [&str; 9] =
    ["run", "api-gateway", "--duration", "1s", "--pass", "memory", "-a", "ptmalloc2", "-o"];

/// Runs a small load model to `out`, and returns its rows and the terminal's output.
fn run(place: &Path, out: &str, more: &[&str]) -> (Vec<Row>, String) {
    let mut command = heaplab();
    let done = command.current_dir(place).args(MODEL).arg(out).args(more).assert().success();
    let output = done.get_output();
    let shown = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    (read_samples(&place.join(out)), shown)
}

fn distinct(rows: &[Row], name: &str) -> usize {
    rows.iter().map(|row| column(row, name)).collect::<BTreeSet<&str>>().len()
}

#[test]
fn each_block_of_a_load_model_has_a_load_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let (rows, shown) =
        run(place.path(), "out", &["-a", "jemalloc", "--reps", "7", "--seed", "5", "--columns", "all"]);
    assert_eq!(rows.len(), 14);
    assert_eq!((distinct(&rows, "load_seed"), distinct(&rows, "requested_peak_bytes")), (7, 7));
    for block in ["0", "1", "6"] {
        let of: Vec<Row> = rows.iter().filter(|row| column(row, "block") == block).cloned().collect();
        assert_eq!((of.len(), distinct(&of, "load_seed"), distinct(&of, "events")), (2, 1, 1));
        assert_eq!(column(&of[0], "load_seed") == "5", block == "0");
        let has_twin = of.iter().all(|row| !column(row, "twin_resident_settled_bytes").is_empty());
        assert_eq!(has_twin, block != "6");
    }
    assert!(shown.contains("peak varies by") && !shown.contains("intervals are of one load"), "{shown}");
    let report = fs::read_to_string(place.path().join("out/report.md")).unwrap();
    assert!(report.contains("by layout and machine"), "{report}");
}

#[test]
fn a_seed_that_is_pinned_stays_so_and_is_said() {
    let place = tempfile::tempdir().unwrap();
    for (out, arguments) in [("set", &["--set", "seed=9"][..]), ("fixed", &["--fixed", "--seed", "9"])] {
        let (rows, shown) = run(place.path(), out, &[arguments, &["--reps", "3"]].concat());
        assert_eq!((distinct(&rows, "load_seed"), distinct(&rows, "events")), (1, 1));
        assert_eq!(column(&rows[0], "load_seed"), "9");
        assert_eq!(
            column(&rows[0], "workload"),
            if out == "set" { "api-gateway:seed=9" } else { "api-gateway" }
        );
        assert!(rows.iter().all(|row| column(row, "twin_resident_peak_bytes").is_empty()));
        assert!(shown.contains("every block has the load of seed 9"), "{shown}");
    }
    for wrong in ["seed=x", "seed=-1", "seed"] {
        let refused =
            heaplab().current_dir(place.path()).args(MODEL).args(["wrong", "--set", wrong]).assert();
        let error = String::from_utf8_lossy(&refused.code(2).get_output().stderr).into_owned();
        assert!(error.contains("a seed is a whole number"), "{error}");
    }
    let refused = heaplab().current_dir(place.path()).args(["run", "sqlite3", "--set", "seed=1"]).assert();
    let error = String::from_utf8_lossy(&refused.code(2).get_output().stderr).into_owned();
    assert!(error.contains("needs a load model"), "{error}");
}

#[test]
fn a_resumed_run_has_the_loads_that_it_would_have_had() {
    let place = tempfile::tempdir().unwrap();
    let (all, _) = run(place.path(), "out", &["--reps", "4"]);
    // The header and the first two blocks stay.
    let samples = place.path().join("out/samples.csv");
    let kept: String = fs::read_to_string(&samples).unwrap().split_inclusive('\n').take(3).collect();
    fs::write(&samples, kept).unwrap();
    heaplab().current_dir(place.path()).args(["run", "--resume", "-o", "out"]).assert().success();
    let again = read_samples(&place.path().join("out"));
    let told = |rows: &[Row]| -> BTreeSet<String> {
        let of = |row| {
            ["block", "load_seed", "events", "requested_peak_bytes"].map(|name| column(row, name)).join(" ")
        };
        rows.iter().map(of).collect()
    };
    assert_eq!((again.len(), told(&again)), (4, told(&all)));
}
