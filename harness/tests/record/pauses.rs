//! Signals that start, pause and continue a recording.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use heaplab_raw::{Control, State, Tick};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::heaplab;
use crate::support::recording::{Recorded, compile, info};

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

    /// The same, with its second phase recorded, and paused since then.
    fn recorded_once(directory: &Path) -> Phases {
        let mut phases = Phases::start(directory);
        phases.go_on();
        phases.ask(Signal::USR1, State::Recording);
        phases.go_on();
        phases.ask(Signal::USR2, State::Paused);
        phases
    }

    /// Lets the program run its next phase to its end.
    fn go_on(&mut self) {
        self.heaplab.stdin.as_mut().expect("a pipe").write_all(b"x").expect("it listens");
        let mut word = [0; 6];
        self.heaplab.stdout.as_mut().expect("a pipe").read_exact(&mut word).expect("it answers");
        assert_eq!(&word, b"phase\n");
    }

    /// Asks for a state by a signal, and waits until it is reached.
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
    let mut phases = Phases::recorded_once(directory.path());
    phases.go_on();
    let (status, said) = phases.end();
    assert_eq!(status, Some(15), "{said}");
    let trace = info(&directory.path().join("trace.hlt"));
    assert_eq!((&trace["summary"]["malloc"], &trace["summary"]["free"]), (&50.into(), &50.into()), "{said}");
    assert!(!said.contains("paused"), "before the first and after the last phase nothing is missing: {said}");
}

#[test]
fn a_pause_within_a_recording_is_marked_and_a_gap() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut phases = Phases::recorded_once(directory.path());
    phases.ask(Signal::USR1, State::Recording);
    phases.go_on();
    let (status, said) = phases.end();
    assert_eq!(status, Some(15), "{said}");
    assert!(said.contains("recording was paused and continued (once, "), "{said}");
    let path = directory.path().join("trace.hlt");
    let reader = heaplab_trace::TraceReader::open(&path).expect("a trace");
    let mut seen = Vec::new();
    for record in reader {
        match record.expect("a record") {
            heaplab_trace::Record::Mark(mark) => seen.push(mark.name),
            heaplab_trace::Record::Event(_) if seen.last().is_none_or(|last| last != "event") => {
                seen.push("event".to_owned());
            }
            _ => {}
        }
    }
    assert_eq!(seen, ["event", "recording paused", "recording continued", "event"], "{said}");
    info(&path);
}

#[test]
fn a_recording_that_was_never_begun_is_nothing_and_says_so() {
    let run = Recorded::hazard("end.c", &["--paused"], &["_exit"]);
    run.assert_unchanged();
    assert!(run.said().contains("nothing was recorded: it started paused"), "{}", run.said());
    assert!(!run.directory.path().join("trace.hlt").exists());
}
