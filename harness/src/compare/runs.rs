//! Two runs: how each variant changed, workload by workload.
//!
//! They share no block. If figures are compared as they are, the interval covers the noise within each run and
//! not what changed on the machine between them; as ratios to a baseline that both have, within blocks, it covers
//! that too.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metric::{choose, find_worse};
use super::{
    Better, CompareError, Finding, Question, better, describe_alone, describe_differences,
    describe_undirected, name_of_mean,
};
use crate::report::Analysis;
use crate::results::{interval_of, name_on};
use crate::stats::{
    MIN_BLOCKS, Ratio, Verdict, mann_whitney, median, median_interval, separate_ratio, verdict,
};

/// A metric of one variant in two runs. An empty cell means not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunRow {
    /// Workload's name, or what the mean covers.
    pub workload: String,
    /// How many workloads it covers: 1, or those of a geometric mean.
    pub workloads: u64,
    /// The metric's name in summary.csv.
    pub metric: String,
    /// Variant's label.
    pub variant: String,
    /// The variant to which both runs' figures are ratios within blocks; empty if figures are as measured.
    pub baseline: Option<String>,
    /// Where the variant or the workload is missing: `old`, `new` or `both`; empty if it is in both.
    #[serde(borrow)]
    pub missing: Option<&'static str>,
    /// Samples of the old run that measured it.
    pub old_n: u64,
    /// Samples of the old run that are not ok.
    pub old_failed: u64,
    /// Median of the old run.
    pub old_median: Option<f64>,
    /// Lower end of its interval.
    pub old_low: Option<f64>,
    /// Upper end of its interval.
    pub old_high: Option<f64>,
    /// Samples of the new run that measured it.
    pub new_n: u64,
    /// Samples of the new run that are not ok.
    pub new_failed: u64,
    /// Median of the new run.
    pub new_median: Option<f64>,
    /// Lower end of its interval.
    pub new_low: Option<f64>,
    /// Upper end of its interval.
    pub new_high: Option<f64>,
    /// New over old: Hodges and Lehmann's estimate of shift on logarithms.
    pub ratio: Option<f64>,
    /// Lower end of its interval.
    pub ratio_low: Option<f64>,
    /// Upper end of its interval.
    pub ratio_high: Option<f64>,
    /// Coverage of that interval, as a fraction.
    pub ratio_coverage: Option<f64>,
    /// Two-sided probability of the Mann–Whitney test, exact up to 50 samples.
    pub p: Option<f64>,
    /// What the ratio shows.
    pub verdict: Option<Verdict>,
    /// The kind of machine on which it was measured, in a run of several kinds.
    pub machine: Option<String>,
}

impl RunRow {
    /// The workload's name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        name_on(&self.workload, self.machine.as_deref())
    }
}

/// Two runs, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct RunComparison {
    /// By workload, then metric, then variant: in the old run's order, followed by what only the new one has.
    pub rows: Vec<RunRow>,
    /// What is missing or differs besides the figures, in sentences.
    pub notes: Vec<String>,
    /// The variants that are shown and not judged.
    pub unjudged: Vec<String>,
    /// The variant to which both runs' figures are ratios.
    pub baseline: Option<String>,
}

/// Compares two runs, as they are or as ratios to a baseline.
pub fn compare_runs(
    old: &Analysis<'_>,
    new: &Analysis<'_>,
    baseline: Option<&str>,
    question: &Question,
) -> Result<RunComparison, CompareError> {
    for run in [old, new] {
        if let Some(named) = baseline.filter(|named| !run.variants.iter().any(|variant| variant == named)) {
            let known = if run.variants.is_empty() { "none".to_owned() } else { run.variants.join(", ") };
            let run = run.run.directory.display().to_string();
            return Err(CompareError::UnknownBaseline { named: named.to_owned(), run, known });
        }
    }
    let facts =
        |run: &Analysis<'_>| run.run.file.machines.iter().map(|kind| kind.facts.clone()).collect::<Vec<_>>();
    if [old, new].iter().any(|run| run.run.is_of_several_machines()) && facts(old) != facts(new) {
        return Err(CompareError::OtherMachines);
    }
    let metrics = choose(&question.metrics, &[old, new])?;
    let workloads = union(&old.workloads, &new.workloads);
    let variants = union(&old.variants, &new.variants);
    let variants: Vec<&str> = variants.into_iter().filter(|variant| Some(*variant) != baseline).collect();
    let pair = Pair { old, new, baseline, question };
    let mut rows = Vec::new();
    for workload in &workloads {
        for metric in &metrics {
            let all = variants.iter().map(|variant| pair.row(&[*workload], metric, variant));
            // What neither run tried is not missing.
            rows.extend(all.filter(|row| row.missing != Some("both") || row.old_failed + row.new_failed > 0));
        }
    }
    for metric in metrics.iter().filter(|_| workloads.len() > 1 && !new.run.is_of_several_machines()) {
        for variant in &variants {
            let finished = |workload: &&str| {
                [Some(*variant), baseline].into_iter().flatten().all(|variant| {
                    [old, new].into_iter().all(|run| run.is_finished(workload, variant, metric))
                })
            };
            let common: Vec<&str> = workloads.iter().copied().filter(finished).collect();
            if common.len() > 1 {
                rows.push(pair.row(&common, metric, variant));
            }
        }
    }
    let mut notes = prefixed("old", &old.notes);
    notes.extend(prefixed("new", &new.notes));
    notes.extend(describe_differences(&old.run.file, &new.run.file));
    notes.extend(describe_missing(&rows));
    // Floor is the harness: that it takes more or less time says nothing about an allocator.
    let is_floor = |variant: &&str| old.is_floor(variant) || new.is_floor(variant);
    let unjudged = variants.into_iter().filter(is_floor).map(str::to_owned).collect();
    Ok(RunComparison { rows, notes, unjudged, baseline: baseline.map(str::to_owned) })
}

