//! What a report costs: elapsed time and largest resident memory of `heaplab report` on a made-up run of 10,000
//! samples and 1 million timeline points, by itself and with latencies. With `--test`, on a small run.
//!
//! Wanted: under 5 s and 300 MB.
#![allow(unsafe_code)] // wait4 tells the memory of one child, which std does not

#[path = "../../workloads/benches/support/length.rs"]
mod length;
#[path = "../tests/support/synthetic.rs"]
mod synthetic;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use heaplab::results::Pass;
use synthetic::Shape;

const WORKLOADS: [&str; 5] = ["web", "queue", "cache", "batch", "monitor-server"];
const VARIANTS: [&str; 8] = [
    "ptmalloc2",
    "ptmalloc2:MALLOC_ARENA_MAX=2",
    "jemalloc",
    "jemalloc:dirty_decay_ms=0",
    "tcmalloc",
    "mimalloc",
    "mimalloc:purge_delay=0",
    "other",
];

fn main() -> ExitCode {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let shapes = [
        ("throughput and memory", vec![Pass::Throughput, Pass::Memory]),
        ("and latency", vec![Pass::Throughput, Pass::Latency, Pass::Memory]),
    ];
    for (name, passes) in shapes {
        if let Err(error) = measure(name, passes, is_test) {
            eprintln!("report: {error:#}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Makes the run and reports on it, three times where that is to be long; prints the median time.
fn measure(name: &str, passes: Vec<Pass>, is_test: bool) -> anyhow::Result<()> {
    let of_block = (WORKLOADS.len() * VARIANTS.len() * passes.len()) as u32;
    let blocks = if is_test { 1 } else { 10_000u32.div_ceil(of_block) };
    let timelines = u64::from(blocks) * (WORKLOADS.len() * VARIANTS.len()) as u64;
    let shape = Shape {
        workloads: WORKLOADS.map(str::to_owned).to_vec(),
        checkpoints: if is_test { 10 } else { 1_000_000u64.div_ceil(timelines) },
        passes,
        ..Shape::new(&VARIANTS, blocks)
    };
    let directory = tempfile::tempdir()?;
    shape.write(directory.path());
    let mut runs = Vec::new();
    for _ in 0..if length::is_long() && !is_test { 3 } else { 1 } {
        runs.push(report(directory.path())?);
    }
    runs.sort();
    let (elapsed, resident_bytes) = runs[runs.len() / 2];
    println!(
        "report, {name}: {} samples, {} points: {:.2} s, {:.0} MB resident at most",
        blocks * of_block,
        timelines * shape.checkpoints,
        elapsed.as_secs_f64(),
        resident_bytes as f64 / 1e6
    );
    Ok(())
}

/// Elapsed time and largest resident memory of one `heaplab report`.
fn report(directory: &std::path::Path) -> anyhow::Result<(Duration, u64)> {
    let begin = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_heaplab"));
    let child = command.arg("report").arg(directory).stdout(Stdio::null()).spawn().context("heaplab")?;
    let pid = i32::try_from(child.id())?;
    let mut status = 0;
    // SAFETY: all bits zero are a usage.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: waits for our own child, which nothing else waits for, and writes to the two places given.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    ensure!(waited == pid, "wait4: {}", std::io::Error::last_os_error());
    ensure!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "heaplab report ended with {status}");
    // NOTE: of this child alone; in KiB on Linux.
    Ok((begin.elapsed(), u64::try_from(usage.ru_maxrss)? * 1024))
}
