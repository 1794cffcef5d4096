//! How fast a trace becomes a program, in events a second: from records in memory, in both orders, with
//! few threads and with hundreds.

#[path = "support/generated.rs"]
mod generated;
#[path = "support/length.rs"]
mod length;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use generated::{Generated, Shape};
use heaplab_trace::{Event, Header, Record};
use heaplab_workloads::program::{Order, ProgramFile, Windows, compile};
use heaplab_workloads::stream::{RecordStream, StreamError};

const EVENTS: u64 = 800_000;

/// Events that were made before: making them is not measured.
struct Made<'a> {
    header: Header,
    events: std::slice::Iter<'a, Event>,
}

impl RecordStream for Made<'_> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        Ok(self.events.next().map(|event| Record::Event(*event)))
    }
}

fn bench_compile(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10).throughput(Throughput::Elements(EVENTS));
    for threads in [8, 393] {
        let shape = Shape { events: EVENTS, threads, live_objects: 50_000, crossing_percent: 10 };
        let mut generated = Generated::new(shape);
        let events: Vec<Event> = std::iter::from_fn(|| generated.next_event()).collect();
        for order in [Order::Causal, Order::Strict] {
            let cut = Windows::new(order, Windows::EVENTS, false);
            let id = BenchmarkId::new(order.to_string(), format!("{threads} threads"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| {
                    let mut stream = Made { header: generated.header().clone(), events: events.iter() };
                    let file = ProgramFile::create_in(&std::env::temp_dir()).expect("a temporary file");
                    let info = compile(&mut stream, &file, order, cut, &mut |_| {}).expect("a lawful trace");
                    assert_eq!((info.events, info.threads), (EVENTS, threads));
                })
            });
        }
    }
    group.finish();
}

criterion_group!(name = benches; config = length::criterion(); targets = bench_compile);
criterion_main!(benches);
