//! What one process needs of a host's memory: a figure for each block in which its memory was measured.
//!
//! Resident memory is taken at the 99th percentile of trace time: a host must hold what a process has nearly always,
//! and one short spike is not what all processes have at once. Page tables come on top; what is not the heap's is for the
//! user to say, because a replay does not have it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::results::{Pass, ResultsError, Run, RunWorkload, Sample, Status};
use crate::stats::percentile;

/// The part of trace time in which a process has no more.
const FRACTION: f64 = 0.99;
/// Huge pages are noted where they are more than one over this of resident memory.
const HUGE_PAGES_WORTH_A_NOTE: u64 = 4;
/// Measures the harness and serves nobody.
const FLOOR: &str = "floor";

/// What a process needs in one block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockNeed {
    /// Resident bytes that it does not exceed in 99 % of trace time.
    pub resident_p99_bytes: f64,
    /// Page tables after the last event, without the harness's own.
    pub page_table_bytes: f64,
}

impl BlockNeed {
    /// Memory of a process that no other shares, as far as it was measured.
    pub fn process_bytes(&self) -> f64 {
        self.resident_p99_bytes + self.page_table_bytes
    }
}

/// What a process of one workload needs under one variant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Need {
    /// Workload's name.
    pub workload: String,
    /// Variant's label.
    pub variant: String,
    /// By block. A block without an ok memory sample is not in it.
    pub blocks: BTreeMap<u32, BlockNeed>,
    /// Memory samples that are not ok.
    pub failed: u64,
    /// CPU counts that the allocator was shown; more than one only if the run was made in parts.
    pub cpus: BTreeSet<u32>,
    /// Pages of the allocator's library that processes share, the largest figure; none if not measured.
    pub library_bytes: Option<u64>,
    /// Threads of the process.
    pub threads: Option<u64>,
    /// The load model and its number of connections, where the workload is one.
    pub load: Option<(String, u32)>,
}

/// The needs of a run, in the order of its workloads and variants. Adds to `notes` what spoils or is missing.
///
/// # Errors
///
/// timeline.csv cannot be read.
pub fn read_needs(run: &Run, notes: &mut Vec<String>) -> Result<Vec<Need>, ResultsError> {
    let mut timelines: HashMap<usize, Vec<(u64, u64)>> = HashMap::new();
    notes.extend(run.each_timeline_point(|place, point| {
        timelines.entry(place).or_default().push((point.time_ns, point.resident_bytes));
    })?);
    let mut needs: BTreeMap<(usize, usize), Need> = BTreeMap::new();
    let mut order = Order::new(run);
    let mut without_points: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for (place, sample) in run.samples.iter().enumerate() {
        if sample.pass != Pass::Memory || sample.allocator == FLOOR {
            continue;
        }
        let workload = run.file.workloads.iter().find(|workload| workload.name == sample.workload);
        let need = needs.entry(order.place(sample)).or_insert_with(|| empty(sample, workload));
        if sample.status != Status::Ok {
            need.failed += 1;
            continue;
        }
        need.cpus.insert(sample.cpus);
        need.threads = need.threads.max(sample.threads);
        need.library_bytes = need.library_bytes.max(sample.library_file_bytes);
        let end = workload.and_then(end_of_trace).unwrap_or(0);
        match timelines.remove(&place).and_then(|points| percentile_over_time(points, end)) {
            Some(resident) => {
                let harness = sample.page_table_harness_bytes.unwrap_or(0);
                let page_tables = sample.page_table_bytes.unwrap_or(0).saturating_sub(harness);
                let block =
                    BlockNeed { resident_p99_bytes: resident as f64, page_table_bytes: page_tables as f64 };
                need.blocks.insert(sample.block, block);
            }
            None => *without_points.entry((&sample.workload, &sample.variant)).or_default() += 1,
        }
    }
    notes.extend(without_points.into_iter().map(|((workload, variant), count)| {
        format!(
            "{workload}, {variant}: timeline.csv has no point of {count} memory samples, which are left out"
        )
    }));
    notes.extend(describe_failures(run));
    notes.extend(describe_huge_pages(run));
    notes.extend(describe_spoilt(run));
    Ok(needs.into_values().collect())
}

