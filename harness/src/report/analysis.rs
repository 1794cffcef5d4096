//! A run, analysed once for all tables, sentences and plots.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heaplab_allocators::registry::FLOOR;

use super::ReportError;
use super::accounts::Accounts;
use super::latency::Latencies;
use super::size_classes::{SizeDifference, compare_classes};
use super::sizes::Sizes;
use super::speed::{Speed, floor_share, timed};
use super::summary::{Figures, SummaryRow, ratio_within_blocks};
use super::units::bytes;
use crate::predict::{Predictions, TreePredictions, predict, predict_trees};
use crate::results::metrics::{ALLOCATOR_PER_EVENT, MOST_FLOOR_SHARE, misses_peak};
use crate::results::{Pass, Run, RunWorkload, Sample, Status};
use crate::stats::{NetRatio, Ratio};

/// The fraction of resident memory from which huge pages are noted.
const HUGE_PAGES_WORTH_A_NOTE: f64 = 0.25;
/// How far a memory sample's requested peak may be from the trace's before it is flagged.
const REACHED_TOLERANCE: f64 = 0.01;

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
        if run.is_of_several_machines() {
            notes.push(
                "the run is of several kinds of machines: each workload appears once per kind, compared within it, and \
                 there are no means over workloads"
                    .to_owned(),
            );
        }
        notes.extend(describe_failures(&run.samples));
        notes.extend(describe_drift_from_trace(&run.samples));
        notes.extend(describe_missed_peaks(&run.samples));
        notes.extend(describe_missing_floor(run));
        notes.extend(describe_huge_pages(run));
        notes.extend(describe_thinned(run));
        notes.extend(describe_extrapolated(run));
        notes.extend(describe_one_load(run));
        notes.extend(describe_remarks(&run.samples));
        let predictions = predict(run)?;
        notes.extend(predictions.notes.iter().cloned());
        let trees = predict_trees(run, &predictions);
        notes.extend(trees.notes.iter().cloned());
        let mut figures = Figures::read(run, &latencies, &predictions);
        figures.add_trees(&trees.all);
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

    /// Whether a metric is the time of a call whose median is less than the timer can resolve.
    pub fn is_under_resolution(&self, workload: &str, variant: &str, metric: &str) -> bool {
        let row = self.row(workload, variant, metric);
        let time = row.filter(|row| row.pass == Pass::Latency && super::summary::is_time_of_call(metric));
        let median = time.and_then(|row| row.median);
        median
            .zip(self.latencies.resolution_of(workload, metric))
            .is_some_and(|(median, least)| median < least)
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

/// Samples that are not ok, by variant, workload, pass and status; one sentence for all that failed in the same way.
fn describe_failures(samples: &[Sample]) -> Vec<String> {
    let mut failures: std::collections::BTreeMap<_, (u64, &Sample)> = std::collections::BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.status != Status::Ok) {
        let key = (&sample.workload, &sample.variant, sample.pass, sample.status);
        failures.entry(key).or_insert((0, sample)).0 += 1;
    }
    let sentences = failures.into_values().map(|(count, sample)| {
        let detail = sample
            .status_detail
            .as_deref()
            .map(|detail| detail.split_whitespace().collect::<Vec<&str>>().join(" "));
        let which = format!(
            "{}, {}: {count} {} sample{} ended as {}",
            sample.workload,
            sample.variant,
            word(&sample.pass),
            if count == 1 { "" } else { "s" },
            word(&sample.status),
        );
        (which, detail.unwrap_or_default())
    });
    join_alike(sentences)
}

/// Sentences about samples: a remark about many samples appears once, after all of them.
fn join_alike(said: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut by_what: Vec<(String, Vec<String>)> = Vec::new();
    for (which, what) in said {
        match by_what.iter_mut().find(|(known, _)| *known == what && !what.is_empty()) {
            Some((_, samples)) => samples.push(which),
            None => by_what.push((what, vec![which])),
        }
    }
    let sentence = |(what, samples): (String, Vec<String>)| {
        let what = if what.is_empty() { what } else { format!(": {what}") };
        format!("{}{what}", samples.join("; "))
    };
    by_what.into_iter().map(sentence).collect()
}

