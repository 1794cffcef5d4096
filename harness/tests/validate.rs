//! `heaplab validate` as a process: records, predicts, runs, and compares the two.

use std::collections::HashMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{heaplab, library_directory};
use tempfile::TempDir;

/// A directory with program.c, compiled.
fn place() -> TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/program.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-pthread", "-o"]).arg(place.path().join("program")).arg(source);
    assert!(compiler.status().expect("a C compiler").success());
    place
}

fn validation(directory: PathBuf) -> HashMap<(String, String), f64> {
    let mut reader = csv::Reader::from_path(directory.join("validation.csv")).expect("a validation");
    let rows = reader.deserialize::<HashMap<String, String>>().map(|row| row.expect("a whole row"));
    rows.map(|row| {
        let error = row["error"].parse().expect("a fraction");
        ((row["variant"].clone(), row["figure"].clone()), error)
    })
    .collect()
}

#[test]
fn a_program_that_ends_is_recorded_predicted_and_run() {
    let place = place();
    let mut command = heaplab();
    command.current_dir(place.path()).args(["validate", "program.hlt", "--reps", "1"]);
    command.args(["-a", "ptmalloc2", "-a", "jemalloc", "--percentile", "95.5", "--", "./program"]);
    let assert = command.args(["line", "said", "hold", "30", "sleep", "600"]).assert().success();
    let output = assert.get_output();
    let shown = String::from_utf8_lossy(&output.stdout);
    for part in [
        "ptmalloc2",
        "jemalloc",
        "order of the variants by peak: ",
        "not heap:",
        "CPU time:",
        "order:",
        "time:",
        "validation.csv",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("said"), "the program's output goes to standard error");
    assert!(String::from_utf8_lossy(&output.stderr).contains("said"));
    let errors = validation(place.path().join("program.hlt.validation"));
    assert_eq!(errors.len(), 8, "{errors:?}");
    for figure in ["p99", "p95.5"] {
        let error = errors[&("ptmalloc2".to_owned(), figure.to_owned())];
        assert!(error.abs() < 0.25, "{figure}: {error}, {shown}");
    }
    for variant in ["ptmalloc2", "jemalloc"] {
        let error = errors[&(variant.to_owned(), "peak".to_owned())];
        assert!(error.abs() < 0.25, "{variant}: {error}, {shown}");
    }
    let directory = place.path().join("program.hlt.validation");
    let written = |name: &str| std::fs::read(directory.join(name)).expect("a file");
    assert!(written("validation.png").starts_with(b"\x89PNG"));
    let cpu = String::from_utf8(written("validation-cpu.csv")).expect("UTF-8");
    assert!(cpu.starts_with("variant,replayed_ns,predicted_ns,real_ns,real_least_ns,real_most_ns,"), "{cpu}");
    for row in cpu.lines().skip(1) {
        let predicted_ns: f64 =
            row.split(',').nth(2).and_then(|text| text.parse().ok()).expect("a prediction");
        assert!(predicted_ns > 0.0, "{cpu}");
    }
    assert!(
        shown.contains(
            "with 1 sample of the program under each variant, all pairs that do not differ seem to by chance"
        ),
        "{shown}"
    );
    assert!(directory.join("replay/plots/program-process.png").exists(), "the prediction alone");
    assert!(directory.join("exec/plots/program-process.png").exists(), "the program alone");
    let before = ["validation.csv", "replay/samples.csv", "exec/samples.csv"].map(written);
    // Nothing is left to do, and the result is the same.
    let resume_with = |options: &[&str], reps: &str, words: &[&str]| {
        let mut command = heaplab();
        command
            .current_dir(place.path())
            .args(["validate", "program.hlt", "--resume", "--reps", reps])
            .args(options);
        command.args(["-a", "ptmalloc2", "-a", "jemalloc", "--percentile", "95.5", "--", "./program"]);
        command.args(words).assert()
    };
    let resume = |reps: &str, words: &[&str]| resume_with(&[], reps, words);
    let asked = ["line", "said", "hold", "30", "sleep", "600"];
    resume("1", &asked).success();
    assert!(before == ["validation.csv", "replay/samples.csv", "exec/samples.csv"].map(written));
    // Other arguments are refused, not ignored.
    for assert in [resume("2", &asked), resume("1", &asked[..4])] {
        let said = String::from_utf8_lossy(&assert.code(2).get_output().stderr).into_owned();
        assert!(said.contains("continue it with the same arguments"), "{said}");
    }
    // What a different version measured is continued if asked for.
    for run in ["replay/run.toml", "exec/run.toml"] {
        let path = directory.join(run);
        let text = std::fs::read_to_string(&path).expect("a run");
        let own = format!("heaplab_version = \"{}\"", env!("CARGO_PKG_VERSION"));
        assert!(text.contains(&own), "{text}");
        std::fs::write(&path, text.replace(&own, "heaplab_version = \"0.0.1\"")).expect("it is written");
    }
    let said = String::from_utf8_lossy(&resume("1", &asked).code(2).get_output().stderr).into_owned();
    assert!(said.contains("add --resume-anyway"), "{said}");
    resume_with(&["--resume-anyway"], "1", &asked).success();
    // A new recording is a different program to the existing replays.
    std::fs::remove_file(place.path().join("program.hlt")).expect("removed");
    let assert = resume_with(&["--resume-anyway"], "1", &asked);
    let said = String::from_utf8_lossy(&assert.code(2).get_output().stderr).into_owned();
    assert!(said.contains("program is different from when it was started"), "{said}");
}

