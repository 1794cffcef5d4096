//! A replay of a recorded trace of a small threaded program, in causal order, each in a fresh worker.
//!
//! A sample of criterion's is the sum of what workers measured for themselves: their start and set-up
//! are not in it. Variants follow one another here; `heaplab run` interleaves them, and is what to decide by.

use std::time::Duration;

use anyhow::Context;
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use heaplab::design::{Pass, Touch};
use heaplab::measure::Variation;
use heaplab_workloads::catalog;
use heaplab_workloads::program::Order;
use heaplab_workloads::simulate::Options;

use crate::workers::{Wanted, Workers, vary, wall_ns};

const WORKLOAD: &str = "threaded";

pub(super) fn bench(criterion: &mut Criterion, specs: &[&str]) -> anyhow::Result<()> {
    let mut workers = Workers::new()?;
    let mut stream = catalog::find(WORKLOAD)?.open(&Options::default())?;
    let (workload, info) = workers.add(WORKLOAD, &mut stream, Order::Causal)?;
    let wanted = Wanted { workload, order: Order::Causal, pass: Pass::Throughput, touch: Touch::Page };
    let variations = specs.iter().map(|spec| vary(spec)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut failure = None;
    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Elements(info.events)).sampling_mode(SamplingMode::Flat);
    group
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(500))
        .sample_size(10);
    for variation in &variations {
        let id = BenchmarkId::new(WORKLOAD, crate::label(&variation.variant));
        group.bench_function(id, |bencher| {
            bencher.iter_custom(|count| {
                let sum = sum_ns(&workers, wanted, variation, count);
                Duration::from_nanos(sum.unwrap_or_else(|error| {
                    failure.get_or_insert(error);
                    // criterion divides by it; the run fails below.
                    1
                }))
            });
        });
    }
    group.finish();
    failure.map_or(Ok(()), Err).context("a replay failed, and its figures above are wrong")
}

fn sum_ns(workers: &Workers, wanted: Wanted, variation: &Variation, count: u64) -> anyhow::Result<u64> {
    (0..count).map(|_| workers.take(wanted, variation, wall_ns)).sum()
}
