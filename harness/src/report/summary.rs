//! summary.csv: one row for each workload, variant, pass and metric.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heaplab_allocators::registry::FLOOR;
use serde::{Deserialize, Serialize};

use super::latency::{Latencies, TIMER};
use super::speed::{Sides, Speed, Values, compare_net, find_harness};
use super::units;
use crate::predict::{Predictions, TreePrediction};
use crate::results::metrics::{
    ALLOCATOR_PER_EVENT, BUSY_PER_EVENT, HARNESS_PER_EVENT, Metric, PREDICTED, TREE_PREDICTED, metrics,
};
use crate::results::{Pass, Run, Sample, Status, interval_of, name_on};
use crate::stats::{
    NOISE_THRESHOLD, NetRatio, Ratio, Verdict, geometric_mean, median, paired_ratio, verdict,
};

/// A metric of one variant on one workload, over all blocks. An empty cell means not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryRow {
    /// Workload's name.
    pub workload: String,
    /// Variant's label.
    pub variant: String,
    /// The pass that measured it.
    pub pass: Pass,
    /// Its name, which ends in its unit.
    pub metric: String,
    /// Samples that measured it.
    pub n: u64,
    /// Samples of this pass that are not ok.
    pub failed: u64,
    /// Median over blocks.
    pub median: Option<f64>,
    /// Lower end of its interval, which covers the median; for resident memory the mean too.
    pub low: Option<f64>,
    /// Upper end of its interval.
    pub high: Option<f64>,
    /// Coverage of the median by that interval, as a fraction.
    pub coverage: Option<f64>,
    /// Ratio to the baseline within blocks.
    pub ratio: Option<f64>,
    /// Lower end of the ratio's interval.
    pub ratio_low: Option<f64>,
    /// Upper end of the ratio's interval.
    pub ratio_high: Option<f64>,
    /// Coverage of that interval, as a fraction.
    pub ratio_coverage: Option<f64>,
    /// What the ratio shows.
    pub verdict: Option<Verdict>,
    /// The kind of machine that it was measured on, in a run of several kinds.
    pub machine: Option<String>,
}

impl SummaryRow {
    /// How it differs from the baseline, in words: `17 % less`, `no difference`. Only a difference that was shown is
    /// stated as a number. None for the baseline itself.
    #[must_use]
    pub fn difference(&self) -> Option<String> {
        Some(match (self.ratio, self.verdict?) {
            (Some(ratio), Verdict::Smaller | Verdict::Larger) => units::difference(ratio, ["less", "more"]),
            (_, Verdict::NoDifference) => "no difference".to_owned(),
            (_, Verdict::TooFew) => "too few blocks".to_owned(),
            (_, verdict) => verdict.as_str().to_owned(),
        })
    }

    /// The workload's name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        name_on(&self.workload, self.machine.as_deref())
    }
}

/// All values of a run's metrics, by workload, variant and metric.
#[derive(Debug, Default)]
pub(super) struct Figures {
    values: HashMap<(String, String), HashMap<String, Values>>,
    failed: HashMap<(String, String, Pass), u64>,
    /// Workloads and trees with the variant that they were recorded under.
    as_recorded: BTreeMap<String, String>,
    /// Every metric's name and pass, in the order of summary.csv.
    metrics: Vec<(String, Pass)>,
    /// Seed of the resamples.
    seed: u64,
}

