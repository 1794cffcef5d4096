//! `heaplab doctor` as a process.

mod support;

use serde_json::Value;
use support::heaplab;

#[test]
fn every_finding_is_a_row_and_the_exit_is_good() {
    let output = heaplab().arg("doctor").assert().success().get_output().clone();
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut lines = text.lines();
    assert!(lines.next().is_some_and(|header| header.starts_with("what ")), "{text}");
    for what in
        ["CPUs", "transparent huge pages", "load average", "overcommit", "TSC", "jemalloc", "tcmalloc"]
    {
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
    // The libraries that these tests measure with must be there, the system's too.
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
