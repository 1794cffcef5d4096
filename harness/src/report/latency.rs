//! Latency: histograms of latency.csv into percentiles of each sample, and into one histogram of
//! each workload, variant, operation and scope.
//!
//! Rows are streamed; what is held is one sample's buckets and the sums. Percentiles of
//! summary.csv are medians over blocks of each sample's own percentile. The plots show all blocks'
//! calls together.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::results::{ResultsError, Run};
use crate::stats::{median, percentile};

/// Calls by upper end of their bucket.
pub(super) type Histogram = BTreeMap<u64, u64>;

/// The operation under which the timer's own distribution stands.
pub(super) const TIMER: &str = "timer";

/// Below so many medians of the timer a latency reads "under resolution".
const RESOLUTION_TIMERS: f64 = 3.0;

/// The percentiles of summary.csv.
const FRACTIONS: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99_9", 0.999), ("p99_99", 0.9999)];

/// What was called, and which part of it was timed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Timed {
    /// `malloc`, `free`, ... or [`TIMER`].
    pub(super) operation: String,
    /// `call`, `touch` or `switched`.
    pub(super) scope: String,
}

/// All of a run's latencies.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    /// Each sample's metrics by the sample's place: (name, value).
    pub(super) of_samples: HashMap<usize, Vec<(String, f64)>>,
    /// All blocks' calls by (workload, variant), then by what was timed.
    pub(super) histograms: BTreeMap<(String, String), BTreeMap<Timed, Histogram>>,
}

impl Latencies {
    /// Reads latency.csv. Notes what was left out.
    pub(super) fn read(run: &Run, notes: &mut Vec<String>) -> Result<Latencies, ResultsError> {
        let mut latencies = Latencies::default();
        let mut current: Option<(usize, BTreeMap<Timed, Histogram>)> = None;
        let mut ended = HashSet::new();
        let mut scattered = false;
        notes.extend(run.each_latency_bucket(|place, bucket| {
            if current.as_ref().is_none_or(|(of, _)| *of != place) {
                if let Some((of, histograms)) = current.take() {
                    latencies.add(run, of, histograms);
                    ended.insert(of);
                }
                scattered |= ended.contains(&place);
                current = Some((place, BTreeMap::new()));
            }
            if let Some((_, histograms)) = current.as_mut() {
                let timed = Timed { operation: bucket.operation.to_owned(), scope: bucket.scope.to_owned() };
                let count = histograms.entry(timed).or_default().entry(bucket.value_ns).or_default();
                *count = count.saturating_add(bucket.count);
            }
        })?);
        if let Some((of, histograms)) = current.take() {
            latencies.add(run, of, histograms);
        }
        if scattered {
            let detail =
                "rows of one sample do not stand together: the file was sorted or merged by hand".to_owned();
            return Err(ResultsError::Row { path: run.directory.join("latency.csv"), line: 0, detail });
        }
        Ok(latencies)
    }

    /// Median of the timer's own distribution over a workload's variants; none if not measured.
    pub(super) fn timer_median_ns(&self, workload: &str) -> Option<f64> {
        let of_variants = self.histograms.iter().filter(|((of, _), _)| of == workload);
        let timers =
            of_variants.flat_map(|(_, histograms)| histograms).filter(|(timed, _)| timed.operation == TIMER);
        let medians = timers.filter_map(|(_, histogram)| percentile(&buckets(histogram), 0.5));
        median(&medians.map(|value| value as f64).collect::<Vec<f64>>())
    }

    /// Latencies below this are under the timer's resolution.
    pub(super) fn resolution_ns(&self, workload: &str) -> Option<f64> {
        self.timer_median_ns(workload).map(|timer| timer * RESOLUTION_TIMERS)
    }

    /// Ends one sample: its percentiles, and its calls into the sum.
    fn add(&mut self, run: &Run, place: usize, histograms: BTreeMap<Timed, Histogram>) {
        let metrics = self.of_samples.entry(place).or_default();
        let sample = &run.samples[place];
        let sums = self.histograms.entry((sample.workload.clone(), sample.variant.clone())).or_default();
        for (timed, histogram) in histograms {
            let name = |what: &str| format!("{}_{}_{what}", timed.operation, timed.scope);
            let sorted = buckets(&histogram);
            let figures = FRACTIONS
                .iter()
                .map(|&(what, fraction)| (format!("{what}_ns"), percentile(&sorted, fraction)));
            for (what, value) in figures.chain([("max_ns".to_owned(), percentile(&sorted, 1.0))]) {
                metrics.extend(value.map(|value| (name(&what), value as f64)));
            }
            let calls = histogram.values().fold(0u64, |sum, &count| sum.saturating_add(count));
            metrics.push((name("calls"), calls as f64));
            let sum = sums.entry(timed).or_default();
            for (value, count) in histogram {
                let total = sum.entry(value).or_default();
                *total = total.saturating_add(count);
            }
        }
    }
}

/// A histogram as ascending buckets.
pub(super) fn buckets(histogram: &Histogram) -> Vec<(u64, u64)> {
    histogram.iter().map(|(&value, &count)| (value, count)).collect()
}
