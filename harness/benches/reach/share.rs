//! The worker's own share of RssAnon: what it is on `floor` with an empty program, and how far it moves with
//! a trace of hundreds of threads and many events of which none allocates.

use heaplab::design::{Pass, Touch};
use heaplab_trace::{Action, Event, Header, Record};
use heaplab_workloads::program::Order;
use heaplab_workloads::stream::{RecordStream, StreamError};

use crate::Choices;
use crate::workers::{Wanted, Workers, vary};

/// Events that a thread makes before the next one has its turn.
const RUN_EVENTS: u64 = 21;

/// A trace that frees NULL and nothing else.
struct Idle {
    header: Header,
    threads: u64,
    events: u64,
    made: u64,
}

impl RecordStream for Idle {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        if self.made == self.events {
            return Ok(None);
        }
        let thread = (self.made / RUN_EVENTS % self.threads) as u32;
        let event = Event { time_ns: self.made, thread, action: Action::FreeNull };
        self.made += 1;
        Ok(Some(Record::Event(event)))
    }
}

pub(crate) fn print(choices: &Choices) -> anyhow::Result<()> {
    let floor = vary("floor")?;
    let mut workers = Workers::new()?;
    println!("\nthe worker's own share of anonymous resident memory, on floor");
    println!("promised: under 1 MiB with an empty program, and the same within 64 KiB whatever the trace");
    let shape = choices.shape(1);
    for (threads, events) in [(1, 0), (1, shape.events), (u64::from(shape.threads), shape.events)] {
        for order in [Order::Strict, Order::Causal] {
            let mut stream = Idle { header: Header::default(), threads, events, made: 0 };
            let (workload, _) = workers.add("idle", &mut stream, order)?;
            let wanted = Wanted { workload, order, pass: Pass::Memory, touch: Touch::Page };
            let (constant, end, peak) = workers.take(wanted, &floor, |taken| {
                let measured = &taken.reply.measured;
                let peak = measured.resident_peak_bytes.or(measured.resident_end_bytes);
                Some((taken.resident_constant_bytes, measured.resident_end_bytes?, peak?))
            })?;
            let kib = |bytes: u64| bytes >> 10;
            println!(
                "{threads:>4} threads, {events:>8} events, {:<7} empty program {:>5} KiB; beyond it {:>4} KiB at the end, {:>4} KiB at the peak",
                order.to_string(),
                kib(constant),
                kib(end),
                kib(peak),
            );
        }
    }
    Ok(())
}