fn empty(sample: &Sample, workload: Option<&RunWorkload>) -> Need {
    let load = workload.and_then(|workload| Some((workload.model.clone()?, workload.connections?)));
    Need { workload: sample.workload.clone(), variant: sample.variant.clone(), load, ..Need::default() }
}

/// Where a workload and a variant stand: in the order of run.toml, then of samples.csv.
struct Order {
    workloads: Vec<String>,
    variants: Vec<String>,
}

impl Order {
    fn new(run: &Run) -> Order {
        Order {
            workloads: run.file.workloads.iter().map(|workload| workload.name.clone()).collect(),
            variants: run.file.variants.iter().map(|variant| variant.label.clone()).collect(),
        }
    }

    fn place(&mut self, sample: &Sample) -> (usize, usize) {
        let find = |names: &mut Vec<String>, name: &str| {
            names.iter().position(|known| known == name).unwrap_or_else(|| {
                names.push(name.to_owned());
                names.len() - 1
            })
        };
        (find(&mut self.workloads, &sample.workload), find(&mut self.variants, &sample.variant))
    }
}

/// Trace time at the last event; the number of events where the trace has no times.
fn end_of_trace(workload: &RunWorkload) -> Option<u64> {
    if workload.has_times { workload.duration_ns } else { workload.events }
}

/// The resident bytes that are not exceeded in 99 % of trace time, each point (time, resident bytes) holding until the next.
fn percentile_over_time(mut points: Vec<(u64, u64)>, end: u64) -> Option<u64> {
    points.sort_by_key(|point| point.0);
    let last = *points.last()?;
    let largest = points.iter().map(|point| point.1).max();
    let nexts = points.iter().skip(1).map(|next| next.0).chain([end.max(last.0)]);
    let mut held: Vec<(u64, u64)> =
        points.iter().zip(nexts).map(|(point, next)| (point.1, next - point.0)).collect();
    held.sort_unstable();
    // A trace of no length has no time to weigh by.
    percentile(&held, FRACTION).or(largest)
}

/// A sentence for each variant of which memory samples failed, with the first reason.
fn describe_failures(run: &Run) -> Vec<String> {
    let mut failures: BTreeMap<(&str, &str), (u64, &Sample)> = BTreeMap::new();
    for sample in &run.samples {
        if sample.pass == Pass::Memory && sample.status != Status::Ok && sample.allocator != FLOOR {
            failures.entry((&sample.workload, &sample.variant)).or_insert((0, sample)).0 += 1;
        }
    }
    let sentence = |((workload, variant), (count, first)): ((&str, &str), (u64, &Sample))| {
        let why = first.status_detail.as_deref().unwrap_or("no reason was given");
        let why = why.split_whitespace().collect::<Vec<&str>>().join(" ");
        let samples = if count == 1 { "sample is" } else { "samples are" };
        format!("{workload}, {variant}: {count} memory {samples} not ok and left out: {why}")
    };
    failures.into_iter().map(sentence).collect()
}

/// Variants of whose resident memory huge pages are a good part: hosts that are set otherwise hold another number.
fn describe_huge_pages(run: &Run) -> Vec<String> {
    let is_huge = |sample: &&Sample| {
        let figures = sample.anon_huge_bytes.zip(sample.resident_end_bytes);
        figures.is_some_and(|(huge, resident)| huge > resident / HUGE_PAGES_WORTH_A_NOTE)
    };
    let memory = run.samples.iter().filter(|sample| {
        sample.pass == Pass::Memory && sample.status == Status::Ok && sample.allocator != FLOOR
    });
    let found: BTreeSet<(&str, &str)> =
        memory.filter(is_huge).map(|sample| (sample.workload.as_str(), sample.variant.as_str())).collect();
    let setting = run.file.machine.get("thp").and_then(|value| value.as_str()).unwrap_or("not known");
    let sentence = |(workload, variant)| {
        format!(
            "{workload}, {variant}: a good part of its memory is transparent huge pages, by the setting of the machine that \
             measured ({setting}): measure under that of the hosts"
        )
    };
    found.into_iter().map(sentence).collect()
}

