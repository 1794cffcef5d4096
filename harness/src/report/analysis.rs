//! A run, analysed once for all tables, sentences and plots.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heaplab_allocators::registry::FLOOR;

use super::ReportError;
use super::accounts::Accounts;
use super::latency::Latencies;
use super::notes::describe_run;
use super::size_classes::{SizeDifference, compare_classes};
use super::sizes::Sizes;
use super::speed::Speed;
use super::summary::{Figures, SummaryRow, ratio_within_blocks};
use crate::predict::{Predictions, TreePredictions, predict, predict_trees};
use crate::results::metrics::ALLOCATOR_PER_EVENT;
use crate::results::{Counting, Pass, Run, RunWorkload, Sample, Status};
use crate::stats::{NetRatio, Ratio};

/// A run with its statistics.
#[derive(Debug)]
pub struct Analysis<'r> {
    /// The run.
    pub run: &'r Run,
    /// The variant that ratios refer to; none if it is not in the run.
    pub baseline: Option<String>,
    /// Workloads in the order of run.toml.
    pub workloads: Vec<String>,
    /// Variants in the order of run.toml.
    pub variants: Vec<String>,
    /// The rows of summary.csv.
    pub summary: Vec<SummaryRow>,
    /// Size classes compared with the baseline's; within each workload, those that differ the most at the peak come
    /// first.
    pub size_differences: Vec<SizeDifference>,
    /// What is missing, what was left out, and what distorts the run, in sentences.
    pub notes: Vec<String>,
    /// The metric for speed.
    pub(super) speed: Speed,
    pub(super) figures: Figures,
    /// Predicted memory of the whole process, if a recording allows it.
    pub(super) predictions: Predictions,
    pub(super) trees: TreePredictions,
    pub(super) latencies: Latencies,
    pub(super) sizes: Sizes,
    pub(super) accounts: Accounts,
    places: HashMap<(String, String, String), usize>,
}

