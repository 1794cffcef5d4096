//! The command line: arguments in, exit status out. It contains no logic.
//!
//! stdout carries results, stderr progress and warnings. Exit status: 0 all well, 1 error, 2 usage, 3 finished but some
//! samples are not ok, 4 a comparison found a change beyond the given limit, 75 an error that may be gone at the next
//! try. `exec` with one sample passes on the program's own status.

/// Writes a line to standard error. If nobody reads it any more, nothing is lost, and the command continues: it may
/// have a program's status to pass on.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod bisect;
mod children;
mod compare;
mod doctor;
mod exec;
mod fit;
mod limit;
mod limits;
mod list;
mod man;
mod merge;
mod pack;
mod plan;
mod record;
mod report;
mod run;
mod screen;
mod simulate;
mod status;
mod stdout;
mod trace;
mod validate;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::Context;
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches, Parser, Subcommand};
use heaplab_workloads::simulate::parse_time_ns;

use crate::exec::WATCH_REPORTS_COMMAND;
use crate::group::WATCH_COMMAND;
use crate::results::RunBuild;
use stdout::{has_stopped, stdout};

/// How a command ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All well: exit 0.
    Done,
    /// A check made by the command found a fault, and reported it: exit 1.
    Failed,
    /// Finished, but some samples are not ok: exit 3.
    Incomplete,
    /// A comparison found a change for the worse beyond the given limit: exit 4.
    Changed,
    /// Stopped by SIGINT or SIGTERM: exit 130.
    Interrupted,
    /// The exit status of the program that was run, or a shell's status for one that cannot be run.
    Passed(u8),
}

/// Output format; in which form a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people: one row a line, the name first.
    #[default]
    Table,
    /// An array of objects.
    Json,
}

/// A mistake in what the user asked for: exit 2. The text says what was found and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// Three questions, each with its commands.
const TO_BEGIN_WITH: &str = "\
To begin with:
  heaplab run                          compare the allocators on four workloads
  heaplab record -o app.hlt -- ./app   record a program of your own, then:
  heaplab run app.hlt -o app             which allocator suits it?
  heaplab plan app --host-memory 64GiB --processes 10
                                         how many of its processes fit on a host?";

#[derive(Parser)]
#[command(name = "heaplab", version = version(), about, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = TO_BEGIN_WITH, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Replay workloads under each allocator and measure
    Run(run::Args),
    /// Run the real program under each allocator, and measure it from outside
    Exec(exec::Args),
    /// Compare the memory that replays predict with the real program's
    Validate(validate::Args),
    /// Merge the shards of a run, which several machines measured
    Merge(merge::Args),
    /// Compress a run's large files, to keep or to send it; every command reads them as before
    Pack(pack::Args),
    /// Make tables, plots, report.md and report.html from a run's CSV files
    Report(report::Args),
    /// Plan how many processes fit on a host under each variant, and how many hosts a fleet needs
    Plan(plan::Args),
    /// Find the smallest limit of memory under which a replay or a program finishes
    Limit(limit::Args),
    /// Compare the variants of a run, or two runs
    Compare(compare::Args),
    /// Find the first bad one among many builds of an allocator
    Bisect(bisect::Args),
    /// Record a real program; its exit status is passed on
    Record(record::Args),
    /// Make a load model from recordings, for other loads, lengths and seeds
    Fit(fit::Args),
    /// Write a trace from a load model
    Simulate(simulate::Args),
    /// Show, check, import and export traces
    #[command(subcommand)]
    Trace(trace::Command),
    /// List what can be run, and with what
    #[command(subcommand)]
    List(list::Command),
    /// List the allocators that heaplab knows: version, licence, how each is built, and whether it is present
    Allocators(list::Args),
    /// Report what on this machine would distort a measurement, and how to fix it
    Doctor(doctor::Args),
    /// Print a script that completes heaplab's commands in a shell
    Completions(man::CompletionArgs),
    /// Print a manual page, or write all of them into a directory
    Man(man::Args),
    /// Take one sample: a job on stdin, an answer on stdout
    #[command(hide = true)]
    Worker,
    /// Write to fresh memory until the host backs it
    #[command(hide = true)]
    Warm {
        /// How much, as JSON
        need: String,
    },
    /// Make calls of malloc, and say what they cost
    #[command(hide = true)]
    Calls,
    /// Keep a program that is measured: all that it starts is killed with it
    #[command(hide = true)]
    Keep,
    /// Remove a control group when the heaplab that made it is gone
    #[command(hide = true, name = WATCH_COMMAND)]
    WatchGroup {
        /// The group
        group: PathBuf,
    },
    /// Remove a directory of reports when the heaplab that made it is gone
    #[command(hide = true, name = WATCH_REPORTS_COMMAND)]
    WatchReports {
        /// The directory
        directory: PathBuf,
    },
    /// Say which allocator serves, and what it took of a variant's settings
    #[command(hide = true)]
    Probe(children::ProbeArgs),
}

