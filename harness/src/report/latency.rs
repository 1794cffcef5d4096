//! Latency: turns the histograms of latency.csv into percentiles of each sample, and into one histogram for each
//! workload, variant, operation and scope.
//!
//! Rows are streamed; only one sample's buckets and the sums are held. Percentiles in summary.csv are medians over
//! blocks of each sample's own percentile. The plots show the calls of all blocks together.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::results::{ResultsError, Run};
use crate::stats::{median, percentile};
use crate::worker::COST_SIZES;

/// Calls by upper end of their bucket, ascending, each end once.
/// PERF: a vector and not a tree, which took three times the memory.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Histogram {
    buckets: Vec<(u64, u64)>,
    /// This many of them, from the first on, are in order.
    settled: usize,
}

impl Histogram {
    /// Adds calls; the buckets are in order after [`Histogram::settle`].
    pub(super) fn add(&mut self, value_ns: u64, count: u64) {
        self.buckets.push((value_ns, count));
        if self.buckets.len() > 2 * self.settled + LEAST_UNSETTLED {
            self.settle();
        }
    }

    /// Sorts the buckets and joins those with the same value.
    pub(super) fn settle(&mut self) {
        self.buckets.sort_unstable_by_key(|bucket| bucket.0);
        self.buckets.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
        self.settled = self.buckets.len();
    }

    /// The buckets of a settled histogram.
    pub(super) fn buckets(&self) -> &[(u64, u64)] {
        &self.buckets
    }
}

/// The number of buckets that are added to a histogram before it is first settled.
const LEAST_UNSETTLED: usize = 512;

/// The operation of the timer's own distribution.
pub(super) const TIMER: &str = "timer";

/// A latency below this many medians of the timer is "under resolution".
const RESOLUTION_TIMERS: f64 = 3.0;

/// The percentiles of summary.csv.
const FRACTIONS: [(&str, f64); 6] = [
    ("p50_ns", 0.5),
    ("p90_ns", 0.9),
    ("p99_ns", 0.99),
    ("p99_9_ns", 0.999),
    ("p99_99_ns", 0.9999),
    ("max_ns", 1.0),
];

/// The percentiles of calls by size, which have enough rows already.
const SIZED_FRACTIONS: [&str; 2] = ["p50_ns", "p99_ns"];

/// What was called, and which part of it was timed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Timed {
    /// `malloc`, `free`, ... or [`TIMER`].
    pub(super) operation: String,
    /// `call`, `touch` or `switched`.
    pub(super) scope: String,
}

impl Timed {
    /// Whether it is the timer itself. Timer calls during which the thread lost its CPU are in a different scope, and
    /// say nothing about the timer.
    pub(super) fn is_timer(&self) -> bool {
        self.operation == TIMER && self.scope == "call"
    }
}

/// All of a run's latencies.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    /// Each sample's metrics by the sample's index: the index of the name, and the value.
    of_samples: HashMap<usize, Vec<(usize, f64)>>,
    /// Names of metrics, in order of first appearance.
    names: Vec<String>,
    /// The calls of all blocks by (workload, variant), then by what was timed.
    pub(super) histograms: BTreeMap<(String, String), BTreeMap<Timed, Histogram>>,
}

/// One sample's calls, while its rows are read.
struct Current {
    place: usize,
    histograms: Vec<(Timed, Histogram)>,
}

impl Current {
    /// The histogram of what was timed. Rows are grouped by it, so it is nearly always the last one.
    fn histogram(&mut self, operation: &str, scope: &str) -> &mut Histogram {
        let is = |timed: &Timed| timed.operation == operation && timed.scope == scope;
        let at = self.histograms.iter().rposition(|(timed, _)| is(timed)).unwrap_or_else(|| {
            let timed = Timed { operation: operation.to_owned(), scope: scope.to_owned() };
            self.histograms.push((timed, Histogram::default()));
            self.histograms.len() - 1
        });
        &mut self.histograms[at].1
    }
}

impl Latencies {
    /// Reads latency.csv. Notes rows that were left out.
    pub(super) fn read(run: &Run, notes: &mut Vec<String>) -> Result<Latencies, ResultsError> {
        let mut latencies = Latencies::default();
        let mut current: Option<Current> = None;
        let mut ended = HashSet::new();
        let mut scattered = false;
        notes.extend(run.each_latency_bucket(|place, bucket| {
            if current.as_ref().is_none_or(|current| current.place != place) {
                if let Some(whole) = current.take() {
                    ended.insert(whole.place);
                    latencies.add(run, whole);
                }
                scattered |= ended.contains(&place);
            }
            let current = current.get_or_insert_with(|| Current { place, histograms: Vec::new() });
            current.histogram(bucket.operation, bucket.scope).add(bucket.value_ns, bucket.count);
        })?);
        if let Some(whole) = current.take() {
            latencies.add(run, whole);
        }
        if scattered {
            let detail =
                "rows of one sample are not together: the file was sorted or merged by hand".to_owned();
            return Err(ResultsError::Row { path: run.directory.join("latency.csv"), line: 0, detail });
        }
        latencies.histograms.values_mut().flat_map(BTreeMap::values_mut).for_each(Histogram::settle);
        Ok(latencies)
    }

    /// A sample's metrics by its index: (name, value).
    pub(super) fn of_sample(&self, place: usize) -> impl Iterator<Item = (&str, f64)> {
        let metrics = self.of_samples.get(&place).into_iter().flatten();
        metrics.map(|&(name, value)| (self.names[name].as_str(), value))
    }

    /// Every metric's name, sorted.
    pub(super) fn metrics(&self) -> Vec<String> {
        let mut names = self.names.clone();
        names.sort_unstable();
        names
    }

