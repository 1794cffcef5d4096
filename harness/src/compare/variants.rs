//! The variants of one run, side by side.

use serde::{Deserialize, Serialize};

use super::metric::{choose, find_worse};
use super::{
    Better, CompareError, Finding, Question, better, describe_alone, describe_undirected, name_of_mean,
};
use crate::report::Analysis;
use crate::results::{interval_of, name_on};
use crate::stats::{MIN_BLOCKS, Ratio, Verdict, median, outliers, verdict};

/// A variant's metric on one workload or over several. An empty cell means not measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantRow {
    /// Workload's name, or what the mean covers.
    pub workload: String,
    /// How many workloads it covers: 1, or those of a geometric mean.
    pub workloads: u64,
    /// The metric's name in summary.csv.
    pub metric: String,
    /// Variant's label.
    pub variant: String,
    /// Samples that measured it.
    pub n: u64,
    /// Samples that are not ok.
    pub failed: u64,
    /// Samples that are far from the rest. They still count.
    pub outliers: u64,
    /// Median over blocks.
    pub median: Option<f64>,
    /// Lower end of the median's interval.
    pub low: Option<f64>,
    /// Upper end of the median's interval.
    pub high: Option<f64>,
    /// Coverage of that interval, as a fraction.
    pub coverage: Option<f64>,
    /// The variant to which the ratio refers; empty if there is none.
    pub baseline: Option<String>,
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
    /// `best`: no other has a better median. `level`: no difference from the best is shown. `least` or `most`: the best
    /// median, with too few blocks to say more. Empty: shown to be worse, not ranked, or neither direction is better.
    #[serde(borrow)]
    pub rank: Option<&'static str>,
    /// The kind of machine on which it was measured, in a run of several kinds.
    pub machine: Option<String>,
}

impl VariantRow {
    /// The workload's name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        name_on(&self.workload, self.machine.as_deref())
    }
}

/// The variants of a run, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct VariantComparison {
    /// By workload, then metric, then variant, in the run's order.
    pub rows: Vec<VariantRow>,
    /// What is missing, in sentences.
    pub notes: Vec<String>,
    /// The variants that are shown and not ranked.
    pub unranked: Vec<String>,
}

/// Compares the variants of a run.
pub fn compare_variants(run: &Analysis<'_>, question: &Question) -> Result<VariantComparison, CompareError> {
    let metrics = choose(&question.metrics, &[run])?;
    let mut comparison =
        VariantComparison { rows: Vec::new(), notes: run.notes.clone(), unranked: Vec::new() };
    comparison.unranked = run.variants.iter().filter(|variant| run.is_floor(variant)).cloned().collect();
    for workload in &run.workloads {
        for metric in &metrics {
            let group = Group { run, question, workloads: &[workload], metric };
            comparison.add(&group);
        }
    }
    if run.workloads.len() > 1 {
        for metric in &metrics {
            let workloads = run.finished_by_all(metric);
            if workloads.len() > 1 {
                comparison.add(&Group { run, question, workloads: &workloads, metric });
            }
        }
    }
    Ok(comparison)
}

impl VariantComparison {
    /// The variants that are worse than the baseline by more than `limit` (0.05 for 5 %), and what cannot be judged.
    pub fn findings(&self, limit: f64) -> Vec<Finding> {
        let mut findings = Vec::new();
        for row in self.rows.iter().filter(|row| self.is_judged(row)) {
            let what = format!("{}, {}, {}", row.name(), row.variant, row.metric);
            if row.ratio.is_none() && row.verdict == Some(Verdict::NoDifference) {
                findings
                    .push(Finding::Open(format!("{what}: the harness's share is too large a part of it")));
                continue;
            }
            if row.ratio.is_none() {
                let base = row.baseline.as_deref().map_or("there is no baseline".to_owned(), |base| {
                    format!("there is no ratio to {base}: one of both has no sample that is ok, or a 0")
                });
                findings.push(Finding::Open(format!("{what}: {base}")));
                continue;
            }
            findings.extend(match row.ratio_low.zip(row.ratio_high) {
                None => Some(Finding::Open(format!("{what}: fewer than {MIN_BLOCKS} blocks"))),
                Some(_) if row.verdict == Some(Verdict::UnderResolution) => {
                    Some(Finding::Open(format!("{what}: under the timer's resolution")))
                }
                Some(ends) => find_worse(&what, &row.metric, ends, limit),
            });
        }
        findings
    }

    /// Why [`VariantComparison::findings`] judges none of the rows, in a sentence; none if it judges some.
    pub fn describe_lack(&self) -> Option<String> {
        if self.rows.iter().any(|row| self.is_judged(row)) {
            return None;
        }
        if self.rows.iter().any(|row| self.is_other(row)) {
            return Some(describe_undirected(self.rows.iter().map(|row| row.metric.as_str())));
        }
        let baseline = self.rows.iter().find_map(|row| row.baseline.as_deref());
        Some(describe_alone("the run has", baseline, &self.unranked))
    }

    /// Whether a row is of a variant that is compared with the baseline.
    fn is_other(&self, row: &VariantRow) -> bool {
        row.baseline.as_ref() != Some(&row.variant) && !self.unranked.contains(&row.variant)
    }

    fn is_judged(&self, row: &VariantRow) -> bool {
        self.is_other(row) && better(&row.metric) != Better::Neither
    }

