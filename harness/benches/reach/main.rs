//! Prints the figures that the harness promises, each beside its promise:
//!
//!     cargo bench -p heaplab --bench reach -- [TRACE] [--reps N]
//!
//! TRACE is a workload's name or a file; without it a trace of 393 threads is made up. The figures are
//! medians over repetitions, variants taking turns; they are printed and not judged, because what a
//! machine does besides decides them too: the load average stands at the head and at the end.
//! With `--test`, and as `cargo test` starts it, everything runs once, small.

#[path = "../../../workloads/benches/support/generated.rs"]
mod generated;
#[path = "../../tests/support/libraries.rs"]
mod libraries;
mod log;
mod order;
#[path = "../support/pairs.rs"]
mod pairs;
mod replay;
mod rounds;
mod share;
mod size;
mod stages;
#[path = "../support/workers.rs"]
mod workers;

use std::process::ExitCode;

use anyhow::{Context, bail};
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
    /// None where the arguments choose other tests than this one.
    fn read(arguments: &[String]) -> anyhow::Result<Option<Choices>> {
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        // As criterion does: cargo says `--bench` where it wants figures, and hands on filters where it tests.
        if has("--test") || !has("--bench") {
            let mut filters = arguments.iter().filter(|argument| !argument.starts_with('-')).peekable();
            let chosen = filters.peek().is_none() || filters.any(|filter| "reach".contains(filter.as_str()));
            return Ok(chosen.then_some(Choices { trace: None, reps: 1, test: true }));
        }
        let mut choices = Choices { trace: None, reps: 9, test: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--bench" => {}
                "--reps" => {
                    let value = arguments.next().context("--reps needs a number")?;
                    choices.reps = value.parse::<usize>().context("--reps needs a number")?.max(1);
                }
                option if option.starts_with('-') => {
                    bail!("unknown option {option}: there are [TRACE], --reps N and --test")
                }
                trace => choices.trace = Some(trace.to_owned()),
            }
        }
        Ok(Some(choices))
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
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reach: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(choices) = Choices::read(&arguments)? else {
        println!("reach: not chosen by the arguments {arguments:?}");
        return Ok(());
    };
    workers::find_libraries();
    print_all(&choices)
}

fn print_all(choices: &Choices) -> anyhow::Result<()> {
    print_load()?;
    replay::print_threaded(choices)?;
    replay::print_single(choices)?;
    order::print(choices)?;
    size::print(choices)?;
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
