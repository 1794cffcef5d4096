//! Models of recordings under real allocators: `heaplab fit --check`, and whole processes at another load.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::support::heaplab;
use heaplab_workloads::model::{CheckKind, read_facts};

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
fn what_the_user_says_about_lives_and_queues_is_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = directory.path().join("model.hlm");
    let output = fit(&model, &["--set", "life=allocations", "--set", "startup=0.5", "--set", "queue=yes"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let facts = read_facts(&model).expect("a model");
    assert_eq!((facts.life, facts.startup, facts.queue), (Some(0.0), Some(0.5), Some(true)));
    for (wrong, why) in
        [("queue=maybe", "yes or no"), ("load=3", "--load"), ("threads=3", "queue and thinned")]
    {
        let output = fit(&model, &["--set", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(stderr(&output).contains(why), "{wrong}: {}", stderr(&output));
    }
    // A run may say otherwise.
    let output = heaplab()
        .current_dir(directory.path())
        .args(["simulate", "model.hlm", "--load", "2", "--set", "queue=no", "-o", "twice.hlt"])
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", stderr(&output));
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

/// A directory with growing.c compiled, and recordings of it at loads 1 and 2.
fn recorded() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/growing.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-o"]).arg(place.path().join("growing")).arg(source);
    assert!(compiler.status().expect("a C compiler").success());
    for load in ["1", "2"] {
        let mut record = heaplab();
        record.current_dir(&place).args(["record", "-o"]).arg(format!("{load}.hlt"));
        record.args(["--", "./growing", load]).assert().success();
    }
    place
}

#[test]
fn a_program_at_another_load_is_predicted_as_a_whole_and_run() {
    let place = recorded();
    let heaplab_at = |words: &[&str]| {
        let mut command = heaplab();
        command.current_dir(&place).args(words);
        command.output().expect("it starts")
    };
    let of_two = ["fit", "1.hlt", "2.hlt", "--load", "1,2"];
    let output = heaplab_at(&[&of_two[..], &["--check", "-a", "ptmalloc2", "-o", "model.hlm"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("outside_malloc"), "{}", stdout(&output));
    // 8 MiB and 4 MiB for each unit of load; libraries' data comes on top.
    let facts = read_facts(&place.path().join("model.hlm")).expect("a model");
    for (recording, known) in facts.recordings.iter().zip([12, 16]) {
        let mib = recording.outside_malloc_bytes.expect("it was measured") as f64 / f64::from(1 << 20);
        assert!((f64::from(known)..f64::from(known) + 0.7).contains(&mib), "{known}: {mib}");
    }

    let command = ["-a", "ptmalloc2", "-a", "jemalloc", "--reps", "1", "--", "./growing", "4"];
    let validate = |words: &[&str]| heaplab_at(&[&["validate"], words, &command].concat());
    let output = validate(&["model.hlm", "--model-load", "4"]);
    let shown = stdout(&output);
    assert!(output.status.success(), "{shown}{}", stderr(&output));
    for part in
        ["outside malloc", "for 4 and 1.00 times its length", "its band is", "the model's trace lasts 1."]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let directory = place.path().join("model.hlm.validation");
    let mut reader = csv::Reader::from_path(directory.join("validation.csv")).expect("a validation");
    let rows: Vec<HashMap<String, String>> =
        reader.deserialize().map(|row| row.expect("a whole row")).collect();
    assert_eq!(rows.len(), 6, "{shown}");
    for row in &rows {
        let error: f64 = row["error"].parse().expect("a fraction");
        // 24 MiB outside malloc and 31 MiB of blocks: without the former it would be 44 % too low.
        assert!(error.abs() < 0.12, "{row:?}");
        assert_eq!(row["null_error"], "", "no process was recorded: {row:?}");
    }
    assert!(directory.join("validation.png").exists());

    // A program that runs for longer is compared with a trace as long.
    let longer = ["validate", "model.hlm", "--model-load", "1", "--model-duration", "3s", "-o", "longer"];
    let output = heaplab_at(&[&longer[..], &["-a", "ptmalloc2", "--reps", "1", "--", "./growing"]].concat());
    let shown = stdout(&output);
    assert!(shown.contains("the model's trace lasts 3.0 s"), "{shown}{}", stderr(&output));

    // A plan counts the whole process too.
    let output =
        heaplab_at(&["plan", "model.hlm.validation/replay", "--host-memory", "1GiB", "--format", "json"]);
    let plan: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a plan");
    assert_eq!(plan["hosts"][0]["basis"], "predicted", "{plan}");

    // What cannot be compared is refused before anything runs.
    assert!(heaplab_at(&[&of_two[..], &["-o", "unchecked.hlm"]].concat()).status.success());
    for (words, why) in [
        (&["unchecked.hlm"][..], "fit it with --check"),
        (&["missing.hlm"], "cannot open"),
        (&["1.hlt", "--model-load", "4"], "1.hlt is not a model"),
        (&["1.hlt", "--model-duration", "4s"], "1.hlt is not a model"),
        (&["model.hlm", "--model-load", "400"], "at most 10 times it"),
    ] {
        let output = validate(&[words, &["-o", "refused"]].concat());
        let said = stderr(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)) && said.contains(why), "{words:?}: {said}");
        assert!(!place.path().join("refused/exec").exists(), "{words:?}");
    }
}
