//! What one process needs of a host's memory: one figure for each block in which its memory was measured.
//!
//! Resident memory is taken at the 99th percentile of trace time: a host must hold what a process has nearly always,
//! and processes do not all have their one short spike at once. Page tables are added. Memory outside the heap must
//! come from the user, because a replay does not have it, unless the whole process is known: predicted from a
//! recording, or measured on the program itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heaplab_allocators::registry::FLOOR;

use super::node::{Curve, PodBlock};
use crate::predict::{PLANNED_FRACTION, Predictions, predict, predict_cpu_times_ns};
use crate::results::metrics::resident_interval;
use crate::results::{Pass, ResultsError, Run, RunWorkload, Sample, Status};
use crate::stats::{Interval, median, median_interval, percentile_over_time, shown_growth};

/// Whose memory the figures are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The heap's, as it was replayed.
    #[default]
    Heap,
    /// The whole process's, predicted from a recording that knows its memory.
    Predicted,
    /// That of all processes of a tree, predicted from its recording, with pages that they share counted once.
    Tree,
    /// The memory of the program itself, which ran.
    Program,
}

impl Basis {
    /// Describes in words whose memory it is.
    pub fn describe(self) -> &'static str {
        match self {
            Basis::Heap => "a replayed heap's",
            Basis::Predicted => "a process's, predicted from its recording",
            Basis::Tree => "that of all processes of a tree",
            Basis::Program => "a program's own",
        }
    }
}

/// What a process needs in one block.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockNeed {
    /// Resident bytes that it does not exceed in 99 % of trace time, or of the program's run time.
    pub resident_p99_bytes: f64,
    /// Page tables of the heap after the last event, without the harness's own.
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
    /// By block. Blocks without an ok memory sample are missing.
    pub blocks: BTreeMap<u32, BlockNeed>,
    /// Memory samples that are not ok.
    pub failed: u64,
    /// CPU counts that the allocator saw; more than one only if the run was made in parts.
    pub cpus: BTreeSet<u32>,
    /// Pages of the allocator's library that processes share, the largest figure; none if not measured.
    pub library_bytes: Option<u64>,
    /// Threads of the process.
    pub threads: Option<u64>,
    /// The load model and its number of connections if the workload is a load model; otherwise the load that was given.
    pub load: Option<(String, f64)>,
    /// Whose memory it is; the same for all variants of a workload.
    pub basis: Basis,
    /// Whether its memory is that of the recording in every block, because it is the build that was recorded.
    pub is_one_recording: bool,
    /// Whether every block replayed the same load, that of a recording or of one seed: how the load of one day differs from
    /// another's is not in the figures.
    pub is_of_one_load: bool,
    /// CPUs that a process keeps busy on average: CPU time over elapsed time; none where the program did not run and
    /// its recording does not say.
    pub cpus_used: Option<f64>,
    /// Upper end of its interval over blocks; none for fewer than 6 blocks.
    pub cpus_high: Option<f64>,
    /// CPUs that it keeps busy, by block.
    pub cpus_by_block: BTreeMap<u32, f64>,
    /// Growth of memory from the second third of the time to the last, as a fraction; none if none is shown.
    pub growth: Option<f64>,
    /// What a pod takes, by block.
    pub pods: BTreeMap<u32, PodBlock>,
}

impl Need {
    /// What is added to a process: memory outside its heap, unless the whole process is known.
    pub(super) fn beside(&self, non_heap_bytes: u64) -> f64 {
        if self.basis == Basis::Heap { non_heap_bytes as f64 } else { 0.0 }
    }

    /// The interval of its memory, from values in blocks; none for one recording, however often it was replayed.
    pub(crate) fn interval(&self, bytes: &[f64]) -> Option<Interval> {
        resident_interval(bytes).filter(|_| !self.is_one_recording)
    }
}

/// Whether a plan counts a sample: it measures memory, and not the harness's own.
pub fn is_planned(sample: &Sample) -> bool {
    matches!(sample.pass, Pass::Memory | Pass::Exec) && sample.allocator != FLOOR
}

