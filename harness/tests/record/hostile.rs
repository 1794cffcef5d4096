//! Recorded programs that mean harm: what they write into the recording's directory is not believed.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::heaplab;
use crate::support::recording::{compile, info};

/// Nothing takes longer, unless it never ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Records names_library.c; what was written to stderr.
fn record(directory: &Path, arguments: &[&str]) -> String {
    let program = compile("names_library.c", directory, &[]);
    let mut command = heaplab();
    command.timeout(PATIENCE).args(["record", "-o"]).arg(directory.join("trace.hlt"));
    let output = command.arg("--").arg(program).args(arguments).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(26), "{said}");
    assert_eq!(info(&directory.join("trace.hlt"))["summary"]["malloc"], 1, "{said}");
    said
}

#[test]
fn a_pipe_among_the_raw_files_is_told_and_not_waited_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let said = record(directory.path(), &[]);
    assert!(said.contains("99999-77.raw: it is not a regular file: it is not read"), "{said}");
    assert!(!directory.path().join("trace.hlt.raw").exists(), "{said}");
}

#[test]
fn an_allocator_without_an_end_is_not_hashed() {
    let directory = tempfile::tempdir().expect("a directory");
    record(directory.path(), &["/dev/zero"]);
}

/// The program could have dropped root's rights before it named the library, or have been another user's.
#[test]
fn a_library_that_a_process_names_does_not_run_with_roots_rights() {
    assert!(rustix::process::getuid().is_root(), "run the tests as root: nobody else has rights to lose");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o777)).expect("ours");
    let mark = directory.path().join("mark");
    let define = format!("-DMARK=\"{}\"", mark.display());
    let library = compile("tells_user.c", directory.path(), &["-shared", "-fPIC", &define]);
    let program = compile("names_library.c", directory.path(), &[]);
    let heaplab = heaplab();
    let output = Command::new("sh")
        .args(["-c", "exec 9</dev/null; SECRET=1 exec \"$0\" record -o \"$1\" -- \"$2\" \"$3\""])
        .arg(heaplab.get_program())
        .arg(directory.path().join("trace.hlt"))
        .args([&program, &library])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(26), "{said}");
    let lines = std::fs::read_to_string(&mark).expect("it is asked");
    // Users, group, groups, open files, variables.
    assert_eq!(lines, "65533 65533 65533 0 0 -\n", "{said}");
}

/// One that cannot be read by nobody is known by its file, as long as that exists.
#[test]
fn an_allocator_that_root_may_not_ask_is_known_by_its_name() {
    // heaplab itself may lie in root's home.
    let home = tempfile::tempdir().expect("a directory of one's own");
    let own = home.path().join("heaplab");
    std::fs::copy(heaplab().get_program(), &own).expect("a copy");
    for (mode, has_version) in [(0o755, true), (0o700, false)] {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(mode)).expect("ours");
        let program = compile("end.c", directory.path(), &[]);
        let library = directory.path().join("libjemalloc.so.2");
        std::fs::copy(crate::support::library_directory().join("libheaplab_jemalloc.so"), &library)
            .expect("a copy");
        let mut command = Command::new(&own);
        command.env("HEAPLAB_RECORDER", crate::support::library_directory().join("libheaplab_recorder.so"));
        command.args(["record", "-o"]).arg(directory.path().join("trace.hlt"));
        // heaplab itself does not use the library.
        let script = "LD_PRELOAD=$LD_PRELOAD:$1 exec \"$0\" _exit";
        let output =
            command.args(["--", "sh", "-c", script]).args([&program, &library]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let header = info(&directory.path().join("trace.hlt"))["header"].clone();
        let allocator = &header["allocator"];
        assert_eq!(allocator["name"], "jemalloc", "{said}");
        let version = allocator["version"].as_str().expect("a text");
        let may_ask = has_version || !rustix::process::getuid().is_root();
        assert_eq!(!version.is_empty(), may_ask, "{allocator}");
        assert_eq!(allocator["hash"].as_str().map(str::len), Some(64), "{allocator}");
    }
}

/// Their names can be guessed, and other users may write into root's directory.
#[test]
fn a_link_in_the_place_of_the_copies_is_not_written_through() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("many_events.c", directory.path(), &[]);
    let victim = directory.path().join("victim");
    std::fs::write(&victim, "kept").expect("a file");
    // While heaplab is stopped, the program copies full buffers itself. Its image is the one after the shell's.
    let script = "ln -s \"$1\" \"$HEAPLAB_RECORD_DIR/$$-1.copies\"
        (sleep 1; kill -CONT $PPID) &
        kill -STOP $PPID
        exec \"$0\"";
    let mut command = heaplab();
    command.timeout(PATIENCE).args(["record", "--only-this-process", "-o"]);
    command
        .arg(directory.path().join("trace.hlt"))
        .args(["--", "sh", "-c", script])
        .args([&program, &victim]);
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(14), &b"many\n"[..]), "{said}");
    assert!(said.contains("-1.copies: it is not a regular file: there are no copies"), "{said}");
    assert_eq!(std::fs::read_to_string(&victim).expect("a file"), "kept", "{said}");
    assert_eq!(info(&directory.path().join("trace.hlt"))["summary"]["malloc"], 500_000, "{said}");
}
