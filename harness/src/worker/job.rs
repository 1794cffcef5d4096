//! What the parent asks of a worker, and what the worker answers: one JSON object each way.

use std::path::PathBuf;

use heaplab_allocators::{Account, Stamp, Variant};
use heaplab_workloads::program::ProgramInfo;
use serde::{Deserialize, Serialize};

use super::extent::{Footprint, Need, Warmed};
use crate::design::{Pace, Pass, Touch};

/// One sample to take. Comes in on stdin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    /// The program file.
    pub program: PathBuf,
    /// What is known from compiling it.
    pub info: ProgramInfo,
    /// The allocator that must be in use, and its settings.
    pub variant: Variant,
    /// The library's file that was proven; none if any build will do.
    #[serde(default)]
    pub library_stamp: Option<Stamp>,
    /// What to measure.
    pub pass: Pass,
    /// How fast trace time passes.
    pub pace: Pace,
    /// How much of a block is written to.
    pub touch: Touch,
    /// Checkpoints in equal steps of trace time (memory pass).
    pub checkpoints: u32,
    /// The harness's own share of RssAnon, to be subtracted.
    pub resident_constant_bytes: u64,
    /// Whether a memory pass draws the map of its heap.
    pub draws_heap_map: bool,
    /// The worker's own control group, which it enters right before the replay.
    #[serde(default)]
    pub group_processes: Option<PathBuf>,
    /// The memory that the host backs before the replay; none if time does not count.
    pub need: Option<Need>,
    /// The seed of the first blocks' layout; none if nothing is allocated before the replay.
    pub layout_seed: Option<u64>,
}

/// The answer, written to stdout.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reply {
    /// The status, as far as the worker could tell.
    pub status: Status,
    /// Why, if it is not `ok`.
    pub status_detail: Option<String>,
    /// Warnings that do not invalidate the sample but must be known.
    pub warnings: Vec<String>,
    /// Version that the allocator itself reports.
    pub allocator_version: Option<String>,
    /// File that contains the malloc in use.
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
    /// Blocks by requested size.
    pub requests: Vec<RequestClass>,
    /// What the allocator reports about its memory.
    pub accounts: Vec<Stated>,
    /// What the worker's control group was charged, as the parent saw it.
    #[serde(skip)]
    pub charged: Option<crate::group::Account>,
}

/// How a worker ended. Anything except `Ok` is still a row of the results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Measured without errors.
    Ok,
    /// Killed by the harness after its time was over.
    Timeout,
    /// Killed by a signal.
    Crash,
    /// The allocator could not serve a request, or the system killed the worker for its memory.
    Oom,
    /// The combination cannot be measured (for example a background thread at virtual pace).
    Refused,
    /// A malloc different from the requested one was in use.
    NotInjected,
    /// This version of the allocator does not know a setting, or did not accept it.
    UnknownSetting,
    /// A check pass found an object overwritten, misaligned, or a calloc that was not zero.
    CheckFailed,
    /// A load generator failed.
    LoadFailed,
    /// The allocator needed more of a thread's stack than there is.
    StackOverflow,
    /// The allocator did not survive the start of a process, so no sample was taken.
    CrashAtStart,
    /// Anything else; `status_detail` says what.
    #[default]
    Error,
}

/// Memory at one moment of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Trace time.
    pub time_ns: u64,
    /// Bytes of live objects as requested.
    pub requested_bytes: u64,
    /// The usable bytes that the allocator reports for them.
    pub usable_bytes: u64,
    /// Anonymous resident bytes, without the harness's.
    pub resident_bytes: u64,
    /// For a forked process: what it has not written to since its fork, and therefore shares with its parent.
    pub inherited_bytes: Option<u64>,
}

/// Blocks of one usable size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeClass {
    /// Their usable size; above 32 KiB the upper edge of an eighth of a doubling.
    pub usable_bytes: u64,
    /// Calls that returned such a block.
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

/// Blocks of one size of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestClass {
    /// The largest request: a multiple of 8 up to 1 KiB, the upper edge of a 64th of a doubling above.
    pub requested_bytes: u64,
    /// Calls that requested this size.
    pub calls: u64,
    /// Usable bytes that they got.
    pub usable_bytes: u64,
    /// Such blocks live at the requested peak.
    pub live_blocks: u64,
    /// Their requested bytes.
    pub live_requested_bytes: u64,
    /// Their usable bytes.
    pub live_usable_bytes: u64,
}

/// When a map of the heap was drawn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// When the program's live bytes were at their peak.
    #[default]
    Peak,
    /// When the most memory was resident, if that was another moment.
    ResidentPeak,
    /// Immediately after every object was freed.
    Drained,
}