/// Reads the needs of a run's processes, in the order of its workloads and variants. Adds to `notes` what spoils them
/// or is missing.
///
/// # Errors
///
/// timeline.csv cannot be read.
pub fn read_needs(run: &Run, notes: &mut Vec<String>) -> Result<Vec<Need>, ResultsError> {
    let predictions = predict(run)?;
    let mut points = read_points(run, predictions, notes)?;
    notes.append(&mut points.predictions.notes);
    notes.extend(points.predictions.describe_recorded(run));
    let predicted = points.predicted_workloads(run);
    let mut needs: BTreeMap<(usize, usize), Need> = BTreeMap::new();
    let mut order = Order::new(run);
    let mut without_points: BTreeMap<(&str, &str, Basis), u64> = BTreeMap::new();
    let of_trees = members_of_trees(run);
    let is_alone = |sample: &Sample| is_planned(sample) && !of_trees.contains(&*sample.workload);
    for (place, sample) in run.samples.iter().enumerate().filter(|(_, sample)| is_alone(sample)) {
        let workload = run.file.workloads.iter().find(|workload| workload.name == sample.workload);
        let basis = match sample.pass {
            Pass::Exec => Basis::Program,
            _ if predicted.contains(&*sample.workload) => Basis::Predicted,
            _ => Basis::Heap,
        };
        let need = needs.entry(order.rank(sample)).or_insert_with(|| empty(sample, workload, basis));
        if sample.status != Status::Ok {
            need.failed += 1;
            continue;
        }
        let recorded_under = points.predictions.as_recorded.get(&sample.workload);
        need.is_one_recording = basis == Basis::Predicted && recorded_under == Some(&sample.variant);
        need.cpus.insert(sample.cpus);
        need.threads = need.threads.max(sample.threads);
        need.library_bytes = need.library_bytes.max(sample.library_file_bytes);
        let end = if basis == Basis::Program { sample.wall_ns } else { workload.and_then(end_of_trace) };
        let (all, predicted_peak_bytes) = points.take(place, basis);
        // Peaks are those of the whole run, even where the rest counts from a later moment on.
        let peak_bytes = all.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0).max(predicted_peak_bytes);
        let from = sample.counted_from_ns.unwrap_or(0);
        let held = held_from(all, from);
        let most = points.stretch_peaks.remove(&place).map(|most| held_from(most, from));
        match percentile_over_time(&held, end.unwrap_or(0), PLANNED_FRACTION) {
            Some(resident) => {
                let harness = sample.page_table_harness_bytes.unwrap_or(0);
                let page_tables = sample.page_table_bytes.unwrap_or(0).saturating_sub(harness);
                let block =
                    BlockNeed { resident_p99_bytes: resident as f64, page_table_bytes: page_tables as f64 };
                need.blocks.insert(sample.block, block);
                let end = end.unwrap_or(0);
                let has_times =
                    basis == Basis::Program || workload.is_some_and(|workload| workload.has_times);
                let held = most.as_ref().unwrap_or(&held);
                let measured = Measured { peak_bytes, held, page_table_bytes: page_tables as f64 };
                need.pods.insert(sample.block, pod(sample, &measured, end, has_times));
            }
            None => {
                *without_points.entry((&sample.workload, &sample.variant, basis)).or_default() += 1;
            }
        }
    }
    notes.extend(without_points.into_iter().map(describe_without_points));
    let mut needs: Vec<Need> = needs.into_values().collect();
    for need in &mut needs {
        need.cpus_by_block = cpus_by_block(run, need);
        let used: Vec<f64> = need.cpus_by_block.values().copied().collect();
        need.cpus_used = median(&used);
        need.cpus_high = median_interval(&used).map(|interval| interval.high);
        need.growth = growth(run, need);
    }
    Ok(needs)
}

/// The workloads that are processes of a tree: they are not placed on hosts by themselves.
pub(super) fn members_of_trees(run: &Run) -> BTreeSet<&str> {
    run.file.trees.iter().flat_map(|tree| &tree.members).map(|member| &*member.workload).collect()
}

/// What was measured or predicted of one block's memory.
pub(super) struct Measured<'a> {
    /// The most memory of the whole run.
    pub(super) peak_bytes: u64,
    /// Pairs of time and bytes in order of time, from where memory counts; where one stands for several readings, their
    /// largest.
    pub(super) held: &'a [(u64, u64)],
    /// Page tables, which are in neither.
    pub(super) page_table_bytes: f64,
}

