//! Runs the quick suite as a user would, few times, and leaves the CSV files and plots in
//! `heaplab-bench` in cargo's target directory, replaced at each run. `heaplab run` prints that path last.
//!
//! With `--test` it takes one sample of each kind of the smaller workload, in a directory that goes away.

#[path = "../../workloads/benches/support/length.rs"]
mod length;
#[path = "../tests/support/libraries.rs"]
mod libraries;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, ensure};
use heaplab_allocators::registry::DIRECTORY_VARIABLE;

/// PERF: four allocators, four workloads, three passes, once: half a minute on two cores. It shows where things stand;
/// a verdict needs six samples or more.
const REPS: &str = "1";
const LONG_REPS: &str = "3";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quick: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
    // `cargo bench -- FILTER` goes to all benchmarks; this one has only its name to be chosen by.
    if filters.peek().is_some() && !filters.any(|filter| "quick".contains(filter.as_str())) {
        println!("quick: not chosen by the arguments {arguments:?}");
        return Ok(());
    }
    if arguments.iter().any(|argument| argument == "--test") {
        let directory = tempfile::tempdir()?;
        let run = directory.path().join("run");
        measure(&["threaded", "--reps", "1", "--checkpoints", "20"], &run)?;
        return check(&run);
    }
    let target = libraries::directory().parent().context("the libraries' directory has no parent")?;
    let directory = target.join("heaplab-bench");
    if directory.exists() {
        std::fs::remove_dir_all(&directory)
            .with_context(|| format!("cannot replace {}", directory.display()))?;
    }
    measure(&["--reps", if length::is_long() { LONG_REPS } else { REPS }], &directory)?;
    check(&directory)
}

fn measure(arguments: &[&str], directory: &Path) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO_BIN_EXE_heaplab"))
        .arg("run")
        .args(arguments)
        .arg("--output")
        .arg(directory)
        .env(DIRECTORY_VARIABLE, libraries::directory())
        .status()
        .context("heaplab cannot be started")?;
    ensure!(
        status.success(),
        "heaplab run ended with {status}; what it measured is in {}",
        directory.display()
    );
    Ok(())
}

/// Every file that a run promises is there.
fn check(directory: &Path) -> anyhow::Result<()> {
    for name in ["run.toml", "samples.csv", "timeline.csv", "latency.csv", "summary.csv", "report.md"] {
        let path = directory.join(name);
        ensure!(path.is_file(), "{} is missing", path.display());
    }
    let plots = std::fs::read_dir(directory.join("plots")).context("there are no plots")?;
    ensure!(plots.count() > 0, "no plot was drawn in {}", directory.display());
    Ok(())
}
