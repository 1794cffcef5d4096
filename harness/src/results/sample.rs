//! The rows of the CSV files, one structure each: the only bridge between measuring and reporting.
//!
//! Integers in base units with the unit in the name. An empty cell (`None`) means not measured;
//! 0 means measured zero. Columns are in the order of the fields and are described in
//! results/README.md.

use serde::{Deserialize, Serialize};

pub use crate::design::Pass;
use crate::group::{Account, GroupLimits};
use crate::worker::{Measured, measured_columns};
pub use crate::worker::{Moment, Status};

macro_rules! define_sample {
    ($($(#[$about:meta])* $name:ident,)*) => {
        /// One result, from a worker or a real program: a row of `samples.csv`.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        pub struct Sample {
            /// The run's name: the same in every row of one run.
            pub run_id: String,
            /// Block of the randomised design, from 0: each block holds every variant once.
            pub block: u32,
            /// Workload's name.
            pub workload: String,
            /// Variant's label.
            pub variant: String,
            /// Allocator's name: the part of the variant before ':'.
            pub allocator: String,
            /// The version that the allocator itself states.
            pub allocator_version: Option<String>,
            /// Settings as `NAME=VALUE`, separated by spaces; empty for none.
            pub settings: String,
            /// CPU count that the allocator saw.
            pub cpus: u32,
            /// What was measured.
            pub pass: Pass,
            /// `max`, `real`, `xK` or `virtual`.
            pub pace: String,
            /// `causal` or `strict`.
            pub order: String,
            /// `page`, `none`, `first` or `full`.
            pub touch: String,
            /// How the worker ended.
            pub status: Status,
            /// The reason if the status is not `ok`; otherwise warnings about this sample, separated by "; ".
            pub status_detail: Option<String>,
            /// Events replayed, as the trace counts them.
            pub events: Option<u64>,
            /// Threads that ran.
            pub threads: Option<u64>,
            /// Largest requested bytes live at once, according to the trace.
            pub requested_peak_bytes: Option<u64>,
            /// Requested bytes, time-weighted mean over trace time.
            pub requested_mean_bytes: Option<u64>,
            /// At the requested peak: resident bytes.
            pub at_peak_resident_bytes: Option<u64>,
            /// At the requested peak: requested bytes live.
            pub at_peak_requested_bytes: Option<u64>,
            /// At the requested peak: usable minus requested (internal fragmentation).
            pub at_peak_internal_bytes: Option<u64>,
            /// At the requested peak: live bytes whose pages are not resident.
            pub at_peak_untouched_bytes: Option<u64>,
            /// At the requested peak: resident minus the pages of live blocks (caches, free pages, metadata).
            pub at_peak_held_bytes: Option<u64>,
            /// After the last event: `usable - requested`.
            pub at_end_internal_bytes: Option<u64>,
            /// After the last event: live bytes whose pages are not resident.
            pub at_end_untouched_bytes: Option<u64>,
            /// After the last event: resident minus the pages of live blocks.
            pub at_end_held_bytes: Option<u64>,
            /// The harness's own share of RssAnon, which was subtracted from every resident figure.
            pub resident_constant_bytes: Option<u64>,
            /// Whether the trace was cut off and only its whole chunks were used.
            pub truncated: bool,
            /// File that contains the malloc in use.
            pub library_path: Option<String>,
            /// SHA-256 of that file, in hexadecimal.
            pub library_hash: Option<String>,
            /// How often the program's process tree was sampled.
            pub readings: Option<u64>,
            /// Most processes of the tree at once.
            pub processes: Option<u64>,
            /// Time from the program's start until it was ready.
            pub ready_ns: Option<u64>,
            /// The program's exit status as a shell shows it: 128 + N if signal N killed it.
            pub exit_status: Option<u32>,
            /// Largest resident memory of the tree, including files and shared memory.
            pub rss_peak_bytes: Option<u64>,
            /// Largest proportional share of memory (PSS) of the tree.
            pub pss_peak_bytes: Option<u64>,
            /// Proportional share of memory, time-weighted mean.
            pub pss_mean_bytes: Option<u64>,
            /// Largest swapped memory of the tree.
            pub swap_peak_bytes: Option<u64>,
            /// Memory that was written right before the replay, so that the host had backed it.
            pub warmed_bytes: Option<u64>,
            /// The part of `warmed_bytes` in huge pages.
            pub warmed_huge_bytes: Option<u64>,
            /// CPU time of the first write to a small page of it, once warm.
            pub warm_fault_ns: Option<u64>,
            /// CPU time of the first write to a huge page of it, once warm.
            pub warm_huge_fault_ns: Option<u64>,
            /// Page faults served with a huge page while the replay ran, including those of other processes: an upper
            /// bound.
            pub page_faults_huge: Option<u64>,
            /// Whether the host backed memory during the replay, or took the CPU away, judged by kernel time per fault.
            pub cold_memory: Option<bool>,
            /// At the resident peak: resident bytes, by the exact reading; at most 1/32 less than
            /// `resident_peak_bytes`, unless half of the requested peak was never resident.
            pub at_resident_peak_resident_bytes: Option<u64>,
            /// At the resident peak: requested bytes live.
            pub at_resident_peak_requested_bytes: Option<u64>,
            /// At the resident peak: usable minus requested; empty if the allocator does not report usable sizes.
            pub at_resident_peak_internal_bytes: Option<u64>,
            /// At the resident peak: live bytes whose pages are not resident.
            pub at_resident_peak_untouched_bytes: Option<u64>,
            /// At the resident peak: resident minus the pages of live blocks (caches, free pages, metadata).
            pub at_resident_peak_held_bytes: Option<u64>,
            /// The seed with which the block's load was simulated.
            pub load_seed: Option<u64>,
            /// How many rows of timeline.csv are this sample's.
            pub timeline_rows: Option<u64>,
            /// How many rows of latency.csv are this sample's.
            pub latency_rows: Option<u64>,
            /// The same load under a different layout: busy time.
            pub twin_busy_ns: Option<u64>,
            /// The same load under a different layout: largest resident bytes.
            pub twin_resident_peak_bytes: Option<u64>,
            /// The same load under a different layout: resident bytes, time-weighted mean.
            pub twin_resident_mean_bytes: Option<u64>,
            /// The same load under a different layout: resident bytes a minute after the drain.
            pub twin_resident_settled_bytes: Option<u64>,
            /// Memory at which the kernel kills the sample's own control group.
            pub group_limit_bytes: Option<u64>,
            /// The most that the group was charged, including file pages and kernel memory.
            pub group_peak_bytes: Option<u64>,
            /// Anonymous memory of the group, the largest reading.
            pub group_anonymous_bytes: Option<u64>,
            /// File pages of the group, including shared memory, the largest reading.
            pub group_file_bytes: Option<u64>,
            /// Kernel memory of the group (stacks, page tables, sockets), the largest reading.
            pub group_kernel_bytes: Option<u64>,
            /// How often the group exceeded `memory.high`.
            pub group_high_events: Option<u64>,
            /// How often the group ran into its limit.
            pub group_max_events: Option<u64>,
            /// Processes of the group that were killed for memory.
            pub group_oom_kills: Option<u64>,
            /// Time in which tasks of the group waited for memory (PSI).
            pub group_pressure_ns: Option<u64>,
            /// Pages that were reclaimed from the group and read again.
            pub group_refaults: Option<u64>,
            /// Time from which memory counts in means and percentiles; empty for the whole run.
            pub counted_from_ns: Option<u64>,
            /// Resident bytes, time-weighted mean over the second third of the time.
            pub resident_middle_third_bytes: Option<u64>,
            /// The same over the last third.
            pub resident_last_third_bytes: Option<u64>,
            /// `exec`: CPU time of the whole process tree until it has ended.
            pub whole_cpu_ns: Option<u64>,
            /// Largest anonymous memory of a program's tree, with pages that its processes share counted once.
            pub once_peak_bytes: Option<u64>,
            /// The time-weighted mean of it.
            pub once_mean_bytes: Option<u64>,
            $($(#[$about])* pub $name: Option<u64>,)*
            /// The kind of machine on which it was measured, as named by `machines` in `run.toml`, in a run merged from
            /// shards. The last column in every file of rows: a merge fills it in.
            pub machine: Option<String>,
        }

        impl Sample {
    /// Growth of resident memory from the second third of the time to the last, as a fraction of the former.
    #[must_use]
    pub fn growth(&self) -> Option<f64> {
        let middle = self.resident_middle_third_bytes.filter(|middle| *middle > 0)?;
        Some(self.resident_last_third_bytes? as f64 / middle as f64 - 1.0)
    }

            /// The same sample with what a worker measured.
            pub(super) fn with_measured(self, measured: &Measured) -> Sample {
                Sample { $($name: measured.$name,)* ..self }
            }
        }
    };
}
measured_columns!(define_sample);

impl Sample {
    /// The same sample with what its own control group was charged.
    #[must_use]
    pub fn with_account(self, limits: Option<&GroupLimits>, account: Option<&Account>) -> Sample {
        let Some(account) = account else { return self };
        Sample {
            group_limit_bytes: limits.and_then(|limits| limits.max_bytes),
            group_peak_bytes: account.peak_bytes,
            group_anonymous_bytes: Some(account.anonymous_bytes),
            group_file_bytes: Some(account.file_bytes),
            group_kernel_bytes: account.kernel_bytes,
            group_high_events: account.high_events,
            group_max_events: account.max_events,
            group_oom_kills: Some(account.oom_kills),
            group_pressure_ns: account.pressure_ns,
            group_refaults: Some(account.refaults),
            ..self
        }
    }

    /// Columns that a file of an earlier heaplab may lack, of any kind: it did not measure them.
    pub(super) const LATER_COLUMNS: [&str; 63] = [
        "page_table_harness_bytes",
        "library_file_bytes",
        "readings",
        "processes",
        "ready_ns",
        "exit_status",
        "rss_peak_bytes",
        "pss_peak_bytes",
        "pss_mean_bytes",
        "swap_peak_bytes",
        "rss_bytes",
        "pss_bytes",
        "swap_bytes",
        "program_threads",
        "program_cpu_user_ns",
        "program_cpu_system_ns",
        "stretch_resident_peak_bytes",
        "stretch_once_peak_bytes",
        "latency_untimed_calls",
        "busy_ns",
        "busy_background_ns",
        "busy_system_ns",
        "busy_off_cpu_ns",
        "wait_ns",
        "warmed_bytes",
        "warmed_huge_bytes",
        "warm_fault_ns",
        "warm_huge_fault_ns",
        "page_faults_huge",
        "cold_memory",
        "at_resident_peak_ns",
        "at_resident_peak_resident_bytes",
        "at_resident_peak_requested_bytes",
        "at_resident_peak_internal_bytes",
        "at_resident_peak_untouched_bytes",
        "at_resident_peak_held_bytes",
        "load_seed",
        "timeline_rows",
        "latency_rows",
        "twin_busy_ns",
        "twin_resident_peak_bytes",
        "twin_resident_mean_bytes",
        "twin_resident_settled_bytes",
        "group_limit_bytes",
        "group_peak_bytes",
        "group_anonymous_bytes",
        "group_file_bytes",
        "group_kernel_bytes",
        "group_high_events",
        "group_max_events",
        "group_oom_kills",
        "group_pressure_ns",
        "group_refaults",
        "counted_from_ns",
        "resident_middle_third_bytes",
        "resident_last_third_bytes",
        "whole_cpu_ns",
        "once_peak_bytes",
        "once_mean_bytes",
        "once_bytes",
        "program_cpu_ns",
        "inherited_bytes",
        "machine",
    ];
}

/// Defines the rows of a file that has several per sample: first whose they are, then their own columns.
macro_rules! define_rows {
    ($($(#[$about:meta])* $row:ident { $($(#[$of_field:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $row {
            /// The run's name.
            pub run_id: String,
            /// Block of the sample.
            pub block: u32,
            /// Workload's name.
            pub workload: String,
            /// Variant's label.
            pub variant: String,
            $($(#[$of_field])* pub $field: $type,)*
            /// The kind of machine on which it was measured, in a run merged from shards.
            pub machine: Option<String>,
        }

        impl $row {
            /// An empty row for `sample`.
            #[must_use]
            pub fn of(sample: &Sample) -> $row {
                $row {
                    run_id: sample.run_id.clone(),
                    block: sample.block,
                    workload: sample.workload.clone(),
                    variant: sample.variant.clone(),
                    ..$row::default()
                }
            }
        }
    )*};
}

define_rows! {
    /// One checkpoint of a memory pass, or one sample of a real program: a row of `timeline.csv`.
    TimelinePoint {
        /// Trace time since the first event; an event's index if the trace has no times.
        time_ns: u64,
        /// Requested bytes live.
        requested_bytes: Option<u64>,
        /// Sum of usable sizes of live objects.
        usable_bytes: Option<u64>,
        /// Resident bytes: for a replay, with the harness's constant subtracted; for a real program, the anonymous
        /// ones.
        resident_bytes: u64,
        /// Resident bytes of the real program's tree, including files and shared memory.
        rss_bytes: Option<u64>,
        /// Proportional share of memory of the tree.
        pss_bytes: Option<u64>,
        /// Swapped bytes of the tree.
        swap_bytes: Option<u64>,
        /// Threads of the tree.
        program_threads: Option<u64>,
        /// User CPU time that the tree has used until now.
        program_cpu_user_ns: Option<u64>,
        /// System CPU time that the tree has used until now.
        program_cpu_system_ns: Option<u64>,
        /// Anonymous bytes of the tree, with pages that its processes share counted once.
        once_bytes: Option<u64>,
        /// CPU time that the tree has used until now, by the clocks of its processes.
        program_cpu_ns: Option<u64>,
        /// For a forked process: memory that it has not written to since its fork and shares with its parent.
        inherited_bytes: Option<u64>,
        /// The largest `resident_bytes` of the readings of a real program that the row stands for.
        stretch_resident_peak_bytes: Option<u64>,
        /// The largest `once_bytes` of them.
        stretch_once_peak_bytes: Option<u64>,
    }

    /// One bucket of a latency histogram: a row of `latency.csv`.
    LatencyBucket {
        /// `malloc`, `calloc`, `aligned_alloc`, `realloc`, `free`, `timer`: two reads of the timer with nothing between; or `batch`: 64 operations of a thread, one after another,
        /// with their touches, between two reads.
        operation: String,
        /// `call`; `touch`: the call and the first touch of what it returned; `switched`: a call during
        /// which the thread was switched out although it could have run on (in neither of the other two).
        scope: String,
        /// Upper end of the bucket (two significant digits).
        value_ns: u64,
        /// Calls in the bucket.
        count: u64,
    }

    /// A piece of the heap's address space: a row of `heapmap.csv`.
    HeapMapCell {
        /// `peak`: when the program held the most; `drained`: immediately after every object was freed.
        moment: Moment,
        /// Which stretch of private anonymous memory it lies in, in order of address, from 0.
        region: u64,
        /// Where it starts, from the region's start.
        offset_bytes: u64,
        /// Its length.
        span_bytes: u64,
        /// Bytes of it that are resident; a cell without any has no row.
        resident_bytes: u64,
        /// Requested bytes of live objects in its resident pages.
        live_bytes: u64,
    }

    /// What an allocator reports about its own memory: a row of `stats.csv`.
    StatsRow {
        /// `peak`: when the program held the most; `drained`: immediately after every object was freed.
        moment: Moment,
        /// The size of the blocks that the row is about; empty for all of its memory.
        size_bytes: Option<u64>,
        /// In blocks that the allocator counts as in use.
        live_bytes: Option<u64>,
        /// Free, and kept for future blocks: caches, free lists, the free part of pages with live blocks.
        cached_bytes: Option<u64>,
        /// Whole pages that are free and have not been returned.
        dirty_bytes: Option<u64>,
        /// Its own tables.
        metadata_bytes: Option<u64>,
        /// In pages that contain blocks, live or free.
        active_bytes: Option<u64>,
        /// All that it has from the system and has not returned.
        system_bytes: Option<u64>,
        /// What the replay knows: usable bytes of live objects; empty in a row of one size.
        usable_bytes: Option<u64>,
        /// Resident bytes; empty in a row of one size.
        resident_bytes: Option<u64>,
    }

    /// Blocks of one usable size: a row of `sizes.csv`.
    SizeRow {
        /// Room of such a block, according to malloc_usable_size; beyond 32 KiB the largest of an eighth of a doubling.
        usable_bytes: u64,
        /// Calls that got such a block.
        calls: u64,
        /// What those calls requested.
        requested_bytes: u64,
        /// Such blocks that are live at the requested peak.
        live_blocks: u64,
        /// Their requested bytes.
        live_requested_bytes: u64,
        /// Their usable bytes.
        live_usable_bytes: u64,
    }

    /// Blocks of one requested size: a row of `requests.csv`.
    RequestRow {
        /// The largest size in it: up to 1 KiB a multiple of 8; beyond, a 64th of a doubling.
        requested_bytes: u64,
        /// Calls that requested this size.
        calls: u64,
        /// The room that they got, according to malloc_usable_size.
        usable_bytes: u64,
        /// Such blocks that are live at the requested peak.
        live_blocks: u64,
        /// Their requested bytes.
        live_requested_bytes: u64,
        /// Their usable bytes.
        live_usable_bytes: u64,
    }
}
