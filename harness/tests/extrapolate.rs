//! `heaplab fit --check`: a model's resident memory compared with that of its recording, under real allocators.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use heaplab_workloads::model::{CheckKind, read_facts};
use support::heaplab;

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../workloads/traces/sqlite3.hlt")
}

fn fit(model: &Path, more: &[&str]) -> Output {
    heaplab().arg("fit").arg(recording()).arg("-o").arg(model).args(more).output().expect("it starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_check_adds_the_error_in_resident_memory() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = directory.path().join("model.hlm");
    let of_kind = |kind: CheckKind| {
        let facts = read_facts(&model).expect("a model");
        facts.checks.into_iter().filter(|check| check.kind == kind).collect::<Vec<_>>()
    };

    let output = fit(&model, &["--check", "-a", "ptmalloc2", "-a", "jemalloc"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let checks = of_kind(CheckKind::Resident);
    let names: Vec<&str> = checks.iter().map(|check| check.what.as_str()).collect();
    assert_eq!(names, ["the model under jemalloc", "the model under ptmalloc2"]);
    for check in &checks {
        let line = format!(
            "{} (load 1): peak {:+.1} %, mean {:+.1} % of resident bytes",
            check.what,
            100.0 * check.peak_off,
            100.0 * check.mean_off
        );
        assert!(stdout(&output).contains(&line), "{line}\n{}", stdout(&output));
        // It resembles its recording, and is not the recording.
        assert!(check.peak_off.abs() < 0.3 && check.mean_off != 0.0, "{check:?}");
    }

    // Without a check the band rests on requested bytes alone.
    let output = fit(&model, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(of_kind(CheckKind::Resident).is_empty() && !of_kind(CheckKind::Itself).is_empty());
}

#[test]
fn a_check_of_what_does_not_exist_writes_no_model() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = directory.path().join("model.hlm");
    for (more, why) in [
        (&["-a", "jemalloc"][..], "--check"),
        (&["--check", "-a", "no-such-allocator"][..], "no-such-allocator"),
    ] {
        let output = fit(&model, more);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(why), "{}", stderr(&output));
        assert!(!model.exists());
    }
}

#[test]
fn a_check_that_is_stopped_leaves_the_model() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = directory.path().join("model.hlm");
    let child = Command::new(env!("CARGO_BIN_EXE_heaplab"))
        .arg("fit")
        .arg(recording())
        .arg("-o")
        .arg(&model)
        .args(["--check", "-a", "ptmalloc2"])
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("it starts");
    let pid = child.id().to_string();
    // A replay is a process of its own.
    let has_children = || {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
        let children = tasks.flatten().map(|task| std::fs::read_to_string(task.path().join("children")));
        children.flatten().any(|children| !children.is_empty())
    };
    while !has_children() {
        std::thread::sleep(Duration::from_millis(10));
    }
    let killed = Command::new("kill").args(["-INT", &pid]).status().expect("kill starts");
    assert!(killed.success());
    let output = child.wait_with_output().expect("it ends");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("is written without the check"), "{said}");
    let checks = read_facts(&model).expect("a model").checks;
    assert!(!checks.is_empty() && checks.iter().all(|check| check.kind != CheckKind::Resident));
}