impl RunComparison {
    /// What is worse in the new run by more than `limit` (0.05 for 5 %), and what cannot be judged.
    pub fn findings(&self, limit: f64) -> Vec<Finding> {
        let mut findings = Vec::new();
        for row in self.rows.iter().filter(|row| self.is_judged(row)) {
            let what = format!("{}, {}, {}", row.name(), row.variant, row.metric);
            let failed = row.old_failed + row.new_failed;
            let open = |why: String| Some(Finding::Open(format!("{what}: {why}")));
            findings.extend(match (row.ratio, row.ratio_low.zip(row.ratio_high)) {
                (None, _) => match row.missing {
                    Some(side) => open(format!("missing in {}", name_of_side(side))),
                    None => open("a value of 0 has no ratio".to_owned()),
                },
                (Some(_), None) if row.verdict == Some(Verdict::OneRecording) => {
                    open("one recording, however often it was replayed".to_owned())
                }
                (Some(_), None) => open(format!("fewer than {MIN_BLOCKS} blocks")),
                (Some(_), Some(_)) if row.verdict == Some(Verdict::UnderResolution) => {
                    open("under the timer's resolution".to_owned())
                }
                (Some(_), Some(ends)) => match find_worse(&what, &row.metric, ends, limit) {
                    None if failed > 0 => open(format!("{failed} samples failed")),
                    finding => finding,
                },
            });
        }
        findings
    }

    /// Why [`RunComparison::findings`] judges none of the rows, in a sentence; none if it judges some.
    pub fn describe_lack(&self) -> Option<String> {
        if self.rows.iter().any(|row| self.is_judged(row)) {
            return None;
        }
        if self.rows.iter().any(|row| !self.unjudged.contains(&row.variant)) {
            return Some(describe_undirected(self.rows.iter().map(|row| row.metric.as_str())));
        }
        Some(describe_alone("the runs have", self.baseline.as_deref(), &self.unjudged))
    }

    fn is_judged(&self, row: &RunRow) -> bool {
        !self.unjudged.contains(&row.variant) && better(&row.metric) != Better::Neither
    }

    /// How many comparisons were made, and how many of them show a difference: without variants that are not judged.
    pub fn counts(&self) -> (usize, usize) {
        let is_counted = |row: &&RunRow| row.workloads == 1 && !self.unjudged.contains(&row.variant);
        let of_one = || self.rows.iter().filter(is_counted);
        let shown = |row: &&RunRow| matches!(row.verdict, Some(Verdict::Smaller | Verdict::Larger));
        (of_one().filter(|row| row.verdict.is_some()).count(), of_one().filter(shown).count())
    }
}

fn prefixed(side: &str, notes: &[String]) -> Vec<String> {
    notes.iter().map(|note| format!("{side} run: {note}")).collect()
}

/// The names in both: those of the first in its order, then the others of the second.
fn union<'a>(first: &'a [String], second: &'a [String]) -> Vec<&'a str> {
    let others = second.iter().filter(|name| !first.contains(name));
    first.iter().chain(others).map(String::as_str).collect()
}

pub(super) fn name_of_side(side: &str) -> &'static str {
    match side {
        "old" => "the old run",
        "new" => "the new run",
        _ => "both runs",
    }
}

