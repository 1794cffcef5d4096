//! Metrics as a comparison needs them: which are compared unless others are named, which way is better, and how they
//! are shown.

use super::{CompareError, Finding};
use crate::report::{Analysis, units};
use crate::stats::Verdict;

/// Speed, by the best of these that was measured.
const OF_SPEED: [&str; 3] = ["allocator_ns_per_event", "busy_ns_per_event", "wall_ns_per_event"];
/// Memory.
const OF_MEMORY: &str = "resident_peak_bytes";
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
        "events_per_second" | "events_per_busy_second" => Better::Higher,
        _ if describes_work => Better::Neither,
        _ => Better::Lower,
    }
}

/// The metrics to compare, each measured in at least one of the runs. None where nothing was measured.
pub(super) fn choose(named: &[String], runs: &[&Analysis<'_>]) -> Result<Vec<String>, CompareError> {
    let rows = || runs.iter().flat_map(|run| &run.summary);
    let measured = |metric: &str| rows().any(|row| row.metric == metric);
    if named.is_empty() {
        // In every run, so that like is compared with like.
        let in_each = |metric: &str| {
            runs.iter().all(|run| run.summary.iter().any(|row| row.metric == metric && row.n > 0))
        };
        let speed = OF_SPEED.into_iter().find(|name| in_each(name));
        let speed = speed.or_else(|| OF_SPEED.into_iter().find(|name| measured(name)));
        let headlines: Vec<&str> =
            speed.into_iter().chain([OF_MEMORY].into_iter().filter(|name| measured(name))).collect();
        let substitutes = SUBSTITUTES.into_iter().filter(|name| measured(name)).take(1);
        let chosen = if headlines.is_empty() { substitutes.collect() } else { headlines };
        return Ok(chosen.into_iter().map(str::to_owned).collect());
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
    } else if better(metric) == Better::Higher {
        format!("{} /s", units::count(value))
    } else if metric.contains("_per_") {
        units::ratio(value)
    } else {
        units::count(value)
    }
}

/// The verdict in the metric's own words: time is faster or slower, memory smaller or larger.
pub(super) fn words(metric: &str, verdict: Verdict) -> &'static str {
    if better(metric) == Better::Higher {
        verdict.of_speed()
    } else if metric.ends_with("_ns") || metric.ends_with("_ns_per_event") {
        verdict.of_time()
    } else {
        verdict.as_str()
    }
}

/// What can be said of a ratio and a limit for what is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gate {
    /// The whole interval is past the limit.
    Worse,
    /// The whole interval is within it.
    NotWorse,
    /// The limit lies in the interval.
    Undecided,
}

/// How much worse the ends of a ratio's interval are than 1, as fractions, the lesser first: 0.05 for 5 % worse, below 0
/// for better. Where neither direction is better, what counts is how far they are off 1.
pub(super) fn worse_by(metric: &str, low: f64, high: f64) -> (f64, f64) {
    match better(metric) {
        Better::Lower => (low - 1.0, high - 1.0),
        Better::Higher => (1.0 / high - 1.0, 1.0 / low - 1.0),
        Better::Neither => {
            let off = |ratio: f64| ratio.max(1.0 / ratio) - 1.0;
            let least = if low <= 1.0 && high >= 1.0 { 0.0 } else { off(low).min(off(high)) };
            (least, off(low).max(off(high)))
        }
    }
}

/// Holds an interval to a limit of 0.05 for 5 %.
pub(super) fn judge(metric: &str, low: f64, high: f64, limit: f64) -> Gate {
    let (least, most) = worse_by(metric, low, high);
    if least > limit {
        Gate::Worse
    } else if most <= limit {
        Gate::NotWorse
    } else {
        Gate::Undecided
    }
}

/// The finding on a comparison with an interval, if there is one to report. `what` names it.
pub(super) fn find_worse(what: &str, metric: &str, (low, high): (f64, f64), limit: f64) -> Option<Finding> {
    let (least, most) = worse_by(metric, low, high);
    let percent = |fraction: f64| format!("{:.1} %", fraction * 100.0);
    match judge(metric, low, high, limit) {
        Gate::NotWorse => None,
        Gate::Worse => Some(Finding::Over(format!("{what}: {} to {} worse", percent(least), percent(most)))),
        Gate::Undecided if least < 0.0 => Some(Finding::Open(format!(
            "{what}: anything from {} better to {} worse; more blocks (--reps) tell",
            percent(-least),
            percent(most)
        ))),
        Gate::Undecided => Some(Finding::Open(format!(
            "{what}: {} to {} worse; more blocks (--reps) tell",
            percent(least),
            percent(most)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_within_an_interval_decides_nothing() {
        let lower = |low, high| judge("resident_peak_bytes", low, high, 0.05);
        assert_eq!(lower(0.976, 1.198), Gate::Undecided);
        assert_eq!(lower(0.736, 1.271), Gate::Undecided);
        assert_eq!(lower(1.04, 1.08), Gate::Undecided, "worse, but not shown to be by 5 %");
        assert_eq!(lower(1.06, 1.08), Gate::Worse);
        assert_eq!(lower(0.97, 1.049), Gate::NotWorse);
        assert_eq!(lower(0.5, 0.6), Gate::NotWorse);
        let higher = |low, high| judge("events_per_second", low, high, 0.05);
        assert_eq!(higher(0.90, 0.94), Gate::Worse);
        assert_eq!(higher(0.90, 0.98), Gate::Undecided);
        assert_eq!(higher(0.96, 1.5), Gate::NotWorse);
    }
}
