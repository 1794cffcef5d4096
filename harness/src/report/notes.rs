//! Sentences about what is missing from a run, and what distorts it.

use std::collections::{BTreeMap, BTreeSet};

use heaplab_allocators::registry::FLOOR;
use heaplab_workloads::stream::Requests;

use super::speed::{Speed, floor_share, timed};
use super::units;
use crate::results::metrics::{MOST_FLOOR_SHARE, misses_peak};
use crate::results::{Pass, Run, RunWorkload, Sample, Status};

/// The fraction of resident memory from which huge pages are noted.
const HUGE_PAGES_WORTH_A_NOTE: f64 = 0.25;
/// How far a memory sample's requested peak may be from the trace's before it is flagged.
const REACHED_TOLERANCE: f64 = 0.01;

/// All that can be said from run.toml and samples.csv.
pub(super) fn describe_run(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    if run.is_of_several_machines() {
        notes.push(
            "the run is of several kinds of machines: each workload appears once per kind, compared within it, and \
             there are no means over workloads"
                .to_owned(),
        );
    }
    notes.extend(describe_failures(&run.samples));
    notes.extend(describe_drift_from_trace(&run.samples));
    notes.extend(describe_missed_peaks(&run.samples));
    notes.extend(describe_missing_floor(run));
    notes.extend(describe_huge_pages(run));
    notes.extend(describe_thinned(run));
    notes.extend(describe_refused(run));
    notes.extend(describe_extrapolated(run));
    notes.extend(describe_one_load(run));
    notes.extend(describe_remarks(&run.samples));
    notes
}

/// Up to this many reasons for which samples of one variant and pass failed are told, each with its samples.
const MOST_REASONS: usize = 3;

/// Samples that are not ok, by variant, workload, pass and status; one sentence for all that failed for the same reason.
fn describe_failures(samples: &[Sample]) -> Vec<String> {
    type Reasons = Vec<(String, u64)>;
    let mut failures: BTreeMap<_, Reasons> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.status != Status::Ok) {
        let key = (&sample.workload, &sample.variant, sample.pass, sample.status);
        let reason = on_one_line(sample.status_detail.as_deref().unwrap_or_default());
        let reasons = failures.entry(key).or_default();
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    let sentences = failures.into_iter().flat_map(|((workload, variant, pass, status), reasons)| {
        let which = move |count: u64| {
            let samples = units::counted(count, &format!("{} sample", word(&pass)));
            format!("{workload}, {variant}: {samples} ended as {}", word(&status))
        };
        if reasons.len() <= MOST_REASONS {
            return reasons.into_iter().map(|(reason, count)| (which(count), reason)).collect::<Vec<_>>();
        }
        let all = reasons.iter().map(|(_, count)| count).sum();
        vec![(which(all), format!("for {} reasons, the first: {}", reasons.len(), reasons[0].0))]
    });
    join_alike(sentences)
}

/// A remark of a sample, which may have several lines.
fn on_one_line(remark: &str) -> String {
    remark.split_whitespace().collect::<Vec<&str>>().join(" ")
}

/// Sentences about samples: a remark about many samples appears once, after all of them.
fn join_alike(said: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut by_what: Vec<(String, Vec<String>)> = Vec::new();
    for (which, what) in said {
        match by_what.iter_mut().find(|(known, _)| *known == what && !what.is_empty()) {
            Some((_, samples)) => samples.push(which),
            None => by_what.push((what, vec![which])),
        }
    }
    let sentence = |(what, samples): (String, Vec<String>)| {
        let what = if what.is_empty() { what } else { format!(": {what}") };
        format!("{}{what}", samples.join("; "))
    };
    by_what.into_iter().map(sentence).collect()
}

/// Memory samples whose live set differs from the trace's.
fn describe_drift_from_trace(samples: &[Sample]) -> Vec<String> {
    let mut flagged: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.pass == Pass::Memory && sample.status == Status::Ok) {
        if let (Some(trace), Some(reached)) =
            (sample.requested_peak_bytes, sample.requested_peak_reached_bytes)
            && trace.abs_diff(reached) as f64 > trace as f64 * REACHED_TOLERANCE
        {
            *flagged.entry((&sample.workload, &sample.variant)).or_default() += 1;
        }
    }
    let sentence = |((workload, variant), count)| {
        format!(
            "{workload}, {variant}: {} reached a requested peak more than 1 % off the trace's own",
            units::counted(count, "memory sample")
        )
    };
    flagged.into_iter().map(sentence).collect()
}

