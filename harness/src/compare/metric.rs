//! Metrics for comparisons: which are compared unless others are named, which direction is better, and how they are
//! shown.

use super::{CompareError, Finding};
use crate::report::{Analysis, units};
use crate::results::metrics::{HARNESS_PER_EVENT, PROGRAM_CPU, PROGRAM_ONCE_PEAK, PROGRAM_PEAK};
use crate::stats::Verdict;

/// Speed: the best of these that was measured.
const OF_SPEED: [&str; 3] = ["allocator_ns_per_event", "busy_ns_per_event", "wall_ns_per_event"];
/// Memory.
const OF_MEMORY: &str = "resident_peak_bytes";
/// Memory of programs: the best of these that was measured.
const OF_PROGRAMS: [&str; 2] = [PROGRAM_ONCE_PEAK, PROGRAM_PEAK];
/// Compared if none of these was measured.
const SUBSTITUTES: [&str; 2] = ["malloc_call_p99_ns", "events"];

/// Which direction of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less of it is better: time, memory, faults.
    Lower,
    /// More of it is better: events per second.
    Higher,
    /// Neither: it describes the work, the harness or a moment.
    Neither,
}

/// Which direction of a metric of summary.csv is better.
///
/// ```
/// use heaplab::compare::{Better, better};
/// assert_eq!(better("resident_peak_bytes"), Better::Lower);
/// assert_eq!(better("events_per_second"), Better::Higher);
/// assert_eq!(better("requested_peak_bytes"), Better::Neither);
/// assert_eq!(better("at_resident_peak_ns"), Better::Neither);
/// ```
pub fn better(metric: &str) -> Better {
    let describes_work = metric.contains("requested_") && !metric.contains("per_requested")
        || metric.contains("untouched")
        || metric.starts_with("timer_")
        || metric.ends_with("_calls")
        || matches!(
            metric,
            "events" | "clock_reads" | "lazyfree_bytes" | "anon_huge_bytes" | "program_threads"
        );
    let describes_harness = matches!(metric, HARNESS_PER_EVENT | "page_table_harness_bytes");
    // A moment in trace time: later is no slower.
    let is_moment = metric == "at_resident_peak_ns";
    match metric {
        "events_per_second" | "events_per_busy_second" => Better::Higher,
        _ if describes_work || describes_harness || is_moment => Better::Neither,
        _ => Better::Lower,
    }
}

/// The metrics to compare, each measured in at least one of the runs. None if nothing was measured.
pub(super) fn choose(named: &[String], runs: &[&Analysis<'_>]) -> Result<Vec<String>, CompareError> {
    let rows = || runs.iter().flat_map(|run| &run.summary);
    let measured = |metric: &str| rows().any(|row| row.metric == metric);
    if named.is_empty() {
        // It must be in every run, so that like is compared with like.
        let in_each = |metric: &str| {
            runs.iter().all(|run| run.summary.iter().any(|row| row.metric == metric && row.n > 0))
        };
        let best = |names: &'static [&'static str]| {
            let some = names.iter().copied().find(|name| in_each(name));
            some.or_else(|| names.iter().copied().find(|name| measured(name)))
        };
        let headlines: Vec<&str> = [&OF_SPEED[..], &[OF_MEMORY], &[PROGRAM_CPU], &OF_PROGRAMS[..]]
            .into_iter()
            .filter_map(best)
            .collect();
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
pub fn show(metric: &str, value: f64) -> String {
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

/// The verdict in the metric's own words: time is faster or slower, all else smaller or larger.
pub(super) fn words(metric: &str, verdict: Verdict) -> &'static str {
    let is_time = metric.ends_with("_ns") || metric.ends_with("_ns_per_event");
    match better(metric) {
        Better::Higher => verdict.of_speed(),
        Better::Lower if is_time => verdict.of_time(),
        Better::Lower | Better::Neither => verdict.as_str(),
    }
}

/// How much worse than 1 the ends of a ratio's interval are, as fractions, the smaller first: 0.05 for 5 % worse,
/// negative for better. None if neither direction is worse.
fn worse_by(metric: &str, low: f64, high: f64) -> Option<(f64, f64)> {
    match better(metric) {
        Better::Lower => Some((low - 1.0, high - 1.0)),
        Better::Higher => Some((1.0 / high - 1.0, 1.0 / low - 1.0)),
        Better::Neither => None,
    }
}

/// The finding on a comparison with an interval, if there is one to report: over, if the whole interval is beyond the
/// limit (0.05 for 5 %); open, if the limit is inside the interval. `what` names it.
pub(super) fn find_worse(what: &str, metric: &str, (low, high): (f64, f64), limit: f64) -> Option<Finding> {
    let (least, most) = worse_by(metric, low, high)?;
    let percent = |fraction: f64| format!("{:.1} %", fraction * 100.0);
    if most <= limit {
        return None;
    }
    let from = if least < 0.0 { format!("anything from {} better", percent(-least)) } else { percent(least) };
    let found = format!("{what}: {from} to {} worse", percent(most));
    if least > limit {
        Some(Finding::Over(found))
    } else {
        Some(Finding::Open(format!("{found}; more blocks (--reps) tell")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::metrics::metrics;

    #[test]
    fn a_moment_and_what_describes_the_harness_have_no_direction() {
        let undirected: Vec<&str> =
            metrics().map(|metric| metric.name).filter(|name| better(name) == Better::Neither).collect();
        assert_eq!(
            undirected,
            [
                "requested_peak_bytes",
                "requested_peak_reached_bytes",
                "requested_mean_bytes",
                "requested_end_bytes",
                "at_peak_requested_bytes",
                "at_peak_untouched_bytes",
                "at_end_untouched_bytes",
                "at_resident_peak_ns",
                "at_resident_peak_requested_bytes",
                "at_resident_peak_untouched_bytes",
                "lazyfree_bytes",
                "anon_huge_bytes",
                "page_table_harness_bytes",
                "clock_reads",
                "events",
                "program_threads",
            ]
        );
        assert_eq!(better("harness_ns_per_event"), Better::Neither);
        assert_eq!(words("at_resident_peak_ns", Verdict::Larger), "larger");
        assert_eq!(words("busy_ns", Verdict::Larger), "slower");
        assert_eq!(find_worse("p", "at_resident_peak_ns", (1.5, 1.7), 0.05), None);
    }

    #[test]
    fn a_limit_within_an_interval_decides_nothing() {
        let open = |what: &str| Some(Finding::Open(format!("p: {what}; more blocks (--reps) tell")));
        let over = |what: &str| Some(Finding::Over(format!("p: {what}")));
        let lower = |low, high| find_worse("p", "resident_peak_bytes", (low, high), 0.05);
        assert_eq!(lower(0.976, 1.198), open("anything from 2.4 % better to 19.8 % worse"));
        assert_eq!(lower(0.736, 1.271), open("anything from 26.4 % better to 27.1 % worse"));
        assert_eq!(lower(1.04, 1.08), open("4.0 % to 8.0 % worse"), "worse, but not shown to be by 5 %");
        assert_eq!(lower(1.06, 1.08), over("6.0 % to 8.0 % worse"));
        assert_eq!(lower(0.97, 1.049), None);
        assert_eq!(lower(0.5, 0.6), None);
        let higher = |low, high| find_worse("p", "events_per_second", (low, high), 0.05);
        assert_eq!(higher(0.90, 0.94), over("6.4 % to 11.1 % worse"));
        assert_eq!(higher(0.90, 0.98), open("2.0 % to 11.1 % worse"));
        assert_eq!(higher(0.96, 1.5), None);
    }
}
