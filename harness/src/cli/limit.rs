//! `heaplab limit`: finds the smallest memory limit under which a replay or a program finishes.
//!
//! The limits go to standard output; the program's own output goes to standard error.

use std::ffi::OsString;
use std::time::Duration;

use heaplab_workloads::simulate::{DEFAULT_SEED, parse_time_ns};

use super::exec::parse_ready;
use super::screen::Screen;
use super::{Outcome, Usage, nanoseconds, parse_duration, stop_on_signals};
use crate::cli::stdout::stdout;
use crate::design::{ExecOptions, Pass, ReplayOptions, RunOptions, parse_percent};
use crate::report::{Format, print_limits};
use crate::session::{LimitQuestion, find_limits};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A workload by name, or a file, as for `heaplab run`; or, after --, a program
    #[arg(value_name = "WORKLOAD|FILE", required_unless_present = "command", conflicts_with = "command")]
    workload: Option<String>,
    /// A variant; once for each [default: ptmalloc2, jemalloc, tcmalloc, mimalloc]
    #[arg(short, long = "allocator", value_name = "VARIANT")]
    allocators: Vec<String>,
    /// Samples per limit, all of which must finish
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    reps: u32,
    /// Also find the smallest limit under which the program takes at most this much longer, such as 5%
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, conflicts_with = "workload")]
    slowdown: Option<f64>,
    /// Simulated time of a load model, such as 60s
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns, conflicts_with = "command")]
    duration: Option<u64>,
    /// Set a field of a load model, such as connections=200
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "command")]
    overrides: Vec<String>,
    /// As in `heaplab exec`: end each sample this long after the program is ready
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = parse_duration, conflicts_with = "workload")]
    time: Option<Duration>,
    /// As in `heaplab exec`: when the program is ready
    #[arg(long, value_name = "TCP:PORT|LINE:REGEX", value_parser = parse_ready, conflicts_with = "workload")]
    ready_when: Option<String>,
    /// As in `heaplab exec`: a command at whose exit the sample ends
    #[arg(long, value_name = "COMMAND", conflicts_with = "workload")]
    load: Option<String>,
    /// As in `heaplab exec`: a command to run before each sample
    #[arg(long, value_name = "COMMAND", conflicts_with = "workload")]
    prepare: Option<String>,
    /// Count a sample that takes longer as not finished
    #[arg(long, value_name = "TIME", default_value = "10min", value_parser = parse_duration)]
    timeout: Duration,
    /// Decides each block's layout and simulated load
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals()?;
    let screen = Screen::new()?;
    let format = args.format;
    let question = question(args)?;
    let Some(rows) = find_limits(&question, &stop, &|notice| screen.show(notice))? else {
        return Ok(Outcome::Interrupted);
    };
    print_limits(&rows, format, &mut stdout())?;
    Ok(if rows.iter().all(|row| row.fault.is_none()) { Outcome::Done } else { Outcome::Incomplete })
}

fn question(args: Args) -> anyhow::Result<LimitQuestion> {
    let replay = args.workload.map(|workload| ReplayOptions {
        workloads: vec![workload],
        duration_ns: args.duration,
        set: args.overrides,
        ..ReplayOptions::default()
    });
    let is_program = replay.is_none();
    if is_program && args.command.is_empty() {
        return Err(Usage("name a workload, or a program after --".to_owned()).into());
    }
    let exec = is_program.then(|| ExecOptions {
        command: args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        name: None,
        prepare: args.prepare,
        ready_when: args.ready_when,
        ready_within_ns: nanoseconds(Duration::from_secs(60)),
        load: args.load,
        time_ns: args.time.map(nanoseconds),
        until_last: false,
    });
    let options = RunOptions {
        seed: args.seed,
        passes: vec![if is_program { Pass::Exec } else { Pass::Memory }],
        reps: args.reps,
        allocators: args.allocators,
        timeout_ns: Some(nanoseconds(args.timeout)),
        replay,
        exec,
        ..RunOptions::default()
    };
    Ok(LimitQuestion { options, command: is_program.then_some(args.command), slowdown: args.slowdown })
}
