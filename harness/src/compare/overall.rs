//! Over several workloads: the geometric mean of each block, which then is a sample like any other.
//!
//! A block holds every workload, so that its mean is one figure of one hour of the machine. Ratios of such means have
//! the same exact intervals as those of a single workload.

use std::collections::BTreeMap;

use crate::report::Analysis;
use crate::stats::geometric_mean;

/// Values by block.
pub(super) type Values = BTreeMap<u32, f64>;

/// The geometric mean of a metric over workloads, in each block that has all of them; none where a value is 0.
pub(super) fn mean_by_block(
    run: &Analysis<'_>,
    workloads: &[&str],
    variant: &str,
    metric: &str,
) -> Option<Values> {
    let of_workloads: Vec<&Values> =
        workloads.iter().map(|workload| run.values(workload, variant, metric)).collect::<Option<_>>()?;
    let (first, others) = of_workloads.split_first()?;
    let mut means = Values::new();
    for (block, value) in *first {
        let values: Option<Vec<f64>> = others.iter().map(|values| values.get(block).copied()).collect();
        if let Some(mut values) = values {
            values.push(*value);
            means.insert(*block, geometric_mean(&values)?);
        }
    }
    Some(means)
}

/// Whether a variant finished a workload: the metric was measured, and no sample of its pass failed.
pub(super) fn is_finished(run: &Analysis<'_>, workload: &str, variant: &str, metric: &str) -> bool {
    run.row(workload, variant, metric).is_some_and(|row| row.failed == 0 && row.n > 0)
}

/// What the mean over so many workloads is called, in the place of a workload's name.
pub(super) fn name_of_mean(workloads: usize) -> String {
    format!("geometric mean of {workloads} workloads")
}
