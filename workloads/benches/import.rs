//! How fast a log becomes a trace, and a trace bytes and records again, in events a second.
//!
//! The log is made up here: eight threads, some 20,000 live objects, a third of the frees by another
//! thread than the allocation's, the lines as Android's malloc_debug writes them.

#[path = "support/length.rs"]
mod length;

use std::fmt::Write;
use std::fs;
use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use heaplab_trace::{Header, Record, TraceReader, TraceWriter, verify};
use heaplab_workloads::import::{Options, import};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const LINES: u64 = 1_000_000;
const LIVE_OBJECTS: usize = 20_000;

/// The text of a log; `with_times` as a recorder with timestamps writes it.
fn make_log(with_times: bool) -> String {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let (mut text, mut live, mut unused) = (String::new(), Vec::new(), Vec::<u64>::new());
    for index in 0..LINES {
        let thread = 4000 + random.random_range(0..8u32);
        let size = 1u64 << random.random_range(4..14u32);
        let chance = random.random_range(0..100u32);
        let full = live.len() >= LIVE_OBJECTS;
        if chance < 4 && !live.is_empty() {
            let at = random.random_range(0..live.len());
            let (_, address) = live[at];
            write!(text, "{thread}: realloc {address:#x} {address:#x} {size}").unwrap();
        } else if live.is_empty() || (chance < 53 && !full) {
            let address = unused.pop().unwrap_or(0x7b40_0000_0000 + live.len() as u64 * 0x4010);
            live.push((thread, address));
            write!(text, "{thread}: malloc {address:#x} {size}").unwrap();
        } else {
            let (owner, address) = live.swap_remove(random.random_range(0..live.len()));
            unused.push(address);
            let thread = if chance % 3 == 0 { thread } else { owner };
            write!(text, "{thread}: free {address:#x}").unwrap();
        }
        if with_times {
            let start_ns = 901_000_000_000u64 + index * 700;
            write!(text, " {start_ns} {}", start_ns + 150).unwrap();
        }
        text.push('\n');
    }
    text
}

fn bench_import(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out.hlt");
    let mut group = criterion.benchmark_group("import");
    group.sample_size(10).throughput(Throughput::Elements(LINES));
    for (name, with_times) in [("text", false), ("text_with_times", true)] {
        let log = directory.path().join(name);
        fs::write(&log, make_log(with_times)).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let imported = import(&log, &Options::default(), &output, &mut |_| {}).unwrap();
                assert_eq!(imported.summary.events, LINES);
            })
        });
    }
    group.finish();
}

fn bench_trace(criterion: &mut Criterion) {
    let directory = tempfile::tempdir().unwrap();
    let (log, file) = (directory.path().join("log"), directory.path().join("out.hlt"));
    fs::write(&log, make_log(true)).unwrap();
    import(&log, &Options::default(), &file, &mut |_| {}).unwrap();
    let bytes = fs::read(&file).unwrap();
    println!("trace: {} bytes for {LINES} events", bytes.len());
    let records: Vec<Record> = TraceReader::open(&file).unwrap().map(Result::unwrap).collect();

    let mut group = criterion.benchmark_group("trace");
    group.sample_size(10).throughput(Throughput::Elements(LINES));
    group.bench_function("encode", |bencher| {
        bencher.iter_batched(
            || Vec::with_capacity(bytes.len()),
            |out| {
                let mut writer = TraceWriter::new(out, &Header::default()).unwrap();
                for record in &records {
                    writer.push(record).unwrap();
                }
                writer.finish().unwrap()
            },
            BatchSize::PerIteration,
        )
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| {
            let mut reader = TraceReader::new(bytes.as_slice()).unwrap();
            let mut count = 0;
            while let Some(record) = reader.read_record().unwrap() {
                black_box(record);
                count += 1;
            }
            assert_eq!(count, LINES);
        })
    });
    group.bench_function("verify", |bencher| {
        bencher.iter(|| assert_eq!(verify(&file).unwrap().summary.events, LINES));
    });
    group.finish();
}

criterion_group!(name = benches; config = length::criterion(); targets = bench_import, bench_trace);
criterion_main!(benches);