#[test]
fn a_server_is_recorded_under_its_load() {
    let place = place();
    let mut command = heaplab();
    command.current_dir(place.path()).args(["validate", "server.hlt", "--reps", "1", "-o", "out"]);
    command.args([
        "-a",
        "ptmalloc2",
        "--ready-when",
        "LINE:^ready$",
        "--load",
        "sleep 0.3",
        "--",
        "./program",
    ]);
    command.args(["line", "ready", "hold", "20", "sleep", "60000"]).assert().success();
    let errors = validation(place.path().join("out"));
    assert!(errors[&("ptmalloc2".to_owned(), "peak".to_owned())].abs() < 0.25, "{errors:?}");
    // The recording is used again, and a load that fails is reported.
    let mut command = heaplab();
    command.current_dir(place.path()).args(["validate", "other.hlt", "--reps", "1", "-a", "ptmalloc2"]);
    command.args(["--load", "exit 3", "--", "./program", "sleep", "60000"]);
    let assert = command.assert().code(1);
    let said = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(said.contains("the load exited with status 3"), "{said}");
    assert!(!place.path().join("other.hlt").exists(), "a recording that was cut short is not used next time");
}

#[test]
fn a_recorded_program_is_prepared_and_loaded_as_its_samples_are() {
    let place = place();
    let mut command = heaplab();
    command.current_dir(place.path()).args(["validate", "program.hlt", "--reps", "1", "-a", "jemalloc"]);
    command.args(["-a", "ptmalloc2", "--prepare", "echo $HEAPLAB_VARIANT >> prepared"]);
    command
        .args(["--load", "tr '\\0' ' ' < /proc/$HEAPLAB_PID/cmdline >> loaded; echo >> loaded; sleep 0.3"]);
    command.args(["--", "./program", "hold", "20", "sleep", "60000"]).assert().success();
    let written = |name: &str| std::fs::read_to_string(place.path().join(name)).expect("it was written");
    let mut prepared: Vec<String> = written("prepared").lines().map(str::to_owned).collect();
    assert_eq!(prepared.remove(0), "jemalloc", "recorded under the first variant");
    prepared.sort_unstable();
    assert_eq!(prepared, ["jemalloc", "ptmalloc2"]);
    assert_eq!(written("loaded"), "./program hold 20 sleep 60000 \n".repeat(3));
}

