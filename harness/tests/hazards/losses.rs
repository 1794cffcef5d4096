//! Where events could be lost without a word: each is recorded, or counted.

use std::process::Command;

use crate::support::heaplab;
use crate::support::recording::{Recorded, compile, info};

#[test]
fn a_file_system_that_reserves_nothing_keeps_every_event() {
    let directory = tempfile::tempdir().expect("a directory");
    let [wrapper, program] =
        ["without_fallocate.c", "at_once.c"].map(|source| compile(source, directory.path(), &[]));
    let (heaplab, trace) = (heaplab(), directory.path().join("trace.hlt"));
    let mut command = Command::new(wrapper);
    command.envs(heaplab.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg(heaplab.get_program()).args(["record", "-o"]).arg(&trace).arg("--").arg(program);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(17), &b"done\n"[..]), "{said}");
    assert!(!said.contains("warning: trace.hlt") && !said.contains("not read"), "{said}");
    let summary = &info(&trace)["summary"];
    assert_eq!((&summary["malloc"], &summary["lost"]), (&1_600_000.into(), &0.into()), "{said}");
}

/// What the trace's marks are named.
fn marks(run: &Recorded) -> Vec<String> {
    let reader = heaplab_trace::TraceReader::open(&run.directory.path().join("trace.hlt")).expect("a trace");
    let name = |record: Result<heaplab_trace::Record, _>| match record.expect("a record") {
        heaplab_trace::Record::Mark(mark) => Some(mark.name),
        _ => None,
    };
    reader.filter_map(name).collect()
}

#[test]
fn a_program_that_asks_for_filters_and_installs_none_is_recorded_whole() {
    for what in ["probe", "vfork"] {
        let run = Recorded::hazard("filters.c", &[], &[what]);
        run.assert_whole();
        assert_eq!((run.total("threads"), run.total("touched")), (9001, 20), "{what}: {}", run.said());
        assert_eq!(marks(&run), [] as [String; 0], "{what}");
    }
}

#[test]
fn what_a_filter_keeps_from_being_recorded_is_counted() {
    let run = Recorded::hazard("filters.c", &[], &["filter"]);
    run.assert_unchanged();
    assert_eq!(marks(&run), ["system calls filtered"]);
    let (threads, malloc, lost) = (run.total("threads"), run.total("malloc"), run.total("lost"));
    assert_eq!(run.total("touched"), 0);
    assert!(threads < 9001, "there is room for fewer: {threads}");
    assert_eq!(malloc, threads - 1 + 20);
    assert!(lost >= 2 * (9001 - threads), "a malloc and a free of each: {lost} of {threads}");
    assert!(run.said().contains("events were lost"), "{}", run.said());
}

