//! The metrics of summary.csv that come from one row of samples.csv each.
//!
//! Plain definitions: a name with its unit, the pass that measures it, and how it is read from a sample. Those of
//! latency come from histograms, and are made by the report.

use std::collections::BTreeMap;

use super::{Pass, Sample};
use crate::stats::{Interval, median_interval, middle_interval};

/// A figure of one sample.
pub(crate) struct Metric {
    /// Its name in summary.csv.
    pub(crate) name: &'static str,
    /// The pass that measures it.
    pub(crate) pass: Pass,
    /// Its value; none if this sample did not measure it.
    pub(crate) value: fn(&Sample) -> Option<f64>,
}

/// Busy time per event: the headline of speed.
pub(crate) const BUSY_PER_EVENT: &str = "busy_ns_per_event";
/// The kernel's part of it.
pub(crate) const BUSY_SYSTEM_PER_EVENT: &str = "busy_system_ns_per_event";
/// The harness's own part of it: what `floor` takes outside the kernel, in the same block. Comes from two samples.
pub(crate) const HARNESS_PER_EVENT: &str = "harness_ns_per_event";
/// Busy time per event minus the harness's part: what variants are compared by. Comes from two samples.
pub(crate) const ALLOCATOR_PER_EVENT: &str = "allocator_ns_per_event";
/// Events per second of busy time.
pub(crate) const EVENTS_PER_BUSY_SECOND: &str = "events_per_busy_second";
/// Elapsed time per event.
pub(crate) const WALL_PER_EVENT: &str = "wall_ns_per_event";
/// Events per second of elapsed time.
pub(crate) const EVENTS_PER_SECOND: &str = "events_per_second";
/// Largest resident memory: the headline of memory.
pub(crate) const RESIDENT_PEAK: &str = "resident_peak_bytes";
/// Mean resident memory over trace time.
pub(crate) const RESIDENT_MEAN: &str = "resident_mean_bytes";
/// Resident memory after the last event.
pub(crate) const RESIDENT_END: &str = "resident_end_bytes";
/// Resident memory immediately after every object was freed.
pub(crate) const RESIDENT_DRAINED: &str = "resident_drained_bytes";
/// Resident memory 60 s of trace time later.
pub(crate) const RESIDENT_SETTLED: &str = "resident_settled_bytes";
/// Resident memory after the allocator's own purge call.
pub(crate) const RESIDENT_PURGED: &str = "resident_purged_bytes";
/// Resident over requested bytes at the requested peak.
pub(crate) const PEAK_RATIO: &str = "at_peak_resident_per_requested";

/// Metrics of a pass: columns with their own names.
macro_rules! columns {
    ($pass:ident: $($field:ident),+ $(,)?) => { figures!($pass: $(stringify!($field) => |of| of.$field),+) };
}

/// Metrics of a pass: names, each with its function of a sample.
macro_rules! figures {
    ($pass:ident: $($name:expr => |$sample:ident| $value:expr),+ $(,)?) => {
        [$(Metric { name: $name, pass: Pass::$pass, value: |$sample| $value.map(|value| value as f64) }),+]
    };
}

/// Predicted memory of the whole recorded process: peak, mean, end. They come from several samples: see
/// [`crate::predict`].
pub(crate) const PREDICTED: [&str; 3] =
    ["predicted_resident_peak_bytes", "predicted_resident_mean_bytes", "predicted_resident_end_bytes"];
/// Predicted memory of a tree of processes: peak and mean with shared pages counted once, and with the processes'
/// memory added up.
pub(crate) const TREE_PREDICTED: [&str; 4] = [
    "tree_once_predicted_peak_bytes",
    "tree_once_predicted_mean_bytes",
    "tree_sum_predicted_peak_bytes",
    "tree_sum_predicted_mean_bytes",
];
/// CPU time of a real program: user and system.
pub(crate) const PROGRAM_CPU: &str = "program_cpu_ns";
/// Wall time of a real program's sample.
pub(crate) const PROGRAM_WALL: &str = "program_wall_ns";
/// Largest anonymous memory of a real program, with pages that its processes share counted once.
pub(crate) const PROGRAM_ONCE_PEAK: &str = "program_once_peak_bytes";
/// The mean of it over time.
pub(crate) const PROGRAM_ONCE_MEAN: &str = "program_once_mean_bytes";
/// Largest anonymous resident memory of a real program, its processes added up.
pub(crate) const PROGRAM_PEAK: &str = "program_resident_peak_bytes";
/// The mean of it over time.
pub(crate) const PROGRAM_MEAN: &str = "program_resident_mean_bytes";
/// Its value at the sample's end.
pub(crate) const PROGRAM_END: &str = "program_resident_end_bytes";

/// Resident memory is not known more exactly than to this fraction of itself: among a recording's layouts there are
/// rare ones with up to 5 % more. More often than not, ten blocks see none of these, and they move the mean by 0.2 to
/// 0.4 % (results/coverage).
const RESIDENT_RESOLUTION: f64 = 0.005;

