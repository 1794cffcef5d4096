//! Stress patterns as a process: `heaplab simulate` and `heaplab run` take them, and say what is wrong with a setting.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::rows::{column, read_samples};
use assert_cmd::Command;

fn heaplab(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::cargo_bin("heaplab").unwrap();
    command.args(arguments).current_dir(directory).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// Asserts exit status 2, the words on stderr, and that nothing was written.
fn assert_usage(directory: &Path, arguments: &[&str], words: &[&str]) {
    let before = fs::read_dir(directory).unwrap().count();
    let output = heaplab(directory, arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    for word in words {
        assert!(text(&output.stderr).contains(word), "{arguments:?}: {}", text(&output.stderr));
    }
    assert_eq!(fs::read_dir(directory).unwrap().count(), before, "{arguments:?} wrote something");
}

#[test]
fn a_pattern_becomes_a_trace() {
    let place = tempfile::tempdir().unwrap();
    let set = ["--set", "threads=2", "--set", "iterations=100", "-o", "a.hlt"];
    let output = heaplab(place.path(), &[&["simulate", "cache-scratch"], &set[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let words: Vec<&str> = text(&output.stdout).split_whitespace().collect();
    let value = |name: &str| words[words.iter().position(|word| *word == name).unwrap() + 1];
    // Work is not an event: each thread has a given object, 100 pairs, and a start and end.
    assert_eq!((value("events"), value("threads"), value("live_at_end")), ("408", "3", "0"));
    assert!(!text(&output.stdout).contains(" s)"), "an index is no time: {}", text(&output.stdout));
    let verified = heaplab(place.path(), &["trace", "verify", "a.hlt"]);
    assert_eq!(verified.status.code(), Some(0), "{}", text(&verified.stderr));
}

#[test]
fn a_pattern_with_work_passes_the_check_in_both_orders() {
    let place = tempfile::tempdir().unwrap();
    for order in ["strict", "causal"] {
        let set = ["--set", "messages=30", "--set", "nodes=50", "--set", "repeats=2"];
        let run = ["run", "messages", "--pass", "check", "--reps", "1", "-a", "ptmalloc2"];
        let output = heaplab(place.path(), &[&run[..], &set, &["--order", order, "-o", order]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let samples = read_samples(&place.path().join(order));
        assert_eq!(column(&samples[0], "workload"), "messages:messages=30,nodes=50,repeats=2");
        assert_eq!((column(&samples[0], "status"), column(&samples[0], "events")), ("ok", "3008"));
    }
}

#[test]
fn what_is_wrong_with_a_setting_is_said_and_nothing_is_written() {
    let place = tempfile::tempdir().unwrap();
    fs::write(place.path().join("hole.csv"), "16,1,1\n32,,5\n").unwrap();
    let simulate = |pattern, set| ["simulate", pattern, "--set", set, "-o", "x.hlt"];
    for (pattern, set, words) in [
        ("larson", "thread=4", &["unknown key thread", "threads, slots, min, max"][..]),
        ("larson", "max=64", &["max is \"64\"", "a size with its unit"]),
        ("xmalloc", "depth=0", &["depth is \"0\"", "from 1 to 10000"]),
        ("glibc-simple", "thread=none", &["one of main, other, main-threaded"]),
        ("profile", "file=hole.csv", &["hole.csv, line 2", "allocation rate is \"\"", "from 0 to"]),
        ("profile", "file=none.csv", &["none.csv", "can be read"]),
    ] {
        assert_usage(place.path(), &simulate(pattern, set), words);
    }
    assert_usage(
        place.path(),
        &["run", "larson", "--duration", "5s", "-a", "ptmalloc2"],
        &["larson: --duration is 5s", "a fixed number of operations"],
    );
}
