//! Comparisons: the variants of one run side by side, the same variants in two runs, or a variant with itself.
//!
//! Data goes one way: one or two analysed runs -> rows with a ratio, its interval and a verdict -> a table, CSV, JSON
//! or markdown. Nothing is measured or written to a run here. What is missing on one side is a row that says so,
//! never a missing row.

mod circumstances;
mod error;
mod metric;
mod noise;
mod output;
mod runs;
mod variants;

use std::collections::BTreeSet;

use crate::report::units;

pub use circumstances::describe_differences;
pub use error::CompareError;
pub use metric::{Better, better, show};
pub use noise::NoiseRow;
pub use output::{print_runs, print_size_summary, print_sizes, print_variants};
pub use runs::{RunComparison, RunRow, compare_runs};
pub use variants::{VariantComparison, VariantRow, compare_variants};

/// What is asked of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// Metrics by their names in summary.csv; none for the headlines of what was measured.
    pub metrics: Vec<String>,
    /// A difference is named if its whole interval is beyond this fraction: 0.02 for 2 %.
    pub threshold: f64,
}

/// One comparison that exceeds a limit, or that cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A difference for the worse is shown, and is larger than the limit. The sentence says which and how large.
    Over(String),
    /// It is not known whether there is one. The sentence says why.
    Open(String),
}

/// Why nothing is judged where only metrics without a direction are compared, in a sentence.
fn describe_undirected<'a>(metrics: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = metrics.collect::<BTreeSet<&str>>().into_iter().collect();
    format!(
        "there is nothing to judge: neither more nor less of {} is worse; name another metric with --metric",
        names.join(" or ")
    )
}

/// Why nothing is judged where there is no variant besides the baseline and those that are not judged, in a sentence.
fn describe_alone(holder: &str, baseline: Option<&str>, unjudged: &[String]) -> String {
    let unjudged: Vec<&str> =
        unjudged.iter().map(String::as_str).filter(|variant| Some(*variant) != baseline).collect();
    let reason = if unjudged.is_empty() { "" } else { ", which measures the harness and is not judged" };
    let variants: Vec<&str> = baseline.into_iter().chain(unjudged).collect();
    format!(
        "there is nothing to compare: {holder} only {}{reason}; measure another variant with -a",
        units::names(&variants)
    )
}

/// The name of the mean over this many workloads, in place of a workload's name.
fn name_of_mean(workloads: usize) -> String {
    format!("geometric mean of {workloads} workloads")
}
