//! Asks the whole path from a replay to a verdict for answers that are known beforehand, for
//! `heaplab doctor --self-check`.
//!
//! A library with a fault of known size (`allocators/preload/control`) and a program whose every call is known
//! (`program`) go through the same steps as a user's: import, replay, samples, statistics. `answers` says what the
//! result must be.

mod answers;
mod program;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use heaplab_allocators::registry::{Absent, locate_control};

use crate::design::{Pass, ReplayOptions, RunOptions};
use crate::report::{Analysis, ReportError};
use crate::results::{self, ResultsError, Run};
use crate::session::{Ended, Listener, SessionError, Start, measure_replays};
use crate::stats::MIN_BLOCKS;

pub use answers::Answer;

/// A variant of the library with faults.
#[derive(Debug, Clone, Copy)]
struct Control {
    name: &'static str,
    /// Its fault as a setting; empty for none.
    setting: &'static str,
}

impl Control {
    const fn new(name: &'static str, setting: &'static str) -> Control {
        Control { name, setting }
    }

    /// Its label in results.
    fn label(self) -> String {
        [self.name, self.setting].join(self.separator())
    }

    /// Its name on the command line.
    fn spec(self, library: &Path) -> String {
        format!("{}={}{}{}", self.name, library.display(), self.separator(), self.setting)
    }

    fn separator(self) -> &'static str {
        if self.setting.is_empty() { "" } else { ":" }
    }
}

/// The same library twice: the baseline, and a variant that must not differ from it.
const PLAIN: Control = Control::new("control", "");
const AGAIN: Control = Control::new("again", "");
/// One block size gets 5 % more than it asks for.
const WASTE: Control = Control::new("waste", "HEAPLAB_CONTROL_WASTE=5");
const WASTE_PERCENT: u64 = 5;
/// Freed memory is never reused.
const KEEP: Control = Control::new("keep", "HEAPLAB_CONTROL_KEEP=1");
/// Each block has its own mapping.
const UNMAP: Control = Control::new("unmap", "HEAPLAB_CONTROL_UNMAP=1");
/// Each call takes this many multiplications longer.
const SLOW: Control = Control::new("slow", "HEAPLAB_CONTROL_STEPS=32");
/// So many that the CPU cannot hide them behind the call's own work, and twice as many.
const SLOWER: Control = Control::new("slower", "HEAPLAB_CONTROL_STEPS=200");
const SLOWEST: Control = Control::new("slowest", "HEAPLAB_CONTROL_STEPS=400");
const STEPS: u64 = 200;

/// What is measured in each pass.
const OF_MEMORY: [Control; 5] = [PLAIN, AGAIN, WASTE, KEEP, UNMAP];
const OF_SPEED: [Control; 5] = [PLAIN, AGAIN, SLOW, SLOWER, SLOWEST];

/// A self-check that could not be made. A self-check that found a fault is not an error.
#[derive(Debug, thiserror::Error)]
pub enum SelfCheckError {
    /// The library with the faults does not exist.
    #[error(transparent)]
    Absent(#[from] Absent),
    /// A run that could not be made.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A run that could not be read again.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// A run that could not be analysed.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The temporary folder failed.
    #[error("cannot write the known program")]
    Io(#[from] std::io::Error),
    /// A sample that is not ok: there is no answer without it.
    #[error("{variant}, {pass} pass: {detail}")]
    Sample {
        /// The variant.
        variant: String,
        /// The pass.
        pass: Pass,
        /// What is wrong with it.
        detail: String,
    },
}

/// Measures what is known, and says for each answer what was expected and what was found; none if it was stopped. It
/// measures `reps` blocks, at least [`MIN_BLOCKS`].
///
/// # Errors
///
/// Those of [`measure_replays`]; the library does not exist; a sample is not ok.
pub fn check_itself(
    reps: u32,
    seed: u64,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Option<Vec<Answer>>, SelfCheckError> {
    debug_assert!(u64::from(reps) >= MIN_BLOCKS as u64);
    let library = locate_control()?;
    let place = tempfile::Builder::new().prefix("heaplab-").tempdir()?;
    let log = place.path().join(format!("{}.log", program::NAME));
    program::write(&log)?;
    let measure = |pass, variants: &[Control]| -> Result<Option<Run>, SelfCheckError> {
        let output = place.path().join(pass_folder(pass));
        let options = options(&log, &library, pass, variants, reps, seed);
        let start = Start::New { options, argv: Vec::new(), output: Some(output), shard: None };
        match measure_replays(start, stop, listener)? {
            Ended::Finished(path) => Ok(Some(read(&path)?)),
            Ended::Stopped(_) => Ok(None),
        }
    };
    let Some(memory) = measure(Pass::Memory, &OF_MEMORY)? else { return Ok(None) };
    let Some(speed) = measure(Pass::Throughput, &OF_SPEED)? else { return Ok(None) };
    let mut found = answers::of_memory(&Analysis::new(&memory, None)?)?;
    found.extend(answers::of_speed(&Analysis::new(&speed, None)?));
    Ok(Some(found))
}

fn pass_folder(pass: Pass) -> &'static str {
    if pass == Pass::Memory { "memory" } else { "speed" }
}

fn options(log: &Path, library: &Path, pass: Pass, variants: &[Control], reps: u32, seed: u64) -> RunOptions {
    RunOptions {
        seed,
        passes: vec![pass],
        reps,
        allocators: variants.iter().map(|variant| variant.spec(library)).collect(),
        baseline: Some(PLAIN.label()),
        replay: Some(ReplayOptions {
            workloads: vec![log.display().to_string()],
            ..ReplayOptions::default()
        }),
        ..RunOptions::default()
    }
}

/// Reads the run in a directory; every sample of it must be ok.
fn read(path: &Path) -> Result<Run, SelfCheckError> {
    let run = results::load(path)?;
    match run.samples.iter().find(|sample| sample.status != results::Status::Ok) {
        None => Ok(run),
        Some(sample) => Err(SelfCheckError::Sample {
            variant: sample.variant.clone(),
            pass: sample.pass,
            detail: sample.status_detail.clone().unwrap_or_default(),
        }),
    }
}
