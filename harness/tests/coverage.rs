//! What a recording covers of its process: reported when it is made and where it is shown, and no figure
//! about the process rests on a recording with gaps.

use std::path::Path;
use std::process::Output;

use crate::support::heaplab;
use crate::support::recording::{self, Recorded, compile};

fn run(directory: &Path, arguments: &[&str]) -> (Output, String) {
    let output = heaplab().current_dir(directory).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

const REPLAY: [&str; 9] = ["run", "trace.hlt", "--pass", "memory", "--reps", "1", "-a", "ptmalloc2", "-o"];

#[test]
fn a_heap_outside_malloc_is_said_and_nothing_is_predicted_validated_or_planned_from_it() {
    let recorded = Recorded::hazard("hidden_malloc.c", &[], &[]);
    recorded.assert_unchanged();
    let trace = recorded.trace();
    assert!(trace["explained_share"].as_f64().is_some_and(|share| share < 0.01), "{trace}");
    let gap = trace["gaps"][0].as_str().expect("a gap").to_owned();
    assert!(gap.contains("outside malloc"), "{gap}");
    assert!(recorded.said().contains(&gap), "{}", recorded.said());
    let directory = recorded.directory.path();
    let program = directory.join("hidden_malloc");
    let program = program.to_str().expect("UTF-8");

    let (_, said) = run(directory, &[&REPLAY[..], &["out"]].concat());
    assert!(said.contains(&gap) && said.contains("nothing is predicted"), "{said}");
    assert!(!directory.join("out/recorded.csv").exists(), "what a prediction needs is missing");
    let host = ["--host-memory", "1GiB", "--processes", "4"];
    let (output, said) = run(directory, &[&["plan", "out"][..], &host].concat());
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("outside malloc") && said.contains("--despite-coverage"), "{said}");
    let (output, said) = run(directory, &[&["plan", "out", "--despite-coverage"][..], &host].concat());
    assert_eq!(output.status.code(), Some(0), "{said}");

    let (_, said) = run(directory, &[&REPLAY[..], &["insisted", "--despite-coverage"]].concat());
    assert!(said.contains("predictions rest on it anyway"), "{said}");
    assert!(directory.join("insisted/recorded.csv").exists());

    let (output, said) = run(directory, &["validate", "trace.hlt", "-a", "ptmalloc2", "--", program]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("outside malloc") && said.contains("--despite-coverage"), "{said}");
    assert!(!directory.join("trace.hlt.validation").exists());
}

#[test]
fn a_recording_that_explains_its_process_has_no_gap() {
    let recorded = Recorded::hazard("idle_end.c", &[], &[]);
    let trace = recorded.trace();
    assert!(trace["explained_share"].as_f64().is_some_and(|share| share > 0.8), "{trace}");
    assert_eq!(trace["gaps"], serde_json::json!([]));
    assert!(recorded.said().contains("; recorded blocks explain "), "{}", recorded.said());
    let (output, _) = run(recorded.directory.path(), &["trace", "info", "trace.hlt"]);
    let table = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(table.contains("\nexplained_share ") && !table.contains("\ngap "), "{table}");
}

#[test]
fn a_malloc_of_the_programs_own_is_a_gap() {
    let recorded = Recorded::hazard("exported_malloc.c", &[], &[]);
    recorded.assert_unchanged();
    assert!(recorded.said().contains("outside malloc"), "{}", recorded.said());
}

/// The program that a launcher became is meant, not the launcher.
#[test]
fn a_program_that_could_not_be_recorded_is_named_with_the_reason() {
    let directory = tempfile::tempdir().expect("a directory");
    let fixed = compile("idle_end.c", directory.path(), &["-static"]);
    let script = format!("exec {}", fixed.display());
    let run = Recorded::run(directory, "/bin/sh".as_ref(), &[], &["-c", &script], &[]);
    assert!(run.said().contains("is statically linked"), "{}", run.said());
    let gaps = run.trace()["gaps"].to_string();
    assert!(gaps.contains("not recorded: ") && gaps.contains("is statically linked"), "{gaps}");

    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("idle_end.c", directory.path(), &[]);
    let arguments = ["-i", program.to_str().expect("UTF-8")];
    let run = Recorded::run(directory, "/usr/bin/env".as_ref(), &[], &arguments, &[]);
    assert!(run.said().contains("was started without LD_PRELOAD"), "{}", run.said());
    let gaps = run.trace()["gaps"].to_string();
    assert!(gaps.contains("without LD_PRELOAD"), "{gaps}");
}

#[test]
fn a_recording_that_failed_says_so_in_its_trace() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("many_events.c", directory.path(), &[]);
    let trace = directory.path().join("trace.hlt");
    let heaplab = heaplab();
    let output = std::process::Command::new("sh")
        .args(["-c", "ulimit -f 512; exec \"$0\" record -o \"$1\" -- \"$2\""])
        .args([heaplab.get_program(), trace.as_os_str(), program.as_os_str()])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("recording failed before the program ended"), "{said}");
    let gaps = recording::info(&trace)["gaps"].to_string();
    assert!(gaps.contains("File too large"), "{gaps}");
}