/// A load is told the program's process, whose number may be another's by then.
#[test]
fn a_recorded_program_that_has_ended_is_given_no_load() {
    let place = place();
    // It becomes ready only after it has ended, while its recorder is stopped.
    let script = "./program hold 20 sleep 300; echo $PPID > recorder; kill -s STOP $PPID";
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let mut command = Command::new(heaplab().get_program());
    command.current_dir(place.path()).env("HEAPLAB_PRELOAD_DIR", library_directory());
    command.args(["validate", "program.hlt", "--reps", "1", "-a", "ptmalloc2"]);
    command.arg("--ready-when").arg(format!("TCP:{}", address.port()));
    command.args(["--load", "echo >> loads", "--", "sh", "-c", script]);
    let running = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("heaplab");
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let waits_to_be_reaped = || {
        let recorder = read(place.path().join("recorder")).trim().to_owned();
        let program = read(format!("/proc/{recorder}/task/{recorder}/children").into());
        let is_ended = read(format!("/proc/{}/stat", program.trim()).into()).contains(") Z ");
        is_ended.then_some(recorder)
    };
    let mut rounds = 0..3000;
    let recorder = loop {
        if let Some(recorder) = waits_to_be_reaped() {
            break recorder;
        }
        rounds.next().expect("the program ends");
        std::thread::sleep(Duration::from_millis(20));
    };
    let listener = TcpListener::bind(address).expect("the port is free");
    listener.accept().expect("heaplab tries whether it is ready");
    std::thread::sleep(Duration::from_millis(500));
    let kill = Command::new("kill").args(["-s", "CONT", &recorder]).status();
    assert!(kill.is_ok(), "kill runs");
    let output = running.wait_with_output().expect("heaplab ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("the program exited by itself, with status 0"), "{said}");
    assert_eq!((output.status.code(), place.path().join("loads").exists()), (Some(1), false), "{said}");
}

#[test]
fn what_failed_is_counted_and_told() {
    let place = place();
    let mut command = heaplab();
    command.current_dir(place.path()).args(["validate", "program.hlt", "--reps", "3", "-o", "out"]);
    command.args(["-a", "ptmalloc2", "-a", "jemalloc", "--prepare"]);
    command.arg("test $HEAPLAB_VARIANT = ptmalloc2 && echo >> times && test $(wc -l < times) != 2");
    command.args(["--", "./program", "hold", "20", "sleep", "300"]);
    let assert = command.assert().code(3);
    let shown = String::from_utf8_lossy(&assert.get_output().stdout).into_owned();
    for part in [
        "  2 of 3\n",
        "\nptmalloc2: 1 of 3 runs of the program failed; its figures are of the others\n",
        "\njemalloc: 3 of 3 runs of the program failed; it has no figures\n",
        "with 2 samples of the program under each variant",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    for (name, rows) in [("validation.csv", 3), ("validation-cpu.csv", 1)] {
        let mut reader = csv::Reader::from_path(place.path().join("out").join(name)).expect("a validation");
        let found: Vec<HashMap<String, String>> =
            reader.deserialize().map(|row| row.expect("a whole row")).collect();
        assert_eq!(found.len(), rows, "{found:?}");
        for row in &found {
            let counts = ["replay_samples", "replay_failed", "program_samples", "program_failed"];
            assert_eq!(counts.map(|name| row[name].as_str()), ["3", "0", "2", "1"], "{row:?}");
        }
    }
}

#[test]
fn a_program_that_is_not_there_is_said_before_anything_is_replayed() {
    let place = place();
    let mut command = heaplab();
    command.current_dir(place.path()).args(["validate", "program.hlt", "-o", "out", "--", "./none"]);
    let said = "heaplab: ./none: command not found: give its path, or a name that PATH leads to\n";
    command.assert().code(1).stderr(said);
    assert!(!place.path().join("out").exists());
}