impl Figures {
    /// Reads all metrics from the ok samples.
    pub(super) fn read(run: &Run, latencies: &Latencies, predictions: &Predictions) -> Figures {
        let trees = run.file.trees.iter().map(|tree| &tree.name);
        let recorded = predictions
            .as_recorded
            .keys()
            .chain(trees)
            .filter_map(|name| Some((name.clone(), predictions.recorded_under(run, name)?.to_owned())));
        let as_recorded = recorded.collect();
        let mut figures = Figures { seed: run.file.options.seed, as_recorded, ..Figures::default() };
        let (harness, is_net) = (find_harness(run), Speed::of(run).is_net());
        let of_samples: Vec<Metric> = metrics().collect();
        for (place, sample) in run.samples.iter().enumerate() {
            if sample.status != Status::Ok {
                let key = (sample.workload.clone(), sample.variant.clone(), sample.pass);
                *figures.failed.entry(key).or_default() += 1;
                continue;
            }
            for metric in of_samples.iter().filter(|metric| metric.pass == sample.pass) {
                if let Some(value) = (metric.value)(sample) {
                    figures.add(sample, metric.name, value);
                }
            }
            if let Some(prediction) = predictions.of_samples.get(&place) {
                let values = [prediction.peak_bytes, prediction.mean_bytes, prediction.end_bytes];
                for (name, value) in PREDICTED.into_iter().zip(values) {
                    figures.add(sample, name, value as f64);
                }
            }
            if sample.pass == Pass::Throughput
                && let Some(share) = harness.get(&sample.workload).and_then(|of| of.get(&sample.block))
                && let Some((busy_ns, events)) = sample.busy_ns.zip(sample.events).filter(|of| of.1 > 0)
            {
                figures.add(sample, HARNESS_PER_EVENT, *share);
                // floor itself has none: it is the share. If it does not qualify as a floor, there is no difference.
                if is_net && sample.variant != FLOOR {
                    figures.add(sample, ALLOCATOR_PER_EVENT, busy_ns as f64 / events as f64 - share);
                }
            }
            for (name, value) in latencies.of_sample(place) {
                figures.add(sample, name, value);
            }
        }
        figures.metrics = of_samples.iter().map(|metric| (metric.name.to_owned(), metric.pass)).collect();
        let derived =
            [HARNESS_PER_EVENT, ALLOCATOR_PER_EVENT].map(|name| (name.to_owned(), Pass::Throughput));
        let after =
            figures.metrics.iter().position(|(name, _)| name == BUSY_PER_EVENT).map_or(0, |at| at + 2);
        figures.metrics.splice(after..after, derived);
        figures.metrics.extend(PREDICTED.map(|name| (name.to_owned(), Pass::Memory)));
        figures.metrics.extend(latencies.metrics().into_iter().map(|name| (name, Pass::Latency)));
        figures
    }

    /// Adds the predictions of trees of processes. A block in which the sample of a process failed counts as failed.
    pub(super) fn add_trees(&mut self, run: &Run, predictions: &[TreePrediction]) {
        for tree in &run.file.trees {
            let is_member = |sample: &&Sample| {
                sample.pass == Pass::Memory
                    && sample.status != Status::Ok
                    && tree.members.iter().any(|member| member.workload == sample.workload)
            };
            let failed: BTreeSet<(&str, u32)> =
                run.samples.iter().filter(is_member).map(|sample| (&*sample.variant, sample.block)).collect();
            for (variant, _) in failed {
                let key = (tree.name.clone(), variant.to_owned(), Pass::Memory);
                *self.failed.entry(key).or_default() += 1;
            }
        }
        for found in predictions {
            let once = found.once.as_ref();
            let figures = [
                once.map(|once| once.peak_bytes),
                once.map(|once| once.mean_bytes),
                Some(found.sum.peak_bytes),
                Some(found.sum.mean_bytes),
            ];
            let of_variant = self.values.entry((found.tree.clone(), found.variant.clone())).or_default();
            for (name, value) in TREE_PREDICTED.into_iter().zip(figures) {
                if let Some(value) = value {
                    of_variant.entry(name.to_owned()).or_default().insert(found.block, value as f64);
                }
            }
        }
    }

    /// The rows of summary.csv for a tree of processes.
    pub(super) fn tree_rows(
        &self,
        tree: &str,
        variants: &[String],
        baseline: Option<&str>,
    ) -> Vec<SummaryRow> {
        let mut rows = Vec::new();
        for metric in TREE_PREDICTED {
            if !variants.iter().any(|variant| self.values(tree, variant, metric).is_some()) {
                continue;
            }
            let predicted = variants.iter().filter(|variant| {
                self.values(tree, variant, metric).is_some() || self.failed(tree, variant, Pass::Memory) > 0
            });
            rows.extend(
                predicted.map(|variant| self.row(tree, variant, Pass::Memory, metric, baseline, None)),
            );
        }
        rows
    }