/// Reads the arguments, runs the command, and turns its outcome into an exit status.
pub fn main() -> ExitCode {
    let parsed =
        command().try_get_matches().and_then(|matches| Ok((Cli::from_arg_matches(&matches)?, matches)));
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        // If a step of `git bisect run` contains a mistake, it must not mark a commit as bad.
        Err(told) if told.use_stderr() && std::env::args_os().any(|word| word == "--bisect") => {
            tell(&told);
            return ExitCode::from(compare::ABORT);
        }
        Err(told) => return tell(&told),
    };
    // Arguments given on the command line itself, as opposed to defaults.
    let said = matches.subcommand().map_or(&matches, |(_, said)| said);
    let result = match cli.command {
        Command::Run(args) => run::main(args, said),
        Command::Exec(args) => exec::main(args, said),
        Command::Validate(args) => validate::main(args),
        Command::Merge(args) => merge::main(args),
        Command::Pack(args) => pack::main(&args),
        Command::Report(args) => report::main(args),
        Command::Plan(args) => plan::main(args),
        Command::Limit(args) => limit::main(args),
        Command::Compare(args) => compare::main(args),
        Command::Bisect(args) => bisect::main(args),
        Command::Record(args) => record::main(args),
        Command::Fit(args) => fit::main(args),
        Command::Simulate(args) => simulate::main(args),
        Command::Trace(command) => trace::main(command),
        Command::List(command) => list::main(command),
        Command::Allocators(args) => list::list_allocators(args.format),
        Command::Doctor(args) => doctor::main(args),
        Command::Completions(args) => man::print_completions(args),
        Command::Man(args) => man::main(args),
        Command::Probe(args) => children::probe(args),
        Command::Keep => children::keep(),
        Command::WatchGroup { group } => children::watch(&group),
        Command::WatchReports { directory } => children::watch_reports(&directory),
        Command::Calls => children::make_calls(),
        Command::Warm { need } => children::warm(&need),
        Command::Worker => children::work(),
    };
    // The rest of the last line is written now, where an error can still be reported.
    let result = result.and_then(|outcome| Ok(stdout().flush().map(|()| outcome)?));
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Incomplete) => ExitCode::from(3),
        Ok(Outcome::Changed) => ExitCode::from(4),
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Ok(Outcome::Passed(status)) => ExitCode::from(status),
        Err(_) if has_stopped() => ExitCode::SUCCESS,
        Err(error) => {
            say!("heaplab: {error:#}");
            ExitCode::from(status::status_of(&error))
        }
    }
}

/// Prints what clap reports: requested help on standard output, a mistake on standard error.
fn tell(told: &clap::Error) -> ExitCode {
    let text = told.render();
    if told.use_stderr() {
        let styled = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let text = if styled { text.ansi().to_string() } else { text.to_string() };
        let _ = std::io::stderr().write_all(text.as_bytes());
        return ExitCode::from(2);
    }
    let styled = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let text = if styled { text.ansi().to_string() } else { text.to_string() };
    let mut out = stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say!("heaplab: {error}");
            ExitCode::from(1)
        }
    }
}

/// Fails if the directory that should contain `output` is missing: before the work, not in its last step.
fn require_directory(output: &Path) -> anyhow::Result<()> {
    match output.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.is_dir()) {
        None => Ok(()),
        Some(directory) => {
            anyhow::bail!(
                "{}: there is no directory {}: make it first",
                output.display(),
                directory.display()
            )
        }
    }
}

/// The version and the build, as `--version` prints them.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        format!("{} ({})", env!("CARGO_PKG_VERSION"), RunBuild::of_this_program().describe())
    });
    &VERSION
}

/// The whole command line, as clap knows it.
fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}

/// Whether a command was given arguments other than those named: defaults do not count.
fn is_asked_for_more(name: &str, matches: &ArgMatches, free: &[&str]) -> bool {
    let command = command();
    let arguments = command.find_subcommand(name).into_iter().flat_map(clap::Command::get_arguments);
    arguments.map(|argument| argument.get_id().as_str()).filter(|id| !free.contains(id)).any(|id| {
        matches!(matches.try_contains_id(id), Ok(true))
            && matches.value_source(id) == Some(ValueSource::CommandLine)
    })
}

/// The command line, for display.
fn argv_of_process() -> Vec<String> {
    std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect()
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    parse_time_ns(text).map(Duration::from_nanos)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A flag that SIGINT and SIGTERM set; a second signal ends the process at once.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot handle signals")?;
    }
    Ok(stop)
}
