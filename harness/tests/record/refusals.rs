//! Programs into which no library can be preloaded.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::heaplab;
use crate::support::recording::{Recorded, compile};

#[test]
fn a_static_program_is_not_recorded_and_the_reason_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("end.c", directory.path(), &["-static"]);
    let run = Recorded::run(directory, &program, &[], &["_exit"], &[]);
    run.assert_unchanged();
    assert!(run.said().contains("nothing was recorded: "), "{}", run.said());
    assert!(run.said().contains("is statically linked"), "{}", run.said());
}

#[test]
fn a_set_user_id_program_is_not_recorded_and_the_reason_is_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let (program, arguments) = if rustix::process::getuid().is_root() {
        // For root, a program of root's does not belong to another user, so this one is made nobody's.
        let program = compile("end.c", directory.path(), &[]);
        std::os::unix::fs::chown(&program, Some(65_534), Some(65_534)).expect("root may");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).expect("root may");
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).expect("ours");
        (program, "_exit")
    } else {
        ("/bin/su".into(), "--version")
    };
    assert!(std::fs::metadata(&program).is_ok_and(|metadata| metadata.mode() & 0o4000 != 0));
    let run = Recorded::run(directory, &program, &[], &[arguments], &[]);
    assert_eq!(run.recorded.status.code(), run.alone.status.code(), "{}", run.said());
    assert_eq!(run.recorded.stdout, run.alone.stdout);
    assert!(run.said().contains("is set-user-ID"), "{}", run.said());
}

#[test]
fn a_program_for_musl_is_not_started() {
    // What tells it is the loader that it asks for, which is not installed here.
    assert_refused("-Wl,--dynamic-linker=/lib/ld-musl-x86_64.so.1", "uses the C library musl");
}

#[test]
fn a_program_with_the_address_sanitizer_is_not_started() {
    let (directory, program) = assert_refused("-fsanitize=address", "is built with the address sanitizer");
    // Where it is told to accept a library before its own, what it allocates is recorded.
    let variables = [("ASAN_OPTIONS", "verify_asan_link_order=0")];
    let run = Recorded::run(directory, &program, &[], &["_exit"], &variables);
    run.assert_whole();
    assert!(run.total("malloc") >= 1000, "{}", run.said());
}

/// Compiles a program with `option`, and checks that heaplab refuses to start it, says `why`, and leaves no file.
fn assert_refused(option: &str, why: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("end.c", directory.path(), &[option]);
    let mut command = heaplab();
    command.env_remove("ASAN_OPTIONS").args(["record", "-o"]).arg(directory.path().join("trace.hlt"));
    let output = command.arg("--").arg(&program).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b""[..]), "{said}");
    assert!(said.contains(why) && said.contains("so it was not started"), "{said}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "{said}");
    (directory, program)
}
