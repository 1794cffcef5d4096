//! The metrics of summary.csv that come from one row of samples.csv each.
//!
//! Plain definitions: a name with its unit, the pass that measures it, and how it is read off a
//! sample. Those of latency come from histograms, and are made by the report.

use super::{Pass, Sample};

/// A figure of one sample.
pub(crate) struct Metric {
    /// Its name in summary.csv.
    pub(crate) name: &'static str,
    /// The pass that measures it.
    pub(crate) pass: Pass,
    /// Its value; none if this sample did not measure it.
    pub(crate) value: fn(&Sample) -> Option<f64>,
}

/// Time of an event: the headline of speed.
pub(crate) const WALL_PER_EVENT: &str = "wall_ns_per_event";
/// Events per second: the same, as throughput.
pub(crate) const EVENTS_PER_SECOND: &str = "events_per_second";
/// Largest resident memory: the headline of memory.
pub(crate) const RESIDENT_PEAK: &str = "resident_peak_bytes";
/// Resident memory's mean over trace time.
pub(crate) const RESIDENT_MEAN: &str = "resident_mean_bytes";
/// Resident memory after the last event.
pub(crate) const RESIDENT_END: &str = "resident_end_bytes";
/// Resident memory at once after every object was freed.
pub(crate) const RESIDENT_DRAINED: &str = "resident_drained_bytes";
/// Resident memory 60 s of trace time later.
pub(crate) const RESIDENT_SETTLED: &str = "resident_settled_bytes";
/// Resident memory after the allocator's own purge call.
pub(crate) const RESIDENT_PURGED: &str = "resident_purged_bytes";
/// Resident over requested bytes at the requested peak.
pub(crate) const PEAK_RATIO: &str = "at_peak_resident_per_requested";

macro_rules! columns {
    ($pass:ident: $($field:ident),+ $(,)?) => {
        [$(Metric { name: stringify!($field), pass: Pass::$pass, value: |sample| number(sample.$field) }),+]
    };
}

/// Predicted memory of the whole recorded process: peak, mean, end. They come from several samples: see
/// [`crate::predict`].
pub(crate) const PREDICTED: [&str; 3] =
    ["predicted_resident_peak_bytes", "predicted_resident_mean_bytes", "predicted_resident_end_bytes"];
/// CPU time of a real program: user and system.
pub(crate) const PROGRAM_CPU: &str = "program_cpu_ns";
/// Wall time of a real program's sample.
pub(crate) const PROGRAM_WALL: &str = "program_wall_ns";
/// Largest anonymous resident memory of a real program.
pub(crate) const PROGRAM_PEAK: &str = "program_resident_peak_bytes";
/// Its mean over time.
pub(crate) const PROGRAM_MEAN: &str = "program_resident_mean_bytes";
/// What it was at the sample's end.
pub(crate) const PROGRAM_END: &str = "program_resident_end_bytes";

/// The figures of a real program. Their names tell them from those of a replay.
const OF_PROGRAM: [Metric; 14] = [
    Metric { name: PROGRAM_CPU, pass: Pass::Exec, value: |sample| number(cpu_ns(sample)) },
    Metric { name: PROGRAM_WALL, pass: Pass::Exec, value: |sample| number(sample.wall_ns) },
    Metric { name: "program_ready_ns", pass: Pass::Exec, value: |sample| number(sample.ready_ns) },
    Metric { name: PROGRAM_PEAK, pass: Pass::Exec, value: |sample| number(sample.resident_peak_bytes) },
    Metric { name: PROGRAM_MEAN, pass: Pass::Exec, value: |sample| number(sample.resident_mean_bytes) },
    Metric { name: PROGRAM_END, pass: Pass::Exec, value: |sample| number(sample.resident_end_bytes) },
    Metric {
        name: "program_rss_peak_bytes",
        pass: Pass::Exec,
        value: |sample| number(sample.rss_peak_bytes),
    },
    Metric {
        name: "program_pss_peak_bytes",
        pass: Pass::Exec,
        value: |sample| number(sample.pss_peak_bytes),
    },
    Metric {
        name: "program_pss_mean_bytes",
        pass: Pass::Exec,
        value: |sample| number(sample.pss_mean_bytes),
    },
    Metric {
        name: "program_swap_peak_bytes",
        pass: Pass::Exec,
        value: |sample| number(sample.swap_peak_bytes),
    },
    Metric {
        name: "program_page_faults_minor",
        pass: Pass::Exec,
        value: |sample| number(sample.page_faults_minor),
    },
    Metric {
        name: "program_page_faults_major",
        pass: Pass::Exec,
        value: |sample| number(sample.page_faults_major),
    },
    Metric {
        name: "program_context_switches",
        pass: Pass::Exec,
        value: |sample| number(sample.context_switches),
    },
    Metric { name: "program_threads", pass: Pass::Exec, value: |sample| number(sample.threads) },
];

