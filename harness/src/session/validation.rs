//! The two runs of a validation: replays of a recording, and the program that was recorded. The recording is
//! made if it does not exist yet.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use heaplab_allocators::registry::DEFAULT_BASELINE;
use heaplab_allocators::{Injection, Variant};
use heaplab_workloads::model::{ModelError, read_facts};

use super::error::{SessionError, chain, usage};
use super::input::choose_input;
use super::notice::{Listener, Notice};
use super::opening::{Ended, Start, is_begun};
use super::program::{ProgramEnded, measure_program};
use super::recording::read_coverage;
use super::sampling::measure_replays;
use super::trees::Tree;
use crate::design::{ExecOptions, Pace, Pass, ReplayOptions, RunOptions};
use crate::exec::{self, Ending, Limits, Ready, ReportDirectory, find_program};

/// Where the run of replays is in a validation's directory.
const REPLAYS: &str = "replay";
/// Where the run of the program is.
const PROGRAM: &str = "exec";

/// How long merging a recording may take after the program's end.
const MERGING: Duration = Duration::from_secs(600);

/// What is validated, and how.
#[derive(Debug, Clone)]
pub struct Validation {
    /// The recording, which is made if it does not exist, or a model of recordings.
    pub recording: PathBuf,
    /// Of a model: what is set, as `KEY=VALUE`, such as its load.
    pub set: Vec<String>,
    /// Of a model: the length of its trace; none for that of its recordings.
    pub duration_ns: Option<u64>,
    /// Where both runs go.
    pub directory: PathBuf,
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// What is asked of both runs.
    pub options: RunOptions,
    /// How the program is run.
    pub exec: ExecOptions,
    /// Whether a recording with gaps is good enough.
    pub despite_coverage: bool,
    /// Whether existing runs are continued.
    pub resume: bool,
    /// Whether they are continued even by a different build of heaplab.
    pub resume_anyway: bool,
    /// The command line that asks for it, for display.
    pub argv: Vec<String>,
}

/// Records if necessary, replays the recording, and runs the program. Returns the directories of the two
/// runs; none if it was stopped.
///
/// # Errors
///
/// Those of [`measure_replays`], and a recording that failed, which is not kept.
pub fn validate_recording(
    validation: &Validation,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Option<(PathBuf, PathBuf)>, SessionError> {
    let is_model = is_model(&validation.recording)?;
    if !is_model && (validation.duration_ns.is_some() || !validation.set.is_empty()) {
        let path = validation.recording.display();
        return Err(usage(format!(
            "{path} is not a model (.hlm): only a model has a load and a length to set"
        )));
    }
    let command = validation.command.first().map_or("".as_ref(), |word| word.as_os_str());
    // The replays take minutes, so a program that cannot be run after them is reported first.
    find_program(command, std::env::var_os("PATH"))?;
    if !validation.recording.exists() {
        if !validation.record(stop, listener)? {
            return Ok(None);
        }
        if !validation.recording.exists() {
            let what = format!("{}: nothing was recorded", validation.recording.display());
            return Err(SessionError::Failed { what, source: "see above".into() });
        }
    }
    let replayed = match is_model {
        true => Replayed { workload: validation.recording.display().to_string(), of: Kind::Model },
        false => validation.find_replayed(listener)?,
    };
    let directory = &validation.directory;
    std::fs::create_dir_all(directory)
        .map_err(SessionError::failed(format!("{}: cannot create", directory.display())))?;
    let replays = validation.start(directory.join(REPLAYS), validation.replay_options(replayed));
    let Ended::Finished(replays) = measure_replays(replays, stop, listener)? else { return Ok(None) };
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let options = RunOptions {
        passes: vec![Pass::Exec],
        timeout_ns: None,
        exec: Some(validation.exec.clone()),
        ..validation.options.clone()
    };
    let program = validation.start(directory.join(PROGRAM), options);
    let command = matches!(program, Start::New { .. }).then(|| validation.command.clone());
    match measure_program(program, command, true, stop, listener)? {
        ProgramEnded::Ended { ended: Ended::Finished(program), .. } => Ok(Some((replays, program))),
        ProgramEnded::Ended { ended: Ended::Stopped(_), .. } => Ok(None),
        ProgramEnded::CannotStart(error) => Err(error.into()),
    }
}

/// What a validation replays.
struct Replayed {
    workload: String,
    of: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Process,
    Tree,
    Model,
}

/// Whether a file is a model of recordings, by its first bytes. Its process's memory outside malloc must be known.
fn is_model(path: &Path) -> Result<bool, SessionError> {
    let facts = match read_facts(path) {
        Ok(facts) => facts,
        Err(ModelError::NotAModel { .. }) => return Ok(false),
        Err(ModelError::Io { .. }) if !path.exists() && path.extension() != Some("hlm".as_ref()) => {
            return Ok(false);
        }
        Err(error) if error.is_usage() => return Err(usage(chain(&error))),
        Err(error) => return Err(SessionError::failed("cannot read the model")(error)),
    };
    if facts.recordings.iter().any(|recording| recording.outside_malloc_bytes.is_none()) {
        return Err(usage(format!(
            "{}: it does not say how much memory its process has outside malloc, so nothing can be predicted of the whole \
             process: fit it with --check, on the machine of the recordings",
            path.display()
        )));
    }
    Ok(true)
}

/// The two runs of a validation's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validated {
    /// The run of replays.
    pub replays: PathBuf,
    /// The run of the program.
    pub program: PathBuf,
}

