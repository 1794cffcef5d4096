//! How fast raw recordings become traces, in events a second: what `heaplab record` does at its end.
//!
//! The recordings are made up here: a pool that takes turns as under an interpreter's lock, and threads that
//! run side by side and free each other's blocks within the same millisecond.

#[path = "support/length.rs"]
mod length;

use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use heaplab_raw::{Allocation, Event, ImageHead, ImageId};
use heaplab_workloads::import::raw::{RawWriter, import_image};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const EVENTS: u64 = 2_000_000;
const IMAGE: ImageId = ImageId { pid: 100, ordinal: 0 };

struct Shape {
    name: &'static str,
    threads: usize,
    /// Events of a thread before another one has its turn.
    turn: u64,
    live: usize,
    /// Per cent of frees that are of any thread's block.
    foreign: u32,
}

const SHAPES: [Shape; 3] = [
    Shape { name: "one_thread", threads: 1, turn: 1, live: 20_000, foreign: 0 },
    Shape { name: "pool_in_turns", threads: 25, turn: 5000, live: 50_000, foreign: 30 },
    Shape { name: "side_by_side", threads: 4, turn: 1, live: 2_000, foreign: 30 },
];

/// Writes a recording of `shape` with 5,000 events in each millisecond. Blocks come from the freeing
/// thread's own list, the latest first, as thread caches do it.
fn make(shape: &Shape, directory: &Path) {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut writer = RawWriter::new(ImageHead { id: IMAGE, ..ImageHead::default() }, &[]);
    for thread in 0..shape.threads {
        writer.add_thread(100 + thread as u32);
    }
    let mut live: Vec<Vec<u64>> = vec![Vec::new(); shape.threads];
    let mut vacant: Vec<Vec<u64>> = vec![Vec::new(); shape.threads];
    let mut fresh = 0x7f00_0000_0000u64;
    let mut thread = 0;
    for index in 0..EVENTS {
        if index % shape.turn == 0 {
            thread = random.random_range(0..shape.threads);
        }
        let at_us = index / 5000 * 1000;
        let from = if random.random_range(0..100) < shape.foreign {
            random.random_range(0..shape.threads)
        } else {
            thread
        };
        let full = live[from].len() >= shape.live / shape.threads;
        if !live[from].is_empty() && (full || random.random_range(0..100u32) < 45) {
            let at = random.random_range(0..live[from].len());
            let address = live[from].swap_remove(at);
            writer.push(thread, at_us, Event::Free { address });
            vacant[thread].push(address);
        } else {
            let address = vacant[thread].pop().unwrap_or_else(|| {
                fresh += 528;
                fresh
            });
            let size = random.random_range(16..512);
            writer.push(thread, at_us, Event::Allocate { by: Allocation::Malloc, address, size });
            live[thread].push(address);
        }
    }
    writer.write(directory).expect("a recording");
}

fn merge(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("merge");
    group.sample_size(10).throughput(Throughput::Elements(EVENTS));
    for shape in &SHAPES {
        let directory = tempfile::tempdir().expect("a directory");
        make(shape, directory.path());
        let raw = std::fs::metadata(directory.path().join("100-0.raw")).expect("the raw file").len();
        let output = directory.path().join("out.hlt");
        group.bench_function(shape.name, |bencher| {
            bencher.iter(|| {
                let report = import_image(directory.path(), IMAGE, &output, &mut |_| {}).expect("a trace");
                let summary = report.summary;
                assert_eq!((summary.events, summary.frees_missed, summary.unseen_frees), (EVENTS, 0, 0));
            })
        });
        if let Ok(trace) = std::fs::metadata(&output) {
            println!("{}: {raw} bytes raw, {} as a trace, for {EVENTS} events", shape.name, trace.len());
        }
    }
    group.finish();
}

criterion_group!(name = benches; config = length::criterion(); targets = merge);
criterion_main!(benches);
