//! Measures the harness itself: a trace decoded, compiled, and replayed on `floor`.
//!
//! The replay is of one thread that allocates and frees a block again and again and touches nothing, so that
//! what is left is the replay's loop and `floor`'s few instructions: one over the events per second.

#[path = "../../workloads/benches/support/generated.rs"]
mod generated;
#[path = "../../workloads/benches/support/length.rs"]
mod length;
#[path = "../tests/support/libraries.rs"]
mod libraries;
#[path = "support/pairs.rs"]
mod pairs;
#[path = "support/workers.rs"]
mod workers;

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use criterion::{Criterion, SamplingMode, Throughput};
use generated::{Generated, Shape};
use heaplab::design::{Pass, Touch};
use heaplab::worker::PrivateHeap;
use heaplab_trace::{Header, Record, TraceReader, TraceWriter};
use heaplab_workloads::program::{Order, ProgramFile, Windows, compile};
use heaplab_workloads::stream::{RecordStream, StreamError};
use pairs::Pairs;
use workers::{Wanted, Workers, vary, wall_ns};

#[global_allocator]
static HEAP: PrivateHeap = PrivateHeap::new();

const THREADED: Shape = Shape { events: 800_000, threads: 393, live_objects: 50_000, crossing_percent: 10 };
const PAIR_EVENTS: u64 = 1_000_000;

fn main() -> ExitCode {
    if let Some(served) = workers::serve() {
        return served;
    }
    workers::find_libraries();
    let mut criterion = length::criterion().configure_from_args();
    let result = bench_trace(&mut criterion).and_then(|()| bench_replay(&mut criterion));
    criterion.final_summary();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("harness: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A trace file's bytes as a stream.
struct Decoded<'a>(TraceReader<&'a [u8]>);

impl RecordStream for Decoded<'_> {
    fn header(&self) -> &Header {
        self.0.header()
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        self.0.read_record().map_err(|error| StreamError::new("generated", error))
    }
}

fn bench_trace(criterion: &mut Criterion) -> anyhow::Result<()> {
    let mut generated = Generated::new(THREADED);
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, generated.header())?;
    while let Some(event) = generated.next_event() {
        writer.push(&Record::Event(event))?;
    }
    writer.finish()?;

    let mut group = criterion.benchmark_group("harness");
    group.throughput(Throughput::Elements(THREADED.events)).sample_size(10);
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let mut reader = TraceReader::new(bytes.as_slice()).expect("a whole trace");
            let mut records = 0;
            while let Some(record) = reader.read_record().expect("a whole trace") {
                black_box(record);
                records += 1;
            }
            assert_eq!(records, THREADED.events);
        });
    });
    for order in [Order::Causal, Order::Strict] {
        let cut = Windows::new(order, Windows::EVENTS, false);
        group.bench_function(format!("decode and compile/{order}"), |bencher| {
            bencher.iter(|| {
                let mut stream = Decoded(TraceReader::new(bytes.as_slice()).expect("a whole trace"));
                let file = ProgramFile::create_in(&std::env::temp_dir()).expect("a temporary file");
                let info = compile(&mut stream, &file, order, cut, &mut |_| {}).expect("a lawful trace");
                assert_eq!(info.events, THREADED.events);
            });
        });
    }
    group.finish();
    Ok(())
}

fn bench_replay(criterion: &mut Criterion) -> anyhow::Result<()> {
    let floor = vary("floor")?;
    let mut workers = Workers::new()?;
    let (workload, info) = workers.add("single", &mut Pairs::new(PAIR_EVENTS), Order::Causal)?;
    let wanted = Wanted { workload, order: Order::Causal, pass: Pass::Throughput, touch: Touch::None };
    let mut failure = None;
    let mut group = criterion.benchmark_group("harness");
    group.throughput(Throughput::Elements(info.events)).sampling_mode(SamplingMode::Flat);
    group
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .sample_size(10);
    group.bench_function("replay on floor/1 thread, touch none", |bencher| {
        bencher.iter_custom(|count| {
            let sum: anyhow::Result<u64> = (0..count).map(|_| workers.take(wanted, &floor, wall_ns)).sum();
            Duration::from_nanos(sum.unwrap_or_else(|error| {
                failure.get_or_insert(error);
                // criterion divides by it; the run fails below.
                1
            }))
        });
    });
    group.finish();
    failure.map_or(Ok(()), Err).context("a replay failed, and its figure above is wrong")
}