/// The interval of a figure of summary.csv, from its values in blocks; none for fewer than
/// [`crate::stats::MIN_BLOCKS`]. For resident memory, however its pages are counted, it covers the mean as well as the
/// median, and is no narrower than the precision to which resident memory is known.
///
/// ```
/// use heaplab::results::interval_of;
/// let memory = interval_of("resident_peak_bytes", &[200e6; 10]).unwrap();
/// assert_eq!((memory.low, memory.high), (199e6, 201e6));
/// let time = interval_of("busy_ns_per_event", &[20.0; 10]).unwrap();
/// assert_eq!((time.low, time.high), (20.0, 20.0));
/// ```
pub fn interval_of(metric: &str, values: &[f64]) -> Option<Interval> {
    let is_resident = metric.ends_with("_bytes")
        && ["resident_", "predicted_", "_once_", "_rss_", "_pss_"].iter().any(|word| metric.contains(word));
    if is_resident { resident_interval(values) } else { median_interval(values) }
}

/// The interval of resident memory, from its values in blocks, as that of [`interval_of`].
pub(crate) fn resident_interval(values: &[f64]) -> Option<Interval> {
    middle_interval(values, RESIDENT_RESOLUTION)
}

/// Every metric, in the order of summary.csv.
pub(crate) fn metrics() -> impl Iterator<Item = Metric> {
    let throughput = figures!(Throughput:
        BUSY_PER_EVENT => |of| per_event(of, of.busy_ns),
        BUSY_SYSTEM_PER_EVENT => |of| per_event(of, of.busy_system_ns),
        EVENTS_PER_BUSY_SECOND => |of| events_per_second(of, of.busy_ns),
        WALL_PER_EVENT => |of| per_event(of, of.wall_ns),
        EVENTS_PER_SECOND => |of| events_per_second(of, of.wall_ns),
        "cpu_ns_per_event" => |of| per_event(of, cpu_ns(of)),
        "page_faults_minor_per_event" => |of| per_event(of, of.page_faults_minor),
        "page_faults_major_per_event" => |of| per_event(of, of.page_faults_major),
        "context_switches_per_event" => |of| per_event(of, of.context_switches),
    );
    let of_replay = columns!(Throughput:
        thread_start_ns, waits, wakeups, window_stalls, busy_ns, busy_background_ns, busy_system_ns, busy_off_cpu_ns,
        wait_ns,
    );
    let of_memory = columns!(Memory:
        requested_peak_bytes, requested_peak_reached_bytes, requested_mean_bytes, requested_end_bytes,
        usable_peak_bytes, resident_peak_bytes, resident_mean_bytes, resident_end_bytes,
        resident_drained_bytes, resident_settled_bytes, resident_purged_bytes,
        at_peak_resident_bytes, at_peak_requested_bytes, at_peak_internal_bytes,
        at_peak_untouched_bytes, at_peak_held_bytes,
        at_end_internal_bytes, at_end_untouched_bytes, at_end_held_bytes,
        at_resident_peak_ns, at_resident_peak_resident_bytes, at_resident_peak_requested_bytes,
        at_resident_peak_internal_bytes, at_resident_peak_untouched_bytes, at_resident_peak_held_bytes,
        lazyfree_bytes, anon_huge_bytes, virtual_bytes, mappings, page_table_bytes,
        page_table_harness_bytes, library_file_bytes, clock_reads,
    );
    let ratios = [Metric { name: PEAK_RATIO, pass: Pass::Memory, value: peak_ratio }];
    let of_check = columns!(Check: events);
    // The names of a real program's figures distinguish them from those of a replay.
    let of_program = figures!(Exec:
        PROGRAM_CPU => |of| cpu_ns(of),
        PROGRAM_WALL => |of| of.wall_ns,
        "program_ready_ns" => |of| of.ready_ns,
        PROGRAM_PEAK => |of| of.resident_peak_bytes,
        PROGRAM_MEAN => |of| of.resident_mean_bytes,
        PROGRAM_END => |of| of.resident_end_bytes,
        "program_rss_peak_bytes" => |of| of.rss_peak_bytes,
        "program_pss_peak_bytes" => |of| of.pss_peak_bytes,
        "program_pss_mean_bytes" => |of| of.pss_mean_bytes,
        PROGRAM_ONCE_PEAK => |of| of.once_peak_bytes,
        PROGRAM_ONCE_MEAN => |of| of.once_mean_bytes,
        "program_swap_peak_bytes" => |of| of.swap_peak_bytes,
        "program_page_faults_minor" => |of| of.page_faults_minor,
        "program_page_faults_major" => |of| of.page_faults_major,
        "program_context_switches" => |of| of.context_switches,
        "program_threads" => |of| of.threads,
    );
    throughput.into_iter().chain(of_replay).chain(of_memory).chain(ratios).chain(of_check).chain(of_program)
}

/// The headline of a sample: the figure that sums up its pass. None for a pass without one.
pub(crate) fn headline(sample: &Sample) -> Option<f64> {
    let name = name_of_headline(sample.pass)?;
    metrics().find(|metric| metric.name == name).and_then(|metric| (metric.value)(sample))
}

