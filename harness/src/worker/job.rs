//! What the parent asks of a worker, and what the worker answers: one JSON object each way.

use std::path::PathBuf;

use heaplab_allocators::Variant;
use heaplab_workloads::program::ProgramInfo;
use serde::{Deserialize, Serialize};

use super::Status;
use super::extent::{Footprint, Need, Warmed};
use crate::plan::{Pace, Pass, Touch};

/// One sample to take. Comes in on stdin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The program file.
    pub program: PathBuf,
    /// What was learnt when it was compiled.
    pub info: ProgramInfo,
    /// Which allocator must serve, with which settings.
    pub variant: Variant,
    /// What to measure.
    pub pass: Pass,
    /// How fast trace time goes by.
    pub pace: Pace,
    /// How much of a block is written to.
    pub touch: Touch,
    /// Checkpoints in equal steps of trace time (memory pass).
    pub checkpoints: u32,
    /// The harness's own share of RssAnon, to be taken off.
    pub resident_constant_bytes: u64,
    /// Whether a memory pass draws the map of its heap.
    pub draws_heap_map: bool,
    /// What a control group lets the worker have; none without a limit.
    pub memory_limit_bytes: Option<u64>,
    /// The memory that is backed by the host before the replay; none where time does not count.
    pub need: Option<Need>,
    /// What decides where the first blocks lie; none for nothing before the replay.
    pub layout_seed: Option<u64>,
}

/// What came of it. Goes out on stdout.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reply {
    /// How it ended, as far as the worker could tell.
    pub status: Status,
    /// Why, where it is not `ok`.
    pub status_detail: Option<String>,
    /// What does not make the sample wrong but must be known.
    pub warnings: Vec<String>,
    /// Version as the allocator itself states it.
    pub allocator_version: Option<String>,
    /// File that the malloc in use lies in.
    pub library_path: Option<PathBuf>,
    /// The figures.
    pub measured: Measured,
    /// The checkpoints, in order of time.
    pub timeline: Vec<Checkpoint>,
    /// Latency histograms.
    pub latency: Vec<Histogram>,
    /// Maps of the heap.
    pub heap_maps: Vec<HeapMap>,
    /// The memory that was backed before the replay.
    pub warmed: Option<Warmed>,
    /// The memory that the replay used.
    pub footprint: Option<Footprint>,
    /// Blocks by usable size.
    pub sizes: Vec<SizeClass>,
}

/// Memory at one moment of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Trace time.
    pub time_ns: u64,
    /// Bytes of live objects as requested.
    pub requested_bytes: u64,
    /// What the allocator says that they have room for.
    pub usable_bytes: u64,
    /// Anonymous resident bytes, without the harness's.
    pub resident_bytes: u64,
}

/// Blocks of one usable size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeClass {
    /// Their usable size; beyond 32 KiB the largest of an eighth of a doubling.
    pub usable_bytes: u64,
    /// Calls that got such a block.
    pub calls: u64,
    /// What those calls requested.
    pub requested_bytes: u64,
    /// Such blocks live at the requested peak.
    pub live_blocks: u64,
    /// Their requested bytes.
    pub live_requested_bytes: u64,
    /// Their usable bytes.
    pub live_usable_bytes: u64,
}

/// When a map of the heap was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// When the program held the most.
    Peak,
    /// When the most was resident, where that is another moment.
    ResidentPeak,
    /// At once after every object was freed.
    Drained,
}

/// The heap at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapMap {
    /// When.
    pub moment: Moment,
    /// Its cells that hold a resident page, in order of address.
    pub cells: Vec<HeapCell>,
}

/// A piece of the heap's address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapCell {
    /// Which stretch of private anonymous memory it lies in, in order of address, from 0.
    pub region: u64,
    /// Where it begins, from the region's start.
    pub offset_bytes: u64,
    /// Its length.
    pub span_bytes: u64,
    /// Bytes of it that are resident.
    pub resident_bytes: u64,
    /// Requested bytes of live objects in its resident pages.
    pub live_bytes: u64,
}

/// Calls of one operation by their duration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// The operation's name, or `timer`.
    pub operation: String,
    /// `call`, `touch` or `switched`.
    pub scope: String,
    /// Upper end of each bucket in ns, and the calls in it.
    pub buckets: Vec<(u64, u64)>,
}

/// The figures of a sample; what a pass does not measure is none. Names and units are those of
/// [`crate::results::Sample`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // described once, at the columns of samples.csv
pub struct Measured {
    pub wall_ns: Option<u64>,
    pub thread_start_ns: Option<u64>,
    pub busy_ns: Option<u64>,
    pub busy_system_ns: Option<u64>,
    pub busy_off_cpu_ns: Option<u64>,
    pub wait_ns: Option<u64>,
    pub cpu_user_ns: Option<u64>,
    pub cpu_system_ns: Option<u64>,
    pub requested_peak_reached_bytes: Option<u64>,
    pub usable_peak_bytes: Option<u64>,
    pub resident_peak_bytes: Option<u64>,
    pub resident_mean_bytes: Option<u64>,
    pub resident_end_bytes: Option<u64>,
    pub requested_end_bytes: Option<u64>,
    pub resident_drained_bytes: Option<u64>,
    pub resident_settled_bytes: Option<u64>,
    pub resident_purged_bytes: Option<u64>,
    pub at_peak: Option<Breakdown>,
    pub at_end: Option<Breakdown>,
    pub at_resident_peak: Option<Breakdown>,
    pub at_resident_peak_ns: Option<u64>,
    pub lazyfree_bytes: Option<u64>,
    pub anon_huge_bytes: Option<u64>,
    pub page_faults_minor: Option<u64>,
    pub page_faults_major: Option<u64>,
    pub context_switches: Option<u64>,
    pub virtual_bytes: Option<u64>,
    pub mappings: Option<u64>,
    pub page_table_bytes: Option<u64>,
    pub page_table_harness_bytes: Option<u64>,
    pub library_file_bytes: Option<u64>,
    pub clock_reads: Option<u64>,
    pub waits: Option<u64>,
    pub wakeups: Option<u64>,
    pub window_stalls: Option<u64>,
    pub latency_untimed_calls: Option<u64>,
}

/// Where resident and requested bytes go at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Resident bytes, the constant taken off.
    pub resident_bytes: u64,
    /// Requested bytes live.
    pub requested_bytes: u64,
    /// Usable minus requested; none where the allocator does not tell usable sizes.
    pub internal_bytes: Option<u64>,
    /// Live bytes whose pages are not resident.
    pub untouched_bytes: u64,
    /// Resident minus the pages of live blocks.
    pub held_bytes: u64,
}
