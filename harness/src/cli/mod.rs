//! The command line: arguments in, exit status out. It holds no logic of its own.
//!
//! stdout carries results, stderr progress and warnings. Exit: 0 all well, 1 error, 2 usage,
//! 3 finished but some samples are not ok, 4 a comparison found a change past the limit that was given. `exec` of
//! one sample passes the program's own status on.

/// Writes a line to standard error. Where nobody reads that any more nothing is lost, and the command goes on: it may have
/// a program's status to pass on.
macro_rules! say {
    ($($words:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), $($words)*);
    }};
}

mod columns;
mod compare;
mod completions;
mod doctor;
mod exec;
mod list;
mod man;
mod percent;
mod plan;
mod probe;
mod record;
mod report;
mod run;
mod simulate;
mod stdout;
mod trace;
mod validate;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use stdout::{has_stopped, stdout};

/// How a command ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All well: exit 0.
    Done,
    /// A check that the command made found a fault, and said so: exit 1.
    Failed,
    /// Finished, but some samples are not ok: exit 3.
    Incomplete,
    /// A comparison found a change for the worse past the limit that was given: exit 4.
    Changed,
    /// Stopped by SIGINT or SIGTERM: exit 130.
    Interrupted,
    /// The exit status of the program that was run, or a shell's for one that cannot be run.
    Passed(u8),
}

/// In which form a list is printed.
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

#[derive(Parser)]
#[command(name = "heaplab", version, about, propagate_version = true, arg_required_else_help = true)]
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
    /// Hold the memory that replays predict against the real program's
    Validate(validate::Args),
    /// Make tables, plots, report.md and report.html from a run's CSV files
    Report(report::Args),
    /// Say how many processes fit on a host under each variant, and what a fleet takes
    Plan(plan::Args),
    /// Compare the variants of a run, or two runs
    Compare(compare::Args),
    /// Record a real program; its exit status is passed on
    Record(record::Args),
    /// Write the trace of a load model
    Simulate(simulate::Args),
    /// Look at, check, import and export traces
    #[command(subcommand)]
    Trace(trace::Command),
    /// List what can be run, and with what
    #[command(subcommand)]
    List(list::Command),
    /// Say what on this machine would spoil a measurement, and how to mend it
    Doctor(doctor::Args),
    /// Print a script that completes heaplab's commands in a shell
    Completions(completions::Args),
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
    /// Keep a program that is measured: all that it starts is ended with it
    #[command(hide = true)]
    Keep,
    /// Say which allocator serves, and what it took of a variant's settings
    #[command(hide = true)]
    Probe(probe::Args),
}

/// Reads the arguments, runs the command, and turns what came of it into an exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return tell(&told),
    };
    let result = match cli.command {
        Command::Run(args) => run::main(args),
        Command::Exec(args) => exec::main(args),
        Command::Validate(args) => validate::main(args),
        Command::Report(args) => report::main(args),
        Command::Plan(args) => plan::main(args),
        Command::Compare(args) => compare::main(args),
        Command::Record(args) => record::main(args),
        Command::Simulate(args) => simulate::main(args),
        Command::Trace(command) => trace::main(command),
        Command::List(command) => list::main(command),
        Command::Doctor(args) => doctor::main(args),
        Command::Completions(args) => completions::main(args),
        Command::Man(args) => man::main(args),
        Command::Probe(args) => probe::main(args),
        Command::Keep => crate::exec::keep().map(|()| Outcome::Done).map_err(anyhow::Error::msg),
        Command::Warm { need } => {
            crate::worker::back_memory(&need).map(|()| Outcome::Done).map_err(anyhow::Error::msg)
        }
        Command::Worker => crate::worker::main().map(|()| Outcome::Done).map_err(anyhow::Error::msg),
    };
    // What is still held of a last line is written now, where an error of it can be told.
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
            ExitCode::from(if error.downcast_ref::<Usage>().is_some() { 2 } else { 1 })
        }
    }
}

/// Prints what clap has to tell: the help that was asked for on standard output, a mistake on standard error.
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

/// An error if the directory that `output` is to lie in is missing: said before the work, and not by the last step of it.
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

/// The whole command line, as clap knows it.
fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
