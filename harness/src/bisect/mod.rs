//! Finds the first of many builds of an allocator that is worse than a good one: by halving, each step a sequential
//! test.
//!
//! A step replays the workload under the good build and the candidate in blocks, side by side, until one side of a
//! limit is far enough ahead ([`crate::stats::Walk`]). The limit is midway between no difference and the threshold, on
//! logarithms. The first step tests the bad build, and compares the good one with itself: the stated odds rest on
//! whether noise leaves blocks on their true side.

mod candidates;
mod error;
mod search;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;

pub use error::BisectError;

use candidates::Candidates;
use search::Search;

use crate::compare::{Better, better};
use crate::design::{Pass, ReplayOptions, RunOptions, show_percent};
use crate::session::{BlocksEnded, Listener, Notice, measure_blocks, pass_of_metric};
use crate::stats::{Side, Walk, lead_for, median, odds_of};

/// Fewest blocks of the first step: fewer say nothing about the noise.
const LEAST_BLOCKS_OF_NOISE: usize = 8;

/// Where the builds come from.
#[derive(Debug, Clone)]
pub enum Builds {
    /// A folder of libraries, and two of them, or two from elsewhere.
    Libraries {
        /// The folder.
        directory: PathBuf,
        /// The good one.
        good: PathBuf,
        /// The bad one.
        bad: PathBuf,
    },
    /// Commits of the repository in this folder.
    Commits {
        /// The good one.
        good: String,
        /// The bad one.
        bad: String,
        /// A shell command that builds a commit and prints its library's path last.
        build: String,
    },
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Question {
    /// Where the builds come from.
    pub builds: Builds,
    /// The metric, by its name in summary.csv.
    pub metric: String,
    /// How much worse the first bad one must at least be: 0.03 for 3 %.
    pub threshold: f64,
    /// The largest odds that any step is decided wrongly.
    pub odds: f64,
    /// Most blocks of a step.
    pub most_blocks: u32,
    /// The seed of the layouts and loads.
    pub seed: u64,
    /// A worker that takes longer is killed.
    pub timeout_ns: u64,
    /// What is replayed: one workload.
    pub replay: ReplayOptions,
}

/// One test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tested {
    /// The build's name: its file, or its commit.
    pub name: String,
    /// `worse`, `not worse`, `undecided` or `cannot be tested`.
    pub verdict: &'static str,
    /// Blocks that were measured.
    pub blocks: usize,
    /// Blocks of these in which it was on the worse side of the limit.
    pub worse_blocks: usize,
    /// The median of its ratios to the good one; none if there are no blocks.
    pub ratio: Option<f64>,
    /// The metric's values under the good build and under this one, by block.
    pub values: Vec<(f64, f64)>,
    /// Why it cannot be tested.
    pub reason: Option<String>,
}

/// The result of a search.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Found {
    /// The first worse build is among these, in order: a single one, unless some could not be tested.
    pub suspects: Vec<String>,
    /// The tests, in the order in which they were made; the first tests the bad build.
    pub tests: Vec<Tested>,
    /// By how many blocks one side had to be ahead.
    pub lead: u32,
    /// The largest odds that any of the tests was decided wrongly, if three out of four blocks are on their true side.
    pub odds: f64,
}

/// Searches for the first build that is worse; none if it was stopped.
///
/// # Errors
///
/// [`BisectError`].
pub fn bisect(
    question: &Question,
    stop: &AtomicBool,
    listener: Listener<'_>,
) -> Result<Option<Found>, BisectError> {
    let pass = pass_of_metric(&question.metric).ok_or_else(|| {
        BisectError::Usage(format!("{} is no metric of the throughput or the memory pass", question.metric))
    })?;
    if better(&question.metric) == Better::Neither {
        return Err(BisectError::Usage(format!(
            "neither more nor less of {} is worse, so there is no first bad build: name another metric with --metric",
            question.metric
        )));
    }
    let candidates = match &question.builds {
        Builds::Libraries { directory, good, bad } => Candidates::of_directory(directory, good, bad)?,
        Builds::Commits { good, bad, build } => Candidates::of_commits(good, bad, build)?,
    };
    let steps = Search::most_tests(candidates.len()) + 1;
    let lead = lead_for(question.odds / f64::from(steps));
    let bisection = Bisection { question, pass, candidates, lead, stop, listener };
    bisection.run()
}

struct Bisection<'a> {
    question: &'a Question,
    pass: Pass,
    candidates: Candidates,
    lead: u32,
    stop: &'a AtomicBool,
    listener: Listener<'a>,
}

