//! `heaplab record` as a process: where it stops, what it says, and what it passes on.

#[path = "support/recording.rs"]
mod recording;
mod support;

use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use heaplab_raw::{Control, State, Tick};
use recording::{Recorded, compile, info};
use rustix::process::{Pid, Signal, kill_process};
use support::heaplab;

/// Runs `heaplab record` with `arguments`; its status and what it wrote to stderr.
fn record(arguments: &[&str]) -> (Option<i32>, String) {
    let output = heaplab().arg("record").args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_last_line_tells_events_threads_bytes_and_lost() {
    let run = Recorded::hazard("end.c", &[], &["_exit"]);
    run.assert_whole();
    let said = run.said();
    assert!(said.starts_with("heaplab: recorded ") && said.lines().count() == 1, "{said}");
    assert!(said.contains("trace.hlt: 2001 events, 1 thread, ") && said.ends_with(" 0 lost\n"), "{said}");
}

#[test]
fn the_header_tells_where_and_on_what() {
    let run = Recorded::hazard("end.c", &[], &["_exit"]);
    let trace = run.trace();
    let header = &trace["header"];
    assert_eq!((&header["source"], &header["has_times"]), (&"recorder".into(), &true.into()));
    assert_eq!((&header["has_threads"], &header["has_alignment"]), (&true.into(), &true.into()));
    assert_eq!(header["allocator"]["name"], "ptmalloc2");
    assert_eq!(header["allocator"]["hash"].as_str().map(str::len), Some(64));
    assert!(header["cpus"].as_u64().is_some_and(|cpus| cpus > 0), "{header}");
    assert!(header["program"].as_str().is_some_and(|program| program.ends_with("/end _exit")), "{header}");
}

#[test]
fn a_limit_of_bytes_stops_the_recording_and_not_the_program() {
    let run = Recorded::hazard("many_events.c", &["--max-bytes", "256KiB"], &[]);
    run.assert_unchanged();
    let recorded = run.total("malloc");
    assert!((10_000..500_000).contains(&recorded), "{recorded}");
    assert!(run.said().contains("of --max-bytes"), "{}", run.said());
}

#[test]
fn a_limit_of_time_stops_the_recording_and_not_the_program() {
    let run = Recorded::hazard("many_events.c", &["--max-seconds", "0.003"], &[]);
    run.assert_unchanged();
    assert!(run.total("malloc") < 500_000);
    assert!(run.said().contains("the time of --max-seconds was over"), "{}", run.said());
}

#[test]
fn a_full_disk_stops_the_recording_and_not_the_program() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("many_events.c", directory.path(), &[]);
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).expect("a directory");
    // A file system of 512 KiB, in a name space of its own; raw files and trace lie there both.
    let script =
        "mount -t tmpfs -o size=512k tmpfs \"$1\" && \"$2\" record -o \"$1/trace.hlt\" -- \"$3\"; status=$?
        rm -f \"$1\"/trace.hlt.raw/filler; ls -l \"$1/trace.hlt.raw\" >&2; exit $status";
    let heaplab = heaplab();
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(&disk)
        .arg(heaplab.get_program())
        .arg(&program)
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(14), &b"many\n"[..]), "{said}");
    assert!(said.contains("the raw files could not grow: No space left on device"), "{said}");
    assert!(said.contains("the program went on without"), "{said}");
    assert!(
        said.contains("trace import --from raw"),
        "what is there is kept, and how to use it is said: {said}"
    );
    assert!(said.contains("-0.raw"), "{said}");
}

#[test]
fn a_limit_of_file_sizes_stops_the_recording_and_not_the_program() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("many_events.c", directory.path(), &[]);
    let trace = directory.path().join("trace.hlt");
    // To write past the limit would be a SIGXFSZ to the program.
    let heaplab = heaplab();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 512; exec \"$0\" record -o \"$1\" -- \"$2\""])
        .args([heaplab.get_program(), trace.as_os_str(), program.as_os_str()])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(14), &b"many\n"[..]), "{said}");
    assert!(said.contains("the raw files could not grow: File too large"), "{said}");
    let recorded = info(&trace)["summary"]["malloc"].as_u64().expect("a total");
    assert!((10_000..500_000).contains(&recorded), "{recorded}");
}

/// A recorded program that waits for us between its phases.
struct Phases {
    heaplab: Child,
    control: std::path::PathBuf,
}

