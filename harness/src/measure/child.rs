//! One worker process: started, given its job, waited for, and never left running.

use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use heaplab_allocators::{end_with_parent, is_allocator_variable};

use crate::group::{Account, Group};
use crate::worker::{CPUS_VARIABLE, Job, OVERFLOW_EXIT, Reply, Status};

/// How often the parent checks whether it was asked to stop.
const LOOK: Duration = Duration::from_millis(50);
/// How much of a worker's stderr is kept.
const COMPLAINT_BYTES: u64 = 64 << 10;

/// What ends a worker, besides its reply.
pub(super) struct Ends<'a> {
    /// A worker that takes longer is killed.
    pub(super) timeout: Option<Duration>,
    /// The run was asked to stop.
    pub(super) stop: &'a AtomicBool,
    /// The control group that it enters.
    pub(super) group: Option<&'a Group>,
}

/// How a worker ended.
pub(super) enum End {
    /// It replied, or ended in a way that is a status.
    Reply(Box<Reply>),
    /// The run was asked to stop; the worker was killed.
    Stopped,
}

/// Runs one worker until it ends.
///
/// `environment` is the variant's; `cpus` is the count to show, if it differs from the machine's
/// own.
pub(super) fn run_worker(
    job: &Job,
    environment: &[(String, String)],
    cpus: Option<u32>,
    ends: &Ends<'_>,
) -> std::io::Result<End> {
    let Ends { timeout, stop, group } = *ends;
    let mut charged: Option<Account> = None;
    let mut read_account = || {
        charged = group.map(|group| group.account().larger(&charged.unwrap_or_default()));
        charged
    };
    let mut command = command(environment, cpus)?;
    job.variant.prepare_process(&mut command);
    let mut child = Running(command.spawn()?);
    let answers = read_streams(&mut child.0);
    let job = serde_json::to_vec(job)?;
    // A worker that dies before it has read its job closes the pipe; the code below finds out how
    // it died.
    if let Some(mut stdin) = child.0.stdin.take() {
        let _ = stdin.write_all(&job);
    }
    let started = Instant::now();
    let answer = loop {
        match answers.recv_timeout(LOOK) {
            Ok(answer) => break Some(answer),
            Err(RecvTimeoutError::Disconnected) => break None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        read_account();
        if stop.load(Ordering::Relaxed) {
            return Ok(End::Stopped);
        }
        if let Some(timeout) = timeout.filter(|&timeout| started.elapsed() >= timeout) {
            let detail = format!("stopped after {} s", timeout.as_secs_f64());
            return Ok(End::Reply(Box::new(failure(Status::Timeout, detail))));
        }
    };
    let status = child.0.wait()?;
    let (stdout, stderr) = answer.unwrap_or_default();
    // A worker in a different process group does not get the terminal's Ctrl-C, but it may get a
    // kill.
    if stop.load(Ordering::Relaxed) {
        return Ok(End::Stopped);
    }
    let mut reply = judge(status, &stdout, &stderr);
    reply.charged = read_account();
    if let Some(account) = reply.charged.filter(|account| account.oom_kills > 0) {
        reply.status = Status::Oom;
        reply.status_detail = Some(account.describe_kill(started.elapsed()));
    }
    Ok(End::Reply(Box::new(reply)))
}

/// The worker's command: this binary again, without allocator settings from anywhere else.
fn command(environment: &[(String, String)], cpus: Option<u32>) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("worker");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| is_allocator_variable(name) || name == CPUS_VARIABLE) {
            command.env_remove(name);
        }
    }
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    if let Some(cpus) = cpus {
        command.env(CPUS_VARIABLE, cpus.to_string());
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    end_with_parent(&mut command);
    Ok(command)
}

/// A child that is killed and reaped when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if the child was reaped already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the child's two streams to their ends in the background; sends one message when both are
/// closed.
fn read_streams(child: &mut Child) -> Receiver<(Vec<u8>, String)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let complaints = thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                let _ = stderr.by_ref().take(COMPLAINT_BYTES).read_to_end(&mut text);
                // The rest is read too, so that the child is not kept waiting.
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
            }
            String::from_utf8_lossy(&text).trim().to_owned()
        });
        let mut answer = Vec::new();
        if let Some(mut stdout) = stdout {
            let _ = stdout.read_to_end(&mut answer);
        }
        let _ = sender.send((answer, complaints.join().unwrap_or_default()));
    });
    receiver
}

/// What a worker's end means.
fn judge(status: ExitStatus, stdout: &[u8], stderr: &str) -> Reply {
    if let Some(signal) = status.signal() {
        let complaint = if stderr.is_empty() { String::new() } else { format!(": {}", last_line(stderr)) };
        return if signal == libc::SIGKILL {
            let detail = "killed by SIGKILL, as the kernel does when memory runs out";
            failure(Status::Oom, format!("{detail}{complaint}"))
        } else {
            failure(Status::Crash, format!("killed by signal {signal} ({}){complaint}", signal_name(signal)))
        };
    }
    if status.code() == Some(OVERFLOW_EXIT) && stdout.is_empty() {
        return failure(Status::StackOverflow, last_line(stderr).to_owned());
    }
    match serde_json::from_slice::<Reply>(stdout) {
        Ok(mut reply) => {
            if !stderr.is_empty() {
                reply.warnings.push(format!("the worker wrote: {}", last_line(stderr)));
            }
            reply
        }
        Err(_) if stderr.is_empty() => {
            failure(Status::Error, format!("the worker did not answer ({status})"))
        }
        Err(_) => {
            failure(Status::Error, format!("the worker did not answer ({status}): {}", last_line(stderr)))
        }
    }
}

fn failure(status: Status, detail: String) -> Reply {
    Reply { status, status_detail: Some(detail), ..Reply::default() }
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

fn signal_name(signal: i32) -> &'static str {
    match signal {
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGILL => "SIGILL",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGSYS => "SIGSYS",
        libc::SIGTERM => "SIGTERM",
        libc::SIGTRAP => "SIGTRAP",
        _ => "see signal(7)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_by_a_signal_is_a_status() {
        let killed = |signal: i32| judge(ExitStatus::from_raw(signal), b"", "malloc(): corrupted top size");
        assert_eq!(killed(libc::SIGKILL).status, Status::Oom);
        let crash = killed(libc::SIGABRT);
        assert_eq!(crash.status, Status::Crash);
        assert_eq!(
            crash.status_detail.as_deref(),
            Some("killed by signal 6 (SIGABRT): malloc(): corrupted top size")
        );
    }

    #[test]
    fn no_answer_is_an_error_with_the_last_complaint() {
        let reply = judge(ExitStatus::from_raw(256), b"", "one\ntwo");
        assert_eq!(reply.status, Status::Error);
        assert_eq!(reply.status_detail.as_deref(), Some("the worker did not answer (exit status: 1): two"));
    }
}