/// What the allocator reports about its memory at one moment, and what the replay knows about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stated {
    /// When.
    pub moment: Moment,
    /// The allocator's own figures.
    pub account: Account,
    /// Usable bytes of the objects that the replay holds; none if the allocator does not report usable sizes.
    pub usable_bytes: Option<u64>,
    /// Resident bytes, the constant subtracted.
    pub resident_bytes: u64,
}

/// The heap at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapMap {
    /// When.
    pub moment: Moment,
    /// Its cells with a resident page, in address order.
    pub cells: Vec<HeapCell>,
}

/// A piece of the heap's address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapCell {
    /// The stretch of private anonymous memory that contains it, in address order, from 0.
    pub region: u64,
    /// Its start, from the start of the region.
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
    /// Upper edge of each bucket in ns, and the calls in it.
    pub buckets: Vec<(u64, u64)>,
}

/// The figures that a worker reports and samples.csv has under the same names. This is their only list: it is passed to
/// the named macro.
macro_rules! measured_columns {
    ($define:ident) => {
        $define! {
            /// Wall time from the release of the first event to the end of the last.
            wall_ns,
            /// Time spent in creating threads, a part of `wall_ns`.
            thread_start_ns,
            /// CPU time in the allocator's calls and first touches, summed over threads, waits excluded, and of threads of
            /// its own (throughput pass).
            busy_ns,
            /// The part of it of threads that the allocator started.
            busy_background_ns,
            /// The kernel's part of it, an estimate.
            busy_system_ns,
            /// Time in those calls and touches in which the thread did not run.
            busy_off_cpu_ns,
            /// Time in which threads waited for another thread's operation on the same object, summed over threads.
            wait_ns,
            /// User CPU time of the replay.
            cpu_user_ns,
            /// System CPU time of the replay.
            cpu_system_ns,
            /// Largest requested bytes that this replay reached.
            requested_peak_reached_bytes,
            /// Largest sum of usable sizes over checkpoints.
            usable_peak_bytes,
            /// Largest resident bytes over checkpoints.
            resident_peak_bytes,
            /// Resident bytes, time-weighted mean over trace time.
            resident_mean_bytes,
            /// Resident bytes after the last event, before the drain.
            resident_end_bytes,
            /// Requested bytes after the last event, before the drain.
            requested_end_bytes,
            /// Resident bytes immediately after every object was freed.
            resident_drained_bytes,
            /// Resident bytes after another 60 s of trace time with the nudge.
            resident_settled_bytes,
            /// Resident bytes after the allocator's own purge call; empty if it has none.
            resident_purged_bytes,
            /// Trace time at which memory was broken down while the most was resident: at a checkpoint, the
            /// requested peak or the end.
            at_resident_peak_ns,
            /// `LazyFree` after the last event: pages released by MADV_FREE that still count as resident.
            lazyfree_bytes,
            /// `AnonHugePages` after the last event.
            anon_huge_bytes,
            /// Minor page faults of the replay.
            page_faults_minor,
            /// Major page faults of the replay.
            page_faults_major,
            /// Context switches of the replay, voluntary and involuntary.
            context_switches,
            /// Virtual size after the last event.
            virtual_bytes,
            /// Memory mappings after the last event.
            mappings,
            /// Page tables (VmPTE) after the last event.
            page_table_bytes,
            /// The part of `page_table_bytes` that maps the harness's own memory: tables, stacks, the
            /// program.
            page_table_harness_bytes,
            /// Resident pages of that library file after the last event that processes can share: its code
            /// and constants.
            library_file_bytes,
            /// Reads of the supplied clock.
            clock_reads,
            /// How often a thread waited for another thread's operation on the same object.
            waits,
            /// Wake-ups of sleeping threads.
            wakeups,
            /// How often a thread waited for a window to open.
            window_stalls,
            /// Latency pass: calls whose thread woke on a CPU whose counter lags, so that they have no
            /// duration.
            latency_untimed_calls,
        }
    };
}
pub(crate) use measured_columns;

macro_rules! define_measured {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// The figures of a sample; none for what a pass does not measure.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Measured {
            $($(#[$about])* pub $name: Option<u64>,)*
            /// At the requested peak.
            pub at_peak: Option<Breakdown>,
            /// After the last event.
            pub at_end: Option<Breakdown>,
            /// When the most is resident.
            pub at_resident_peak: Option<Breakdown>,
        }
    };
}
measured_columns!(define_measured);

/// Where resident and requested bytes go at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Resident bytes, the constant subtracted.
    pub resident_bytes: u64,
    /// Requested bytes live.
    pub requested_bytes: u64,
    /// Usable minus requested; none if the allocator does not report usable sizes.
    pub internal_bytes: Option<u64>,
    /// Live bytes whose pages are not resident.
    pub untouched_bytes: u64,
    /// Resident minus the pages of live blocks.
    pub held_bytes: u64,
}