impl Phases {
    fn start(directory: &Path) -> Phases {
        let program = compile("phases.c", directory, &[]);
        let heaplab = heaplab();
        let child = Command::new(heaplab.get_program())
            .args(["record", "--paused", "-o"])
            .arg(directory.join("trace.hlt"))
            .arg("--")
            .arg(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        Phases { heaplab: child, control: directory.join("trace.hlt.raw/control") }
    }

    /// Lets the program do its next phase, to the end of it.
    fn go_on(&mut self) {
        self.heaplab.stdin.as_mut().expect("a pipe").write_all(b"x").expect("it listens");
        let mut word = [0; 6];
        self.heaplab.stdout.as_mut().expect("a pipe").read_exact(&mut word).expect("it answers");
        assert_eq!(&word, b"phase\n");
    }

    /// Asks by a signal for a state, and waits until it is there.
    fn ask(&self, signal: Signal, state: State) {
        let pid = Pid::from_raw(i32::try_from(self.heaplab.id()).expect("a process")).expect("a process");
        kill_process(pid, signal).expect("it runs");
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.state() != Some(state) {
            assert!(Instant::now() < deadline, "{signal:?} brings {state:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn state(&self) -> Option<State> {
        let mut word = [0; 8];
        let control = std::fs::File::open(&self.control).expect("the control page");
        control.read_exact_at(&mut word, Control::TICK_OFFSET as u64).expect("a word");
        Tick(u64::from_le_bytes(word)).state()
    }

    /// Lets the program end: the status, and what was written to stderr.
    fn end(mut self) -> (Option<i32>, String) {
        drop(self.heaplab.stdin.take());
        let output = self.heaplab.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn signals_begin_and_pause_a_recording() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut phases = Phases::start(directory.path());
    phases.go_on();
    phases.ask(Signal::USR1, State::Recording);
    phases.go_on();
    phases.ask(Signal::USR2, State::Paused);
    phases.go_on();
    let (status, said) = phases.end();
    assert_eq!(status, Some(15), "{said}");
    let trace = info(&directory.path().join("trace.hlt"));
    assert_eq!((&trace["summary"]["malloc"], &trace["summary"]["free"]), (&50.into(), &50.into()), "{said}");
}

#[test]
fn a_recording_that_was_never_begun_is_nothing_and_says_so() {
    let run = Recorded::hazard("end.c", &["--paused"], &["_exit"]);
    run.assert_unchanged();
    assert!(run.said().contains("nothing was recorded: it began paused"), "{}", run.said());
    assert!(!run.directory.path().join("trace.hlt").exists());
}

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
        // For root a program of root's is no other user's: this one is made nobody's.
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
fn a_program_that_does_not_start_has_the_status_that_a_shell_gives() {
    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("x.hlt");
    let trace = trace.to_str().expect("UTF-8");
    assert_eq!(
        record(&["-o", trace, "--", "no-such-program-anywhere"]),
        (Some(127), "heaplab: no-such-program-anywhere: there is no such program\n".to_string()),
    );
    let text = directory.path().join("text");
    std::fs::write(&text, "text").expect("a file");
    let (status, said) = record(&["-o", trace, "--", text.to_str().expect("UTF-8")]);
    assert_eq!(status, Some(126), "{said}");
    assert!(said.contains("it may not be executed"), "{said}");
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("a directory").count(),
        1,
        "nothing is left behind"
    );
}

#[test]
fn a_running_process_is_refused_with_what_to_do() {
    let (status, said) = record(&["--pid", "1"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("a running process cannot be recorded") && said.contains("heaplab record -o"),
        "{said}"
    );
}

#[test]
fn raw_files_of_an_earlier_recording_are_not_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("x.hlt");
    std::fs::create_dir(directory.path().join("x.hlt.raw")).expect("a directory");
    let (status, said) = record(&["-o", trace.to_str().expect("UTF-8"), "--", "true"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("is there already") && said.contains("trace import --from raw"), "{said}");
}

#[test]
fn a_missing_library_is_said_with_the_places() {
    let directory = tempfile::tempdir().expect("a directory");
    let alone = directory.path().join("heaplab");
    std::fs::copy(heaplab().get_program(), &alone).expect("a copy");
    let output = Command::new(&alone)
        .args(["record", "-o"])
        .arg(directory.path().join("x.hlt"))
        .args(["--", "true"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the recorder's library is in none of ") && said.contains("HEAPLAB_RECORDER"),
        "{said}"
    );
    let library = support::library_directory().join("libheaplab_recorder.so");
    let output = Command::new(&alone)
        .env("HEAPLAB_RECORDER", &library)
        .args(["record", "-o"])
        .arg(directory.path().join("x.hlt"))
        .args(["--", "sh", "-c", "exit 9"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
}
