//! A trial run of a variant: a short-lived process in the variant's environment says which allocator serves it
//! and which settings that allocator took.
//!
//! The parent asks once for each variant, before anything is measured: starting a child from within a worker
//! would disturb what the worker measures. [`prove`] is the parent's side, [`answer`] the child's.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::environment::{self, EnvironmentError};
use crate::family::Family;
use crate::hash::{HashError, hash_file};
use crate::identity::{IdentifyError, Loaded, identify, tell_change};
use crate::process;
use crate::readback::{self, Proof, glibc, jemalloc, mimalloc, texts};
use crate::stamp::Stamp;
use crate::variant::Variant;

/// A trial that reports nothing within this time never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a child of a trial run says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The allocator that serves it.
    pub loaded: Loaded,
    /// The settings that it could read back itself.
    pub proofs: Vec<Proof>,
}

/// What is known about a variant after its trial run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proven {
    /// The allocator that serves.
    pub loaded: Loaded,
    /// SHA-256 of its library file.
    pub library_hash: String,
    /// The outcome of each setting.
    pub proofs: Vec<Proof>,
}

/// Why a trial run gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The variant has no environment.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// The child could not be started.
    #[error("{allocator}: the trial run could not be started: {source}")]
    Start {
        /// The allocator.
        allocator: String,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The child did not end.
    #[error("{allocator}: the trial run did not end within {} s", PATIENCE.as_secs())]
    Timeout {
        /// The allocator.
        allocator: String,
    },
    /// The child ended without an answer.
    #[error("{allocator}: the trial run ended without an answer ({status}){}", .stderr.lines().last().map(|line| format!(": {line}")).unwrap_or_default())]
    Failed {
        /// The allocator.
        allocator: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote.
        stderr: String,
    },
    /// The library file could not be read.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The library file was replaced before it could be read.
    #[error("{allocator}: {what}")]
    Changed {
        /// The allocator.
        allocator: String,
        /// What happened.
        what: String,
    },
}

impl ProbeError {
    /// Whether the process was killed by a signal before it could answer: the allocator does not survive its
    /// start.
    pub fn is_crash_at_start(&self) -> bool {
        matches!(self, ProbeError::Failed { status, .. } if status.signal().is_some())
    }
}

impl Proven {
    /// Why samples of this variant are `unknown-setting`; none if every setting was accepted.
    pub fn unknown_setting(&self) -> Option<String> {
        join(self.proofs.iter().filter_map(Proof::fault))
    }

    /// The library's file as a sample must find it now: the one that was proven, or one with the same contents.
    ///
    /// # Errors
    ///
    /// A sentence, if the file has different contents now, or cannot be read.
    pub fn find_library(&self) -> Result<Stamp, String> {
        let path = &self.loaded.library_path;
        let gone = |error: &dyn std::fmt::Display| format!("{}: {error}", tell_change(path));
        let stamp = Stamp::read(path).map_err(|error| gone(&error))?;
        // A new link to a file, or its owner, changes the stamp and not the contents.
        if stamp == self.loaded.library_stamp
            || hash_file(path).map_err(|error| gone(&error))? == self.library_hash
        {
            return Ok(stamp);
        }
        Err(tell_change(path))
    }

    /// What readers of its samples must know; none if everything is proven.
    pub fn warning(&self) -> Option<String> {
        join(self.proofs.iter().filter_map(Proof::warning))
    }
}

