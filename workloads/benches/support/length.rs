//! How long benchmarks measure: a short time, in which everything is compared and all of it ends within minutes, or with
//! `HEAPLAB_BENCH=long` as long as a figure needs that is to be quoted.

use std::time::Duration;

use criterion::Criterion;

/// Chooses the length.
const VARIABLE: &str = "HEAPLAB_BENCH";
/// What a benchmark has at most where it is short: to warm up, and to be measured.
const SHORT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_millis(400));
/// Samples of a short benchmark, the fewest that criterion takes, and what its intervals are drawn from.
const SAMPLES: usize = 10;
const RESAMPLES: usize = 2_000;

/// Whether figures shall be good enough to be quoted. What the variable says otherwise is an error: a figure must not be
/// taken for what it is not.
pub(crate) fn is_long() -> bool {
    match std::env::var_os(VARIABLE) {
        None => false,
        Some(value) if value == "long" => true,
        Some(value) => panic!("{VARIABLE}={value:?}: it is long, or not set"),
    }
}

/// Criterion with the times that fit; options on the command line go before them.
#[allow(dead_code)] // not every benchmark that includes this file measures by criterion's own times
pub(crate) fn criterion() -> Criterion {
    let criterion = Criterion::default();
    if is_long() {
        return criterion;
    }
    let (warm_up, measured) = SHORT;
    let criterion = criterion.warm_up_time(warm_up).measurement_time(measured);
    criterion.sample_size(SAMPLES).nresamples(RESAMPLES)
}
