//! `heaplab doctor`: judges this machine, and measures it if asked to.

use std::io::Write;
use std::time::Duration;

use heaplab_workloads::simulate::DEFAULT_SEED;

use super::list::print_columns;
use super::screen::Screen;
use super::{Format, Outcome, nanoseconds, stop_on_signals};
use crate::cli::stdout::stdout;
use crate::compare::NoiseRow;
use crate::design::{Pass, ReplayOptions, RunOptions, show_percent};
use crate::doctor::{Check, FirstWrites, Level, Readings, examine};
use crate::group::{Group, GroupLimits};
use crate::self_check::{Answer, check_itself};
use crate::session::measure_itself;
use crate::stats::{MIN_BLOCKS, NOISE_THRESHOLD};
use crate::worker::{Warmed, measure_first_writes};

/// A worker that takes longer is killed.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Seed of the experiments drawn from the machine's noise.
const SEED: u64 = 1;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Measure ptmalloc2 against itself, and say how small a difference this machine can tell from none, with how many
    /// repetitions
    #[arg(long, group = "measurement")]
    aa: bool,
    /// Measure a library whose faults are known, and say whether each of them is found
    #[arg(long, group = "measurement")]
    self_check: bool,
    /// With --aa: the workloads to measure, by name or file [default: the quick suite]
    #[arg(long = "workload", value_name = "WORKLOAD|FILE", requires = "aa", conflicts_with = "self_check")]
    workloads: Vec<String>,
    /// With --aa or --self-check: blocks to measure, from 6 on
    #[arg(long, value_name = "N", default_value_t = 10, requires = "measurement", value_parser = clap::value_parser!(u32).range(MIN_BLOCKS as i64..=1000))]
    reps: u32,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let mut readings = Readings::read();
    let measures = args.aa || args.self_check;
    // Memory is then about to be measured and warmed: this would only take time.
    readings.first_writes = (!measures).then(|| measure_first_writes().map(first_writes));
    let group = || Group::create(&GroupLimits::default()).map(drop).map_err(|error| error.to_string());
    readings.memory_groups = (!measures).then(group);
    let checks = examine(&readings);
    let warnings = checks.iter().filter(|check| check.level == Level::Warning).count();
    if measures {
        if warnings > 0 {
            say!("heaplab: {warnings} findings would distort a measurement: heaplab doctor lists them");
        }
        return if args.aa { against_itself(&args) } else { known_answers(&args) };
    }
    let mut out = stdout();
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&checks)?)?,
        Format::Table => {
            let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
            print_columns(&mut out, &["what", "state", "found"], &rows)?;
            let advised = checks.iter().filter(|check| !check.advice.is_empty());
            let rows: Vec<Vec<String>> =
                advised.map(|check| vec![check.what.to_owned(), check.advice.clone()]).collect();
            if !rows.is_empty() {
                writeln!(out)?;
                print_columns(&mut out, &["what", "how to fix it, or what it means"], &rows)?;
            }
        }
    }
    if warnings > 0 {
        say!("heaplab: {warnings} of {} would distort a measurement", checks.len());
    }
    Ok(Outcome::Done)
}

/// The first pass and the last, as the doctor reads them.
fn first_writes(warmed: Warmed) -> FirstWrites {
    let (first, again) = (warmed.first, warmed.last);
    FirstWrites { small_ns: first.small_ns.zip(again.small_ns), huge_ns: first.huge_ns.zip(again.huge_ns) }
}

fn row(check: &Check) -> Vec<String> {
    let state = match check.level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Warning => "warning",
    };
    vec![check.what.to_owned(), state.to_owned(), check.found.clone()]
}

