//! Turns a worker's reply into the rows of the files.

use heaplab_allocators::ClassAccount;

use super::{
    HeapMapCell, LatencyBucket, OverTime, Pass, RequestRow, Sample, SizeRow, StatsRow, Status, TimelinePoint,
};
use crate::design::CountFrom;
use crate::group::GroupLimits;
use crate::measure::Taken;
use crate::stats::mean_between;
use crate::worker::{Breakdown, Checkpoint, Reply, RequestClass, SizeClass, Stated};

/// The rows of one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Its row of `samples.csv`.
    pub sample: Sample,
    /// Its rows of `timeline.csv`.
    pub timeline: Vec<TimelinePoint>,
    /// Its rows of `latency.csv`.
    pub latency: Vec<LatencyBucket>,
    /// Its rows of `heapmap.csv`.
    pub heap_map: Vec<HeapMapCell>,
    /// Its rows of `sizes.csv`.
    pub sizes: Vec<SizeRow>,
    /// Its rows of `requests.csv`.
    pub requests: Vec<RequestRow>,
    /// Its rows of `stats.csv`.
    pub stats: Vec<StatsRow>,
}

impl Rows {
    /// The rows of a sample taken in run `run_id`. Its memory counts from `count_from` on.
    #[must_use]
    pub fn new(
        run_id: &str,
        limits: Option<&GroupLimits>,
        count_from: Option<CountFrom>,
        taken: &Taken<'_>,
    ) -> Rows {
        let sample = sample(run_id, taken);
        let mut sample = sample.with_account(limits, taken.reply.charged.as_ref());
        if sample.pass == Pass::Memory && sample.status == Status::Ok {
            let checkpoints = taken.reply.timeline.iter();
            let (load, resident): (Vec<_>, Vec<_>) = checkpoints
                .map(|at| ((at.time_ns, at.requested_bytes), (at.time_ns, at.resident_bytes)))
                .unzip();
            let over_time = OverTime { load: &load, resident: &resident, has_times: taken.subject.has_times };
            over_time.complete(&mut sample, count_from);
            if let (Some(from), Some(twin)) = (sample.counted_from_ns, &taken.twin) {
                sample.twin_resident_mean_bytes = mean_from(&twin.timeline, from);
            }
        }
        Rows {
            timeline: timeline(&sample, &taken.reply),
            latency: latency(&sample, &taken.reply),
            heap_map: heap_map(&sample, &taken.reply),
            sizes: sizes(&sample, &taken.reply),
            requests: requests(&sample, &taken.reply),
            stats: stats(&sample, &taken.reply),
            sample,
        }
    }
}

/// The mean resident memory of a timeline from a given time on.
fn mean_from(timeline: &[Checkpoint], from: u64) -> Option<u64> {
    let resident: Vec<(u64, u64)> = timeline.iter().map(|at| (at.time_ns, at.resident_bytes)).collect();
    mean_between(&resident, from, resident.last()?.0)
}

fn sample(run_id: &str, taken: &Taken<'_>) -> Sample {
    let (reply, info, variant) = (&taken.reply, &taken.info, &taken.variation.variant);
    let twin = taken.twin.as_ref().map(|twin| &twin.measured);
    let measured = &reply.measured;
    let proven = taken.variation.proven.as_ref().ok();
    let ok = reply.status == Status::Ok;
    let memory = ok && taken.step.pass == Pass::Memory;
    let peak = |value: fn(&Breakdown) -> u64| measured.at_peak.as_ref().map(value);
    let largest = |value: fn(&Breakdown) -> u64| measured.at_resident_peak.as_ref().map(value);
    let end = |value: fn(&Breakdown) -> u64| measured.at_end.as_ref().map(value);
    // The file that served, and its hash if it is the file hashed in the trial run. A worker that refuses its library may
    // have found another file in the same place.
    let library_path = reply.library_path.as_ref().map(|path| path.display().to_string());
    let hashed = proven.filter(|proven| {
        reply.status != Status::NotInjected
            && reply.library_path.as_ref() == Some(&proven.loaded.library_path)
    });
    Sample {
        run_id: run_id.to_owned(),
        block: taken.step.block,
        workload: taken.subject.name.clone(),
        variant: variant.label.clone(),
        allocator: variant.allocator.clone(),
        allocator_version: reply.allocator_version.clone(),
        settings: variant.settings_text(),
        cpus: taken.cpus,
        pass: taken.step.pass,
        pace: taken.pace.to_string(),
        order: taken.order.to_string(),
        touch: taken.touch.to_string(),
        status: reply.status,
        status_detail: detail(taken),
        events: ok.then_some(info.events),
        threads: ok.then_some(u64::from(info.threads)),
        requested_peak_bytes: ok.then_some(info.requested_peak_bytes),
        requested_mean_bytes: memory.then_some(info.requested_mean_bytes),
        at_peak_resident_bytes: peak(|at| at.resident_bytes),
        at_peak_requested_bytes: peak(|at| at.requested_bytes),
        at_peak_internal_bytes: measured.at_peak.and_then(|at| at.internal_bytes),
        at_peak_untouched_bytes: peak(|at| at.untouched_bytes),
        at_peak_held_bytes: peak(|at| at.held_bytes),
        at_end_internal_bytes: measured.at_end.and_then(|at| at.internal_bytes),
        at_end_untouched_bytes: end(|at| at.untouched_bytes),
        at_end_held_bytes: end(|at| at.held_bytes),
        resident_constant_bytes: memory.then_some(taken.resident_constant_bytes),
        truncated: info.truncated,
        library_path,
        library_hash: hashed.map(|proven| proven.library_hash.clone()),
        at_resident_peak_resident_bytes: largest(|at| at.resident_bytes),
        at_resident_peak_requested_bytes: largest(|at| at.requested_bytes),
        at_resident_peak_internal_bytes: measured.at_resident_peak.and_then(|at| at.internal_bytes),
        at_resident_peak_untouched_bytes: largest(|at| at.untouched_bytes),
        at_resident_peak_held_bytes: largest(|at| at.held_bytes),
        warmed_bytes: reply.warmed.map(|warmed| warmed.extent.small_bytes + warmed.extent.huge_bytes),
        warmed_huge_bytes: reply.warmed.map(|warmed| warmed.extent.huge_bytes),
        warm_fault_ns: reply.warmed.and_then(|warmed| warmed.last.small_ns),
        warm_huge_fault_ns: reply.warmed.and_then(|warmed| warmed.last.huge_ns),
        page_faults_huge: reply.footprint.and_then(|footprint| footprint.huge_faults),
        cold_memory: taken.was_cold,
        load_seed: taken.load_seed,
        twin_busy_ns: twin.and_then(|twin| twin.busy_ns),
        twin_resident_peak_bytes: twin.and_then(|twin| twin.resident_peak_bytes),
        twin_resident_mean_bytes: twin.and_then(|twin| twin.resident_mean_bytes),
        twin_resident_settled_bytes: twin.and_then(|twin| twin.resident_settled_bytes),
        ..Sample::default()
    }
    .with_measured(measured)
}