/// What makes the memory samples of a run a bad basis for a plan.
fn describe_spoilt(run: &Run) -> Vec<String> {
    let mut notes = Vec::new();
    let of = |wanted: &dyn Fn(&Sample) -> bool| {
        let memory = run.samples.iter().filter(|sample| {
            sample.pass == Pass::Memory && sample.status == Status::Ok && sample.allocator != FLOOR
        });
        let names: BTreeSet<&str> =
            memory.filter(|sample| wanted(sample)).map(|sample| sample.workload.as_str()).collect();
        (!names.is_empty()).then(|| names.into_iter().collect::<Vec<&str>>().join(", "))
    };
    let has_times = |sample: &Sample| {
        let named = run.file.workloads.iter().find(|workload| workload.name == sample.workload);
        named.is_none_or(|workload| workload.has_times)
    };
    let mut say =
        |names: Option<String>, what: &str| notes.extend(names.map(|names| format!("{names}: {what}")));
    say(
        of(&|sample| matches!(sample.touch.as_str(), "none" | "first")),
        "its blocks were not written to (--touch), so that less was resident than in reality: measure with --touch page",
    );
    say(
        of(&|sample| sample.pace == "max" && has_times(sample)),
        "replayed at full speed, allocators that give memory back by time gave none back: measure with --pace virtual",
    );
    say(
        of(&|sample| !has_times(sample)),
        "the trace has no times, and an event's index stands for its time: the 99th percentile is over events",
    );
    say(of(&|sample| sample.truncated), "the trace was cut off; only its whole chunks were used");
    say(
        of(&|sample| sample.page_table_bytes.is_none()),
        "page tables were not measured, and are not in the figures",
    );
    say(
        of(&|sample| sample.page_table_bytes.is_some() && sample.page_table_harness_bytes.is_none()),
        "page tables hold the harness's own, which were not told apart: each process is counted a little too large",
    );
    say(
        of(&|sample| sample.library_file_bytes.is_none()),
        "shared pages of the allocator's library were not measured, and are not in the figures",
    );
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_percentile_is_weighted_by_time() {
        // 100 for 980 of 1000, 900 for 15, 5000 for 5.
        let points = vec![(0, 100), (500, 900), (515, 100), (900, 5000), (905, 100)];
        assert_eq!(percentile_over_time(points.clone(), 1000), Some(900));
        let spike = vec![(0, 100), (900, 5000), (905, 100)];
        assert_eq!(percentile_over_time(spike, 1000), Some(100));
        assert_eq!(percentile_over_time(vec![(0, 1), (10, 7)], 1000), Some(7), "the last holds to the end");
        assert_eq!(percentile_over_time(vec![(5, 3), (5, 9), (5, 4)], 5), Some(9), "no time goes by");
        assert_eq!(percentile_over_time(Vec::new(), 9), None);
    }

    proptest! {
        #[test]
        fn it_is_exceeded_for_a_hundredth_of_the_time_at_most(
            points in prop::collection::vec((0u64..10_000, 0u64..1000), 1..60),
            more in 1u64..5000,
        ) {
            let end = points.iter().map(|point| point.0).max().unwrap_or(0) + more;
            let found = percentile_over_time(points.clone(), end).expect("a point");
            let mut sorted = points.clone();
            sorted.sort_by_key(|point| point.0);
            let nexts: Vec<u64> = sorted.iter().skip(1).map(|next| next.0).chain([end]).collect();
            let above: u64 =
                sorted.iter().zip(&nexts).filter(|(point, _)| point.1 > found).map(|(point, next)| next - point.0).sum();
            let all = end - sorted[0].0;
            prop_assert!(above * 100 <= all, "{above} of {all}");
            prop_assert!(points.iter().any(|point| point.1 == found));
        }
    }
}
