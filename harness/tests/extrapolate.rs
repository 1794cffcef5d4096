//! `heaplab fit --check`: a model's resident memory compared with that of its recording, under real allocators.

mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

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
fn a_check_that_cannot_be_made_writes_no_model() {
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