/// Why the status is what it is, or the warnings of a sample that is ok.
fn detail(taken: &Taken<'_>) -> Option<String> {
    let reply = &taken.reply;
    let parts: Vec<&str> = reply
        .status_detail
        .iter()
        .chain(&reply.warnings)
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn timeline(sample: &Sample, reply: &Reply) -> Vec<TimelinePoint> {
    let point = |checkpoint: &Checkpoint| TimelinePoint {
        time_ns: checkpoint.time_ns,
        requested_bytes: Some(checkpoint.requested_bytes),
        usable_bytes: reply.measured.usable_peak_bytes.and(Some(checkpoint.usable_bytes)),
        resident_bytes: checkpoint.resident_bytes,
        inherited_bytes: checkpoint.inherited_bytes,
        ..TimelinePoint::of(sample)
    };
    reply.timeline.iter().map(point).collect()
}

fn latency(sample: &Sample, reply: &Reply) -> Vec<LatencyBucket> {
    let mut rows = Vec::new();
    for histogram in &reply.latency {
        rows.extend(histogram.buckets.iter().map(|&(value_ns, count)| LatencyBucket {
            operation: histogram.operation.clone(),
            scope: histogram.scope.clone(),
            value_ns,
            count,
            ..LatencyBucket::of(sample)
        }));
    }
    rows
}

fn heap_map(sample: &Sample, reply: &Reply) -> Vec<HeapMapCell> {
    let mut rows = Vec::new();
    for map in &reply.heap_maps {
        rows.extend(map.cells.iter().map(|cell| HeapMapCell {
            moment: map.moment,
            region: cell.region,
            offset_bytes: cell.offset_bytes,
            span_bytes: cell.span_bytes,
            resident_bytes: cell.resident_bytes,
            live_bytes: cell.live_bytes,
            ..HeapMapCell::of(sample)
        }));
    }
    rows
}

fn sizes(sample: &Sample, reply: &Reply) -> Vec<SizeRow> {
    let row = |class: &SizeClass| SizeRow {
        usable_bytes: class.usable_bytes,
        calls: class.calls,
        requested_bytes: class.requested_bytes,
        live_blocks: class.live_blocks,
        live_requested_bytes: class.live_requested_bytes,
        live_usable_bytes: class.live_usable_bytes,
        ..SizeRow::of(sample)
    };
    reply.sizes.iter().map(row).collect()
}

fn requests(sample: &Sample, reply: &Reply) -> Vec<RequestRow> {
    let row = |class: &RequestClass| RequestRow {
        requested_bytes: class.requested_bytes,
        calls: class.calls,
        usable_bytes: class.usable_bytes,
        live_blocks: class.live_blocks,
        live_requested_bytes: class.live_requested_bytes,
        live_usable_bytes: class.live_usable_bytes,
        ..RequestRow::of(sample)
    };
    reply.requests.iter().map(row).collect()
}

/// One row for each account, and one for each size that it covers.
fn stats(sample: &Sample, reply: &Reply) -> Vec<StatsRow> {
    let whole = |stated: &Stated| StatsRow {
        moment: stated.moment,
        live_bytes: stated.account.live_bytes,
        cached_bytes: stated.account.cached_bytes,
        dirty_bytes: stated.account.dirty_bytes,
        metadata_bytes: stated.account.metadata_bytes,
        active_bytes: stated.account.active_bytes,
        system_bytes: stated.account.system_bytes,
        usable_bytes: stated.usable_bytes,
        resident_bytes: Some(stated.resident_bytes),
        ..StatsRow::of(sample)
    };
    let of_class = |stated: &Stated, class: &ClassAccount| StatsRow {
        moment: stated.moment,
        size_bytes: Some(class.size_bytes),
        live_bytes: class.live_bytes,
        cached_bytes: class.cached_bytes,
        ..StatsRow::of(sample)
    };
    let mut rows = Vec::new();
    for stated in &reply.accounts {
        rows.push(whole(stated));
        rows.extend(stated.account.classes.iter().map(|class| of_class(stated, class)));
    }
    rows
}