impl<'r> Analysis<'r> {
    /// Analyses a run. Without a name, the baseline is the run's own ([`crate::results::RunFile::baseline`]), if it was
    /// measured.
    pub fn new(run: &'r Run, baseline: Option<&str>) -> Result<Analysis<'r>, ReportError> {
        let named = run.file.workloads.iter().map(|workload| workload.name.as_str());
        let workloads = distinct(named, run.samples.iter().map(|sample| sample.workload.as_str()));
        let named = run.file.variants.iter().map(|variant| variant.label.as_str());
        let variants = distinct(named, run.samples.iter().map(|sample| sample.variant.as_str()));
        let baseline = match baseline {
            Some(named) if !variants.iter().any(|variant| variant == named) => {
                let known = if variants.is_empty() { "none".to_owned() } else { variants.join(", ") };
                return Err(ReportError::UnknownBaseline { named: named.to_owned(), known });
            }
            Some(named) => Some(named.to_owned()),
            None => variants.iter().find(|variant| *variant == run.file.baseline()).cloned(),
        };
        let mut notes = run.notes.clone();
        let latencies = Latencies::read(run, &mut notes)?;
        let sizes = Sizes::read(run, &mut notes)?;
        let accounts = Accounts::read(run, &mut notes)?;
        let (size_differences, of_requests) =
            compare_classes(run, &workloads, &variants, baseline.as_deref())?;
        notes.extend(of_requests);
        notes.extend(describe_run(run));
        let predictions = predict(run)?;
        notes.extend(predictions.notes.iter().cloned());
        let trees = predict_trees(run, &predictions);
        notes.extend(trees.notes.iter().cloned());
        let mut figures = Figures::read(run, &latencies, &predictions);
        figures.add_trees(run, &trees.all);
        let mut summary = figures.rows(run, &workloads, &variants, baseline.as_deref(), &latencies);
        for tree in &run.file.trees {
            summary.extend(figures.tree_rows(&tree.name, &variants, baseline.as_deref()));
        }
        let key = |row: &SummaryRow| (row.workload.clone(), row.variant.clone(), row.metric.clone());
        let places = summary.iter().enumerate().map(|(place, row)| (key(row), place)).collect();
        for row in &mut summary {
            (row.workload, row.machine) = run.in_rows(&row.workload);
        }
        Ok(Analysis {
            run,
            baseline,
            workloads,
            variants,
            summary,
            size_differences,
            notes,
            speed: Speed::of(run),
            figures,
            predictions,
            trees,
            latencies,
            sizes,
            accounts,
            places,
        })
    }

    /// A row of the summary; none if no variant of the workload measured the metric.
    pub fn row(&self, workload: &str, variant: &str, metric: &str) -> Option<&SummaryRow> {
        let key = (workload.to_owned(), variant.to_owned(), metric.to_owned());
        self.places.get(&key).map(|&place| &self.summary[place])
    }

    /// The median of a metric.
    pub fn median(&self, workload: &str, variant: &str, metric: &str) -> Option<f64> {
        self.row(workload, variant, metric)?.median
    }

    /// Ratio of a variant to any other within blocks.
    pub fn ratio(&self, workload: &str, variant: &str, base: &str, metric: &str) -> Option<Ratio> {
        self.figures.ratio(workload, variant, base, metric)
    }

    /// The values of a metric by block; none if no ok sample measured it.
    pub fn values(&self, workload: &str, variant: &str, metric: &str) -> Option<&BTreeMap<u32, f64>> {
        self.figures.values(workload, variant, metric)
    }

    /// Whether a figure is that of one recording, however often it was replayed.
    pub(crate) fn is_one_recording(&self, workload: &str, variant: &str, metric: &str) -> bool {
        self.figures.is_one_recording(workload, variant, metric)
    }

    /// Whether a metric is the time of a call whose median is less than the timer can resolve.
    pub fn is_under_resolution(&self, workload: &str, variant: &str, metric: &str) -> bool {
        let row = self.row(workload, variant, metric);
        let time = row.filter(|row| row.pass == Pass::Latency && super::summary::is_time_of_call(metric));
        let median = time.and_then(|row| row.median);
        median
            .zip(self.latencies.resolution_of(workload, metric))
            .is_some_and(|(median, least)| median < least)
    }

    /// How the memory of real programs is counted, of one workload or of all.
    pub(super) fn program_counting(&self, workload: Option<&str>) -> Counting {
        let is_of = |sample: &Sample| workload.is_none_or(|workload| sample.workload == workload);
        let samples = || self.run.samples.iter().filter(|sample| sample.pass == Pass::Exec && is_of(sample));
        if !samples().any(|sample| sample.processes > Some(1)) {
            return Counting::Process;
        }
        let is_known = |sample: &Sample| sample.status != Status::Ok || sample.once_peak_bytes.is_some();
        if samples().all(is_known) { Counting::Once } else { Counting::Sum }
    }

    /// Whether there are samples and all of them are ok.
    pub fn is_complete(&self) -> bool {
        self.run.file.finished
            && !self.run.samples.is_empty()
            && self.run.samples.iter().all(|sample| sample.status == Status::Ok)
    }

    /// The allocator of a variant.
    pub(super) fn allocator<'a>(&'a self, variant: &'a str) -> &'a str {
        let known = self.run.file.variants.iter().find(|known| known.label == variant);
        known.map_or_else(|| variant.split(':').next().unwrap_or(variant), |known| &known.allocator)
    }

    /// Whether a variant is `floor`, which is shown and never ranked.
    pub fn is_floor(&self, variant: &str) -> bool {
        self.allocator(variant) == FLOOR
    }

    /// What run.toml says about a workload.
    pub(super) fn workload(&self, name: &str) -> Option<&RunWorkload> {
        self.run.file.workloads.iter().find(|workload| workload.name == name)
    }

    /// The load model of which a workload is one load.
    pub(super) fn model_of(&self, workload: &str) -> Option<&str> {
        let workload = self.workload(workload)?;
        workload.model.as_deref().filter(|_| workload.connections.is_some())
    }

    /// Whether the workloads are one model at several loads: a mean over them would describe no program.
    pub(super) fn is_of_one_model(&self) -> bool {
        let mut models = self.workloads.iter().map(|workload| self.model_of(workload));
        let first = models.next().flatten();
        self.workloads.len() > 1 && first.is_some() && models.all(|model| model == first)
    }

    /// Whether trace times of a workload are real.
    pub(super) fn has_times(&self, workload: &str) -> bool {
        self.workload(workload).is_none_or(|workload| workload.has_times)
    }

    /// The ok samples of a workload and pass, with their indexes.
    pub(super) fn ok_samples<'a>(
        &'a self,
        workload: &'a str,
        pass: Pass,
    ) -> impl Iterator<Item = (usize, &'a Sample)> + 'a {
        let samples = self.run.samples.iter().enumerate();
        samples.filter(move |(_, sample)| {
            sample.status == Status::Ok && sample.pass == pass && sample.workload == workload
        })
    }

    /// Whether a variant finished a workload: the metric was measured and no sample of its pass failed.
    pub fn is_finished(&self, workload: &str, variant: &str, metric: &str) -> bool {
        self.row(workload, variant, metric).is_some_and(|row| row.failed == 0 && row.n > 0)
    }

    /// Workloads that every ranked variant finished. Means of several variants are comparable only over these:
    /// otherwise one that fails on a hard workload would look better than one that finishes it.
    pub fn finished_by_all(&self, metric: &str) -> Vec<&str> {
        // Kinds of machines have nothing in common except the numbers of their blocks.
        if self.run.is_of_several_machines() {
            return Vec::new();
        }
        let ranked: Vec<&String> = self.variants.iter().filter(|variant| !self.is_floor(variant)).collect();
        let finished =
            |workload: &&String| ranked.iter().all(|variant| self.is_finished(workload, variant, metric));
        self.workloads.iter().filter(finished).map(String::as_str).collect()
    }

    /// A metric over workloads, by block: for one workload the values themselves; for several, their geometric mean in
    /// each block that has all of them. None if one of several is 0.
    pub fn values_over(&self, workloads: &[&str], variant: &str, metric: &str) -> Option<BTreeMap<u32, f64>> {
        match workloads {
            [workload] => self.values(workload, variant, metric).cloned(),
            several => self.figures.mean_by_block(several, variant, metric),
        }
    }

    /// The blocks of a variant's ok samples during which the host supplied memory, or took the CPU away.
    pub(super) fn cold_blocks(&self, workload: &str, variant: &str, pass: Pass) -> BTreeSet<u32> {
        let its = self.ok_samples(workload, pass).filter(|(_, sample)| sample.variant == variant);
        its.filter(|(_, sample)| sample.cold_memory == Some(true)).map(|(_, sample)| sample.block).collect()
    }

    /// Whether the harness's share hides the difference of two variants in a metric, so that there is no
    /// ratio.
    pub fn is_drowned(&self, workloads: &[&str], variant: &str, base: &str, metric: &str) -> bool {
        self.figures.is_drowned(workloads, variant, base, metric)
    }

    /// Ratio of a variant to any other within blocks, over workloads as in [`Analysis::values_over`].
    ///
    /// The geometric mean of the workloads' ratios in a block equals the ratio of their geometric means, so the figure
    /// is both; the estimate and its interval are those of the blocks' ratios.
    pub fn ratio_over(&self, workloads: &[&str], variant: &str, base: &str, metric: &str) -> Option<Ratio> {
        if metric == ALLOCATOR_PER_EVENT {
            return match self.figures.net_ratio(workloads, variant, base)? {
                NetRatio::Known(ratio) => Some(ratio),
                NetRatio::Drowned => None,
            };
        }
        let of = |variant| self.values_over(workloads, variant, metric);
        ratio_within_blocks(&of(variant)?, &of(base)?)
    }
}

/// Names in order of first appearance.
fn distinct<'a>(first: impl Iterator<Item = &'a str>, then: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen = std::collections::HashSet::new();
    first.chain(then).filter(|name| seen.insert(*name)).map(str::to_owned).collect()
}