/// Workloads whose memory at the requested peak was measured after it.
fn describe_missed_peaks(samples: &[Sample]) -> Vec<String> {
    let mut missed: BTreeMap<&str, u64> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.status == Status::Ok && misses_peak(sample)) {
        *missed.entry(&sample.workload).or_default() += 1;
    }
    let sentence = |(workload, count)| {
        format!(
            "{workload}: {count} of its memory samples measured the requested peak after more than 1 % of it had been \
             freed again: the breakdown, the heap map, the size classes and the allocator's account at the peak are of \
             a moment shortly after it"
        )
    };
    missed.into_iter().map(sentence).collect()
}

/// Notes that ratios of busy time include the harness, if they do.
fn describe_missing_floor(run: &Run) -> Option<String> {
    let speed = Speed::of(run);
    let share = floor_share(run);
    let is_measured = timed(run).any(|sample| sample.variant == FLOOR);
    // With floor alone there is no ratio.
    let has_ratios = share.is_some() || !is_measured;
    (speed.is_busy() && !speed.is_net() && has_ratios).then(|| {
        let why = match share {
            None => "floor was not measured".to_owned(),
            Some((share, workload)) => format!(
                "floor takes {:.0} % of the fastest variant's busy time on {workload}, more than the {:.0} % up to \
                 which it measures the harness alone",
                share * 100.0,
                MOST_FLOOR_SHARE * 100.0
            ),
        };
        format!(
            "{why}: every busy time includes the harness's share, so ratios are nearer to 1 than those of the \
             allocators alone"
        )
    })
}

/// Variants with a large part of their resident memory in huge pages: a host with a different setting would
/// show a different figure.
fn describe_huge_pages(run: &Run) -> Option<String> {
    let mut largest: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for sample in run.samples.iter().filter(|sample| sample.status == Status::Ok) {
        if let (Some(huge), Some(resident)) = (sample.anon_huge_bytes, sample.resident_end_bytes)
            && huge as f64 > resident as f64 * HUGE_PAGES_WORTH_A_NOTE
        {
            let key = (sample.workload.as_str(), sample.variant.as_str());
            let known = largest.entry(key).or_default();
            *known = (*known).max((huge, resident));
        }
    }
    if largest.is_empty() {
        return None;
    }
    let setting = run.file.machine.get("thp").and_then(|value| value.as_str()).unwrap_or("not known");
    let part = |((workload, variant), (huge, resident)): (_, (u64, u64))| {
        format!(
            "{variant} on {workload} ({} of {})",
            units::bytes(huge as f64),
            units::bytes(resident as f64)
        )
    };
    Some(format!(
        "transparent huge pages are a large part of the memory resident at the end: {}. They count whole however little of \
         them is used, and the system's setting here is {setting}: measure under the setting of the hosts that you plan for",
        largest.into_iter().map(part).collect::<Vec<String>>().join(", ")
    ))
}

/// Workloads with only one of their loads in the run: one sentence each, on what that means for the intervals.
fn describe_one_load(run: &Run) -> Vec<String> {
    let of_one = run.file.workloads.iter().filter(|workload| !workload.varies_load);
    let seeds = of_one.filter_map(|workload| Some((&workload.name, workload.load_seed?)));
    let sentence = |(name, seed)| {
        format!(
            "{name}: every block has the load of seed {seed}: the intervals are of one load, and say nothing of another \
             seed's"
        )
    };
    seeds.map(sentence).collect()
}

/// Workloads with only a part of their load in the trace.
fn describe_thinned(run: &Run) -> Vec<String> {
    let thinned =
        run.file.workloads.iter().filter_map(|workload| Some((&workload.name, workload.thinned.as_ref()?)));
    let sentence = |(name, part): (&String, &String)| {
        format!(
            "{name}: one request in {part} of the modelled load is in the trace; fewer are under way at once than on \
             the server, so that its fragmentation is a lower bound, and its resident memory too"
        )
    };
    thinned.map(sentence).collect()
}