/// The runs of a validation's directory; none if it is not one.
pub fn validated_runs(directory: &Path) -> Option<Validated> {
    let runs = Validated { replays: directory.join(REPLAYS), program: directory.join(PROGRAM) };
    let is_one = !is_begun(directory) && is_begun(&runs.replays) && is_begun(&runs.program);
    is_one.then_some(runs)
}

impl Validation {
    /// A new run, or the continuation of an existing one.
    fn start(&self, directory: PathBuf, options: RunOptions) -> Start {
        if self.resume && is_begun(&directory) {
            return Start::Resume {
                directory,
                given: Some(options),
                shard: None,
                anyway: self.resume_anyway,
            };
        }
        Start::New { options, argv: self.argv.clone(), output: Some(directory), shard: None }
    }

    /// What is replayed: the recording or, if it has several processes, all of them by their manifest.
    fn find_replayed(&self, listener: Listener<'_>) -> Result<Replayed, SessionError> {
        let recording = self.recording.display().to_string();
        let replayed = match Tree::beside(&self.recording) {
            Some(manifest) => Replayed { workload: manifest.display().to_string(), of: Kind::Tree },
            None => Replayed { workload: recording, of: Kind::Process },
        };
        let is_tree = replayed.of == Kind::Tree;
        let gaps = if is_tree {
            let tree = Tree::read(&replayed.workload)?.describe(|_| None, false)?;
            tree.refused.into_iter().collect()
        } else {
            read_coverage(&self.recording)?.sentences()
        };
        if !self.despite_coverage && !gaps.is_empty() {
            let what = format!(
                "{}: nothing is predicted from it, and so nothing validated (--despite-coverage does it anyway)",
                replayed.workload
            );
            return Err(SessionError::Failed { what, source: gaps.join("; ").into() });
        }
        if is_tree {
            listener(&Notice::Say(format!(
                "{}: all processes of the tree are replayed, and their memory together is compared",
                replayed.workload
            )));
        }
        Ok(replayed)
    }

