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

#[test]
fn a_program_may_limit_its_addresses_while_it_runs() {
    for (options, arguments) in
        [(&[][..], &[][..]), (&[], &["vfork"]), (&[], &["fork"]), (&["--only-this-process"], &["fork"])]
    {
        let run = Recorded::hazard("limits_itself.c", options, arguments);
        run.assert_whole();
        assert_eq!(run.recorded.stdout, b"200 MiB\n");
    }
}

#[test]
fn a_process_whose_first_thread_has_exited_is_seen_to_its_end() {
    let run = Recorded::hazard("first_exits.c", &[], &[]);
    run.assert_whole();
    let peak = run.total("resident_peak_bytes");
    assert!(peak > 150 << 20, "{peak}");
    assert_eq!((run.total("threads"), run.total("thread_ends")), (2002, 2001), "{}", run.said());
}

#[test]
fn a_daemon_whose_first_thread_has_exited_is_recorded_to_its_end() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("first_exits.c", directory.path(), &[]);
    let left = format!("{} & sleep 0.03", program.display());
    let run = Recorded::run(directory, "/bin/sh".as_ref(), &[], &["-c", &left], &[]);
    run.assert_unchanged();
    assert!(run.total("malloc") >= 2040, "the daemon stands for the recording: {}", run.said());
}

#[test]
fn threads_that_have_exited_leave_their_room_to_others_after_the_first_thread_has() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("first_exits.c", directory.path(), &[]);
    let trace = directory.path().join("trace.hlt");
    let mut command = heaplab();
    command.args(["record", "--keep-raw", "-o"]).arg(&trace).arg("--").arg(&program);
    command.assert().code(19);
    let entries = std::fs::read_dir(directory.path().join("trace.hlt.raw")).expect("raw files");
    let lengths = entries.map(|entry| entry.expect("an entry").metadata().expect("a length").len());
    let bytes: u64 = lengths.sum();
    assert!(bytes < 16 << 20, "2,000 threads of 16 KiB each would have {bytes} bytes");
}