    /// Median of the timer's own distribution over a workload's variants; none if not measured.
    pub(super) fn timer_median_ns(&self, workload: &str) -> Option<f64> {
        let of_variants = self.histograms.iter().filter(|((of, _), _)| of == workload);
        let timers = of_variants.flat_map(|(_, histograms)| histograms).filter(|(timed, _)| timed.is_timer());
        let medians = timers.filter_map(|(_, histogram)| percentile(histogram.buckets(), 0.5));
        median(&medians.map(|value| value as f64).collect::<Vec<f64>>())
    }

    /// Latencies below this are under the timer's resolution, whatever their percentile.
    pub(super) fn resolution_ns(&self, workload: &str) -> Option<f64> {
        self.timer_median_ns(workload).map(|timer| timer * RESOLUTION_TIMERS)
    }

    /// Times of this metric below the returned time are under the timer's resolution: three times the timer's own at
    /// the same percentile, over a workload's variants. A call's 99.99th percentile says nothing if that of the timer
    /// alone, which meets the same interrupts, is nearly as long. None for metrics that are not percentiles.
    pub(super) fn resolution_of(&self, workload: &str, metric: &str) -> Option<f64> {
        let (_, fraction) = FRACTIONS
            .iter()
            .find(|(name, _)| metric.strip_suffix(name).is_some_and(|rest| rest.ends_with('_')))?;
        let of_variants = self.histograms.iter().filter(|((of, _), _)| of == workload);
        let timers = of_variants.flat_map(|(_, histograms)| histograms).filter(|(timed, _)| timed.is_timer());
        let own = timers.filter_map(|(_, histogram)| percentile(histogram.buckets(), *fraction));
        let own = median(&own.map(|value| value as f64).collect::<Vec<f64>>())?;
        let least = self.resolution_ns(workload)?;
        Some(least.max(own * RESOLUTION_TIMERS))
    }

    /// Finishes one sample: computes its percentiles, and adds its calls to the sum.
    fn add(&mut self, run: &Run, sample: Current) {
        let Current { place, mut histograms } = sample;
        histograms.sort_by(|one, other| one.0.cmp(&other.0));
        let mut metrics = Vec::new();
        for (timed, histogram) in &mut histograms {
            histogram.settle();
            let buckets = histogram.buckets();
            let mut push = |what: &str, value: f64| {
                let name = format!("{}_{}_{what}", timed.operation, timed.scope);
                metrics.push((self.place_of(name), value));
            };
            let is_sized = COST_SIZES.iter().any(|size| size.operation == timed.operation);
            for (what, fraction) in FRACTIONS {
                if is_sized && !SIZED_FRACTIONS.contains(&what) {
                    continue;
                }
                if let Some(value) = percentile(buckets, fraction) {
                    push(what, value as f64);
                }
            }
            let calls = buckets.iter().fold(0u64, |sum, bucket| sum.saturating_add(bucket.1));
            push("calls", calls as f64);
        }
        self.of_samples.insert(place, metrics);
        let sample = &run.samples[place];
        let sums = self.histograms.entry((sample.workload.clone(), sample.variant.clone())).or_default();
        for (timed, histogram) in histograms {
            let sum = sums.entry(timed).or_default();
            histogram.buckets.into_iter().for_each(|(value, count)| sum.add(value, count));
        }
    }

    fn place_of(&mut self, name: String) -> usize {
        self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_timer_is_not_as_slow_as_the_machine_is_busy() {
        let mut latencies = Latencies::default();
        let mut add = |scope: &str, value_ns| {
            let timed = Timed { operation: TIMER.to_owned(), scope: scope.to_owned() };
            let of_variant = latencies.histograms.entry(("w".to_owned(), "v".to_owned())).or_default();
            let histogram = of_variant.entry(timed).or_default();
            histogram.add(value_ns, 7);
            histogram.settle();
        };
        add("call", 10);
        add("switched", 34_000);
        assert_eq!(latencies.resolution_ns("w"), Some(30.0));
        assert_eq!(latencies.resolution_ns("other"), None);
    }

    #[test]
    fn a_percentile_is_compared_with_the_timers_own_at_that_percentile() {
        let mut latencies = Latencies::default();
        let timed = Timed { operation: TIMER.to_owned(), scope: "call".to_owned() };
        let of_variant = latencies.histograms.entry(("w".to_owned(), "v".to_owned())).or_default();
        let histogram = of_variant.entry(timed).or_default();
        // One reading in a thousand meets an interrupt.
        histogram.add(30, 99_900);
        histogram.add(3_600, 100);
        histogram.settle();
        let least = |metric: &str| latencies.resolution_of("w", metric);
        assert_eq!(least("free_call_p50_ns"), Some(90.0));
        assert_eq!(least("free_call_p99_ns"), Some(90.0));
        // So 5.76 compared with 5.04 us at the 99.99th says nothing about two allocators.
        assert_eq!(least("free_call_p99_99_ns"), Some(10_800.0));
        assert_eq!(least("malloc_to_64_call_p99_ns"), Some(90.0));
        assert_eq!(least("free_call_calls"), None);
    }

    proptest! {
        #[test]
        fn a_histogram_is_that_of_a_tree(calls in prop::collection::vec((0u64..700, 0u64..9), 0..3000)) {
            let mut tree = BTreeMap::new();
            let mut histogram = Histogram::default();
            for (value, count) in calls {
                *tree.entry(value).or_default() += count;
                histogram.add(value, count);
            }
            histogram.settle();
            prop_assert_eq!(histogram.buckets(), tree.into_iter().collect::<Vec<(u64, u64)>>());
        }
    }
}