    fn replay_options(&self, replayed: Replayed) -> RunOptions {
        let replay = ReplayOptions {
            workloads: vec![replayed.workload],
            // Allocators' timers cost the program time, so they must also run in the replay with which its
            // CPU time is compared.
            pace: Some(Pace::Virtual),
            despite_coverage: self.despite_coverage,
            set: self.set.clone(),
            duration_ns: self.duration_ns,
            ..ReplayOptions::default()
        };
        // CPU time is predicted from a recording of one process alone.
        let of_process = [Pass::Throughput, Pass::Memory];
        RunOptions {
            passes: of_process[usize::from(replayed.of != Kind::Process)..].to_vec(),
            replay: Some(replay),
            ..self.options.clone()
        }
    }

    /// Records the program, loaded and stopped as the samples are. False if it was interrupted.
    fn record(&self, stop: &AtomicBool, listener: Listener<'_>) -> Result<bool, SessionError> {
        let own = std::env::current_exe().map_err(SessionError::failed("cannot find the running program"))?;
        let mut command: Vec<OsString> = vec![own.into()];
        command.extend(["record", "-o"].map(OsString::from));
        command.push(self.recording.clone().into());
        let failed = "cannot make a temporary directory";
        let files = ReportDirectory::create().map_err(SessionError::failed(failed))?;
        let make = |name| files.create_file(name).map_err(SessionError::failed(failed));
        let (reports, announcement) = (make("reports")?, make("process")?);
        command.extend(["--announce".into(), announcement.clone().into(), "--".into()]);
        command.extend(self.command.iter().cloned());
        let variant = self.recorded_under()?;
        if let Some(prepare) = &self.exec.prepare {
            match exec::prepare(prepare, &variant.label, stop).map_err(SessionError::failed("--prepare"))? {
                None => return Ok(false),
                Some(0) => {}
                Some(status) => {
                    let what = format!("--prepare exited with status {status}");
                    return Err(SessionError::Failed { what, source: prepare.clone().into() });
                }
            }
        }
        listener(&Notice::Say("recording".to_owned()));
        let injection =
            Injection::without_probe(&variant).map_err(SessionError::failed(variant.label.clone()))?;
        let ready = self.exec.ready_when.as_deref().map(str::parse::<Ready>).transpose().map_err(usage)?;
        let program = exec::Program {
            command: &command,
            file: Path::new(&command[0]),
            variant: &variant,
            injection: &injection,
            report_file: &reports,
            input: choose_input(false, listener)?,
            limits: &Limits {
                ready,
                ready_within: Duration::from_nanos(self.exec.ready_within_ns),
                time: self.exec.time_ns.map(Duration::from_nanos),
                load: self.exec.load.clone(),
                timeout: None,
                // heaplab itself waits for the last process.
                until_last: false,
                grace: MERGING,
            },
            group: None,
            to_stderr: true,
            announcement: Some(&announcement),
        };
        let taken = exec::take_sample(&program, stop).map_err(SessionError::failed("recording"))?;
        // There is no probe: the recording says which library served.
        if taken.as_ref().is_some_and(|taken| matches!(taken.ending, Ending::Ok | Ending::NotInjected)) {
            return Ok(true);
        }
        // It was cut short: nothing must be predicted from it next time.
        match std::fs::remove_file(&self.recording) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(SessionError::failed(format!("{}: cannot remove", self.recording.display()))(
                    error,
                ));
            }
            _ => {}
        }
        match taken {
            None => Ok(false),
            Some(taken) => {
                let source = taken.detail.unwrap_or_default().into();
                Err(SessionError::Failed { what: "recording".to_owned(), source })
            }
        }
    }

    /// The variant that the program is recorded under, whatever malloc it is linked to: the first variant
    /// without settings.
    fn recorded_under(&self) -> Result<Variant, SessionError> {
        let texts = self.options.allocators.iter().map(String::as_str).chain([DEFAULT_BASELINE]);
        for text in texts {
            let variant = Variant::parse(text).map_err(SessionError::failed(format!("variant {text}")))?;
            if variant.settings.is_empty() {
                return Ok(variant);
            }
        }
        Err(usage(format!("{DEFAULT_BASELINE} is always without settings")))
    }
}
