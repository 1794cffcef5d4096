//! Where the error of a prediction comes from, in sentences: the recorded run itself, memory outside the
//! heap, touch, order, time.

use super::held::Held;
use super::prediction::{Predictions, find_base, rest};
use super::samples::{read_replays, values, whole_cpu_ns};
use crate::results::{Counting, MemoryPoint, Pass, ResultsError, Run, Sample};
use crate::stats::median;

/// Sentences about each possible source of error.
pub(super) fn describe_causes(
    replays: &Run,
    real: &Run,
    predictions: &Predictions,
) -> Result<Vec<String>, ResultsError> {
    let mib = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
    let mut parts = Vec::new();
    let Some((workload, recorded)) = predictions.recorded.iter().next() else {
        if !predictions.outside_malloc.is_empty() {
            return Ok(describe_model(replays, real, predictions));
        }
        parts.push(
            "the recording does not contain the memory of its process: nothing can be predicted".to_owned(),
        );
        return Ok(parts);
    };
    let Ok(base) = find_base(replays, workload) else { return Ok(parts) };
    let recorded_peak = recorded.iter().map(|point| point.resident_bytes).max().unwrap_or(0) as f64;
    if let Some(own) = median(&values(real, &base, Pass::Exec, |sample| sample.resident_peak_bytes)) {
        parts.push(format!(
            "the recorded run: its peak was {}, that of the program's own runs under {base} {} ({:+.1} %)",
            mib(recorded_peak),
            mib(own),
            (recorded_peak - own) / own * 100.0
        ));
    }
    let of_base = read_replays(replays, &predictions.recorded)?;
    let mut places: Vec<usize> =
        of_base.keys().copied().filter(|place| replays.samples[*place].variant == base).collect();
    places.sort_unstable();
    if let Some(replayed) = places.first().map(|place| &of_base[place]) {
        let mut rests = rest(recorded, &replayed.at(recorded).bytes);
        rests.sort_unstable();
        let at = |part: f64| rests.get((part * rests.len() as f64) as usize).map_or(0.0, |rest| *rest as f64);
        parts.push(format!(
            "not heap: recorded minus replayed is {} (from {} to {} over 90 % of the samples); what varies in it is heap \
             that the replay lacks, or has at other times",
            mib(at(0.5)),
            mib(at(0.05)),
            mib(at(0.95))
        ));
        let below = rests.iter().filter(|rest| **rest < 0).count();
        if below > 0 {
            parts.push(format!(
                "touch: at {:.0} % of the samples the replay had more memory than the program: it touched what the program \
                 did not",
                below as f64 / rests.len() as f64 * 100.0
            ));
        }
    }
    let together = |sample: &&Sample| sample.pass == Pass::Exec && sample.processes > Some(1);
    if let Some(most) = real.samples.iter().filter(together).filter_map(|sample| sample.processes).max() {
        parts.push(format!(
            "processes: {most} of the program's processes ran at once, and the recording is of one of them: the prediction \
             lacks the others"
        ));
    }
    let cpu_times = replays.file.workloads.first().and_then(|workload| {
        Some((workload.recorded_cpu_ns? as f64 / 1e9, workload.recorder_cpu_ns? as f64 / 1e9))
    });
    if let Some((recorded, share)) = cpu_times {
        parts.push(format!(
            "CPU time: {share:.3} s of the recorded {recorded:.3} s were the recorder's own, and are subtracted"
        ));
    }
    parts.extend(describe_recorded_cpu(replays, real, &base));
    if real.file.machine.get("free_page_reporting").and_then(toml::Value::as_bool) == Some(true) {
        parts.push(
            "CPU time: the host of this machine takes free memory back, and getting it again costs the program CPU time, \
             more in some runs than in others"
                .to_owned(),
        );
    }
    let reached: Vec<f64> = replays
        .samples
        .iter()
        .filter(|sample| sample.pass == Pass::Memory)
        .filter_map(|sample| {
            Some(sample.requested_peak_reached_bytes? as f64 / sample.requested_peak_bytes? as f64)
        })
        .collect();
    if let Some(reached) = median(&reached) {
        parts.push(format!(
            "order: the replays reached {:.2} % of the trace's largest live bytes",
            reached * 100.0
        ));
    }
    parts.extend(describe_lengths(real, &base, recorded));
    Ok(parts)
}

