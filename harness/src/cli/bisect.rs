//! `heaplab bisect`: finds the first build of an allocator that is worse than a good one.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use heaplab_workloads::simulate::parse_time_ns;

use super::list::print_columns;
use super::screen::Screen;
use super::{Format, Outcome, Usage, nanoseconds, parse_duration, stop_on_signals};
use crate::bisect::{BisectError, Builds, Found, Question, bisect};
use crate::cli::stdout::stdout;
use crate::design::{ReplayOptions, parse_percent};

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("builds").args(["libs", "build"]).required(true)))]
pub(super) struct Args {
    /// The workload to replay: a name or a file
    workload: String,
    /// The good build: a library, or with --build a commit
    #[arg(long, value_name = "LIB|COMMIT")]
    good: String,
    /// The bad build
    #[arg(long, value_name = "LIB|COMMIT")]
    bad: String,
    /// A folder of libraries, in the order of their names: those between the good and the bad one are searched
    #[arg(long, value_name = "DIR")]
    libs: Option<PathBuf>,
    /// A shell command that builds a commit of the repository here, in a separate worktree, and prints the
    /// library's path last
    #[arg(long, value_name = "CMD")]
    build: Option<String>,
    /// The metric to compare, by its name in summary.csv
    #[arg(long, value_name = "METRIC", default_value = "resident_peak_bytes")]
    metric: String,
    /// How much worse a build must be to count as bad
    #[arg(long, value_name = "PCT", default_value = "3%", value_parser = parse_percent)]
    threshold: f64,
    /// The highest odds that any step is decided wrongly
    #[arg(long, value_name = "PCT", default_value = "1%", value_parser = parse_percent)]
    odds: f64,
    /// The most blocks per step; a build that is undecided after them is skipped
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u32).range(8..=10_000))]
    max_blocks: u32,
    /// Simulated time of a load model
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    duration: Option<u64>,
    /// Set a field of a load model
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Decides each block's layout and simulated load
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Stop a worker that takes longer
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = parse_duration)]
    timeout: Duration,
    /// Write every block's figures to this CSV file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    if let Some(output) = &args.output {
        super::require_directory(output)?;
    }
    if !(args.threshold > 0.0 && args.odds > 0.0 && args.odds < 0.5) {
        return Err(Usage("--threshold must be above 0%, and --odds between 0% and 50%".to_owned()).into());
    }
    let stop = stop_on_signals()?;
    let screen = Screen::new()?;
    let question = question(&args);
    let found = bisect(&question, &stop, &|notice| screen.show(notice)).map_err(as_usage)?;
    let Some(found) = found else { return Ok(Outcome::Interrupted) };
    if let Some(output) = &args.output {
        write_blocks(&found, output)?;
    }
    print(&found, &question, args.format)?;
    Ok(if found.suspects.len() == 1 { Outcome::Done } else { Outcome::Incomplete })
}

fn question(args: &Args) -> Question {
    let builds = match (&args.libs, &args.build) {
        (Some(directory), _) => Builds::Libraries {
            directory: directory.clone(),
            good: args.good.clone().into(),
            bad: args.bad.clone().into(),
        },
        (None, build) => Builds::Commits {
            good: args.good.clone(),
            bad: args.bad.clone(),
            build: build.clone().unwrap_or_default(),
        },
    };
    Question {
        builds,
        metric: args.metric.clone(),
        threshold: args.threshold,
        odds: args.odds,
        most_blocks: args.max_blocks,
        seed: args.seed,
        timeout_ns: nanoseconds(args.timeout),
        replay: ReplayOptions {
            workloads: vec![args.workload.clone()],
            duration_ns: args.duration,
            set: args.overrides.clone(),
            ..ReplayOptions::default()
        },
    }
}

fn as_usage(error: BisectError) -> anyhow::Error {
    match error {
        BisectError::Usage(text) => Usage(text).into(),
        BisectError::Session(error) => error.into(),
        other => other.into(),
    }
}

fn print(found: &Found, question: &Question, format: Format) -> anyhow::Result<()> {
    let mut out = stdout();
    if format == Format::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(found)?)?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = found
        .tests
        .iter()
        .map(|test| {
            let ratio = test.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.4}"));
            let blocks = format!("{} of {}", test.worse_blocks, test.blocks);
            vec![test.name.clone(), test.verdict.to_owned(), blocks, ratio]
        })
        .collect();
    print_columns(&mut out, &["build", "verdict", "worse blocks", "ratio"], &rows)?;
    let metric = &question.metric;
    match &found.suspects[..] {
        [only] => writeln!(out, "\nthe first that is worse in {metric}: {only}")?,
        many => writeln!(
            out,
            "\nthe first that is worse in {metric} is one of these {}, of which the others cannot be told: {}",
            many.len(),
            many.join(", ")
        )?,
    }
    writeln!(
        out,
        "the odds that a step was decided wrongly are at most {:.2} %, where a block is on its true side in three of four cases",
        found.odds * 100.0
    )?;
    Ok(())
}

/// One row for each block of each test.
fn write_blocks(found: &Found, output: &Path) -> anyhow::Result<()> {
    let failed = || format!("cannot write {}", output.display());
    let mut writer = csv::Writer::from_path(output).with_context(failed)?;
    writer.write_record(["step", "build", "verdict", "block", "good", "value"]).with_context(failed)?;
    for (step, test) in found.tests.iter().enumerate() {
        for (block, (good, value)) in test.values.iter().enumerate() {
            let cells = [
                step.to_string(),
                test.name.clone(),
                test.verdict.to_owned(),
                block.to_string(),
                good.to_string(),
                value.to_string(),
            ];
            writer.write_record(cells).with_context(failed)?;
        }
    }
    writer.flush().with_context(failed)
}
