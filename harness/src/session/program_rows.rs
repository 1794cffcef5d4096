//! Turns a sample of a real program into rows of the files.

use std::time::Duration;

use crate::design::{CountFrom, Pace, Step};
use crate::exec::{Ending, Execution, Row, Series, Usage};
use crate::group::GroupLimits;
use crate::measure::Variation;
use crate::results::{OverTime, Rows, Sample, Status, TimelinePoint};
use crate::stats::mean_between;

/// A sample that was not taken because the variant, or its preparation, does not allow it.
pub(super) fn refused(detail: String) -> Execution {
    Execution {
        ending: Ending::Error,
        detail: Some(detail),
        warnings: Vec::new(),
        exit_status: None,
        wall: Duration::ZERO,
        ready: None,
        cpu_user_ns: 0,
        cpu_system_ns: 0,
        usage: Usage::default(),
        series: Series::default(),
        account: None,
        proven: false,
    }
}

/// A sample during which the library's file was replaced, so that nothing says which one its processes loaded.
pub(super) fn disproven(mut taken: Execution, what: String) -> Execution {
    taken.proven = false;
    if taken.ending == Ending::Ok {
        taken.ending = Ending::NotInjected;
        taken.detail = Some(what);
    } else {
        taken.warnings.push(what);
    }
    taken
}

/// The rows of one sample.
pub(super) fn make_rows(
    run_id: &str,
    workload: &str,
    step: &Step,
    variation: &Variation,
    limits: Option<&GroupLimits>,
    count_from: Option<CountFrom>,
    taken: &Execution,
) -> Rows {
    let mut sample = sample((run_id, workload), step, variation, limits, taken);
    if sample.status == Status::Ok {
        let means = taken.series.readings.means();
        let resident: Vec<(u64, u64)> =
            means.iter().map(|mean| (mean.time_ns, mean.anonymous_bytes)).collect();
        let over_time = OverTime { load: &resident, resident: &resident, has_times: true };
        over_time.complete(&mut sample, count_from);
        if let Some((from, (end, _))) = sample.counted_from_ns.zip(resident.last().copied()) {
            let once: Option<Vec<(u64, u64)>> =
                means.iter().map(|mean| Some((mean.time_ns, mean.once_bytes?))).collect();
            sample.once_mean_bytes = once.and_then(|once| mean_between(&once, from, end));
        }
    }
    let row = |Row { point, anonymous_peak_bytes, once_peak_bytes }: Row| TimelinePoint {
        time_ns: point.time_ns,
        resident_bytes: point.anonymous_bytes,
        rss_bytes: Some(point.rss_bytes),
        pss_bytes: point.pss_bytes,
        swap_bytes: Some(point.swap_bytes),
        program_threads: Some(point.threads),
        program_cpu_user_ns: Some(point.cpu_user_ns),
        program_cpu_system_ns: Some(point.cpu_system_ns),
        once_bytes: point.once_bytes,
        program_cpu_ns: Some(point.cpu_ns),
        stretch_resident_peak_bytes: Some(anonymous_peak_bytes),
        stretch_once_peak_bytes: once_peak_bytes,
        ..TimelinePoint::of(&sample)
    };
    let timeline = taken.series.readings.rows().into_iter().map(row).collect();
    Rows {
        timeline,
        latency: Vec::new(),
        heap_map: Vec::new(),
        sizes: Vec::new(),
        requests: Vec::new(),
        stats: Vec::new(),
        sample,
    }
}

fn sample(
    (run_id, workload): (&str, &str),
    step: &Step,
    variation: &Variation,
    limits: Option<&GroupLimits>,
    taken: &Execution,
) -> Sample {
    let variant = &variation.variant;
    let proven = variation.proven.as_ref().ok().filter(|_| taken.proven);
    let library = proven.map(|proven| &proven.loaded.library_path);
    let details: Vec<&str> = taken.detail.iter().chain(&taken.warnings).map(String::as_str).collect();
    let (readings, ran) = (&taken.series.readings, taken.wall > Duration::ZERO);
    // Without a sample nothing was measured: a program may end before the first sample.
    let peak = readings.peak();
    Sample {
        run_id: run_id.to_owned(),
        block: step.block,
        workload: workload.to_owned(),
        variant: variant.label.clone(),
        allocator: variant.allocator.clone(),
        allocator_version: proven
            .map(|proven| proven.loaded.version.clone())
            .filter(|version| !version.is_empty()),
        settings: variant.settings_text(),
        cpus: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        pass: step.pass,
        pace: Pace::Times(1.0).to_string(),
        status: status(taken.ending),
        status_detail: (!details.is_empty()).then(|| details.join("; ")),
        threads: peak.map(|peak| peak.threads),
        wall_ns: ran.then_some(taken.wall.as_nanos() as u64),
        cpu_user_ns: ran.then_some(taken.cpu_user_ns),
        cpu_system_ns: ran.then_some(taken.cpu_system_ns),
        whole_cpu_ns: ran.then_some(taken.usage.cpu_user_ns + taken.usage.cpu_system_ns),
        resident_peak_bytes: peak.map(|peak| peak.anonymous_bytes),
        resident_mean_bytes: readings.anonymous_mean_bytes(),
        resident_end_bytes: readings.last().map(|point| point.anonymous_bytes),
        page_faults_minor: ran.then_some(taken.usage.page_faults_minor),
        page_faults_major: ran.then_some(taken.usage.page_faults_major),
        context_switches: ran.then_some(taken.usage.context_switches),
        library_path: library.map(|path| path.display().to_string()),
        library_hash: proven.map(|proven| proven.library_hash.clone()),
        readings: Some(readings.count()),
        processes: peak.map(|peak| peak.processes),
        ready_ns: taken.ready.map(|ready| ready.as_nanos() as u64),
        exit_status: taken.exit_status,
        rss_peak_bytes: peak.map(|peak| peak.rss_bytes),
        pss_peak_bytes: peak.and_then(|peak| peak.pss_bytes),
        pss_mean_bytes: readings.pss_mean_bytes(),
        once_peak_bytes: peak.and_then(|peak| peak.once_bytes),
        once_mean_bytes: readings.once_mean_bytes(),
        swap_peak_bytes: peak.map(|peak| peak.swap_bytes),
        ..Sample::default()
    }
    .with_account(limits, taken.account.as_ref())
}

fn status(ending: Ending) -> Status {
    match ending {
        Ending::Ok => Status::Ok,
        Ending::Timeout => Status::Timeout,
        Ending::Crash => Status::Crash,
        Ending::Oom => Status::Oom,
        Ending::NotInjected => Status::NotInjected,
        Ending::LoadFailed => Status::LoadFailed,
        Ending::Error => Status::Error,
    }
}
