//! Recording a program: heaplab starts it with the recorder's library, watches it until it exits, and merges
//! what its processes wrote into a trace.
//!
//! library (finds the recorder's library) -> calibration (what it costs, by a recording of this program
//! itself) -> directory and control (what is shared with the recorded processes) -> watch (the clock, signals
//! and limits, until the last recorded process ends) with images (what processes have started), observer
//! (what is seen from outside, of the processes of a tree) and collector (room and empty buffers for their
//! threads) -> facts (which allocator it was) -> merge (the traces, and the manifest of a tree). If nothing
//! was recorded, diagnosis says why.
//!
//! The clock is this process's: about every millisecond it stores the time where every event of the program
//! reads it. If this process dies, the time stands still, but the recording continues and can be imported by
//! hand.

mod calibration;
mod collector;
mod control;
mod cost;
mod cpu_time;
mod diagnosis;
mod directory;
mod elf;
mod error;
mod facts;
mod images;
mod library;
mod manifest;
mod merge;
mod observer;
mod page;
mod processes;
mod question;
mod shared;
mod strangers;
mod tree;
mod watch;

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use heaplab_raw::State;
use heaplab_trace::{Header, TraceFile};
use rustix::process::{getpid, set_child_subreaper};

pub use cost::{EVENT_COST_NOTE, WAKING_COST_NOTE, WAKINGS_NOTE};
pub use error::RecordError;
pub use manifest::{Entry, Manifest, write_of_raw};
pub use merge::{Recorded, Recording};
pub use watch::{Requests, Stop};

use control::Control;
use directory::Directory;
use observer::Observer;
use watch::Watch;

use crate::signals;

/// Names the file of the recorder's library, if it is in none of the usual places.
pub const LIBRARY_VARIABLE: &str = "HEAPLAB_RECORDER";

/// What is recorded, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The program, searched for in PATH.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// The trace to write; the names of other images' traces contain their process's PID.
    pub output: PathBuf,
    /// Whether children are not recorded. Otherwise each is recorded into a separate trace.
    pub only_this_process: bool,
    /// Whether nothing is recorded until requested.
    pub is_paused: bool,
    /// Recording stops when the raw files together have this length.
    pub most_bytes: Option<u64>,
    /// Recording stops at this time.
    pub most_time: Option<Duration>,
    /// Whether the raw files are kept after a successful merge.
    pub keeps_raw: bool,
    /// Where the number of the program's process goes as soon as it runs: a line.
    pub announcement: Option<PathBuf>,
}

/// How a recording ended.
#[derive(Debug)]
pub struct Report {
    /// How the program ended.
    pub status: ExitStatus,
    /// What was recorded, or why nothing was.
    pub result: Result<Recorded, RecordError>,
    /// What readers of the trace must know.
    pub warnings: Vec<String>,
}

impl Report {
    /// The exit status that passes on the program's: its own, or 128 plus the signal that killed it.
    pub fn exit_code(&self) -> u8 {
        let code = self.status.code().or_else(|| self.status.signal().map(|signal| 128 + signal));
        code.map_or(1, |code| code as u8)
    }
}

/// Records a program from its start to its exit. Signals may set `requests` meanwhile; `tell` gets messages for the
/// user while it runs.
///
/// # Errors
///
/// The program was not started: the library, the directory or the program does not exist, the program would not run with
/// the library, or no trace can be written to its path. Later errors are in the report, because the program has run and has a status.
pub fn record(settings: &Settings, requests: &Requests, tell: &dyn Fn(&str)) -> Result<Report, RecordError> {
    let library = library::find()?;
    if let Some(reason) = diagnosis::forbids_preloading(&settings.program) {
        return Err(RecordError::Unrecordable { reason });
    }
    let directory = Directory::create(&settings.output)?;
    if let Err(source) = TraceFile::create(&settings.output, &Header::default()) {
        directory.remove()?;
        return Err(RecordError::NoTrace { source });
    }
    let control = Control::create(&directory.file(heaplab_raw::CONTROL_NAME), !settings.only_this_process)?;
    let observer = Observer::create(&directory.file(heaplab_raw::SAMPLES_NAME), &library)?;
    let cost = calibration::measure(&library, &directory);
    let mut watch = Watch::new(settings, &directory, control, observer, tell);
    watch.cost = cost.as_ref().ok().copied();
    watch.begin()?;
    // A process that loses its parent stays in this process's tree: a daemon is recorded to its end.
    set_child_subreaper(Some(getpid())).map_err(|errno| RecordError::Io {
        what: "adopt the program's orphans",
        path: settings.program.clone().into(),
        source: errno.into(),
    })?;
    let child = match start(settings, &library, directory.path()) {
        Ok(child) => child,
        Err(error) => {
            directory.remove()?;
            return Err(error);
        }
    };
    let announced = announce(settings, &child);
    let ended = watch.until_end(child, requests)?;
    let mut warnings = ended.warnings(settings);
    warnings.extend(announced.err().map(|error| error.to_string()));
    warnings.extend(cost.err().map(|why| {
        format!("what recording costs is not known, so it stays in the CPU time that was recorded: {why}")
    }));
    let merged = merge::merge(settings, &directory, &ended).and_then(|recorded| {
        let manifest = manifest::write(&settings.output, &directory, &recorded.traces, &ended)?;
        Ok(Recorded { manifest, ..recorded })
    });
    let result = match merged {
        Ok(recorded) if settings.keeps_raw => {
            warnings.push(format!("the raw files are kept in {}", directory.path().display()));
            Ok(recorded)
        }
        Ok(recorded) => directory.remove().map(|()| recorded),
        Err(error @ RecordError::Nothing { .. }) => directory.remove().and(Err(error)),
        Err(error) => Err(error),
    };
    Ok(Report { status: ended.status, result, warnings })
}

/// Starts the program with the library before all other preloaded ones.
fn start(settings: &Settings, library: &Path, directory: &Path) -> Result<Child, RecordError> {
    let mut command = Command::new(&settings.program);
    signals::inherit(inject(command.args(&settings.arguments), library, directory))
        .spawn()
        .map_err(|source| RecordError::Start { program: settings.program.clone(), source })
}

/// Tells whoever asked for it which process the program runs as.
fn announce(settings: &Settings, child: &Child) -> Result<(), RecordError> {
    let Some(path) = &settings.announcement else { return Ok(()) };
    std::fs::write(path, format!("{}\n", child.id())).map_err(|source| RecordError::Io {
        what: "tell the program's number",
        path: path.clone(),
        source,
    })
}

/// Sets up a command to be recorded.
fn inject<'a>(command: &'a mut Command, library: &Path, directory: &Path) -> &'a mut Command {
    let mut preload = library.as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        preload.push(":");
        preload.push(others);
    }
    command.env("LD_PRELOAD", preload).env(directory::DIRECTORY_VARIABLE, directory)
}

/// The state that a recording starts with.
fn first_state(settings: &Settings) -> State {
    if settings.is_paused { State::Paused } else { State::Recording }
}