/// Measures what is known beforehand, and prints what was expected and found.
fn known_answers(args: &Args) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals()?;
    let screen = Screen::new()?;
    let Some(answers) = check_itself(args.reps, DEFAULT_SEED, &stop, &|notice| screen.show(notice))? else {
        return Ok(Outcome::Interrupted);
    };
    let mut out = stdout();
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&answers)?)?,
        Format::Table => {
            let cells = |answer: &Answer| {
                let state = if answer.is_right { "ok" } else { "wrong" };
                let Answer { question, expected, found, .. } = answer.clone();
                vec![question.to_owned(), expected, found, state.to_owned()]
            };
            let rows: Vec<Vec<String>> = answers.iter().map(cells).collect();
            print_columns(&mut out, &["what is known", "expected", "found", ""], &rows)?;
        }
    }
    let wrong = answers.iter().filter(|answer| !answer.is_right).count();
    if wrong > 0 {
        say!(
            "heaplab: {wrong} of {} known answers were not found: trust no figure of this machine before that is fixed",
            answers.len()
        );
    }
    Ok(if wrong == 0 { Outcome::Done } else { Outcome::Failed })
}

/// Measures a variant against itself, and prints what that says about this machine.
fn against_itself(args: &Args) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals()?;
    let screen = Screen::new()?;
    let options = RunOptions {
        seed: DEFAULT_SEED,
        passes: vec![Pass::Throughput, Pass::Memory],
        reps: args.reps,
        timeout_ns: Some(nanoseconds(TIMEOUT)),
        replay: Some(ReplayOptions { workloads: args.workloads.clone(), ..ReplayOptions::default() }),
        ..RunOptions::default()
    };
    let Some(pairs) = measure_itself(&options, &stop, &|notice| screen.show(notice))? else {
        return Ok(Outcome::Interrupted);
    };
    let mut rows = Vec::new();
    for of in pairs {
        match NoiseRow::of_blocks(&of.workload, of.metric, &of.blocks, SEED) {
            Some(row) => rows.push(row),
            None => say!("heaplab: {}, {}: a value of 0 has no ratio", of.workload, of.metric),
        }
    }
    let mut out = stdout();
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&rows)?)?,
        Format::Table => {
            let header = [
                "workload",
                "metric",
                "against itself",
                "interval",
                "verdict",
                "tells 2 %",
                "5 %",
                "10 %",
                "verdict at 5 %",
                "10 %",
            ];
            print_columns(&mut out, &header, &rows.iter().map(self_cells).collect::<Vec<_>>())?;
            let threshold = show_percent(NOISE_THRESHOLD);
            writeln!(
                out,
                "\nThe last columns are repetitions (--reps) that 8 of 10 runs need to tell a difference of that size \
                 from none,\nand for a verdict, which must also be beyond the noise threshold of {threshold}: of a \
                 difference of {threshold} there is none\n(but with compare --threshold 0%). They hold for these \
                 workloads on this machine as busy as it was."
            )?;
        }
    }
    let faults: Vec<&NoiseRow> = rows.iter().filter(|row| row.is_fault()).collect();
    for fault in &faults {
        say!(
            "heaplab: {}, {}: ptmalloc2 differs from itself: trust no comparison of this machine before that is fixed",
            fault.workload,
            fault.metric
        );
    }
    Ok(if faults.is_empty() { Outcome::Done } else { Outcome::Failed })
}

fn self_cells(row: &NoiseRow) -> Vec<String> {
    let blocks = |blocks: Option<u64>| blocks.map_or("over 100".to_owned(), |blocks| blocks.to_string());
    vec![
        row.workload.clone(),
        row.metric.clone(),
        format!("{:.3}", row.ratio),
        format!("{:.3} to {:.3}", row.ratio_low, row.ratio_high),
        row.verdict.as_str().to_owned(),
        blocks(row.blocks_for_2_percent),
        blocks(row.blocks_for_5_percent),
        blocks(row.blocks_for_10_percent),
        blocks(row.blocks_for_verdict_at_5_percent),
        blocks(row.blocks_for_verdict_at_10_percent),
    ]
}
