//! What a program gets of signals is what it would get without heaplab.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::heaplab;
use crate::support::recording::compile;

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
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process")).expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().map(|line| line.expect("UTF-8"));
    while next().as_deref() != Some("ready") {}
    for signal in [Signal::INT, Signal::QUIT, Signal::WINCH, Signal::INT, Signal::TERM] {
        kill_process(pid, signal).expect("it runs");
        assert_eq!(next(), Some(signal.as_raw().to_string()));
    }
    assert_eq!(next(), None, "each once");
    let mut said = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
    assert_eq!(child.wait().expect("it ends").code(), Some(23), "{said}");
}