impl Bisection<'_> {
    fn run(&self) -> Result<Option<Found>, BisectError> {
        let last = self.candidates.len() - 1;
        let good = self.required(0)?;
        let Some(bad) = self.test_ends(&good, last)? else { return Ok(None) };
        let mut tests = vec![bad];
        let mut search = Search::new(self.candidates.len());
        while let Some(at) = search.next() {
            let tested = match self.candidates.library(at)? {
                Ok(library) => {
                    let Some(tested) = self.test(&good, at, &library)? else { return Ok(None) };
                    tested
                }
                Err(reason) => self.untestable(at, reason),
            };
            match tested.verdict {
                WORSE => search.learn(at, true),
                NOT_WORSE => search.learn(at, false),
                _ => search.skip(at),
            }
            self.tell(&tested);
            tests.push(tested);
        }
        let decided = tests.iter().filter(|test| [WORSE, NOT_WORSE].contains(&test.verdict)).count();
        Ok(Some(Found {
            suspects: search.suspects().map(|at| self.candidates.name(at)).collect(),
            lead: self.lead,
            odds: decided as f64 * odds_of(self.lead),
            tests,
        }))
    }

    /// The library of a build that must be available.
    fn required(&self, at: usize) -> Result<PathBuf, BisectError> {
        let name = || self.candidates.name(at);
        self.candidates.library(at)?.map_err(|reason| BisectError::Untestable { name: name(), reason })
    }

    /// Tests the bad build, and the good one against itself; none if it was stopped.
    fn test_ends(&self, good: &Path, last: usize) -> Result<Option<Tested>, BisectError> {
        let bad = self.required(last)?;
        let variants = [("good", good), ("candidate", bad.as_path()), ("again", good)];
        let mut noise = Vec::new();
        let Some(tested) = self.measure(last, &variants, |values| noise.push(values[2] / values[0]))? else {
            return Ok(None);
        };
        let half = self.limit();
        let off = noise.iter().filter(|ratio| ratio.ln().abs() > half).count();
        let question = self.question;
        let threshold = show_percent(question.threshold);
        let what = format!("{} on {}", question.metric, question.replay.workloads.join(", "));
        if off * 4 > noise.len() {
            return Err(BisectError::Noise { what, threshold, off, blocks: noise.len() });
        }
        if let Some(reason) = tested.reason {
            return Err(BisectError::Untestable { name: tested.name, reason });
        }
        if tested.verdict != WORSE {
            let (good, detail) = (self.candidates.name(0), describe(&tested));
            return Err(BisectError::NotWorse(format!(
                "{} is not worse than {good} by {threshold} in {what} ({detail})",
                tested.name
            )));
        }
        self.tell(&tested);
        Ok(Some(tested))
    }

    fn test(&self, good: &Path, at: usize, library: &Path) -> Result<Option<Tested>, BisectError> {
        self.measure(at, &[("good", good), ("candidate", library)], |_| ())
    }

    /// Measures blocks of these variants until the second is on one side of the limit; none if it was stopped. If there
    /// is a third, it measures at least as many blocks as the noise needs.
    fn measure(
        &self,
        at: usize,
        variants: &[(&str, &Path)],
        mut also: impl FnMut(&[f64]),
    ) -> Result<Option<Tested>, BisectError> {
        let question = self.question;
        let options = RunOptions {
            seed: question.seed,
            passes: vec![self.pass],
            reps: question.most_blocks,
            allocators: variants.iter().map(|(name, path)| format!("{name}={}", path.display())).collect(),
            baseline: Some("good".to_owned()),
            timeout_ns: Some(question.timeout_ns),
            replay: Some(question.replay.clone()),
            ..RunOptions::default()
        };
        let least = if variants.len() > 2 { LEAST_BLOCKS_OF_NOISE } else { 1 };
        let mut walk = Walk::new(self.lead);
        let mut decided = None;
        let mut values: Vec<(f64, f64)> = Vec::new();
        let mut worse_blocks = 0;
        let ended = measure_blocks(&options, &question.metric, self.stop, self.listener, |of_block| {
            also(of_block);
            values.push((of_block[0], of_block[1]));
            let side = if self.is_worse(of_block[0], of_block[1]) { Side::Above } else { Side::Below };
            worse_blocks += usize::from(side == Side::Above);
            if decided.is_none() {
                decided = walk.add(side);
            }
            decided.is_some() && values.len() >= least
        })?;
        let (verdict, reason) = match (ended, decided) {
            (BlocksEnded::Stopped, _) => return Ok(None),
            (BlocksEnded::Failed(1, reason), _) => (UNTESTABLE, Some(reason)),
            (BlocksEnded::Failed(_, reason), _) => {
                return Err(BisectError::Untestable { name: self.candidates.name(0), reason });
            }
            (_, Some(Side::Above)) => (WORSE, None),
            (_, Some(Side::Below)) => (NOT_WORSE, None),
            (_, None) => (UNDECIDED, Some(format!("{} blocks did not decide it", values.len()))),
        };
        let ratios: Vec<f64> = values.iter().map(|(good, value)| value / good).collect();
        let ratio = median(&ratios);
        let name = self.candidates.name(at);
        Ok(Some(Tested { name, verdict, blocks: values.len(), worse_blocks, ratio, values, reason }))
    }

    fn untestable(&self, at: usize, reason: String) -> Tested {
        Tested {
            name: self.candidates.name(at),
            verdict: UNTESTABLE,
            blocks: 0,
            worse_blocks: 0,
            ratio: None,
            values: Vec::new(),
            reason: Some(reason),
        }
    }

    /// Midway between no difference and the threshold, as a logarithm.
    fn limit(&self) -> f64 {
        (1.0 + self.question.threshold).ln() / 2.0
    }

    /// Whether a value is worse than the good one's by more than the limit. Two values of 0 are the same.
    fn is_worse(&self, good: f64, value: f64) -> bool {
        let (less, more) = match better(&self.question.metric) {
            Better::Higher => (value, good),
            _ => (good, value),
        };
        if less == 0.0 { more > 0.0 } else { (more / less).ln() > self.limit() }
    }

    fn tell(&self, tested: &Tested) {
        (self.listener)(&Notice::Say(format!("{}: {}", tested.name, describe(tested))));
    }
}

const WORSE: &str = "worse";
const NOT_WORSE: &str = "not worse";
const UNDECIDED: &str = "undecided";
const UNTESTABLE: &str = "cannot be tested";

/// A test in a few words.
fn describe(tested: &Tested) -> String {
    if let Some(reason) = &tested.reason {
        return format!("{}: {reason}", tested.verdict);
    }
    let ratio = tested.ratio.map_or_else(String::new, |ratio| format!(", in the median {ratio:.4} times"));
    let (worse, blocks) = (tested.worse_blocks, tested.blocks);
    format!("{} ({worse} of {blocks} blocks above the limit{ratio})", tested.verdict)
}