/// One sentence for each variant that is missing on a workload, with the metrics for which it is missing.
fn describe_missing(rows: &[RunRow]) -> Vec<String> {
    let mut found: BTreeMap<(String, &str, &str), Vec<&str>> = BTreeMap::new();
    for row in rows {
        if let Some(side) = row.missing {
            found.entry((row.name(), &row.variant, side)).or_default().push(&row.metric);
        }
    }
    let sentence = |((workload, variant, side), metrics): ((String, &str, &str), Vec<&str>)| {
        format!("{workload}, {variant}: missing in {}: {}", name_of_side(side), metrics.join(", "))
    };
    found.into_iter().map(sentence).collect()
}

/// Two runs and how they are compared.
struct Pair<'a> {
    old: &'a Analysis<'a>,
    new: &'a Analysis<'a>,
    baseline: Option<&'a str>,
    question: &'a Question,
}

impl Pair<'_> {
    /// The values of one run by block: as measured, or as ratios to the baseline within the block, which are not
    /// finite where the baseline's value is 0.
    fn values(&self, run: &Analysis<'_>, workloads: &[&str], metric: &str, variant: &str) -> Vec<f64> {
        let by_block = |variant: &str| run.values_over(workloads, variant, metric).unwrap_or_default();
        let values = by_block(variant);
        let Some(baseline) = self.baseline else { return values.into_values().collect() };
        let base = by_block(baseline);
        values.into_iter().filter_map(|(block, value)| Some(value / base.get(&block)?)).collect()
    }

    fn row(&self, workloads: &[&str], metric: &str, variant: &str) -> RunRow {
        let [old, new] = [self.old, self.new].map(|run| self.values(run, workloads, metric, variant));
        let (old_n, new_n) = (old.len(), new.len());
        // To leave out only the blocks without a ratio would favour one side.
        let [old, new] = [old, new]
            .map(|values| if values.iter().all(|value| value.is_finite()) { values } else { Vec::new() });
        let failed = |run: &Analysis<'_>| -> u64 {
            let rows = workloads.iter().filter_map(|workload| run.row(workload, variant, metric));
            rows.map(|row| row.failed).sum()
        };
        let interval = |values: &[f64]| match self.baseline {
            Some(_) => median_interval(values),
            None => interval_of(metric, values),
        };
        // Nothing is known of other starts of a program that was recorded once. Ratios have the baseline's replays.
        let is_one = [self.old, self.new].map(|run| {
            self.baseline.is_none()
                && workloads.iter().any(|workload| run.is_one_recording(workload, variant, metric))
        });
        let of_old = interval(&old).filter(|_| !is_one[0]);
        let of_new = interval(&new).filter(|_| !is_one[1]);
        let is_judged = is_one == [false; 2];
        let ratio = separate_ratio(&new, &old)
            .map(|ratio| Ratio { interval: ratio.interval.filter(|_| is_judged), ..ratio });
        let within = ratio.and_then(|ratio| ratio.interval);
        let unresolved = || {
            let of = |run: &Analysis<'_>| {
                workloads.iter().any(|workload| run.is_under_resolution(workload, variant, metric))
            };
            of(self.old) || of(self.new)
        };
        // Runs of several kinds of machines are compared if both have the same kinds.
        let (workload, machine) = match workloads {
            [workload] if self.old.workloads.iter().any(|known| known == workload) => {
                self.old.run.in_rows(workload)
            }
            [workload] => self.new.run.in_rows(workload),
            several => (name_of_mean(several.len()), None),
        };
        RunRow {
            workload,
            workloads: workloads.len() as u64,
            metric: metric.to_owned(),
            variant: variant.to_owned(),
            baseline: self.baseline.map(str::to_owned),
            // A mean is over workloads that have samples: where it has no value, one of them is 0.
            missing: match (old_n == 0, new_n == 0) {
                _ if workloads.len() > 1 => None,
                (true, true) => Some("both"),
                (true, false) => Some("old"),
                (false, true) => Some("new"),
                (false, false) => None,
            },
            old_n: old_n as u64,
            old_failed: failed(self.old),
            old_median: median(&old),
            old_low: of_old.map(|interval| interval.low),
            old_high: of_old.map(|interval| interval.high),
            new_n: new_n as u64,
            new_failed: failed(self.new),
            new_median: median(&new),
            new_low: of_new.map(|interval| interval.low),
            new_high: of_new.map(|interval| interval.high),
            ratio: ratio.map(|ratio| ratio.estimate),
            ratio_low: within.map(|interval| interval.low),
            ratio_high: within.map(|interval| interval.high),
            ratio_coverage: within.map(|interval| interval.coverage),
            p: mann_whitney(&new, &old).filter(|_| is_judged),
            verdict: ratio.map(|ratio| match verdict(&ratio, self.question.threshold) {
                _ if !is_judged => Verdict::OneRecording,
                Verdict::TooFew => Verdict::TooFew,
                _ if unresolved() => Verdict::UnderResolution,
                other => other,
            }),
            machine,
        }
    }
}
