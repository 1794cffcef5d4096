//! Size classes compared: the usable bytes that requests of each size get under one variant and under another.
//!
//! Usable sizes differ between builds, and so do the contents of a class. Requests do not, so blocks are grouped by
//! requested size, and requests that get the same usable size under the baseline are one class. The usable bytes per
//! call are compared, within blocks if both variants are from one run.
//!
//! Many classes are compared at once. By Bonferroni's inequality all intervals of a workload hold together at 95 % if
//! each one fails with a probability of at most 5 % over their number. Ranks of ten blocks cannot reach that, so the
//! intervals are Student's, on logarithms; two runs are compared with Welch's test.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::results::{ResultsError, Run};
use crate::stats::{
    Interval, MIN_BLOCKS, NOISE_THRESHOLD, Ratio, Verdict, WANTED_COVERAGE, median, student_mean, verdict,
    welch_difference,
};
use crate::worker::{RequestClass, smallest_request};

/// A size class of one variant compared with another. An empty cell means not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SizeDifference {
    /// Workload's name.
    pub workload: String,
    /// Variant's label.
    pub variant: String,
    /// What it is compared with: a variant, or the same variant in the old run.
    pub baseline: String,
    /// The class: the mean usable bytes of its blocks under the baseline.
    pub size_bytes: u64,
    /// The smallest request in it.
    pub requests_from_bytes: u64,
    /// The largest request in it.
    pub requests_to_bytes: u64,
    /// Blocks that were compared; for two runs, the smaller number.
    pub n: u64,
    /// Calls per block: the median.
    pub calls: f64,
    /// Usable bytes per call over those of the baseline.
    pub ratio: f64,
    /// Lower end of its interval; none for fewer than [`MIN_BLOCKS`].
    pub ratio_low: Option<f64>,
    /// Upper end of its interval.
    pub ratio_high: Option<f64>,
    /// Coverage of that interval: all intervals of the workload hold together at 95 %.
    pub ratio_coverage: Option<f64>,
    /// How much the usable bytes of the class differ at the requested peak: the median.
    pub at_peak_bytes: f64,
    /// What the ratio shows.
    pub verdict: Verdict,
}

/// The classes of a workload's variant in a block.
type Classes = Vec<RequestClass>;
/// The same by block.
type Blocks = BTreeMap<u32, Classes>;

/// What a run's samples requested.
#[derive(Debug, Default)]
struct Requests(BTreeMap<(String, String), Blocks>);

impl Requests {
    fn read(run: &Run) -> Result<(Requests, Vec<String>), ResultsError> {
        let mut requests = Requests::default();
        let notes = run.each_request(|place, class| {
            let sample = &run.samples[place];
            let blocks = requests.0.entry((sample.workload.clone(), sample.variant.clone())).or_default();
            blocks.entry(sample.block).or_default().push(class);
        })?;
        Ok((requests, notes))
    }

    fn of(&self, workload: &str, variant: &str) -> Option<&Blocks> {
        self.0.get(&(workload.to_owned(), variant.to_owned()))
    }
}

/// The classes of a run, its variants compared with its baseline, with notes on what was left out.
pub(super) fn compare_classes(
    run: &Run,
    workloads: &[String],
    variants: &[String],
    baseline: Option<&str>,
) -> Result<(Vec<SizeDifference>, Vec<String>), ResultsError> {
    let (requests, notes) = Requests::read(run)?;
    let mut found = Vec::new();
    for workload in workloads {
        let Some((base, name)) = baseline.and_then(|name| Some((requests.of(workload, name)?, name))) else {
            continue;
        };
        let others = variants.iter().filter(|variant| *variant != name);
        let sides = others.filter_map(|variant| {
            let blocks = requests.of(workload, variant)?;
            Some(Side { variant, baseline: name.to_owned(), base, blocks, is_paired: true })
        });
        found.extend(compare_sides(workload, &sides.collect::<Vec<_>>()));
    }
    Ok((found, notes))
}

/// The classes of two runs: each variant with itself in the old run.
pub fn compare_classes_of_runs(
    old: &Run,
    new: &Run,
    workloads: &[String],
    variants: &[String],
) -> Result<Vec<SizeDifference>, ResultsError> {
    let ((of_old, _), (of_new, _)) = (Requests::read(old)?, Requests::read(new)?);
    let mut found = Vec::new();
    for workload in workloads {
        let sides = variants.iter().filter_map(|variant| {
            let (base, blocks) = (of_old.of(workload, variant)?, of_new.of(workload, variant)?);
            Some(Side { variant, baseline: format!("{variant} (old)"), base, blocks, is_paired: false })
        });
        found.extend(compare_sides(workload, &sides.collect::<Vec<_>>()));
    }
    Ok(found)
}

/// Two variants, or one variant in two runs.
struct Side<'a> {
    variant: &'a str,
    baseline: String,
    base: &'a Blocks,
    blocks: &'a Blocks,
    /// Whether blocks with the same number had the same load at the same hour.
    is_paired: bool,
}

/// Requests that get the same room under the baseline.
struct Class {
    size_bytes: u64,
    /// The requested sizes in it, by the largest request of each.
    requests: BTreeSet<u64>,
}

