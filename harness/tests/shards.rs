//! `heaplab run --list-units` and `--shard` as processes: a run in parts, on as many machines.

#[path = "support/rows.rs"]
mod rows;
mod support;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use rows::{column, read_samples};
use support::heaplab;
use tempfile::TempDir;

/// What is asked of every run here: two logs, two blocks each, two variants.
const PLAN: [&str; 10] =
    ["run", "a.log", "b.log", "-a", "ptmalloc2", "-a", "floor", "--pass", "check", "--reps=2"];

/// A directory with two small logs.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    for (name, size) in [("a.log", 100), ("b.log", 3000)] {
        let mut log = String::new();
        for at in 1..200u64 {
            writeln!(log, "1: malloc {:#x} {}", at << 16, size + at).unwrap();
        }
        fs::write(place.path().join(name), log).unwrap();
    }
    place
}

fn run(place: &Path, arguments: &[&str]) -> assert_cmd::assert::Assert {
    heaplab().current_dir(place).args(PLAN).args(arguments).assert()
}

fn lines(assert: &assert_cmd::assert::Assert) -> Vec<String> {
    String::from_utf8_lossy(&assert.get_output().stdout).lines().map(str::to_owned).collect()
}

/// The units that the samples of a directory are of.
fn units(directory: &Path) -> BTreeSet<String> {
    let samples = read_samples(directory);
    samples.iter().map(|row| format!("{}#{}", column(row, "workload"), column(row, "block"))).collect()
}

#[test]
fn units_are_listed_without_a_run() {
    let place = place();
    let all = run(place.path(), &["--list-units", "-a", "absent=/no/such/library.so"]).success();
    assert_eq!(lines(&all), ["a#0", "b#0", "a#1", "b#1"], "no allocator need be there");
    let json = run(place.path(), &["--list-units", "--format", "json"]).success();
    let parsed: Vec<String> = serde_json::from_slice(&json.get_output().stdout).unwrap();
    assert_eq!(parsed, lines(&all));
    let parts: Vec<String> = ["1/2", "2/2"]
        .iter()
        .flat_map(|shard| lines(&run(place.path(), &["--list-units", "--shard", shard])))
        .collect();
    assert_eq!(parts.iter().collect::<BTreeSet<_>>(), lines(&all).iter().collect(), "{parts:?}");
    assert_eq!(parts.len(), 4);
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "nothing was written");
}

#[test]
fn a_shard_takes_its_units_and_is_resumed_as_it_was_asked_for() {
    let place = place();
    let listed: BTreeSet<String> =
        lines(&run(place.path(), &["--list-units", "--shard", "1/2"])).into_iter().collect();
    // One command, the first time and again.
    for _ in 0..2 {
        let done = run(place.path(), &["--shard", "1/2", "--resume", "-o", "out"]).success();
        assert_eq!(lines(&done), ["out"]);
        assert_eq!(units(&place.path().join("out")), listed);
        assert_eq!(read_samples(&place.path().join("out")).len(), listed.len() * 2);
    }
    assert!(!place.path().join("out/report.md").exists(), "a shard is no run to report on");
    heaplab().current_dir(place.path()).args(["run", "--resume", "-o", "out"]).assert().success();
    let other = run(place.path(), &["--shard", "2/2", "--resume", "-o", "out"]).code(2);
    let said = String::from_utf8_lossy(&other.get_output().stderr).into_owned();
    assert!(said.contains("out holds shard 1/2: a directory belongs to one shard"), "{said}");
    assert_eq!(units(&place.path().join("out")), listed);
}

#[test]
fn shards_that_cannot_be_are_refused_before_anything_is_written() {
    let place = place();
    for (arguments, problem) in [
        (&["--shard", "0/4"][..], "there is no shard 0: shards are numbered from 1 to 4"),
        (&["--shard", "5/4"], "there is no shard 5 of 4"),
        (&["--shard", "1/0"], "there are no 0 shards"),
        (&["--shard", "x"], "`x` is no shard"),
        (
            &["--shard", "1/2", "--pass", "memory", "--until", "2%"],
            "--shard and --until contradict each other",
        ),
        (&["--list-units", "--until", "2%"], "--list-units and --until contradict each other"),
    ] {
        let refused = run(place.path(), arguments).code(2);
        let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(said.contains(problem), "{arguments:?}: {said}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2, "{arguments:?}");
    }
}
