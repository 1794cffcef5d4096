//! What a program gets of signals is what it would get without heaplab.

use std::io::{BufRead, BufReader, Lines, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::support::heaplab;
use crate::support::recording::{compile, info};

#[test]
fn what_a_shell_ignores_the_program_ignores() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("dispositions.c", directory.path(), &[]);
    let (heaplab, trace) = (heaplab(), directory.path().join("trace.hlt"));
    for ignored in ["''", "'' HUP INT QUIT PIPE TERM", "'' PIPE USR1 XFSZ", "'' 40 HUP"] {
        let script =
            format!("[ \"{ignored}\" = \"''\" ] || trap {ignored}; [ $# -gt 0 ] && exec \"$@\"; exec \"$0\"");
        let run = |arguments: &[&std::ffi::OsStr]| {
            let mut command = Command::new("sh");
            command.envs(heaplab.get_envs().filter_map(|(name, value)| Some((name, value?))));
            let output = command.args(["-c", &script]).arg(&program).args(arguments).output();
            let output = output.expect("a shell");
            assert_eq!(output.status.code(), Some(22), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).expect("UTF-8")
        };
        let recorded = run(&[
            heaplab.get_program(),
            "record".as_ref(),
            "-o".as_ref(),
            trace.as_ref(),
            "--".as_ref(),
            program.as_ref(),
        ]);
        assert_eq!(recorded, run(&[]), "{ignored}");
    }
}

#[test]
fn signals_that_a_process_sends_to_heaplab_reach_the_program() {
    let mut waiting = Waiting::start();
    for signal in [Signal::INT, Signal::QUIT, Signal::WINCH, Signal::INT, Signal::TERM] {
        kill_process(waiting.pid, signal).expect("it runs");
        assert_eq!(waiting.next(), Some(signal.as_raw().to_string()));
    }
    assert_eq!(waiting.next(), None, "each once");
    waiting.assert_recorded();
}

#[test]
fn a_signal_to_the_whole_group_ends_the_program_and_the_recording_is_whole() {
    let mut waiting = Waiting::start();
    kill_process_group(waiting.pid, Signal::TERM).expect("it runs");
    assert_eq!(waiting.next(), Some(Signal::TERM.as_raw().to_string()));
    assert_eq!(waiting.next(), None);
    waiting.assert_recorded();
}

/// A recorded program that waits for signals, in a process group of its own together with heaplab.
struct Waiting {
    directory: TempDir,
    child: Child,
    pid: Pid,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Waiting {
    fn start() -> Waiting {
        let directory = tempfile::tempdir().expect("a directory");
        let program = compile("dispositions.c", directory.path(), &[]);
        // Whoever runs the tests in the background may have INT and QUIT ignored, and both would stay so.
        let mut child = Command::new("env")
            .arg("--default-signal")
            .arg(heaplab().get_program())
            .args(["record", "-o"])
            .arg(directory.path().join("trace.hlt"))
            .arg("--")
            .arg(program)
            .arg("ready")
            .process_group(0)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process")).expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let mut waiting = Waiting { directory, child, pid, lines };
        while waiting.next().expect("it does not end before it is ready") != "ready" {}
        waiting
    }

    /// The next line that the program writes; none once it has ended.
    fn next(&mut self) -> Option<String> {
        self.lines.next().map(|line| line.expect("UTF-8"))
    }

    /// It ended as it does without heaplab, and left a trace in which nothing is missing.
    fn assert_recorded(mut self) {
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        assert_eq!(self.child.wait().expect("it ends").code(), Some(23), "{said}");
        assert!(!said.contains("warning"), "{said}");
        let trace = info(&self.directory.path().join("trace.hlt"));
        assert_eq!(trace["summary"]["lost"], 0, "{said}");
    }
}