/// Every metric, in the order of summary.csv.
pub(crate) fn metrics() -> impl Iterator<Item = Metric> {
    let throughput = [
        Metric {
            name: WALL_PER_EVENT,
            pass: Pass::Throughput,
            value: |sample| per_event(sample, sample.wall_ns),
        },
        Metric { name: EVENTS_PER_SECOND, pass: Pass::Throughput, value: events_per_second },
        Metric {
            name: "cpu_ns_per_event",
            pass: Pass::Throughput,
            value: |sample| per_event(sample, cpu_ns(sample)),
        },
        Metric {
            name: "page_faults_minor_per_event",
            pass: Pass::Throughput,
            value: |sample| per_event(sample, sample.page_faults_minor),
        },
        Metric {
            name: "page_faults_major_per_event",
            pass: Pass::Throughput,
            value: |sample| per_event(sample, sample.page_faults_major),
        },
        Metric {
            name: "context_switches_per_event",
            pass: Pass::Throughput,
            value: |sample| per_event(sample, sample.context_switches),
        },
    ];
    let of_replay = columns!(Throughput:
        thread_start_ns, waits, wakeups, window_stalls, busy_ns, busy_system_ns, busy_off_cpu_ns, wait_ns,
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
    throughput.into_iter().chain(of_replay).chain(of_memory).chain(ratios).chain(of_check).chain(OF_PROGRAM)
}

/// The headline of a sample: the figure that its pass is summed up by. None in a pass without one.
pub(crate) fn headline(sample: &Sample) -> Option<f64> {
    let name = name_of_headline(sample.pass)?;
    metrics().find(|metric| metric.name == name).and_then(|metric| (metric.value)(sample))
}

/// The headline's name in summary.csv.
pub(crate) fn name_of_headline(pass: Pass) -> Option<&'static str> {
    match pass {
        Pass::Throughput => Some(WALL_PER_EVENT),
        Pass::Memory => Some(RESIDENT_PEAK),
        _ => None,
    }
}

fn number(value: Option<u64>) -> Option<f64> {
    value.map(|value| value as f64)
}

fn per_event(sample: &Sample, value: Option<u64>) -> Option<f64> {
    let events = sample.events.filter(|&events| events > 0)?;
    Some(value? as f64 / events as f64)
}

fn events_per_second(sample: &Sample) -> Option<f64> {
    let wall_ns = sample.wall_ns.filter(|&wall_ns| wall_ns > 0)?;
    Some(sample.events? as f64 * 1e9 / wall_ns as f64)
}

fn cpu_ns(sample: &Sample) -> Option<u64> {
    sample.cpu_user_ns?.checked_add(sample.cpu_system_ns?)
}

/// At touch `none` or `first` most of what was requested has no page: the ratio would flatter.
fn peak_ratio(sample: &Sample) -> Option<f64> {
    if matches!(sample.touch.as_str(), "none" | "first") {
        return None;
    }
    let requested = sample.at_peak_requested_bytes.filter(|&requested| requested > 0)?;
    Some(sample.at_peak_resident_bytes? as f64 / requested as f64)
}
