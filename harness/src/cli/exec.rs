//! `heaplab exec`: runs the real program under each variant, and measures it from outside.
//!
//! Standard output belongs to the program: everything that heaplab itself says goes to standard error.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use heaplab_workloads::simulate::DEFAULT_SEED;

use super::limits::LimitArgs;
use super::report::{View, show_program_report};
use super::run::say_stopped;
use super::screen::Screen;
use super::{Outcome, argv_of_process, is_asked_for_more, nanoseconds, parse_duration, stop_on_signals};
use crate::design::{CountFrom, ExecOptions, Pass, RunOptions};
use crate::exec::Ready;
use crate::session::{Ended, ProgramEnded, Start, measure_program};

#[derive(clap::Args)]
pub(super) struct Args {
    /// An allocator, ALLOCATOR:SETTING=VALUE,..., or NAME=/path/to/library.so; once for each variant
    /// [default: ptmalloc2, jemalloc, tcmalloc, mimalloc]
    #[arg(short, long = "allocator", value_name = "VARIANT")]
    allocators: Vec<String>,
    /// Samples of each variant; 10 make a verdict, fewer than 6 none
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    reps: u32,
    /// Where the results go [default: results/<UTC time>-<program>]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Continue the run in DIR: take what is missing or failed
    #[arg(long, requires = "output")]
    resume: bool,
    /// With --resume: continue a run of another version or build of heaplab, or of another kind of machine, too; the run
    /// then carries a warning
    #[arg(long, requires = "resume")]
    resume_anyway: bool,
    /// What the program is called in results [default: its file's name]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// End each sample when the program exits [default, without --for and --load]
    #[arg(long, conflicts_with_all = ["time", "load"])]
    until_exit: bool,
    /// End each sample when the last process that the program started has exited, daemons included
    #[arg(long, conflicts_with_all = ["time", "load", "until_exit"])]
    until_last_exit: bool,
    /// End each sample this long after the program is ready, such as 10min: with SIGTERM, and 10 s later with SIGKILL
    #[arg(long = "for", id = "time", value_name = "TIME", value_parser = parse_duration)]
    time: Option<Duration>,
    /// The program is ready when it accepts connections on a port of the loopback interface (TCP:PORT), or when it has
    /// written a line (LINE:REGEX) [default: at once]
    #[arg(long, value_name = "TCP:PORT|LINE:REGEX", value_parser = parse_ready)]
    ready_when: Option<String>,
    /// Stop a program that is not ready after this time
    #[arg(long, value_name = "TIME", default_value = "1min", value_parser = parse_duration)]
    ready_within: Duration,
    /// Shell command to start when the program is ready; the sample ends when it exits
    #[arg(long, value_name = "COMMAND")]
    load: Option<String>,
    /// Exclude the start from means and percentiles of memory: a time such as 90s, or `steady` for when the load settles
    /// [default: count the whole run]
    #[arg(long = "from", value_name = "TIME|steady", value_parser = CountFrom::parse)]
    count_from: Option<CountFrom>,
    /// Shell command to run before each sample, unmeasured: it restores what the last sample changed
    #[arg(long, value_name = "COMMAND")]
    prepare: Option<String>,
    /// Stop a sample that takes longer [default: no limit]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Decides the order of the variants
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// The variant that ratios refer to [default: ptmalloc2, if it is among the variants]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    #[command(flatten)]
    view: View,
    /// The program and its arguments
    #[arg(last = true, value_name = "COMMAND", required_unless_present = "resume")]
    command: Vec<OsString>,
}

/// Checks that a condition can be parsed; its text is what is kept.
pub(super) fn parse_ready(text: &str) -> Result<String, String> {
    text.parse::<Ready>().map(|_| text.to_owned())
}

/// Runs, reports, and prints the outcome.
pub(super) fn main(args: Args, matches: &ArgMatches) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals()?;
    let screen = Screen::new()?;
    let (baseline, view) = (args.baseline.clone(), args.view);
    let (start, command) = start(args, matches);
    match measure_program(start, command, false, &stop, &|notice| screen.show(notice))? {
        ProgramEnded::CannotStart(error) => {
            say!("heaplab: {error}");
            Ok(Outcome::Passed(error.code()))
        }
        ProgramEnded::Ended { ended: Ended::Stopped(path), .. } => Ok(say_stopped("exec", path.as_deref())),
        ProgramEnded::Ended { ended: Ended::Finished(path), status } => {
            let outcome = show_program_report(&path, baseline.as_deref(), view)?;
            Ok(match status.filter(|status| *status != 0) {
                Some(status) => Outcome::Passed(u8::try_from(status).unwrap_or(u8::MAX)),
                None => outcome,
            })
        }
    }
}

/// How the run starts and, for a new run, the command.
fn start(args: Args, matches: &ArgMatches) -> (Start, Option<Vec<OsString>>) {
    let (output, resume, anyway) = (args.output.clone(), args.resume, args.resume_anyway);
    let more = is_asked_for_more(
        "exec",
        matches,
        &[&["output", "resume", "resume_anyway"], &View::IDS[..]].concat(),
    );
    let command = args.command.clone();
    let options = options(args);
    match output {
        Some(directory) if resume => {
            (Start::Resume { directory, given: more.then_some(options), shard: None, anyway }, None)
        }
        output => (Start::New { options, argv: argv_of_process(), output, shard: None }, Some(command)),
    }
}

fn options(args: Args) -> RunOptions {
    RunOptions {
        seed: args.seed,
        passes: vec![Pass::Exec],
        reps: args.reps,
        allocators: args.allocators,
        baseline: args.baseline,
        timeout_ns: args.timeout.map(nanoseconds),
        group: args.limits.limits(),
        count_from: args.count_from,
        replay: None,
        exec: Some(ExecOptions {
            command: args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
            name: args.name,
            prepare: args.prepare,
            ready_when: args.ready_when,
            ready_within_ns: nanoseconds(args.ready_within),
            load: args.load,
            time_ns: args.time.map(nanoseconds),
            until_last: args.until_last_exit,
        }),
    }
}