/// All comparisons of a workload, those that cost the most at the peak first.
fn compare_sides(workload: &str, sides: &[Side<'_>]) -> Vec<SizeDifference> {
    let tests: Vec<(&Side<'_>, Class, Values)> = sides
        .iter()
        .flat_map(|side| find_classes(side.base).into_iter().map(move |class| (side, class)))
        .filter_map(|(side, class)| {
            let values = Values::of(side, &class)?;
            Some((side, class, values))
        })
        .collect();
    let judged = tests.iter().filter(|(_, _, values)| values.count() >= MIN_BLOCKS).count();
    let coverage = 1.0 - (1.0 - WANTED_COVERAGE) / judged.max(1) as f64;
    let rows = tests.iter().filter_map(|(side, class, values)| {
        let ratio = values.compare(coverage)?;
        let interval = ratio.interval;
        Some(SizeDifference {
            workload: workload.to_owned(),
            variant: side.variant.to_owned(),
            baseline: side.baseline.clone(),
            size_bytes: class.size_bytes,
            requests_from_bytes: class.requests.first().map_or(0, |&largest| smallest_request(largest)),
            requests_to_bytes: class.requests.last().copied().unwrap_or(0),
            n: values.count() as u64,
            calls: median(&values.calls)?,
            ratio: ratio.estimate,
            ratio_low: interval.map(|interval| interval.low),
            ratio_high: interval.map(|interval| interval.high),
            ratio_coverage: interval.map(|interval| interval.coverage),
            at_peak_bytes: values.at_peak_bytes,
            verdict: verdict(&ratio, NOISE_THRESHOLD),
        })
    });
    let mut rows: Vec<SizeDifference> = rows.collect();
    rows.sort_by(|one, other| other.at_peak_bytes.abs().total_cmp(&one.at_peak_bytes.abs()));
    rows
}

/// The classes of a baseline: neighbouring requests whose calls get the same mean usable size, to within 8 bytes.
fn find_classes(base: &Blocks) -> Vec<Class> {
    let mut sums: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for class in base.values().flatten() {
        let sum = sums.entry(class.requested_bytes).or_default();
        *sum = (sum.0.saturating_add(class.calls), sum.1.saturating_add(class.usable_bytes));
    }
    let mut classes: Vec<Class> = Vec::new();
    for (requested, (calls, usable)) in sums {
        let size_bytes = (usable as f64 / calls.max(1) as f64 / 8.0).round() as u64 * 8;
        match classes.last_mut().filter(|class| class.size_bytes == size_bytes) {
            Some(class) => {
                class.requests.insert(requested);
            }
            None => classes.push(Class { size_bytes, requests: BTreeSet::from([requested]) }),
        }
    }
    classes
}

/// The figures of a class.
struct Values {
    /// Logarithms of usable bytes per call: the variant's, minus the baseline's if blocks are pairs.
    variant: Vec<f64>,
    /// The baseline's; empty if blocks are pairs.
    base: Vec<f64>,
    calls: Vec<f64>,
    at_peak_bytes: f64,
}

impl Values {
    /// None if no block has calls of this class.
    fn of(side: &Side<'_>, class: &Class) -> Option<Values> {
        let sums = |blocks: &Blocks| -> BTreeMap<u32, Sum> {
            let sums = blocks.iter().map(|(block, classes)| (*block, Sum::of(classes, class)));
            sums.filter(|(_, sum)| sum.calls > 0.0 && sum.usable > 0.0).collect()
        };
        let (variant, base) = (sums(side.blocks), sums(side.base));
        let calls = variant.values().map(|sum| sum.calls).collect();
        let each = |sums: &BTreeMap<u32, Sum>, figure: fn(&Sum) -> f64| {
            sums.values().map(figure).collect::<Vec<f64>>()
        };
        let values = if side.is_paired {
            let pairs: Vec<(&Sum, &Sum)> =
                variant.iter().filter_map(|(block, sum)| Some((sum, base.get(block)?))).collect();
            let more: Vec<f64> = pairs.iter().map(|(sum, base)| sum.live_usable - base.live_usable).collect();
            Values {
                variant: pairs.iter().map(|(sum, base)| sum.ln_of_call() - base.ln_of_call()).collect(),
                base: Vec::new(),
                calls,
                at_peak_bytes: median(&more)?,
            }
        } else {
            let live = |sums| median(&each(sums, |sum| sum.live_usable));
            Values {
                variant: each(&variant, Sum::ln_of_call),
                base: each(&base, Sum::ln_of_call),
                calls,
                at_peak_bytes: live(&variant)? - live(&base)?,
            }
        };
        Some(values)
    }

    fn count(&self) -> usize {
        if self.base.is_empty() { self.variant.len() } else { self.variant.len().min(self.base.len()) }
    }

    /// The ratio: geometric means of both and, if there are enough blocks, an interval with this coverage.
    fn compare(&self, coverage: f64) -> Option<Ratio> {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let difference = mean(&self.variant) - mean(&self.base);
        let around = if self.count() < MIN_BLOCKS {
            None
        } else if self.base.is_empty() {
            Some(student_mean(&self.variant, coverage)?)
        } else {
            Some(welch_difference(&self.variant, &self.base, coverage)?)
        };
        let interval = around.map(|(mean, reach)| Interval {
            low: (mean - reach).exp(),
            high: (mean + reach).exp(),
            coverage,
        });
        Some(Ratio { estimate: difference.exp(), interval, blocks: self.count() })
    }
}

/// The sums over the requests of a class in one block.
struct Sum {
    calls: f64,
    usable: f64,
    live_usable: f64,
}

impl Sum {
    fn of(classes: &Classes, class: &Class) -> Sum {
        let of_class = classes.iter().filter(|of| class.requests.contains(&of.requested_bytes));
        of_class.fold(Sum { calls: 0.0, usable: 0.0, live_usable: 0.0 }, |sum, of| Sum {
            calls: sum.calls + of.calls as f64,
            usable: sum.usable + of.usable_bytes as f64,
            live_usable: sum.live_usable + of.live_usable_bytes as f64,
        })
    }

    fn ln_of_call(&self) -> f64 {
        (self.usable / self.calls).ln()
    }
}