    fn add(&mut self, group: &Group<'_>) {
        // Floor is the harness: without the harness nothing remains of it to show.
        let is_shown = |row: &VariantRow| row.n + row.failed > 0 || !group.run.is_floor(&row.variant);
        let rows = group.run.variants.iter().map(|variant| group.row(variant)).filter(is_shown);
        let rows: Vec<VariantRow> = rows.collect();
        // Samples that failed are in the run's own notes.
        for row in rows.iter().filter(|row| row.n == 0 && row.failed == 0 && row.workloads == 1) {
            self.notes.push(format!("{}, {}: {} was not measured", row.name(), row.variant, row.metric));
        }
        self.rows.extend(group.ranked(rows));
    }
}

/// What one group of rows is about.
struct Group<'a> {
    run: &'a Analysis<'a>,
    question: &'a Question,
    workloads: &'a [&'a str],
    metric: &'a str,
}

impl Group<'_> {
    /// The workload and its kind of machine, or what the mean covers.
    fn subject(&self) -> (String, Option<String>) {
        match self.workloads {
            [workload] => self.run.run.in_rows(workload),
            several => (name_of_mean(several.len()), None),
        }
    }

    fn values(&self, variant: &str) -> Vec<f64> {
        let values = self.run.values_over(self.workloads, variant, self.metric);
        values.unwrap_or_default().into_values().collect()
    }

    fn ratio(&self, variant: &str, base: &str) -> Option<Ratio> {
        self.run.ratio_over(self.workloads, variant, base, self.metric)
    }

    /// Whether the harness's share hides the difference of two variants, so that there is no ratio.
    fn is_drowned(&self, variant: &str, base: &str) -> bool {
        self.run.is_drowned(self.workloads, variant, base, self.metric)
    }

    /// What a ratio shows; a latency below what the timer resolves shows nothing.
    fn verdict(&self, variant: &str, base: &str, ratio: &Ratio) -> Verdict {
        let unresolved = |variant| {
            self.workloads.iter().any(|workload| self.run.is_under_resolution(workload, variant, self.metric))
        };
        match verdict(ratio, self.question.threshold) {
            Verdict::TooFew => Verdict::TooFew,
            _ if unresolved(variant) || unresolved(base) => Verdict::UnderResolution,
            other => other,
        }
    }

    fn row(&self, variant: &str) -> VariantRow {
        let values = self.values(variant);
        let failed =
            self.workloads.iter().filter_map(|workload| self.run.row(workload, variant, self.metric));
        let is_one = self.workloads.iter().any(|of| self.run.is_one_recording(of, variant, self.metric));
        let interval = interval_of(self.metric, &values).filter(|_| !is_one);
        let base = self.run.baseline.as_deref();
        let ratio = base.filter(|base| *base != variant).and_then(|base| self.ratio(variant, base));
        let within = ratio.and_then(|ratio| ratio.interval);
        let (workload, machine) = self.subject();
        VariantRow {
            workload,
            workloads: self.workloads.len() as u64,
            metric: self.metric.to_owned(),
            variant: variant.to_owned(),
            n: values.len() as u64,
            failed: failed.map(|row| row.failed).sum(),
            outliers: outliers(&values).into_iter().filter(|&outlier| outlier).count() as u64,
            median: median(&values),
            low: interval.map(|interval| interval.low),
            high: interval.map(|interval| interval.high),
            coverage: interval.map(|interval| interval.coverage),
            baseline: base.map(str::to_owned),
            ratio: ratio.map(|ratio| ratio.estimate),
            ratio_low: within.map(|interval| interval.low),
            ratio_high: within.map(|interval| interval.high),
            ratio_coverage: within.map(|interval| interval.coverage),
            verdict: match base.filter(|base| *base != variant) {
                Some(base) if ratio.is_none() && self.is_drowned(variant, base) => {
                    Some(Verdict::NoDifference)
                }
                base => ratio.zip(base).map(|(ratio, base)| self.verdict(variant, base, &ratio)),
            },
            rank: None,
            machine,
        }
    }

    /// Marks the best, and those that are not shown to differ from it. A variant with a failed sample is not ranked.
    fn ranked(&self, mut rows: Vec<VariantRow>) -> Vec<VariantRow> {
        let sign = match better(self.metric) {
            Better::Lower => 1.0,
            Better::Higher => -1.0,
            Better::Neither => return rows,
        };
        let finished = |row: &VariantRow| row.failed == 0 && !self.run.is_floor(&row.variant);
        let standing: Vec<(usize, f64)> = (0..rows.len())
            .filter(|&at| finished(&rows[at]))
            .filter_map(|at| Some((at, sign * rows[at].median?)))
            .collect();
        let Some(&(best, _)) = standing.iter().min_by(|one, other| one.1.total_cmp(&other.1)) else {
            return rows;
        };
        let label = rows[best].variant.clone();
        let mut judged = rows[best].n as usize >= MIN_BLOCKS;
        for &(at, _) in standing.iter().filter(|&&(at, _)| at != best) {
            let variant = &rows[at].variant;
            match self.ratio(variant, &label).map(|ratio| self.verdict(variant, &label, &ratio)) {
                Some(Verdict::TooFew) => judged = false,
                Some(Verdict::NoDifference | Verdict::UnderResolution) => rows[at].rank = Some("level"),
                None if self.is_drowned(variant, &label) => rows[at].rank = Some("level"),
                // Zero has no ratio: equal medians are level.
                None if rows[at].median == rows[best].median => rows[at].rank = Some("level"),
                _ => {}
            }
        }
        let few = if sign > 0.0 { "least" } else { "most" };
        rows[best].rank = Some(if judged { "best" } else { few });
        rows
    }
}