impl Measured<'_> {
    /// What a pod with this memory takes, until `end`.
    pub(super) fn pod(&self, end: u64, has_times: bool) -> PodBlock {
        let curve = Curve::of(self.held, end).raised_by(self.page_table_bytes as f32);
        let first = self.held.first().map_or(0, |point| point.0);
        let end = end.max(self.held.last().map_or(0, |point| point.0));
        let seconds = |time_ns: u64| if has_times { time_ns as f64 / 1e9 } else { 0.0 };
        let span_s = seconds(end - first);
        let steps_a_second = if span_s > 0.0 { Curve::STEPS as f64 / span_s } else { 0.0 };
        PodBlock {
            peak_bytes: curve.peak().max(self.peak_bytes as f64 + self.page_table_bytes),
            kernel_bytes: None,
            file_bytes: None,
            growth_bytes_per_s: curve.growth() * steps_a_second,
            time_s: seconds(end),
            curve,
        }
    }
}

/// What a pod with this sample takes.
fn pod(sample: &Sample, measured: &Measured<'_>, end: u64, has_times: bool) -> PodBlock {
    let block = measured.pod(end, has_times);
    let as_float = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    // There may be more between two readings: the group's charge minus its file pages and kernel memory is a lower
    // bound.
    let beyond = |peak: u64| {
        peak.saturating_sub(sample.group_file_bytes.unwrap_or(0))
            .saturating_sub(sample.group_kernel_bytes.unwrap_or(0))
    };
    let is_program = sample.pass == Pass::Exec;
    let own_peak = sample.once_peak_bytes.or(sample.resident_peak_bytes);
    let seen = [sample.group_peak_bytes.map(beyond), sample.group_anonymous_bytes, own_peak];
    let seen = seen.into_iter().flatten().max().filter(|_| is_program).unwrap_or(0) as f64;
    PodBlock {
        peak_bytes: block.peak_bytes.max(seen),
        kernel_bytes: as_float(sample.group_kernel_bytes).filter(|_| is_program),
        file_bytes: as_float(sample.group_file_bytes).filter(|_| is_program),
        ..block
    }
}

/// How much memory still grew at the end of a need's samples.
fn growth(run: &Run, need: &Need) -> Option<f64> {
    let is_of = |sample: &&Sample| {
        is_planned(sample)
            && sample.status == Status::Ok
            && (&sample.workload, &sample.variant) == (&need.workload, &need.variant)
    };
    let fractions = run.samples.iter().filter(is_of).filter_map(Sample::growth);
    shown_growth(&fractions.collect::<Vec<f64>>())
}

/// CPUs that a process keeps busy, by block: measured if the program ran, otherwise predicted from a recording.
fn cpus_by_block(run: &Run, need: &Need) -> BTreeMap<u32, f64> {
    if need.basis == Basis::Program {
        let of = |sample: &&Sample| {
            (sample.pass, sample.status) == (Pass::Exec, Status::Ok)
                && (&sample.workload, &sample.variant) == (&need.workload, &need.variant)
        };
        let used = run.samples.iter().filter(of).filter_map(|sample| {
            let cpu_ns = sample.cpu_user_ns?.checked_add(sample.cpu_system_ns?)?;
            Some((sample.block, cpu_ns as f64 / sample.wall_ns.filter(|wall| *wall > 0)? as f64))
        });
        return used.collect();
    }
    let workload = run.file.workloads.iter().find(|workload| workload.name == need.workload);
    let elapsed = workload.and_then(|workload| {
        Some((workload, workload.duration_ns.filter(|duration| workload.has_times && *duration > 0)? as f64))
    });
    let Some((workload, elapsed_ns)) = elapsed else { return BTreeMap::new() };
    let times = predict_cpu_times_ns(run, workload, &need.variant);
    times.into_iter().map(|(block, time_ns)| (block, time_ns / elapsed_ns)).collect()
}

/// Resident bytes over time, by the index of the sample in [`Run::samples`].
struct Points {
    timelines: HashMap<usize, Vec<(u64, u64)>>,
    /// Of a program, the largest of the readings that a point stands for.
    stretch_peaks: HashMap<usize, Vec<(u64, u64)>>,
    predictions: Predictions,
}

impl Points {
    /// Workloads with a predicted sample. Their other samples are left out: heaps and whole processes have no common
    /// ratio.
    fn predicted_workloads<'r>(&self, run: &'r Run) -> BTreeSet<&'r str> {
        self.predictions.of_samples.keys().map(|&place| run.samples[place].workload.as_str()).collect()
    }

    /// Those of a sample, if any, and the peak that was predicted.
    fn take(&mut self, place: usize, basis: Basis) -> (Vec<(u64, u64)>, u64) {
        match basis {
            Basis::Predicted => {
                let found = self.predictions.of_samples.remove(&place);
                found.map_or((Vec::new(), 0), |found| {
                    (found.points.into_iter().map(<(u64, u64)>::from).collect(), found.peak_bytes)
                })
            }
            Basis::Heap | Basis::Program | Basis::Tree => {
                (self.timelines.remove(&place).unwrap_or_default(), 0)
            }
        }
    }
}

