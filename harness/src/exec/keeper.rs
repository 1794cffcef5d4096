//! The keeper: a process of heaplab's own that is the parent of a program and of whatever that leaves behind.
//!
//! It adopts the program's orphans (PR_SET_CHILD_SUBREAPER), so that the tree below it is all that the program
//! ever started; it reaps them, so that their CPU time adds up in its own account; and it kills them when it is
//! told to or when heaplab is gone. The standard streams of the program are its own. It measures nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};

use super::message::{ExitStatus, Input, Job, Said, Told, Usage, receive, send};
use super::tree::descendants;
use crate::group::enter_while;
use crate::signals;

/// Names the socket on which heaplab waits for its keeper.
pub const SOCKET_VARIABLE: &str = "HEAPLAB_KEEPER_SOCKET";

/// Time between two rounds of killing: a process may have started others meanwhile.
const KILL_AGAIN: Duration = Duration::from_millis(5);

/// Runs the keeper's process.
///
/// # Errors
///
/// A sentence, if heaplab cannot be heard or the program's processes cannot be waited for.
pub fn main() -> Result<(), String> {
    let path =
        std::env::var_os(SOCKET_VARIABLE).ok_or("a keeper is started by `heaplab exec`, not by hand")?;
    let failed = |what: &'static str| move |error: std::io::Error| format!("keeper: cannot {what}: {error}");
    let mut stream = UnixStream::connect(path).map_err(failed("reach heaplab"))?;
    let mut listener = BufReader::new(stream.try_clone().map_err(failed("listen to heaplab"))?);
    let Some(job) = receive::<Job>(&mut listener).map_err(failed("read its job"))? else {
        return Ok(());
    };
    set_child_subreaper(Some(getpid())).map_err(|error| format!("keeper: subreaper: {error}"))?;
    // The keeper outlives the signals that end the program: it installs handlers, because ignored signals are
    // inherited through exec.
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        signal_hook::flag::register(signal.as_raw(), Arc::new(AtomicBool::new(false)))
            .map_err(failed("handle signals"))?;
    }
    let program = match start(&job) {
        Ok(program) => program,
        Err(error) => {
            // If heaplab is gone, nobody needs to know.
            let _ =
                send(&mut stream, &Said::NotStarted(error.raw_os_error().unwrap_or(0), error.to_string()));
            return Ok(());
        }
    };
    // If heaplab is gone, the other thread kills the program.
    let _ = send(&mut stream, &Said::Started(program.id()));
    let program = Arc::new(Mutex::new(Some(program)));
    let obeyed = Arc::clone(&program);
    std::thread::spawn(move || obey(&mut listener, &obeyed));
    reap(&mut stream, &program)
}

fn lock(program: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    program.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the program in its environment.
fn start(job: &Job) -> std::io::Result<Child> {
    let [program, arguments @ ..] = &job.command[..] else {
        return Err(std::io::Error::other("no command"));
    };
    let mut command = Command::new(program);
    signals::inherit(&mut command);
    command.args(arguments).env_remove(SOCKET_VARIABLE);
    job.removed.iter().for_each(|name| {
        command.env_remove(name);
    });
    command.envs(job.variables.iter().map(|(name, value)| (name, value)));
    if let Some(variant) = &job.variant {
        variant.prepare_process(&mut command);
    }
    match &job.input {
        Input::Inherited => {}
        Input::File(path) => {
            command.stdin(File::open(path)?);
        }
        Input::Empty => {
            command.stdin(Stdio::null());
        }
    }
    match &job.group {
        None => command.spawn(),
        // The keeper is not in the group: what it uses does not belong to the program.
        Some(processes) => enter_while(processes, || command.spawn()),
    }
}

/// Waits for every process of the tree until none remains.
fn reap(stream: &mut UnixStream, program: &Mutex<Option<Child>>) -> Result<(), String> {
    loop {
        // Waited for first without reaping and reaped under the lock, so that no signal is sent to a number that
        // is free again.
        let ended = match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
            Err(Errno::EINTR) => continue,
            Err(Errno::ECHILD) => break,
            // NOTE: a real-time signal, which has no name, killed one of them.
            Err(Errno::EINVAL) => None,
            other => other.map_err(|error| format!("keeper: cannot wait: {error}"))?.pid(),
        };
        let mut program = lock(program);
        let is_program = |process: nix::unistd::Pid| {
            program.as_ref().is_some_and(|program| program.id() == process.as_raw().unsigned_abs())
        };
        if let Some(process) = ended.filter(|process| !is_program(*process)) {
            // Reaped; its exit status matters only to its parent, which is gone.
            let _ = waitpid(process, None);
            continue;
        }
        match program.as_mut().map(Child::try_wait) {
            Some(Ok(Some(status))) => {
                *program = None;
                // If heaplab is gone, nobody needs to know: the other thread kills what remains.
                let _ = send(stream, &Said::Ended(exit_status(status)));
            }
            _ => {
                let _ = waitpid(None, Some(WaitPidFlag::WNOHANG));
            }
        }
    }
    let usage = used().map_err(|error| format!("keeper: cannot read its account: {error}"))?;
    let _ = send(stream, &Said::Gone(usage));
    Ok(())
}

fn exit_status(status: std::process::ExitStatus) -> ExitStatus {
    match (status.code(), status.signal()) {
        (Some(code), _) => ExitStatus::Exited(code),
        (None, signal) => ExitStatus::Killed(signal.unwrap_or(0)),
    }
}

/// What all children and their descendants used until they were waited for.
fn used() -> nix::Result<Usage> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let count = |count: i64| count.unsigned_abs();
    Ok(Usage {
        cpu_user_ns: count(usage.user_time().num_microseconds()) * 1000,
        cpu_system_ns: count(usage.system_time().num_microseconds()) * 1000,
        page_faults_minor: count(usage.minor_page_faults()),
        page_faults_major: count(usage.major_page_faults()),
        context_switches: count(usage.voluntary_context_switches())
            + count(usage.involuntary_context_switches()),
    })
}

/// Does what heaplab says, and kills everything once heaplab says nothing more.
fn obey(listener: &mut BufReader<UnixStream>, program: &Mutex<Option<Child>>) {
    loop {
        match receive::<Told>(listener) {
            Ok(Some(Told::TerminateProgram)) => {
                if let Some(program) = lock(program).as_ref() {
                    send_signal(program.id(), Signal::TERM);
                }
            }
            Ok(Some(Told::TerminateAll)) => signal_all(Signal::TERM, &BTreeSet::new()),
            Ok(Some(Told::End) | None) | Err(_) => break,
        }
    }
    // This loop ends with the process, when the other thread finds no child.
    loop {
        signal_all(Signal::KILL, &BTreeSet::new());
        std::thread::sleep(KILL_AGAIN);
    }
}

/// Sends a signal to every process below this one, except `spared`.
pub(super) fn signal_all(signal: Signal, spared: &BTreeSet<u32>) {
    for process in descendants(std::process::id()).difference(spared) {
        send_signal(*process, signal);
    }
}

/// Sends a signal to a process. A process that has just exited is not an error.
fn send_signal(process: u32, signal: Signal) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        let _ = kill_process(process, signal);
    }
}