/// Workloads with fewer requests than their rate says, since many were refused.
fn describe_refused(run: &Run) -> Vec<String> {
    let sentence = |workload: &RunWorkload| {
        let requests = Requests { made: workload.requests?, refused: workload.refused? };
        Some(format!("{}: {}", workload.name, requests.warning()?))
    };
    run.file.workloads.iter().filter_map(sentence).collect()
}

/// Workloads made by a model of recordings, each with its band, because none of their figures is exact.
fn describe_extrapolated(run: &Run) -> Vec<String> {
    let workloads = run.file.workloads.iter();
    let extrapolated =
        workloads.filter_map(|workload| Some((&workload.name, workload.extrapolation.as_ref()?)));
    let band = |name: &str| {
        let workload = run.file.workloads.iter().find(|workload| workload.name == name)?;
        workload.extrapolation_band.as_ref()?.parse::<f64>().ok().map(|band: f64| match band < 1.0 {
            true => {
                format!("; read each figure of its memory as a band of {:.0} % to each side", 100.0 * band)
            }
            false => "; its memory may be several times larger or smaller".to_owned(),
        })
    };
    extrapolated
        .map(|(name, said)| format!("{name} is extrapolated: {said}{}", band(name).unwrap_or_default()))
        .collect()
}

/// Warnings of ok samples, and workloads whose trace was cut off.
fn describe_remarks(samples: &[Sample]) -> Vec<String> {
    let mut remarks: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    let mut truncated = BTreeSet::new();
    for sample in samples.iter().filter(|sample| sample.status == Status::Ok) {
        if let Some(remark) = &sample.status_detail {
            *remarks.entry((&sample.workload, &sample.variant, remark)).or_default() += 1;
        }
        if sample.truncated {
            truncated.insert(&sample.workload);
        }
    }
    let cut = truncated
        .into_iter()
        .map(|name| format!("{name}: the trace was cut off, and only its complete chunks were used"));
    let said = remarks.into_iter().map(|((workload, variant, remark), count)| {
        (format!("{workload}, {variant}, {}", units::counted(count, "sample")), on_one_line(remark))
    });
    cut.chain(join_alike(said)).collect()
}

/// A value of an enumeration as the CSV files write it.
pub(super) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::{describe_failures, join_alike};
    use crate::results::{Pass, Sample, Status};

    #[test]
    fn every_reason_is_told_with_its_samples() {
        let failed = |detail: &str| Sample {
            workload: "w".to_owned(),
            variant: "v".to_owned(),
            pass: Pass::Throughput,
            status: Status::Error,
            status_detail: Some(detail.to_owned()),
            ..Sample::default()
        };
        let of = |details: &[&str]| {
            describe_failures(&details.iter().map(|detail| failed(detail)).collect::<Vec<Sample>>())
        };
        assert_eq!(of(&["no\n room", "no room"]), ["w, v: 2 throughput samples ended as error: no room"]);
        assert_eq!(
            of(&["no room", "killed"]),
            [
                "w, v: 1 throughput sample ended as error: no room",
                "w, v: 1 throughput sample ended as error: killed"
            ]
        );
        assert_eq!(
            of(&["1", "2", "3", "4", "4"]),
            ["w, v: 5 throughput samples ended as error: for 4 reasons, the first: 1"]
        );
    }

    #[test]
    fn what_is_said_of_many_is_said_once() {
        let said = |pairs: &[(&str, &str)]| {
            join_alike(pairs.iter().map(|(which, what)| ((*which).to_owned(), (*what).to_owned())))
        };
        assert_eq!(said(&[("a", "broken"), ("b", "late"), ("c", "")]), ["a: broken", "b: late", "c"]);
        assert_eq!(
            said(&[("a", "broken"), ("b", ""), ("c", "broken"), ("d", "")]),
            ["a; c: broken", "b", "d"]
        );
        let many: Vec<String> = (0..50).map(|number| format!("w{number}")).collect();
        let pairs: Vec<(&str, &str)> = many.iter().map(|which| (which.as_str(), "no such setting")).collect();
        let sentences = said(&pairs);
        assert_eq!(sentences.len(), 1);
        assert_eq!(sentences[0].matches("no such setting").count(), 1);
        assert!(sentences[0].starts_with("w0; w1; ") && sentences[0].contains("; w49: "), "{}", sentences[0]);
    }
}
