//! What heaplab and a keeper say to each other: one JSON object per line, over a socket.

use std::ffi::OsString;
use std::io::{BufRead, Write};
use std::path::PathBuf;

use heaplab_allocators::Variant;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Where a program's standard input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// The keeper's own, which is heaplab's.
    Inherited,
    /// A file or a device, opened again and read from its start.
    File(PathBuf),
    /// None: it is at its end from the start.
    Empty,
}

/// What a keeper should start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Job {
    /// The program and its arguments.
    pub(super) command: Vec<OsString>,
    /// The variant whose process settings it gets.
    pub(super) variant: Option<Variant>,
    /// Environment variables to remove first.
    pub(super) removed: Vec<OsString>,
    /// Environment variables to set.
    pub(super) variables: Vec<(String, String)>,
    /// Its standard input.
    pub(super) input: Input,
    /// The control group that it enters, if any.
    pub(super) group: Option<PathBuf>,
}

/// What heaplab tells a keeper after the job. A closed connection means [`Told::End`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Told {
    /// Send SIGTERM to the program.
    TerminateProgram,
    /// Send SIGTERM to every process of the tree.
    TerminateAll,
    /// Kill every process of the tree.
    End,
}

/// What a keeper says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Said {
    /// The program runs as this process.
    Started(u32),
    /// It could not be started: the number and text of the error.
    NotStarted(i32, String),
    /// It ended with this exit status, as a shell shows it.
    Ended(ExitStatus),
    /// Nothing of the tree remains. Contains what its processes used.
    Gone(Usage),
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It exited with this status.
    Exited(i32),
    /// It was killed by this signal.
    Killed(i32),
}

impl ExitStatus {
    /// The status as a shell shows it.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            ExitStatus::Exited(code) => code.unsigned_abs(),
            ExitStatus::Killed(signal) => 128 + signal.unsigned_abs(),
        }
    }
}

/// What all processes of a tree used together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// User CPU time.
    pub cpu_user_ns: u64,
    /// System CPU time.
    pub cpu_system_ns: u64,
    /// Minor page faults.
    pub page_faults_minor: u64,
    /// Major page faults.
    pub page_faults_major: u64,
    /// Context switches, voluntary and involuntary.
    pub context_switches: u64,
}

/// Writes one message.
pub(super) fn send(stream: &mut impl Write, message: &impl Serialize) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)
}

/// Reads one message; none if the other side is gone.
pub(super) fn receive<T: DeserializeOwned>(stream: &mut impl BufRead) -> std::io::Result<Option<T>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&line)?))
}
