//! Where events could be lost without a word: each is recorded, or counted.

use std::process::Command;

use crate::support::heaplab;
use crate::support::recording::{compile, info};

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