/// The same for a model of recordings: what it was made of, and what it states.
fn describe_model(replays: &Run, real: &Run, predictions: &Predictions) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for workload in &replays.file.workloads {
        let Some(outside) = predictions.outside_malloc.get(&workload.name) else { continue };
        parts.push(format!(
            "not heap: {:.1} MiB are in each prediction, which is what the process had outside malloc when the model was \
             fitted",
            *outside as f64 / f64::from(1 << 20)
        ));
        let band = workload.extrapolation_band.as_ref().and_then(|band| band.parse::<f64>().ok());
        let band = band.map(|band| format!("; its band is {:.0} % to each side", 100.0 * band));
        parts.extend(
            workload
                .extrapolation
                .as_ref()
                .map(|said| format!("{}: {said}{}", workload.name, band.unwrap_or_default())),
        );
        let modelled = workload.duration_ns.map_or(0.0, |duration| duration as f64 / 1e9);
        let lasted = real.file.variants.iter().filter_map(|variant| {
            let wall = median(&values(real, &variant.label, Pass::Exec, |sample| sample.wall_ns))?;
            Some(format!("{:.1} s under {}", wall / 1e9, variant.label))
        });
        let lasted = lasted.collect::<Vec<_>>().join(", ");
        parts.push(format!("time: the model's trace lasts {modelled:.1} s, the program's own runs {lasted}"));
    }
    parts.push("CPU time is not predicted from a model".to_owned());
    parts
}

/// How far the recorded run's CPU time is from that of the program's own runs on the same allocator: this part of
/// every variant's error is not due to the allocators.
fn describe_recorded_cpu(replays: &Run, real: &Run, base: &str) -> Option<String> {
    let recorded = replays.file.workloads.first()?.program_cpu_ns()? as f64;
    let really = median(&values(real, base, Pass::Exec, whole_cpu_ns))?;
    Some(format!(
        "CPU time: the recorded run used {:.3} s and the program's own runs under {base} {:.3} s ({:+.1} %): that part of \
         each error is not due to allocators",
        recorded / 1e9,
        really / 1e9,
        (recorded / really - 1.0) * 100.0
    ))
}

/// How long the recorded run and the program's own runs lasted.
fn describe_lengths(real: &Run, base: &str, recorded: &[MemoryPoint]) -> Option<String> {
    let lasted = recorded.last().map_or(0, |point| point.time_ns) as f64 / 1e9;
    let wall = median(&values(real, base, Pass::Exec, |sample| sample.wall_ns))?;
    let others = real.file.variants.iter().filter(|variant| variant.label != base).filter_map(|variant| {
        let wall = median(&values(real, &variant.label, Pass::Exec, |sample| sample.wall_ns))?;
        Some(format!(", under {} {:.1} s", variant.label, wall / 1e9))
    });
    Some(format!(
        "time: the recording lasted {lasted:.1} s, the program's own runs under {base} {:.1} s{}",
        wall / 1e9,
        others.collect::<String>()
    ))
}

/// The same for a tree: the recorded memory of all its processes, and their number.
pub(super) fn describe_tree(replays: &Run, real: &Run, recorded: &[MemoryPoint]) -> Vec<String> {
    let Some(tree) = replays.file.trees.first() else { return Vec::new() };
    let base = tree.members.iter().find_map(|member| find_base(replays, &member.workload).ok());
    let mut parts: Vec<String> =
        base.iter().filter_map(|base| describe_lengths(real, base, recorded)).collect();
    let processes = real.samples.iter().filter_map(|sample| sample.processes).max();
    parts.extend(processes.map(|most| {
        format!(
            "processes: {} traces of the tree were replayed; at most {most} of the program's own processes ran at once. once: \
             pages that processes share count once, as in a control group; sum: the processes' resident memory added up",
            tree.members.len()
        )
    }));
    parts.push("CPU time is not predicted for a tree".to_owned());
    parts
}

/// If the errors of a mean over time and over progress differ by less than this, time does not explain them.
const WORTH_A_SENTENCE: f64 = 0.03;

/// The part of a mean's error that is due to time: some of the program's phases took longer, or shorter.
pub(super) fn describe_time(held: &Held) -> Option<String> {
    let over_progress = held.progress_error?;
    let of_time = held.error - over_progress;
    let is_told = held.error.abs() > held.real_spread && of_time.abs() >= WORTH_A_SENTENCE;
    let counting = match held.counting {
        Counting::Process => "",
        Counting::Once => " (once)",
        Counting::Sum => " (sum)",
    };
    (is_told && over_progress.abs() < held.error.abs()).then(|| {
        format!(
            "time: of the mean's error of {:+.1} % under {}{counting}, {:+.1} % is due to time, because the program's phases were \
             longer or shorter than in the recorded run; at equal progress (share of the CPU time used) it is {:+.1} %",
            held.error * 100.0,
            held.variant,
            of_time * 100.0,
            over_progress * 100.0
        )
    })
}