/// Reads the points of timeline.csv, of replays and of programs. Adds to `notes` what was left out.
fn read_points(run: &Run, predictions: Predictions, notes: &mut Vec<String>) -> Result<Points, ResultsError> {
    let (mut timelines, mut stretch_peaks) = (HashMap::new(), HashMap::new());
    let add = |to: &mut HashMap<usize, Vec<(u64, u64)>>, place, point| {
        to.entry(place).or_default().push(point);
    };
    let has = |pass| run.samples.iter().any(|sample| sample.pass == pass);
    if has(Pass::Exec) {
        // Pages that several processes share count once, where it is known what they share.
        notes.extend(run.each_program_point(|place, point| {
            let time = point.time_ns;
            add(&mut timelines, place, (time, point.once_bytes.unwrap_or(point.resident_bytes)));
            let peak = match point.once_bytes {
                Some(_) => point.stretch_once_peak_bytes,
                None => point.stretch_resident_peak_bytes,
            };
            if let Some(peak) = peak {
                add(&mut stretch_peaks, place, (time, peak));
            }
        })?);
    }
    if has(Pass::Memory) {
        notes.extend(run.each_timeline_point(|place, point| {
            add(&mut timelines, place, (point.time_ns, point.resident_bytes));
        })?);
    }
    Ok(Points { timelines, stretch_peaks, predictions })
}

fn describe_without_points(((workload, variant, basis), count): ((&str, &str, Basis), u64)) -> String {
    let (sample, is) = if count == 1 { ("sample", "is") } else { ("samples", "are") };
    let why = match basis {
        Basis::Heap => format!("timeline.csv has no point of {count} memory {sample}, which {is} left out"),
        Basis::Predicted | Basis::Tree => {
            format!(
                "{count} memory {sample} {is} left out: no ok replay of the build recorded under is of the same block"
            )
        }
        Basis::Program => {
            format!(
                "timeline.csv has no point of {count} {sample}, which {is} left out: the program may have exited before it was sampled"
            )
        }
    };
    format!("{workload}, {variant}: {why}")
}

fn empty(sample: &Sample, workload: Option<&RunWorkload>, basis: Basis) -> Need {
    let load =
        workload.and_then(|workload| Some((workload.model.clone()?, f64::from(workload.connections?))));
    Need {
        workload: sample.workload.clone(),
        variant: sample.variant.clone(),
        load,
        basis,
        is_of_one_load: basis != Basis::Program && workload.is_some_and(|workload| !workload.varies_load),
        ..Need::default()
    }
}

/// The position of a workload and a variant: in the order of run.toml, then of samples.csv.
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

    fn rank(&mut self, sample: &Sample) -> (usize, usize) {
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

/// What holds from a given time on, for values that each hold until the next.
pub(super) fn held_from(mut points: Vec<(u64, u64)>, from: u64) -> Vec<(u64, u64)> {
    points.sort_by_key(|&(time, _)| time);
    let before = points.partition_point(|&(time, _)| time <= from).saturating_sub(1);
    points.drain(..before);
    if let Some((time, _)) = points.first_mut() {
        *time = (*time).max(from);
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_from_later_on_keeps_the_peak_and_the_rate_of_growth() {
        // A spike of 900 at the start; from 50 s on a rise of 1 a second from 100.
        let all: Vec<(u64, u64)> = std::iter::once((0, 900))
            .chain((1..=100).map(|second: u64| (second * 1_000_000_000, 50 + second)))
            .collect();
        let block = |from_s: u64| {
            let held = held_from(all.clone(), from_s * 1_000_000_000);
            Measured { peak_bytes: 900, held: &held, page_table_bytes: 8.0 }.pod(100_000_000_000, true)
        };
        for from_s in [0, 50, 90] {
            let block = block(from_s);
            assert_eq!((block.peak_bytes, block.time_s), (908.0, 100.0), "from {from_s} s");
            assert!((block.growth_bytes_per_s - 1.0).abs() < 0.15, "{}", block.growth_bytes_per_s);
        }
    }
}