    fn add(&mut self, sample: &Sample, metric: &str, value: f64) {
        let of_variant = self.values.entry((sample.workload.clone(), sample.variant.clone())).or_default();
        match of_variant.get_mut(metric) {
            Some(values) => values.insert(sample.block, value),
            None => of_variant.entry(metric.to_owned()).or_default().insert(sample.block, value),
        };
    }

    /// The values of a metric by block.
    pub(super) fn values(&self, workload: &str, variant: &str, metric: &str) -> Option<&Values> {
        self.values.get(&(workload.to_owned(), variant.to_owned()))?.get(metric)
    }

    /// Ratio of one variant to another within the blocks in which both were measured.
    pub(super) fn ratio(&self, workload: &str, variant: &str, base: &str, metric: &str) -> Option<Ratio> {
        if metric == ALLOCATOR_PER_EVENT {
            return match self.net_ratio(&[workload], variant, base)? {
                NetRatio::Known(ratio) => Some(ratio),
                NetRatio::Drowned => None,
            };
        }
        ratio_within_blocks(self.values(workload, variant, metric)?, self.values(workload, base, metric)?)
    }

    /// Ratio of two variants' times without the harness's share, over workloads: their geometric mean.
    pub(super) fn net_ratio(&self, workloads: &[&str], variant: &str, base: &str) -> Option<NetRatio> {
        let sides = workloads.iter().map(|workload| {
            Some(Sides {
                variant: self.values(workload, variant, BUSY_PER_EVENT)?,
                base: self.values(workload, base, BUSY_PER_EVENT)?,
                harness: self.values(workload, base, HARNESS_PER_EVENT)?,
            })
        });
        compare_net(&sides.collect::<Option<Vec<Sides<'_>>>>()?, self.seed)
    }

    /// Whether the harness's share hides the difference of two variants in a metric.
    pub(super) fn is_drowned(&self, workloads: &[&str], variant: &str, base: &str, metric: &str) -> bool {
        metric == ALLOCATOR_PER_EVENT
            && matches!(self.net_ratio(workloads, variant, base), Some(NetRatio::Drowned))
    }

    /// The geometric mean of a metric over workloads in each block that has all of them; none if a value is 0.
    ///
    /// A block holds every workload, so its mean is one figure from one hour of the machine, and ratios of such
    /// means have the same exact intervals as those of a single workload.
    pub(super) fn mean_by_block(&self, workloads: &[&str], variant: &str, metric: &str) -> Option<Values> {
        let of_workloads = workloads.iter().map(|workload| self.values(workload, variant, metric));
        let of_workloads: Vec<&Values> = of_workloads.collect::<Option<_>>()?;
        let mut means = Values::new();
        for block in of_workloads.first()?.keys() {
            let values = of_workloads.iter().map(|values| values.get(block).copied());
            if let Some(values) = values.collect::<Option<Vec<f64>>>() {
                means.insert(*block, geometric_mean(&values)?);
            }
        }
        Some(means)
    }

    /// Whether a figure is that of one recording, however often it was replayed: then nothing is known of other starts of
    /// the program.
    pub(super) fn is_one_recording(&self, workload: &str, variant: &str, metric: &str) -> bool {
        (PREDICTED.contains(&metric) || TREE_PREDICTED.contains(&metric))
            && self.as_recorded.get(workload).is_some_and(|recorded| recorded == variant)
    }

    /// Samples of a pass that are not ok.
    pub(super) fn failed(&self, workload: &str, variant: &str, pass: Pass) -> u64 {
        self.failed.get(&(workload.to_owned(), variant.to_owned(), pass)).copied().unwrap_or(0)
    }

    /// All rows of summary.csv. A metric has rows for all variants of a workload if any measured it.
    pub(super) fn rows(
        &self,
        run: &Run,
        workloads: &[String],
        variants: &[String],
        baseline: Option<&str>,
        latencies: &Latencies,
    ) -> Vec<SummaryRow> {
        let mut tried: HashMap<(&str, &str, Pass), ()> = HashMap::new();
        for sample in &run.samples {
            tried.insert((&sample.workload, &sample.variant, sample.pass), ());
        }
        let mut rows = Vec::new();
        for workload in workloads {
            for (metric, pass) in &self.metrics {
                let resolution_ns = latencies.resolution_of(workload, metric);
                let measured =
                    variants.iter().any(|variant| self.values(workload, variant, metric).is_some());
                let headline = metrics()
                    .any(|first| first.pass == *pass && first.name == *metric && is_headline(&first));
                if !measured && !headline {
                    continue;
                }
                // It is what floor was subtracted from: floor has none.
                let has_row = |variant: &&String| {
                    tried.contains_key(&(workload, variant, *pass))
                        && (metric != ALLOCATOR_PER_EVENT || *variant != FLOOR)
                };
                for variant in variants.iter().filter(has_row) {
                    rows.push(self.row(workload, variant, *pass, metric, baseline, resolution_ns));
                }
            }
        }
        rows
    }

    fn row(
        &self,
        workload: &str,
        variant: &str,
        pass: Pass,
        metric: &str,
        baseline: Option<&str>,
        resolution_ns: Option<f64>,
    ) -> SummaryRow {
        let values: Vec<f64> =
            self.values(workload, variant, metric).into_iter().flat_map(BTreeMap::values).copied().collect();
        let is_one = self.is_one_recording(workload, variant, metric);
        let interval = interval_of(metric, &values).filter(|_| !is_one);
        let base = baseline.filter(|base| *base != variant);
        let ratio = base.and_then(|base| self.ratio(workload, variant, base, metric));
        let drowned =
            ratio.is_none() && base.is_some_and(|base| self.is_drowned(&[workload], variant, base, metric));
        let within = ratio.and_then(|ratio| ratio.interval);
        let middle = median(&values);
        let unresolved = pass == Pass::Latency && is_time_of_call(metric) && {
            let of_base = base.and_then(|base| self.values(workload, base, metric));
            let of_base = of_base.and_then(|values| median(&values.values().copied().collect::<Vec<f64>>()));
            let under =
                |value: Option<f64>| value.zip(resolution_ns).is_some_and(|(value, least)| value < least);
            under(middle) || under(of_base)
        };
        SummaryRow {
            workload: workload.to_owned(),
            variant: variant.to_owned(),
            pass,
            metric: metric.to_owned(),
            n: values.len() as u64,
            failed: self.failed(workload, variant, pass),
            median: middle,
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            coverage: interval.map(|interval| interval.coverage),
            ratio: ratio.map(|ratio| ratio.estimate),
            ratio_low: within.map(|interval| interval.low),
            ratio_high: within.map(|interval| interval.high),
            ratio_coverage: within.map(|interval| interval.coverage),
            verdict: match ratio {
                None if drowned => Some(Verdict::NoDifference),
                ratio => ratio.map(|ratio| match verdict(&ratio, NOISE_THRESHOLD) {
                    Verdict::TooFew => Verdict::TooFew,
                    _ if unresolved => Verdict::UnderResolution,
                    other => other,
                }),
            },
            machine: None,
        }
    }
}

/// Ratio of values to those of a base, within the blocks that have both.
pub(super) fn ratio_within_blocks(values: &Values, base: &Values) -> Option<Ratio> {
    let pairs = values.iter().filter_map(|(block, &value)| Some((value, *base.get(block)?)));
    paired_ratio(&pairs.collect::<Vec<(f64, f64)>>())
}

/// Metrics that have rows even if nothing was measured, so that failures are visible.
fn is_headline(metric: &Metric) -> bool {
    matches!(
        metric.name,
        crate::results::metrics::WALL_PER_EVENT
            | crate::results::metrics::RESIDENT_PEAK
            | crate::results::metrics::PROGRAM_CPU
            | crate::results::metrics::PROGRAM_PEAK
            | "events"
    )
}

pub(super) fn is_time_of_call(metric: &str) -> bool {
    metric.ends_with("_ns") && !metric.starts_with(TIMER)
}
