//! `heaplab doctor` as a process.

use std::path::Path;

use crate::support::{heaplab, library_directory};
use serde_json::Value;

#[test]
fn every_finding_is_a_row_and_the_exit_is_good() {
    let output = heaplab().arg("doctor").assert().success().get_output().clone();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|header| header.starts_with("what ")), "{text}");
    for what in [
        "CPUs",
        "transparent huge pages",
        "load average",
        "overcommit",
        "first write to a small page",
        "first write to a huge page",
        "control groups with memory limits",
        "TSC",
        "jemalloc",
        "tcmalloc",
    ] {
        assert!(text.lines().any(|line| line.starts_with(what)), "{what} is missing in:\n{text}");
    }
    assert!(!text.contains('\x1b'), "a pipe gets no colours");
}

#[test]
fn json_holds_the_same_rows() {
    let output = heaplab().args(["doctor", "--format", "json"]).assert().success().get_output().clone();
    let checks: Vec<Value> = serde_json::from_slice(&output.stdout).expect("an array");
    assert!(checks.len() > 15, "{checks:#?}");
    for check in &checks {
        assert!(["ok", "note", "warning"].contains(&check["level"].as_str().expect("a level")));
        let blamed = check["level"] != "ok";
        assert_eq!(blamed, check["advice"] != "", "advice where something is wrong: {check}");
    }
    // The libraries that these tests measure with must exist, including the system's.
    for name in ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"] {
        let check = checks.iter().find(|check| check["what"] == name).expect("a row for each allocator");
        assert_eq!(check["level"], "ok", "{check}");
    }
}

#[test]
fn a_closed_pipe_is_no_fault() {
    use std::process::{Command, Stdio};
    let mut child = Command::new(env!("CARGO_BIN_EXE_heaplab"))
        .arg("doctor")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("heaplab starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("heaplab ends");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !stderr.contains("panicked"), "{stderr}");
}

#[test]
fn a_variant_against_itself_says_what_this_machine_can_tell() {
    let place = tempfile::tempdir().expect("a directory");
    let log: String =
        (0..3000u64).map(|at| format!("1: malloc {:#x} {}\n", (at + 1) << 16, 100 + at % 4000)).collect();
    std::fs::write(place.path().join("small.log"), log).expect("writable");
    let aa = |format: &str| {
        let arguments = ["doctor", "--aa", "--workload", "small.log", "--reps", "6", "--format", format];
        let output = heaplab().args(arguments).current_dir(place.path()).output().expect("it runs");
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"), complaint)
    };
    let (status, stdout, stderr) = aa("json");
    let rows: Vec<Value> = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_eq!(rows.len(), 2, "speed and memory: {stdout}");
    let faulty = |row: &&Value| row["verdict"] == "smaller" || row["verdict"] == "larger";
    // A busy machine may differ from itself, and the command then says so.
    assert_eq!(status, Some(i32::from(rows.iter().any(|row| faulty(&row)))), "{stderr}");
    for row in &rows {
        assert_eq!((row["workload"].as_str(), row["blocks"].as_u64()), (Some("small"), Some(6)));
        let blocks = |name: &str| row[name].as_u64().unwrap_or(u64::MAX);
        assert!(blocks("blocks_for_10_percent") <= blocks("blocks_for_5_percent"));
        assert!(blocks("blocks_for_5_percent") <= blocks("blocks_for_2_percent"));
        assert!(blocks("blocks_for_5_percent") <= blocks("blocks_for_verdict_at_5_percent"));
    }
    let (_, stdout, _) = aa("table");
    assert!(stdout.starts_with("workload  metric"), "{stdout}");
    assert_eq!(stdout.lines().filter(|line| line.starts_with("small ")).count(), 2, "{stdout}");
    assert!(stdout.contains("repetitions (--reps)"), "{stdout}");
}

/// The answers of `doctor --self-check` by their question, and the exit status. `preload` is where libraries are found.
fn known_answers(preload: Option<&Path>) -> (Vec<Value>, Option<i32>) {
    let mut command = heaplab();
    command.args(["doctor", "--self-check", "--reps", "6", "--format", "json"]);
    if let Some(directory) = preload {
        command.env("HEAPLAB_PRELOAD_DIR", directory);
    }
    let output = command.output().expect("it runs");
    let answers = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (answers, output.status.code())
}

fn is_right(answers: &[Value], question: &str) -> bool {
    let answer = answers.iter().find(|answer| answer["question"] == question);
    let answer = answer.unwrap_or_else(|| panic!("{question} in {answers:#?}"));
    println!("{question}: {} expected, {} found", answer["expected"], answer["found"]);
    answer["is_right"].as_bool().expect("a boolean")
}

#[test]
fn faults_of_known_size_are_found() {
    let (answers, status) = known_answers(None);
    let is_of_speed =
        |answer: &&Value| answer["question"].as_str().is_some_and(|text| text.contains("speed"));
    // A busy machine may differ from itself in speed, and the command then says so. Memory has no such
    // excuse.
    for answer in answers.iter().filter(|answer| !is_of_speed(answer)) {
        if answer["question"] != "what 400 cost, by what 200 cost" {
            assert_eq!(answer["is_right"], true, "{answer:#}");
        }
    }
    let all_right = answers.iter().all(|answer| answer["is_right"] == true);
    assert_eq!(status, Some(i32::from(!all_right)));
}

#[test]
fn faults_that_are_not_found_are_said() {
    // A library without faults in place of the one that has them.
    let place = tempfile::tempdir().expect("a directory");
    for entry in std::fs::read_dir(library_directory()).expect("the libraries").map(Result::unwrap) {
        let is_library = entry.path().extension().is_some_and(|extension| extension == "so");
        if is_library && entry.file_name() != "libheaplab_control.so" {
            std::os::unix::fs::symlink(entry.path(), place.path().join(entry.file_name())).expect("a link");
        }
    }
    let status = std::process::Command::new("cc")
        .args(["-O2", "-fPIC", "-shared", "-o"])
        .arg(place.path().join("libheaplab_control.so"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/waste.c"))
        .status();
    assert!(status.expect("a C compiler").success());
    let (answers, status) = known_answers(Some(place.path()));
    assert_eq!(status, Some(1));
    assert!(is_right(&answers, "peak memory of the same library twice"));
    assert!(is_right(&answers, "size classes that differ of the same library twice"));
    for question in [
        "bytes lost where 5 % are wasted in one size",
        "the size that wastes them",
        "the size class that a comparison names",
        "its verdict",
        "memory after the load of one that never reuses any",
        "peak memory of one with a page for each block",
        "speed with 32 multiplications more a call",
    ] {
        assert!(!is_right(&answers, question), "{question}");
    }
}

#[test]
fn options_of_a_measurement_need_it() {
    for arguments in [
        &["doctor", "--reps", "10"][..],
        &["doctor", "--aa", "--reps", "5"],
        &["doctor", "--aa", "--self-check"],
        &["doctor", "--self-check", "--workload", "threaded"],
    ] {
        heaplab().args(arguments).assert().code(2);
    }
    let output =
        heaplab().args(["doctor", "--aa", "--workload", "nothing"]).assert().code(2).get_output().clone();
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing"));
}
