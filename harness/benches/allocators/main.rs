//! Compares the allocators as services deploy them, by preload: pairs of malloc and free by size, the
//! operations of a 25-thread pool, and a replay of a recorded trace.
//!
//! The program that cargo starts measures nothing of the first two itself: for each benchmark and
//! variant it runs itself again with the variant's library preloaded, variants next to each other in time.
//! Such a child proves which allocator serves it, and calls malloc directly. All else that it allocates,
//! criterion's samples among it, lies on the private heap: on the heap under test it would pin ptmalloc2's
//! top, and the pages after it could never be given back. All results land in one criterion directory as
//! GROUP/BENCHMARK/VARIANT. `floor` measures the benchmark itself and is never ranked.
//!
//! An allocator that is not there is an error: a comparison without it would look complete.
#![allow(unsafe_code)] // calls the malloc family

#[path = "../../../workloads/benches/support/length.rs"]
mod length;
#[path = "../../tests/support/libraries.rs"]
mod libraries;
mod pairs;
mod pool;
mod replay;
#[path = "../support/requests.rs"]
mod requests;
#[path = "../support/workers.rs"]
mod workers;

use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use heaplab::worker::PrivateHeap;
use heaplab_allocators::registry::DEFAULTS;
use heaplab_allocators::{Variant, identify, is_allocator_variable};

#[global_allocator]
static HEAP: PrivateHeap = PrivateHeap::new();

/// Tells a child its variant, and which benchmark to run.
const VARIANT: &str = "HEAPLAB_BENCH_VARIANT";
const BENCHMARK: &str = "HEAPLAB_BENCH_BENCHMARK";
/// The benchmark that is not a size of [`pairs`].
const POOL: &str = "pool";

fn main() -> ExitCode {
    if let Some(served) = workers::serve() {
        return served;
    }
    let result = match (std::env::var(VARIANT), std::env::var(BENCHMARK)) {
        (Ok(spec), Ok(benchmark)) => run_benchmark(&spec, &benchmark),
        _ => run_all(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("allocators: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What stands in criterion's names for a variant.
fn label(variant: &Variant) -> String {
    if variant.allocator == "floor" { "floor-unranked".to_owned() } else { variant.label.clone() }
}

fn run_all() -> anyhow::Result<()> {
    workers::find_libraries();
    let specs: Vec<&str> = DEFAULTS.into_iter().chain(["floor"]).collect();
    let variants = specs.iter().map(|spec| Variant::parse(spec)).collect::<Result<Vec<_>, _>>()?;
    let home = criterion_directory()?;
    let benchmarks = pairs::SIZES.iter().map(usize::to_string).chain([POOL.to_owned()]);
    for benchmark in benchmarks {
        for variant in &variants {
            start_child(variant, &benchmark, &home)?;
        }
    }
    let mut criterion = length::criterion().output_directory(&home).configure_from_args();
    replay::bench(&mut criterion, &specs)?;
    criterion.final_summary();
    Ok(())
}

/// Where criterion keeps its results: it would ask cargo, which must not run under a preload.
fn criterion_directory() -> anyhow::Result<std::path::PathBuf> {
    if let Some(named) = std::env::var_os("CRITERION_HOME") {
        return Ok(named.into());
    }
    let target = libraries::directory().parent().context("the libraries' directory has no parent")?;
    Ok(target.join("criterion"))
}

fn start_child(variant: &Variant, benchmark: &str, home: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(std::env::args_os().skip(1));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(is_allocator_variable) {
            command.env_remove(name);
        }
    }
    command.envs(variant.environment(None)?);
    command.env(VARIANT, variant.spec()).env(BENCHMARK, benchmark).env("CRITERION_HOME", home);
    let status = command.status().context("this program cannot be started again")?;
    if !status.success() {
        bail!("{benchmark} on {}: {status}", variant.label);
    }
    Ok(())
}

/// A child's work.
fn run_benchmark(spec: &str, benchmark: &str) -> anyhow::Result<()> {
    let variant = Variant::parse(spec)?;
    identify()?.matches(&variant.expectation()).map_err(anyhow::Error::msg)?;
    let mut criterion = length::criterion().configure_from_args();
    match benchmark {
        POOL => pool::bench(&mut criterion, &label(&variant)),
        size => pairs::bench(&mut criterion, size.parse()?, &label(&variant)),
    }
    Ok(())
}
