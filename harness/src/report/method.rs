//! What was measured, how, and what that does not show: the sentences at the end of a report.

use std::fmt::Display;
use std::time::Duration;

use super::analysis::Analysis;
use super::notes::word;
use super::setup::{describe_allocators, describe_machine};
use crate::design::Touch;
use crate::results::metrics::{
    ALLOCATOR_PER_EVENT, BUSY_PER_EVENT, EVENTS_PER_SECOND, HARNESS_PER_EVENT, PEAK_RATIO, RESIDENT_PEAK,
    WALL_PER_EVENT,
};
use crate::stats::MIN_BLOCKS;

/// A choice that was made for every pass, or the remark that each pass makes its own.
fn asked<T: Display>(choice: Option<T>) -> String {
    choice.map_or_else(|| "each pass's default".to_owned(), |choice| choice.to_string())
}

pub(super) fn measured(analysis: &Analysis<'_>) -> Vec<String> {
    let options = &analysis.run.file.options;
    let passes: Vec<String> = options.passes.iter().map(word).collect();
    let blocks = analysis.run.samples.iter().map(|sample| sample.block + 1).max().unwrap_or(0);
    let mut sentences = vec![describe_allocators(analysis), describe_machine(analysis)];
    sentences.push(format!(
        "passes: {}; {blocks} blocks, each with every variant once, in seeded random order",
        passes.join(", "),
    ));
    sentences.extend(options.replay.iter().flat_map(|replay| {
        let cpus = replay.cpus.map_or_else(|| "each trace's own".to_owned(), |cpus| cpus.to_string());
        [
            format!("order: {}; pace: {}; touch: {}", asked(replay.order), asked(replay.pace), replay.touch),
            format!("CPUs that allocators were shown: {cpus}"),
            format!("{} checkpoints; windows of at most {} events", replay.checkpoints, replay.window_events),
        ]
    }));
    sentences.extend(
        options.timeout_ns.map(|ns| format!("time-out: {} s", Duration::from_nanos(ns).as_secs_f64())),
    );
    sentences.extend([
        format!(
            "intervals are exact order-statistic intervals of the median; those of ratios invert Wilcoxon's signed-rank \
             test on the ratios within blocks; both state the coverage that they reach, and need {MIN_BLOCKS} blocks"
        ),
    ]);
    // They are figures of replays.
    sentences.extend(options.replay.is_some().then(|| {
        format!(
            "`{BUSY_PER_EVENT}`: throughput pass, the threads' CPU clocks read at the edges of segments and waits; \
             `{ALLOCATOR_PER_EVENT}`: the same less `{HARNESS_PER_EVENT}`, what floor takes outside of the kernel in the \
             same block; the interval of its ratio is a bootstrap over blocks; `{WALL_PER_EVENT}`, \
             `{EVENTS_PER_SECOND}`: elapsed time of the same pass; `{RESIDENT_PEAK}`: \
             anonymous resident memory less the harness's constant; `{PEAK_RATIO}`: resident over requested at the \
             requested peak"
        )
    }));
    sentences
}

/// What figures of any kind do not show.
const CAVEATS: [&str; 3] = [
    "Absolute times are valid for this machine at this time only; ratios within blocks carry over.",
    "Each interval is about one comparison: one in twenty at 95 % misses.",
    "\"No difference shown\" does not prove that there is none.",
];

/// What the figures do not show, by what was measured.
pub(super) fn caveats(analysis: &Analysis<'_>) -> Vec<String> {
    let options = &analysis.run.file.options;
    let mut sentences = list_lacks(analysis);
    if options.exec.is_some() {
        sentences.extend(
            [
                "Each sample is one run of the program under the load that you gave it: other data, loads and lengths \
                 have other figures. Whether the load's requests succeeded is not known, except by its exit status.",
                "Memory is sampled: what a program has for a shorter time than between two readings is not seen, except in \
                 the peak of a control group (`--memory-max`).",
                "Not measured: NUMA, swap, contention on more CPUs than the machine has; and, without `--memory-max`, the \
                 kernel's memory and page cache.",
            ]
            .map(str::to_owned),
        );
    }
    if options.replay.is_some() || options.exec.is_none() {
        sentences.extend(caveats_of_replays(analysis));
    }
    sentences.extend(CAVEATS.map(str::to_owned));
    sentences
}

fn caveats_of_replays(analysis: &Analysis<'_>) -> [String; 5] {
    let replay = analysis.run.file.options.replay.as_ref();
    let touch = match replay.map(|replay| replay.touch) {
        Some(Touch::None) => {
            "Touch `none`: blocks are not written to. Resident memory is less than that of any real program."
        }
        Some(Touch::First) => {
            "Touch `first`: only the first byte of each block is written. Resident memory is less than that of a \
             program that uses what it asks for."
        }
        Some(Touch::Full) => {
            "Touch `full`: every byte of each block is written. A program that asks for more than it uses has less \
             resident memory."
        }
        _ => {
            "Touch `page`: one byte in each page of a block and its last one are written. A program that asks for \
             more than it uses has less resident memory."
        }
    };
    [
        "A replay makes the trace's calls at its own pace: what the program does between calls, its cache misses and \
         its waiting are not in it.",
        "The trace's order of calls arose under the allocator that it was recorded or simulated with: causal \
         order allows others, strict order enforces that one.",
        touch,
        "Not measured: NUMA, memory pressure, swap and cgroup limits, fork and copy on write, allocators of languages \
         above malloc, the kernel's memory except page tables, contention on more CPUs than the machine has.",
        "`floor` measures the harness's share of every throughput run, and is never ranked.",
    ]
    .map(str::to_owned)
}

/// What is not known about a workload, because its trace's source could not tell.
fn list_lacks(analysis: &Analysis<'_>) -> Vec<String> {
    let workloads = analysis.run.file.workloads.iter();
    let sentence = |name: &str, lack: &String| format!("{name}: its trace lacks {lack}");
    workloads.flat_map(|workload| workload.lacks.iter().map(|lack| sentence(&workload.name, lack))).collect()
}
