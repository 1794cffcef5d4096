//! The cost of calls, from the latency pass: by operation, and for malloc by requested size.

use super::analysis::Analysis;
use super::grid::{Grid, Table};
use super::units;
use crate::worker::COST_SIZES;

const NOTE: &str = "Cost of a call of malloc by the bytes that it requests, up to each size from the one above it: \
    medians over blocks of each sample's percentile. The touch is not included.";

impl Analysis<'_> {
    /// The table of a workload; none if no latency was measured.
    pub(super) fn costs(&self, workload: &str) -> Option<Table> {
        let header = ["requested, up to", "variant", "calls", "p50", "p99"];
        let mut rows = Vec::new();
        for (operation, bytes) in COST_SIZES.iter().map(|size| (size.operation, size.up_to_bytes)) {
            for variant in &self.variants {
                let metric = |what: &str| format!("{operation}_call_{what}");
                let Some(calls) = self.median(workload, variant, &metric("calls")) else { continue };
                let percentile = |what: &str| {
                    let metric = metric(what);
                    let value = self.median(workload, variant, &metric);
                    let least = self.latencies.resolution_of(workload, &metric);
                    value.map_or_else(
                        || "-".to_owned(),
                        |value| match least {
                            Some(least) if value < least => {
                                format!("{} (under resolution)", units::nanoseconds(value))
                            }
                            _ => units::nanoseconds(value),
                        },
                    )
                };
                rows.push(vec![
                    bytes.map_or_else(|| "more".to_owned(), |bytes| units::bytes(bytes as f64)),
                    variant.clone(),
                    units::count(calls),
                    percentile("p50_ns"),
                    percentile("p99_ns"),
                ]);
            }
        }
        let grid = Grid { names: 2, header: header.map(str::to_owned).to_vec(), rows };
        (!grid.rows.is_empty()).then(|| Table { intro: NOTE.to_owned(), grid })
    }
}

/// Percentiles by operation.
pub(super) fn latency_grid(analysis: &Analysis<'_>, workload: &str) -> Grid {
    let header = ["operation", "variant", "p50", "p99", "p99.9", "p99.99", "max"].map(str::to_owned).to_vec();
    let mut rows = Vec::new();
    for operation in ["malloc", "calloc", "aligned_alloc", "realloc", "free", "batch", "timer"] {
        for scope in ["call", "touch"] {
            for variant in &analysis.variants {
                let cells = ["p50_ns", "p99_ns", "p99_9_ns", "p99_99_ns", "max_ns"].map(|what| {
                    let metric = format!("{operation}_{scope}_{what}");
                    let value = analysis.median(workload, variant, &metric);
                    let least = analysis.latencies.resolution_of(workload, &metric);
                    let under = |value: f64| operation != "timer" && least.is_some_and(|least| value < least);
                    value.map(|value| {
                        let mark = if under(value) { " (under resolution)" } else { "" };
                        format!("{}{mark}", units::nanoseconds(value))
                    })
                });
                if cells.iter().any(Option::is_some) {
                    let name = match (operation, scope) {
                        ("batch", _) => "64 operations".to_owned(),
                        (_, "touch") => format!("{operation} + touch"),
                        _ => operation.to_owned(),
                    };
                    let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
                    rows.push([name, variant.clone()].into_iter().chain(cells).collect());
                }
            }
        }
    }
    Grid { names: 2, header, rows }
}

/// Explains how to read them.
pub(super) fn describe_latency(analysis: &Analysis<'_>, workload: &str) -> String {
    let least = analysis.latencies.resolution_ns(workload).map_or_else(String::new, |least| {
        format!(
            " (under resolution: below three times the timer's own at that percentile, which is {} at the median)",
            units::nanoseconds(least)
        )
    });
    format!("Latency, lower is better: median over blocks of each sample's percentile{least}.")
}
