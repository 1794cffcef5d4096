//! Prints the figures that the harness promises, each beside its promise:
//!
//!     cargo bench -p heaplab --bench reach -- [TRACE] [--reps N]
//!
//! TRACE is a workload's name or a file; without it a trace of 393 threads is made up. The figures are
//! medians over repetitions, variants taking turns; they are printed and not judged, because what a
//! machine does besides decides them too: the load average stands at the head and at the end.
//! With `--test` everything runs once, small.

#[path = "../../../workloads/benches/support/generated.rs"]
mod generated;
#[path = "../../tests/support/libraries.rs"]
mod libraries;
mod log;
mod replay;
mod share;
mod stages;
#[path = "../support/workers.rs"]
mod workers;

use std::process::ExitCode;

use anyhow::Context;
use generated::Shape;
use heaplab::worker::PrivateHeap;

#[global_allocator]
static HEAP: PrivateHeap = PrivateHeap::new();

/// What was asked for.
struct Choices {
    /// A workload by name or path; none for one that is made up.
    trace: Option<String>,
    reps: usize,
    /// Everything small.
    test: bool,
}

impl Choices {
    fn read(arguments: impl Iterator<Item = String>) -> anyhow::Result<Choices> {
        let mut choices = Choices { trace: None, reps: 9, test: false };
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--test" => (choices.test, choices.reps) = (true, 1),
                "--reps" => {
                    let value = arguments.next().context("--reps needs a number")?;
                    choices.reps = value.parse::<usize>().context("--reps needs a number")?.max(1);
                }
                // cargo's own.
                "--bench" => {}
                _ => choices.trace = Some(argument),
            }
        }
        Ok(choices)
    }

    /// The made-up trace, `length` times as long as usual.
    fn shape(&self, length: u64) -> Shape {
        let (events, threads, live_objects) =
            if self.test { (20_000, 40, 2_000) } else { (800_000, 393, 50_000) };
        Shape { events: events * length, threads, live_objects, crossing_percent: 10 }
    }
}

fn main() -> ExitCode {
    if let Some(served) = workers::serve().or_else(stages::serve) {
        return served;
    }
    workers::find_libraries();
    match Choices::read(std::env::args().skip(1)).and_then(|choices| print_all(&choices)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reach: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_all(choices: &Choices) -> anyhow::Result<()> {
    print_load()?;
    replay::print_threaded(choices)?;
    replay::print_single(choices)?;
    stages::print(choices)?;
    share::print(choices)?;
    print_load()
}

fn print_load() -> anyhow::Result<()> {
    let text = std::fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
    let load: Vec<&str> = text.split_ascii_whitespace().take(3).collect();
    println!("load average {} on {} CPUs", load.join(" "), std::thread::available_parallelism()?);
    Ok(())
}

/// The middle one, or the upper of the two; of nothing, 0.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
