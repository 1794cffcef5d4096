//! Whether a replay of many threads ranks the allocators as a replay of the same events by one thread does, in which
//! there is nothing to wait for; and how much of busy time is the replay's own.

use heaplab::design::{Pass, Touch};
use heaplab::measure::{Taken, Variation};
use heaplab_allocators::registry::DEFAULTS;
use heaplab_trace::{Action, Event, Header, Record};
use heaplab_workloads::program::Order;
use heaplab_workloads::stream::{RecordStream, StreamError};

use crate::replay::open;
use crate::rounds::Rounds;
use crate::workers::{Wanted, Workers, vary};
use crate::{Choices, median};

/// All events of a stream, by one thread.
struct OneThread(Box<dyn RecordStream>);

impl RecordStream for OneThread {
    fn header(&self) -> &Header {
        self.0.header()
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        loop {
            match self.0.next()? {
                Some(Record::Event(Event { action: Action::ThreadStart | Action::ThreadEnd, .. })) => {}
                Some(Record::Event(event)) => return Ok(Some(Record::Event(Event { thread: 0, ..event }))),
                other => return Ok(other),
            }
        }
    }
}

/// Busy time, and the kernel's part of it.
fn busy(taken: &Taken<'_>) -> Option<(u64, u64)> {
    let measured = &taken.reply.measured;
    Some((measured.busy_ns?, measured.busy_system_ns?))
}

/// Prints the replays of every allocator, as `heaplab run` takes them: with the first touches, of which `floor` has none.
///
/// The third figure is of the same threads without their starts: what two more rounds of the trace cost, an event. Where
/// the first two orders differ, it tells whether that is what an allocator does for a new thread.
pub(crate) fn print(choices: &Choices) -> anyhow::Result<()> {
    let mut workers = Workers::new()?;
    let (name, mut many) = open(choices)?;
    let (of_many, info) = workers.add(&name, &mut *many, Order::Causal)?;
    let mut one = OneThread(open(choices)?.1);
    let (of_one, one_info) = workers.add(&format!("{name}, by one thread"), &mut one, Order::Causal)?;
    let mut rounds = Vec::new();
    for count in [1, 3] {
        let mut stream = Rounds::new(open(choices)?.1, count)?;
        rounds.push(workers.add(&format!("{name}, {count} times"), &mut stream, Order::Causal)?);
    }
    let variations =
        DEFAULTS.iter().chain(&["floor"]).map(|spec| vary(spec)).collect::<anyhow::Result<Vec<_>>>()?;
    println!("\nbusy time of {name}: {} threads, and one", info.threads);
    println!("promised: floor at most 40 % of the fastest allocator, and the same order both times");
    println!("{:<24} {:>10} {:>10} {:>14}  order", "", "busy ns", "kernel ns", "floor's share");
    let take = |workload: usize| {
        let wanted = Wanted { workload, order: Order::Causal, pass: Pass::Throughput, touch: Touch::Page };
        take_in_turns(choices.reps, &variations, |variation| workers.take(wanted, variation, busy))
    };
    print_rows("threads", &variations, &per_event(&take(of_many)?, info.events));
    print_rows("one thread", &variations, &per_event(&take(of_one)?, one_info.events));
    let [(once, once_info), (thrice, thrice_info)] = &rounds[..] else { return Ok(()) };
    let (first, all) = (per_event(&take(*once)?, 1), per_event(&take(*thrice)?, 1));
    let events = (thrice_info.events - once_info.events).max(1) as f64;
    let later =
        all.iter().zip(&first).map(|(all, first)| ((all.0 - first.0) / events, (all.1 - first.1) / events));
    print_rows("threads, later", &variations, &later.collect::<Vec<_>>());
    Ok(())
}

/// The median busy time of an event under each variant, and the kernel's part of it.
fn per_event(taken: &[Vec<(u64, u64)>], events: u64) -> Vec<(f64, f64)> {
    let middle = |figures: &[(u64, u64)], figure: fn(&(u64, u64)) -> u64| {
        median(figures.iter().map(|one| figure(one) as f64).collect()) / events.max(1) as f64
    };
    taken.iter().map(|figures| (middle(figures, |one| one.0), middle(figures, |one| one.1))).collect()
}

/// Prints the variants, the fastest first; the last of them is `floor`.
fn print_rows(what: &str, variations: &[Variation], figures: &[(f64, f64)]) {
    let floor = figures.last().map_or(0.0, |figures| figures.0);
    let mut rows: Vec<(&(f64, f64), &Variation)> = figures.iter().zip(variations).collect();
    rows.sort_by(|one, other| one.0.0.total_cmp(&other.0.0));
    for (place, ((busy, system), variation)) in rows.into_iter().enumerate() {
        let label = format!("{what}, {}", variation.variant.label);
        let share = floor / busy * 100.0;
        println!("{label:<24} {busy:>10.2} {system:>10.2} {share:>13.0}%  {}", place + 1);
    }
}

/// Samples of every variant, which take turns.
fn take_in_turns<T>(
    reps: usize,
    variations: &[Variation],
    take: impl Fn(&Variation) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<Vec<T>>> {
    let mut taken: Vec<Vec<T>> = variations.iter().map(|_| Vec::new()).collect();
    for rep in 0..reps {
        for turn in 0..variations.len() {
            let variant = (rep + turn) % variations.len();
            taken[variant].push(take(&variations[variant])?);
        }
    }
    Ok(taken)
}