/// The largest fraction of the fastest variant's busy time that `floor` may take to represent the harness.
pub(crate) const MOST_FLOOR_SHARE: f64 = 0.4;

/// The harness's share of an event in ns, by block: what `floor` takes outside the kernel, from its samples of one
/// workload.
///
/// NOTE: the kernel's part is counted in ticks of a few milliseconds, so for one short sample it is little more than a
/// guess. The kernel's part of all samples together is used instead, as a fraction of their busy time.
pub(crate) fn harness_per_event<'s>(
    of_floor: impl Iterator<Item = &'s Sample> + Clone,
) -> BTreeMap<u32, f64> {
    let known = of_floor.filter_map(|sample| {
        Some((
            sample.block,
            sample.busy_ns?,
            sample.busy_system_ns?,
            sample.events.filter(|&events| events > 0)?,
        ))
    });
    let (busy_ns, system_ns) = known
        .clone()
        .fold((0u64, 0u64), |(busy, system), of| (busy.saturating_add(of.1), system.saturating_add(of.2)));
    let own_part = 1.0 - system_ns.min(busy_ns) as f64 / busy_ns.max(1) as f64;
    known.map(|(block, busy_ns, _, events)| (block, busy_ns as f64 * own_part / events as f64)).collect()
}

/// The headline's name in summary.csv.
pub(crate) fn name_of_headline(pass: Pass) -> Option<&'static str> {
    match pass {
        Pass::Throughput => Some(BUSY_PER_EVENT),
        Pass::Memory => Some(RESIDENT_PEAK),
        _ => None,
    }
}

fn per_event(sample: &Sample, value: Option<u64>) -> Option<f64> {
    let events = sample.events.filter(|&events| events > 0)?;
    Some(value? as f64 / events as f64)
}

fn events_per_second(sample: &Sample, time_ns: Option<u64>) -> Option<f64> {
    let time_ns = time_ns.filter(|&time_ns| time_ns > 0)?;
    Some(sample.events? as f64 * 1e9 / time_ns as f64)
}

fn cpu_ns(sample: &Sample) -> Option<u64> {
    sample.cpu_user_ns?.checked_add(sample.cpu_system_ns?)
}

/// One over the share of the requested peak by which requested bytes may have fallen where the peak was measured.
const PEAK_TOLERANCE: u64 = 100;

/// Whether what was measured at the requested peak was measured with clearly less requested: in causal order other
/// operations of the same window follow the peak.
pub(crate) fn misses_peak(sample: &Sample) -> bool {
    let missed = |(peak, reached): (u64, u64)| peak.saturating_sub(reached) > peak / PEAK_TOLERANCE;
    sample.requested_peak_bytes.zip(sample.at_peak_requested_bytes).is_some_and(missed)
}

/// With touch `none` or `first`, most of what was requested has no page: the ratio would flatter. After the peak it
/// would be that of another moment.
fn peak_ratio(sample: &Sample) -> Option<f64> {
    if matches!(sample.touch.as_str(), "none" | "first") || misses_peak(sample) {
        return None;
    }
    let requested = sample.at_peak_requested_bytes.filter(|&requested| requested > 0)?;
    Some(sample.at_peak_resident_bytes? as f64 / requested as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_has_one_kind_of_interval_however_its_pages_are_counted() {
        let values = [33.0, 33.0, 33.0, 34.0, 34.0, 34.0, 66.0].map(|mib| mib * 1024.0 * 1024.0);
        let of = |metric: &str| interval_of(metric, &values).map(|interval| (interval.low, interval.high));
        let expected = of(RESIDENT_PEAK);
        assert_ne!(expected, of(PROGRAM_WALL));
        let program = metrics().map(|metric| metric.name).filter(|name| name.starts_with("program_"));
        let program = program.filter(|name| name.ends_with("_bytes") && !name.contains("swap"));
        let all: Vec<&str> = program.chain(PREDICTED).chain(TREE_PREDICTED).collect();
        assert!(all.contains(&PROGRAM_ONCE_PEAK) && all.contains(&PROGRAM_ONCE_MEAN) && all.len() > 10);
        for metric in all {
            assert_eq!(of(metric), expected, "{metric}");
        }
    }

    #[test]
    fn the_kernel_s_part_of_the_harness_is_that_of_all_blocks() {
        let sample = |block, busy, system| Sample {
            block,
            events: Some(100),
            busy_ns: Some(busy),
            busy_system_ns: Some(system),
            ..Sample::default()
        };
        // One tick more in one block than in another says nothing about either.
        let samples = [sample(0, 2000, 0), sample(1, 3000, 2000), Sample { block: 2, ..Sample::default() }];
        let shares = harness_per_event(samples.iter());
        assert_eq!(shares, BTreeMap::from([(0, 12.0), (1, 18.0)]));
        assert!(harness_per_event([].iter()).is_empty());
    }
}
