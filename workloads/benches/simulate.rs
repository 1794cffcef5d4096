//! How fast load models run: events per second made, and written to a `.hlt` file.

#[path = "support/length.rs"]
mod length;

use std::hint::black_box;
use std::io::sink;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heaplab_trace::{Record, TraceWriter};
use heaplab_workloads::simulate::{Options, SHIPPED, Simulation};
use heaplab_workloads::stream::RecordStream;

fn start(name: &str, text: &str) -> Simulation {
    let seconds = if length::is_long() { 20 } else { 1 };
    let options = Options { duration_ns: Some(seconds * 1_000_000_000), ..Options::default() };
    Simulation::new(text, name, &options).expect("a shipped definition is good")
}

/// Runs to the end; gives the number of events.
fn drain(mut simulation: Simulation, mut take: impl FnMut(&Record)) -> u64 {
    let mut events = 0;
    while let Some(record) = simulation.next().expect("a shipped definition keeps its limits") {
        events += u64::from(matches!(record, Record::Event(_)));
        take(&record);
    }
    events
}

fn simulate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simulate");
    group.sample_size(10);
    for (name, text) in SHIPPED {
        let events = drain(start(name, text), |_| {});
        group.throughput(Throughput::Elements(events));
        group.bench_function(format!("{name}/make"), |bencher| {
            bencher.iter(|| {
                drain(start(name, text), |record| {
                    black_box(record);
                })
            });
        });
        group.bench_function(format!("{name}/write"), |bencher| {
            bencher.iter(|| {
                let simulation = start(name, text);
                let mut writer = TraceWriter::new(sink(), simulation.header()).expect("a sink takes all");
                drain(simulation, |record| writer.push(record).expect("a simulation obeys the laws"));
                writer.finish().expect("a sink takes all")
            });
        });
    }
    group.finish();
}

criterion_group!(name = benches; config = length::criterion(); targets = simulate);
criterion_main!(benches);