fn join(texts: impl Iterator<Item = String>) -> Option<String> {
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

/// The command that runs `program` (this one, for which `std::env::current_exe` stands) as the child.
///
/// It must answer `probe -- SPEC` by printing [`answer`] for the variant of that text as JSON.
pub fn command(program: &Path, variant: &Variant) -> Command {
    let mut command = Command::new(program);
    command.args(["probe", "--", &variant.spec()]);
    command
}

/// The child's side: which allocator serves this process, and which of the variant's settings it accepted.
pub fn answer(variant: &Variant) -> Result<Answer, IdentifyError> {
    let loaded = identify()?;
    let proofs = readback::in_process(variant, &loaded);
    Ok(Answer { loaded, proofs })
}

/// Runs `command`, which prints an [`Answer`] as JSON for the variant, in the variant's environment, and
/// completes the answer with what only the parent can find out.
///
/// `command` must be the program that the workers run, so that both load the same libraries.
pub fn prove(mut command: Command, variant: &Variant, cpus: Option<u32>) -> Result<Proven, ProbeError> {
    let cpus = variant.cpus().or(cpus);
    let variables = variant.environment(cpus)?;
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(environment::is_allocator_variable) {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    variant.prepare_process(&mut command);
    // Any library may turn out to be mimalloc; others ignore the variable.
    let (name, value) = mimalloc::VERBOSE;
    if !variables.iter().any(|(set, _)| set == name) {
        command.env(name, value);
    }
    let (answer, stderr) = ask(command, &variant.allocator)?;
    let options = readback::options(variant, answer.loaded.family);
    let (of_process, mut proofs): (Vec<Proof>, Vec<Proof>) =
        answer.proofs.into_iter().partition(Proof::is_of_process);
    match answer.loaded.family {
        Family::Jemalloc => {
            let own = |proof: &mut Proof| options.iter().any(|option| option.name == proof.name);
            let mut asked: Vec<Proof> = proofs.extract_if(.., own).collect();
            jemalloc::heed_complaints(&mut asked, &stderr);
            proofs.splice(..0, asked);
        }
        Family::Mimalloc => proofs = mimalloc::judge_options(&options, &stderr),
        Family::Ptmalloc2 => proofs = glibc::judge_options(&options, &variables),
        Family::TcmallocGoogle => {
            let tunables: Vec<_> =
                options.iter().filter(|option| option.name.starts_with("glibc.")).cloned().collect();
            proofs.extend(glibc::judge_options(&tunables, &variables));
            for proof in &mut proofs {
                texts::judge_rseq(proof, &answer.loaded.version);
            }
        }
        Family::Tcmalloc
        | Family::Snmalloc
        | Family::Rpmalloc
        | Family::Scudo
        | Family::Tbbmalloc
        | Family::Floor
        | Family::Other => {}
    }
    proofs.extend(of_process);
    let path = &answer.loaded.library_path;
    let library_hash = hash_file(path)?;
    if !Stamp::read(path).is_ok_and(|stamp| stamp == answer.loaded.library_stamp) {
        return Err(ProbeError::Changed { allocator: variant.allocator.clone(), what: tell_change(path) });
    }
    Ok(Proven { loaded: answer.loaded, library_hash, proofs })
}

/// Runs the child and reads its answer and what it wrote to stderr.
fn ask(mut command: Command, allocator: &str) -> Result<(Answer, String), ProbeError> {
    let start_error = |source| ProbeError::Start { allocator: allocator.into(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process::end_with_parent(&mut command);
    let mut child = command.spawn().map_err(start_error)?;
    let (stdout, stderr) = match read_streams(&mut child) {
        Some(streams) => streams,
        None => {
            // Killing fails only if the child has already ended, and then the wait ends at once.
            let _ = child.kill();
            let _ = child.wait();
            return Err(ProbeError::Timeout { allocator: allocator.into() });
        }
    };
    let status = child.wait().map_err(start_error)?;
    match serde_json::from_slice(&stdout) {
        Ok(answer) if status.success() => Ok((answer, stderr)),
        _ => Err(ProbeError::Failed { allocator: allocator.into(), status, stderr }),
    }
}

/// Both streams up to their ends; none if they do not end in time.
fn read_streams(child: &mut Child) -> Option<(Vec<u8>, String)> {
    /// More than this is not an answer.
    const LONGEST: u64 = 1 << 20;
    let read = |stream: Option<Box<dyn Read + Send>>| {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // A stream that breaks off is as good as one that ends: the answer is then incomplete.
            let _ = stream.map(|stream| stream.take(LONGEST).read_to_end(&mut bytes));
            let _ = sender.send(bytes);
        });
        receiver
    };
    let stdout = read(child.stdout.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>));
    let stderr = read(child.stderr.take().map(|stream| Box::new(stream) as Box<dyn Read + Send>));
    let stdout = stdout.recv_timeout(PATIENCE).ok()?;
    let stderr = stderr.recv_timeout(PATIENCE).ok()?;
    Some((stdout, String::from_utf8_lossy(&stderr).into_owned()))
}
