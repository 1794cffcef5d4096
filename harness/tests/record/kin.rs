//! Which processes belong to a recording, and what is known of each.

use std::collections::BTreeSet;
use std::process::Command;

use heaplab_workloads::import::raw;

use crate::support::heaplab;
use crate::support::recording::{Recorded, compile, info};

/// heaplab replaces a shell that has started a process, as in the entry script of a container.
#[test]
fn processes_that_heaplab_already_had_are_not_the_programs() {
    let directory = tempfile::tempdir().expect("a directory");
    let side = compile("side.c", directory.path(), &[]);
    let trace = directory.path().join("trace.hlt");
    let heaplab = heaplab();
    let output = Command::new("sh")
        .args(["-c", "\"$0\" & exec \"$1\" record -o \"$2\" -- sleep 2.5"])
        .arg(&side)
        .arg(heaplab.get_program())
        .arg(&trace)
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
    assert!(!directory.path().join("trace.tree.toml").exists(), "one process: {said}");
    let trace = info(&trace);
    assert_eq!(trace["gaps"], serde_json::json!([]), "{said}");
    let notes = trace["header"]["notes"].as_array().expect("notes");
    let time = |name: &str| {
        let note = notes.iter().find(|note| note["name"] == name).expect(name);
        note["value"].as_str().and_then(|value| value.parse::<u64>().ok()).expect(name)
    };
    // The other process used half a second, and heaplab has waited for it.
    let cpu_ns = time("cpu_user_ns") + time("cpu_system_ns");
    assert!(cpu_ns < 300_000_000, "{cpu_ns}");
}

/// Each is the first process of a namespace.
#[test]
fn sandboxes_at_the_same_time_have_their_own_memory_to_their_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("growing.c", directory.path(), &[]);
    // The second is gone before it is seen, the third is not.
    let script = "box='unshare --user --map-root-user --pid --fork'
        $box \"$0\" & sleep 0.1; $box true; $box \"$0\" & wait";
    let arguments = ["-c", script, program.to_str().expect("UTF-8")];
    let run = Recorded::run(directory, "/bin/sh".as_ref(), &[], &arguments, &[]);
    let text = std::fs::read_to_string(run.directory.path().join("trace.tree.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    let processes = manifest["process"].as_array().expect("processes").iter();
    let boxes: Vec<_> = processes
        .filter(|entry| entry["program"].as_str().is_some_and(|path| path.ends_with("/growing")))
        .collect();
    assert_eq!(boxes.len(), 2, "{text}");
    for entry in boxes {
        let trace = info(&run.directory.path().join(entry["trace"].as_str().expect("a trace")));
        let peak = trace["summary"]["resident_peak_bytes"].as_u64().expect("bytes");
        assert!((24 << 20..32 << 20).contains(&peak), "{peak}: {text}");
    }
}

#[test]
fn forks_at_the_same_time_have_numbers_of_their_own() {
    let run = Recorded::hazard("concurrent_forks.c", &["--keep-raw"], &[]);
    assert_eq!(run.recorded.status.code(), Some(29), "{}", run.said());
    let recording = raw::Recording::open(&run.directory.path().join("trace.hlt.raw")).expect("raw files");
    let forked = recording.images().iter().filter(|image| recording.is_forked(**image));
    let numbers: Vec<u32> = forked
        .map(|image| recording.facts_of(*image, |page| page.fork()).flatten().expect("a number"))
        .collect();
    assert_eq!(numbers.len(), 320, "{}", run.said());
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 320, "{}", run.said());
}
