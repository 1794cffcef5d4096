//! Metrics as a comparison needs them: which are compared unless others are named, which way is better, and how they
//! are shown.

use super::CompareError;
use crate::report::{Analysis, units};
use crate::stats::Verdict;

/// Compared unless others are named: the headlines of speed and memory.
const HEADLINES: [&str; 2] = ["wall_ns_per_event", "resident_peak_bytes"];
/// Compared where neither was measured.
const SUBSTITUTES: [&str; 2] = ["malloc_call_p99_ns", "events"];

/// Which way a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less of it is better: time, memory, faults.
    Lower,
    /// More of it is better: events per second.
    Higher,
    /// Neither: it describes the work.
    Neither,
}

/// Which way a metric of summary.csv is better.
///
/// ```
/// use heaplab::compare::{Better, better};
/// assert_eq!(better("resident_peak_bytes"), Better::Lower);
/// assert_eq!(better("events_per_second"), Better::Higher);
/// assert_eq!(better("requested_peak_bytes"), Better::Neither);
/// ```
pub fn better(metric: &str) -> Better {
    let describes_work = metric.contains("requested_") && !metric.contains("per_requested")
        || metric.contains("untouched")
        || metric.starts_with("timer_")
        || metric.ends_with("_calls")
        || matches!(metric, "events" | "clock_reads" | "lazyfree_bytes" | "anon_huge_bytes");
    match metric {
        "events_per_second" => Better::Higher,
        _ if describes_work => Better::Neither,
        _ => Better::Lower,
    }
}

/// The metrics to compare, each measured in at least one of the runs. None where nothing was measured.
pub(super) fn choose(named: &[String], runs: &[&Analysis<'_>]) -> Result<Vec<String>, CompareError> {
    let rows = || runs.iter().flat_map(|run| &run.summary);
    let measured = |metric: &str| rows().any(|row| row.metric == metric);
    if named.is_empty() {
        let of =
            |names: [&'static str; 2]| names.into_iter().filter(|name| measured(name)).map(str::to_owned);
        let headlines: Vec<String> = of(HEADLINES).collect();
        return Ok(if headlines.is_empty() { of(SUBSTITUTES).take(1).collect() } else { headlines });
    }
    let mut chosen: Vec<String> = Vec::new();
    for name in named {
        if !measured(name) {
            let mut known: Vec<&str> = Vec::new();
            for row in rows().filter(|row| row.n > 0) {
                if !known.contains(&row.metric.as_str()) {
                    known.push(&row.metric);
                }
            }
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(CompareError::UnknownMetric { named: name.clone(), known });
        }
        if !chosen.contains(name) {
            chosen.push(name.clone());
        }
    }
    Ok(chosen)
}

/// A value with its unit.
pub(super) fn show(metric: &str, value: f64) -> String {
    if metric.ends_with("_bytes") {
        units::bytes(value)
    } else if metric.ends_with("_ns") || metric.ends_with("_ns_per_event") {
        units::nanoseconds(value)
    } else if metric == "events_per_second" {
        format!("{} /s", units::count(value))
    } else if metric.contains("_per_") {
        units::ratio(value)
    } else {
        units::count(value)
    }
}

/// The verdict in the metric's own words: time is faster or slower, memory smaller or larger.
pub(super) fn words(metric: &str, verdict: Verdict) -> &'static str {
    if metric == "events_per_second" {
        verdict.of_speed()
    } else if metric.ends_with("_ns") || metric.ends_with("_ns_per_event") {
        verdict.of_time()
    } else {
        verdict.as_str()
    }
}

/// Whether a shown difference is for the worse. Of a metric that has no better side every difference is.
pub(super) fn is_worse(metric: &str, verdict: Verdict) -> bool {
    match better(metric) {
        Better::Lower => verdict == Verdict::Larger,
        Better::Higher => verdict == Verdict::Smaller,
        Better::Neither => matches!(verdict, Verdict::Smaller | Verdict::Larger),
    }
}

/// How much a ratio is off 1, as a fraction from 0 on, in whichever direction: twice and half as much are both 1.
pub(super) fn size(ratio: f64) -> f64 {
    ratio.max(1.0 / ratio) - 1.0
}
