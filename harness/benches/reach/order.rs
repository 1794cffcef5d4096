//! Whether a replay of many threads ranks the allocators as a replay of the same events by one thread does, in which
//! there is nothing to wait for; and how much of busy time is the replay's own.

use heaplab::design::{Pass, Touch};
use heaplab::measure::{Taken, Variation};
use heaplab_allocators::registry::DEFAULTS;
use heaplab_trace::{Action, Event, Header, Record};
use heaplab_workloads::program::Order;
use heaplab_workloads::stream::{RecordStream, StreamError};

use crate::replay::open;
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

/// Prints both replays of every allocator, touch none: what is compared is the calls.
pub(crate) fn print(choices: &Choices) -> anyhow::Result<()> {
    let mut workers = Workers::new()?;
    let (name, mut many) = open(choices)?;
    let mut one = OneThread(open(choices)?.1);
    let (of_many, info) = workers.add(&name, &mut *many, Order::Causal)?;
    let (of_one, one_info) = workers.add(&format!("{name}, by one thread"), &mut one, Order::Causal)?;
    let variations =
        DEFAULTS.iter().chain(&["floor"]).map(|spec| vary(spec)).collect::<anyhow::Result<Vec<_>>>()?;
    println!("\nbusy time of {name}, touch none: {} threads, and one", info.threads);
    println!("promised: floor at most 40 % of the fastest allocator, and the same order both times");
    println!("{:<24} {:>10} {:>10} {:>14}  order", "", "busy ns", "kernel ns", "floor's share");
    for (workload, events, what) in
        [(of_many, info.events, "threads"), (of_one, one_info.events, "one thread")]
    {
        let wanted = Wanted { workload, order: Order::Causal, pass: Pass::Throughput, touch: Touch::None };
        let taken =
            take_in_turns(choices.reps, &variations, |variation| workers.take(wanted, variation, busy))?;
        let per_event = |figures: &[(u64, u64)], figure: fn(&(u64, u64)) -> u64| {
            median(figures.iter().map(|one| figure(one) as f64).collect()) / events.max(1) as f64
        };
        let floor = taken.last().map_or(0.0, |figures| per_event(figures, |one| one.0));
        let mut rows: Vec<(f64, f64, &Variation)> = variations
            .iter()
            .zip(&taken)
            .map(|(variation, figures)| {
                (per_event(figures, |one| one.0), per_event(figures, |one| one.1), variation)
            })
            .collect();
        rows.sort_by(|one, other| one.0.total_cmp(&other.0));
        for (place, (busy, system, variation)) in rows.iter().enumerate() {
            let label = format!("{what}, {}", variation.variant.label);
            println!(
                "{label:<24} {busy:>10.2} {system:>10.2} {:>13.0}%  {}",
                floor / busy * 100.0,
                place + 1
            );
        }
    }
    Ok(())
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