/// Memory samples whose live set differs from the trace's.
fn describe_drift_from_trace(samples: &[Sample]) -> Vec<String> {
    let mut flagged: std::collections::BTreeMap<(&str, &str), u64> = std::collections::BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.pass == Pass::Memory && sample.status == Status::Ok) {
        if let (Some(trace), Some(reached)) =
            (sample.requested_peak_bytes, sample.requested_peak_reached_bytes)
            && trace.abs_diff(reached) as f64 > trace as f64 * REACHED_TOLERANCE
        {
            *flagged.entry((&sample.workload, &sample.variant)).or_default() += 1;
        }
    }
    let sentence = |((workload, variant), count)| {
        format!(
            "{workload}, {variant}: {count} memory samples reached a requested peak more than 1 % off the trace's own"
        )
    };
    flagged.into_iter().map(sentence).collect()
}

/// Workloads whose memory at the requested peak was measured after it.
fn describe_missed_peaks(samples: &[Sample]) -> Vec<String> {
    let mut missed: std::collections::BTreeMap<&str, u64> = std::collections::BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.status == Status::Ok && misses_peak(sample)) {
        *missed.entry(&sample.workload).or_default() += 1;
    }
    let sentence = |(workload, count)| {
        format!(
            "{workload}: {count} of its memory samples measured the requested peak after more than 1 % of it had been \
             freed again: the breakdown, the heap map, the size classes and the allocator's account at the peak are of \
             a moment shortly after it"
        )
    };
    missed.into_iter().map(sentence).collect()
}

/// Notes that ratios of busy time include the harness, if they do.
fn describe_missing_floor(run: &Run) -> Option<String> {
    let speed = Speed::of(run);
    let share = floor_share(run);
    let is_measured = timed(run).any(|sample| sample.variant == FLOOR);
    // With floor alone there is no ratio.
    let has_ratios = share.is_some() || !is_measured;
    (speed.is_busy() && !speed.is_net() && has_ratios).then(|| {
        let why = match share {
            None => "floor was not measured".to_owned(),
            Some((share, workload)) => format!(
                "floor takes {:.0} % of the fastest variant's busy time on {workload}, more than the {:.0} % up to \
                 which it measures the harness alone",
                share * 100.0,
                MOST_FLOOR_SHARE * 100.0
            ),
        };
        format!(
            "{why}: every busy time includes the harness's share, so ratios are nearer to 1 than those of the \
             allocators alone"
        )
    })
}

/// Variants with a large part of their resident memory in huge pages: a host with a different setting would
/// show a different figure.
fn describe_huge_pages(run: &Run) -> Option<String> {
    let mut largest: std::collections::BTreeMap<(&str, &str), (u64, u64)> = std::collections::BTreeMap::new();
    for sample in run.samples.iter().filter(|sample| sample.status == Status::Ok) {
        if let (Some(huge), Some(resident)) = (sample.anon_huge_bytes, sample.resident_end_bytes)
            && huge as f64 > resident as f64 * HUGE_PAGES_WORTH_A_NOTE
        {
            let key = (sample.workload.as_str(), sample.variant.as_str());
            let known = largest.entry(key).or_default();
            *known = (*known).max((huge, resident));
        }
    }
    if largest.is_empty() {
        return None;
    }
    let setting = run.file.machine.get("thp").and_then(|value| value.as_str()).unwrap_or("not known");
    let part = |((workload, variant), (huge, resident)): (_, (u64, u64))| {
        format!("{variant} on {workload} ({} of {})", bytes(huge as f64), bytes(resident as f64))
    };
    Some(format!(
        "transparent huge pages are a large part of the memory resident at the end: {}. They count whole however little of \
         them is used, and the system's setting here is {setting}: measure under the setting of the hosts that you plan for",
        largest.into_iter().map(part).collect::<Vec<String>>().join(", ")
    ))
}

