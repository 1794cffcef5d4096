//! What makes the memory samples of a run a bad basis for a plan, in sentences.

use std::collections::{BTreeMap, BTreeSet};

use super::need::is_planned;
use crate::results::{Pass, Run, Sample, Status};
use crate::stats::shown_growth;

/// Huge pages are noted where they are more than one over this of resident memory.
const HUGE_PAGES_WORTH_A_NOTE: u64 = 4;

/// A sentence for each variant that has failed memory samples, with the first reason.
fn describe_failures(run: &Run) -> Vec<String> {
    let mut failures: BTreeMap<(&str, &str), (u64, &Sample)> = BTreeMap::new();
    for sample in &run.samples {
        if is_planned(sample) && sample.status != Status::Ok {
            failures.entry((&sample.workload, &sample.variant)).or_insert((0, sample)).0 += 1;
        }
    }
    let sentence = |((workload, variant), (count, first)): ((&str, &str), (u64, &Sample))| {
        let why = first.status_detail.as_deref().unwrap_or("no reason was given");
        let why = why.split_whitespace().collect::<Vec<&str>>().join(" ");
        let samples = if count == 1 { "sample is" } else { "samples are" };
        let of = if first.pass == Pass::Exec { "of its" } else { "memory" };
        format!("{workload}, {variant}: {count} {of} {samples} not ok, and not counted: {why}")
    };
    failures.into_iter().map(sentence).collect()
}

/// What a caveat says of variants, by workload: `monitor-server (jemalloc by 4 %), redis-server (mimalloc by 9 %)`.
fn list_by_workload(found: &BTreeMap<&str, Vec<String>>) -> Option<String> {
    let of_each = found.iter().filter(|(_, variants)| !variants.is_empty());
    let of_each = of_each.map(|(workload, variants)| format!("{workload} ({})", variants.join(", ")));
    let all = of_each.collect::<Vec<String>>().join(", ");
    (!all.is_empty()).then_some(all)
}

/// The variants whose resident memory is to a good part in huge pages: a host with another setting holds another amount.
fn describe_huge_pages(run: &Run) -> Option<String> {
    let is_huge = |sample: &&Sample| {
        let figures = sample.anon_huge_bytes.zip(sample.resident_end_bytes);
        figures.is_some_and(|(huge, resident)| huge > resident / HUGE_PAGES_WORTH_A_NOTE)
    };
    let memory = run.samples.iter().filter(|sample| is_planned(sample) && sample.status == Status::Ok);
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for sample in memory.filter(is_huge) {
        let variants = found.entry(&sample.workload).or_default();
        if !variants.contains(&sample.variant) {
            variants.push(sample.variant.clone());
        }
    }
    let setting = run.file.machine.get("thp").and_then(|value| value.as_str()).unwrap_or("not known");
    let found = list_by_workload(&found)?;
    Some(format!(
        "transparent huge pages hold more than a quarter of the memory of {found}. They depend on the kernel's setting, \
         here `{setting}`: measure under the setting of the hosts"
    ))
}

/// The variants whose memory still grew at the end: what they need over a longer life is not in the run.
fn describe_growth(run: &Run) -> Option<String> {
    let mut fractions: BTreeMap<&str, BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    for sample in run.samples.iter().filter(|sample| is_planned(sample) && sample.status == Status::Ok) {
        if let Some(growth) = sample.growth() {
            let of_workload = fractions.entry(&sample.workload).or_default();
            of_workload.entry(&sample.variant).or_default().push(growth);
        }
    }
    let grown = |variants: BTreeMap<&str, Vec<f64>>| -> Vec<String> {
        let all = variants.len();
        let grown = variants
            .into_iter()
            .filter_map(|(variant, fractions)| Some((variant, shown_growth(&fractions)? * 100.0)));
        let grown: Vec<(&str, f64)> = grown.collect();
        let by = || grown.iter().map(|(_, growth)| *growth);
        let (least, most) = (by().fold(f64::INFINITY, f64::min), by().fold(0.0, f64::max));
        match grown.len() {
            // Then it is the program that grows.
            several if several > 2 && several == all => {
                vec![format!("every variant, by {least:.0} to {most:.0} %")]
            }
            _ => grown.into_iter().map(|(variant, growth)| format!("{variant} by {growth:.0} %")).collect(),
        }
    };
    let found = fractions.into_iter().map(|(workload, variants)| (workload, grown(variants))).collect();
    let found = list_by_workload(&found)?;
    Some(format!(
        "memory still grew from the second third of the time to the last: {found}. A longer life needs more than this \
         plan says: measure until memory is steady"
    ))
}

/// What makes the memory samples of a run a bad basis for a plan. A control group is charged for page tables and for
/// pages of libraries: a plan of pods alone lacks neither.
pub(super) fn describe_caveats(run: &Run, is_of_pods_alone: bool) -> Vec<String> {
    let mut notes = describe_failures(run);
    notes.extend(describe_huge_pages(run));
    notes.extend(describe_growth(run));
    let of = |wanted: &dyn Fn(&Sample) -> bool| {
        let memory = run.samples.iter().filter(|sample| is_planned(sample) && sample.status == Status::Ok);
        let names: BTreeSet<&str> =
            memory.filter(|sample| wanted(sample)).map(|sample| sample.workload.as_str()).collect();
        (!names.is_empty()).then(|| names.into_iter().collect::<Vec<&str>>().join(", "))
    };
    let has_times = |sample: &Sample| {
        let named = run.file.workloads.iter().find(|workload| workload.name == sample.workload);
        sample.pass == Pass::Exec || named.is_none_or(|workload| workload.has_times)
    };
    let is_charged = |sample: &Sample| is_of_pods_alone && sample.group_kernel_bytes.is_some();
    let mut say =
        |names: Option<String>, what: &str| notes.extend(names.map(|names| format!("{names}: {what}")));
    say(
        of(&|sample| matches!(sample.touch.as_str(), "none" | "first")),
        "its blocks were not written to (--touch), so less memory was resident than in reality: measure with --touch page",
    );
    say(
        of(&|sample| sample.pace == "max" && has_times(sample)),
        "at full speed, allocators that return memory after some time returned none: measure with --pace virtual",
    );
    say(
        of(&|sample| !has_times(sample)),
        "the trace has no times, so an event's index is used as its time: the 99th percentile is over events",
    );
    say(of(&|sample| sample.truncated), "the trace was cut off, and only its complete chunks were used");
    say(
        of(&|sample| sample.page_table_bytes.is_none() && !is_charged(sample)),
        "page tables were not measured and are not in the figures",
    );
    say(
        of(&|sample| sample.page_table_bytes.is_some() && sample.page_table_harness_bytes.is_none()),
        "page tables include the harness's own, so each process is counted as slightly too large",
    );
    say(
        of(&|sample| sample.library_file_bytes.is_none() && !is_charged(sample)),
        "shared pages of the allocator's library were not measured and are not in the figures",
    );
    notes
}
