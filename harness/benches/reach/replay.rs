//! How long the replay takes for an event: with hundreds of threads on each allocator, and with one on `floor`.

use heaplab::design::{Pass, Touch};
use heaplab::measure::{Taken, Variation};
use heaplab_allocators::registry::DEFAULTS;
use heaplab_workloads::catalog;
use heaplab_workloads::program::{Order, ProgramInfo};
use heaplab_workloads::simulate::Options;
use heaplab_workloads::stream::RecordStream;

use crate::generated::{Generated, Shape};
use crate::pairs::Pairs;
use crate::workers::{Wanted, Workers, vary, wall_ns};
use crate::{Choices, median};

/// The trace that was named, or else the made-up one, with its name.
pub(crate) fn open(choices: &Choices) -> anyhow::Result<(String, Box<dyn RecordStream>)> {
    match &choices.trace {
        Some(name) => {
            let workload = catalog::find(name)?;
            let stream = workload.open(&Options::default())?;
            Ok((workload.name, Box::new(stream)))
        }
        None => Ok(("made up".to_owned(), Box::new(Generated::new(choices.shape(1))))),
    }
}

/// What is printed of one replay.
#[derive(Clone, Copy)]
struct Figures {
    wall_ns: u64,
    thread_start_ns: u64,
    waits: u64,
    wakeups: u64,
    window_stalls: u64,
}

fn figures(taken: &Taken<'_>) -> Option<Figures> {
    let measured = &taken.reply.measured;
    Some(Figures {
        wall_ns: measured.wall_ns?,
        thread_start_ns: measured.thread_start_ns?,
        waits: measured.waits?,
        wakeups: measured.wakeups?,
        window_stalls: measured.window_stalls?,
    })
}

/// Causal replay at pace `max`, touch `page`, of real threads.
pub(crate) fn print_threaded(choices: &Choices) -> anyhow::Result<()> {
    let mut workers = Workers::new()?;
    let (name, mut stream) = open(choices)?;
    let (workload, info) = workers.add(&name, &mut *stream, Order::Causal)?;
    let wanted = Wanted { workload, order: Order::Causal, pass: Pass::Throughput, touch: Touch::Page };
    let variations =
        DEFAULTS.iter().chain(&["floor"]).map(|spec| vary(spec)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut taken: Vec<Vec<Figures>> = variations.iter().map(|_| Vec::new()).collect();
    for rep in 0..choices.reps {
        for turn in 0..variations.len() {
            let variant = (rep + turn) % variations.len();
            taken[variant].push(workers.take(wanted, &variations[variant], figures)?);
        }
    }
    println!(
        "\ncausal replay of {name}, pace max, touch page: {} events, {} threads",
        info.events, info.threads
    );
    println!(
        "promised: at most 50 ns of wall time per event with jemalloc on 2 cores, thread starts included"
    );
    println!(
        "{:<12} {:>10} {:>10} {:>10} {:>13} {:>8} {:>8} {:>8}",
        "variant", "median ns", "least ns", "most ns", "starting ns", "waits", "wakeups", "stalls"
    );
    for (variation, taken) in variations.iter().zip(&taken) {
        print_row(variation, taken, &info);
    }
    Ok(())
}

fn print_row(variation: &Variation, taken: &[Figures], info: &ProgramInfo) {
    let column = |figure: fn(&Figures) -> u64| taken.iter().map(|one| figure(one) as f64).collect::<Vec<_>>();
    let events = info.events.max(1) as f64;
    let wall = column(|one| one.wall_ns);
    let least = wall.iter().copied().fold(f64::INFINITY, f64::min);
    let most = wall.iter().copied().fold(0.0, f64::max);
    println!(
        "{:<12} {:>10.1} {:>10.1} {:>10.1} {:>13.1} {:>8.0} {:>8.0} {:>8.0}",
        variation.variant.label,
        median(wall) / events,
        least / events,
        most / events,
        median(column(|one| one.thread_start_ns)) / events,
        median(column(|one| one.waits)),
        median(column(|one| one.wakeups)),
        median(column(|one| one.window_stalls)),
    );
}

/// One thread on `floor`, touch `none`: the replay's own loop.
///
/// Pairs of one size leave nothing but the loop and `floor`. The made-up mix is what the processor cannot
/// foresee: a mispredicted branch or two for each event, and the copies of its reallocs, are in its figure.
pub(crate) fn print_single(choices: &Choices) -> anyhow::Result<()> {
    let events = if choices.test { 20_000 } else { 2_000_000 };
    let shape = Shape { events, threads: 1, live_objects: 1_000, crossing_percent: 0 };
    let mut workers = Workers::new()?;
    let floor = vary("floor")?;
    println!("\none thread on floor, touch none: {events} events");
    println!("promised: at most 4 ns per event of pairs and 8 ns of the mix");
    println!("{:<16} {:>10} {:>10} {:>10}", "", "median ns", "least ns", "CPU ns");
    for order in [Order::Causal, Order::Strict] {
        let pairs: Box<dyn RecordStream> = Box::new(Pairs::new(events));
        let mix: Box<dyn RecordStream> = Box::new(Generated::new(shape));
        for (name, mut stream) in [("pairs", pairs), ("mix", mix)] {
            let (workload, _) = workers.add(name, &mut *stream, order)?;
            let wanted = Wanted { workload, order, pass: Pass::Throughput, touch: Touch::None };
            let taken = (0..choices.reps)
                .map(|_| workers.take(wanted, &floor, wall_and_cpu))
                .collect::<anyhow::Result<Vec<_>>>()?;
            let per_event = |ns: u64| ns as f64 / events as f64;
            let walls: Vec<f64> = taken.iter().map(|one| per_event(one.0)).collect();
            let least = walls.iter().copied().fold(f64::INFINITY, f64::min);
            let cpu = median(taken.iter().map(|one| per_event(one.1)).collect());
            println!("{:<16} {:>10.2} {least:>10.2} {cpu:>10.2}", format!("{name}, {order}"), median(walls));
        }
    }
    Ok(())
}

/// Wall time, and CPU time of user and system, in ns.
fn wall_and_cpu(taken: &Taken<'_>) -> Option<(u64, u64)> {
    let measured = &taken.reply.measured;
    Some((wall_ns(taken)?, measured.cpu_user_ns? + measured.cpu_system_ns?))
}