/// Workloads with only one of their loads in the run: one sentence each, on what that means for the intervals.
fn describe_one_load(run: &Run) -> Vec<String> {
    let of_one = run.file.workloads.iter().filter(|workload| !workload.varies_load);
    let seeds = of_one.filter_map(|workload| Some((&workload.name, workload.load_seed?)));
    let sentence = |(name, seed)| {
        format!(
            "{name}: every block has the load of seed {seed}: the intervals are of one load, and say nothing of another \
             seed's"
        )
    };
    seeds.map(sentence).collect()
}

/// Workloads with only a part of their load in the trace.
fn describe_thinned(run: &Run) -> Vec<String> {
    let thinned =
        run.file.workloads.iter().filter_map(|workload| Some((&workload.name, workload.thinned.as_ref()?)));
    let sentence = |(name, part): (&String, &String)| {
        format!(
            "{name}: one request in {part} of the modelled load is in the trace; fewer are under way at once than on \
             the server, so that its fragmentation is a lower bound, and its resident memory too"
        )
    };
    thinned.map(sentence).collect()
}

/// Workloads made by a model of recordings, each with its band, because none of their figures is exact.
fn describe_extrapolated(run: &Run) -> Vec<String> {
    let workloads = run.file.workloads.iter();
    let extrapolated =
        workloads.filter_map(|workload| Some((&workload.name, workload.extrapolation.as_ref()?)));
    let band = |name: &str| {
        let workload = run.file.workloads.iter().find(|workload| workload.name == name)?;
        workload.extrapolation_band.as_ref()?.parse::<f64>().ok().map(|band: f64| match band < 1.0 {
            true => {
                format!("; read each figure of its memory as a band of {:.0} % to each side", 100.0 * band)
            }
            false => "; its memory may be several times larger or smaller".to_owned(),
        })
    };
    extrapolated
        .map(|(name, said)| format!("{name} is extrapolated: {said}{}", band(name).unwrap_or_default()))
        .collect()
}

/// Warnings of ok samples, and workloads whose trace was cut off.
fn describe_remarks(samples: &[Sample]) -> Vec<String> {
    let mut remarks: std::collections::BTreeMap<(&str, &str, &str), u64> = std::collections::BTreeMap::new();
    let mut truncated = std::collections::BTreeSet::new();
    for sample in samples.iter().filter(|sample| sample.status == Status::Ok) {
        if let Some(remark) = &sample.status_detail {
            *remarks.entry((&sample.workload, &sample.variant, remark)).or_default() += 1;
        }
        if sample.truncated {
            truncated.insert(&sample.workload);
        }
    }
    let cut = truncated
        .into_iter()
        .map(|name| format!("{name}: the trace was cut off, and only its complete chunks were used"));
    let said = remarks.into_iter().map(|((workload, variant, remark), count)| {
        let remark = remark.split_whitespace().collect::<Vec<&str>>().join(" ");
        let samples = if count == 1 { "sample" } else { "samples" };
        (format!("{workload}, {variant}, {count} {samples}"), remark)
    });
    cut.chain(join_alike(said)).collect()
}

/// A value of an enumeration as the CSV files write it.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::join_alike;

    #[test]
    fn what_is_said_of_many_is_said_once() {
        let said = |pairs: &[(&str, &str)]| {
            join_alike(pairs.iter().map(|(which, what)| ((*which).to_owned(), (*what).to_owned())))
        };
        assert_eq!(said(&[("a", "broken"), ("b", "late"), ("c", "")]), ["a: broken", "b: late", "c"]);
        assert_eq!(
            said(&[("a", "broken"), ("b", ""), ("c", "broken"), ("d", "")]),
            ["a; c: broken", "b", "d"]
        );
        let many: Vec<String> = (0..50).map(|number| format!("w{number}")).collect();
        let pairs: Vec<(&str, &str)> = many.iter().map(|which| (which.as_str(), "no such setting")).collect();
        let sentences = said(&pairs);
        assert_eq!(sentences.len(), 1);
        assert_eq!(sentences[0].matches("no such setting").count(), 1);
        assert!(sentences[0].starts_with("w0; w1; ") && sentences[0].contains("; w49: "), "{}", sentences[0]);
    }
}
