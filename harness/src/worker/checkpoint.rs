//! Checkpoints of the memory pass: taken by the thread that closes or opens a window, on a fixed grid of
//! trace time, at each new requested maximum, and where the recorded process was sampled. Never by a sampling
//! thread: it would see nothing at a pace at which a minute takes a millisecond.
//!
//! Side effects: one read of `statm` each, during which the allocator's clock stands still; at the requested
//! peak, and when more is resident than ever before, also `smaps_rollup` and a mincore of the pages of live
//! blocks, which touch none of them, and in the first block the heap map and the allocator's own statistics.

use std::io;
use std::sync::atomic::Ordering;

use heaplab_allocators::{Family, account};
use heaplab_workloads::program::layout::WINDOW_SAMPLED;
use heaplab_workloads::program::window::Window;

use super::inherited::Parent;
use super::job::{Breakdown, Checkpoint, HeapCell, Job, Moment, Stated, Status};
use super::membership::outside;
use super::memory::{self, Rollup, Statm};
use super::sizes::{self, LiveBlocks};
use super::state::State;
use super::{answer, clock, heap_map};
use crate::stats::TimeWeighted;

/// A new maximum counts when it exceeds the last one by this fraction: a heap that grows one byte at a time
/// must not be read at every byte.
const NEW_MAXIMUM_SHARE: u64 = 256;
/// The most samples of the recorded process that have a checkpoint; between two checkpoints, a prediction uses the
/// earlier one.
pub(crate) const MOST_RECORDED: u64 = 4096;

/// How often memory shared with the parent is read.
const INHERITED_POINTS: u64 = 256;

/// Memory is broken down again when resident memory has grown by this fraction, or this fraction of the trace
/// has passed.
const LARGEST_SHARE: u64 = 32;

/// The checkpoints of a replay.
pub(super) struct Checkpoints {
    statm: Statm,
    constant_bytes: u64,
    duration: u64,
    counted_from: u64,
    peak_window: u64,
    requested_peak_bytes: u64,
    steps: u64,
    /// The next point of the grid, from 1.
    next_step: u64,
    maximum: u64,
    /// The samples of the recorded process that had one.
    samples: u64,
    /// The last point, while nothing has been executed since.
    idle: Option<Checkpoint>,
    pub(super) points: Vec<Checkpoint>,
    pub(super) at_peak: Option<Breakdown>,
    draws_heap_map: bool,
    pub(super) heap_map: Option<Vec<HeapCell>>,
    /// Live blocks at the requested peak, by size; its trace time.
    pub(super) live_at_peak: LiveBlocks,
    pub(super) peak_time_ns: Option<u64>,
    family: Family,
    /// What the allocator reports about its memory at the requested peak.
    pub(super) stated_at_peak: Option<Stated>,
    pub(super) at_largest: Option<Largest>,
    /// Trace time from which any larger resident size is broken down again.
    next_largest: u64,
    /// Memory is to be broken down, and a window is open.
    waits_for_rest: bool,
    parent: Option<Parent>,
    /// The bytes that the process shares with its parent, as last read.
    inherited_bytes: Option<u64>,
    /// Trace time from which it is read again.
    next_inherited: u64,
    /// A process whose memory is limited has no stand-in for its parent: it would be charged too.
    is_limited: bool,
    /// Why it is not known what the process shares with its parent.
    pub(super) inherited_unknown: Option<String>,
}

/// Where memory goes when the most is resident.
pub(super) struct Largest {
    pub(super) breakdown: Breakdown,
    pub(super) time_ns: u64,
    pub(super) heap_map: Option<Vec<HeapCell>>,
}

impl Checkpoints {
    /// The checkpoints of a job, if it is a memory pass.
    pub(super) fn new(job: &Job, family: Family) -> io::Result<Checkpoints> {
        Ok(Checkpoints {
            statm: Statm::open()?,
            constant_bytes: job.resident_constant_bytes,
            duration: job.info.duration_ns,
            counted_from: job.info.counted_from_ns,
            peak_window: job.info.peak_window,
            requested_peak_bytes: job.info.requested_peak_bytes,
            steps: u64::from(job.checkpoints.max(1)),
            next_step: 0,
            maximum: 0,
            samples: 0,
            idle: None,
            points: Vec::with_capacity(job.checkpoints as usize * 2),
            at_peak: None,
            draws_heap_map: job.draws_heap_map,
            heap_map: None,
            live_at_peak: LiveBlocks::default(),
            peak_time_ns: None,
            family,
            stated_at_peak: None,
            at_largest: None,
            next_largest: 0,
            waits_for_rest: false,
            parent: None,
            inherited_bytes: None,
            next_inherited: 0,
            is_limited: job.group_processes.is_some(),
            inherited_unknown: None,
        })
    }

    /// Trace time of the next point of the grid.
    fn next_time(&self) -> u64 {
        let counted = u128::from(self.duration.saturating_sub(self.counted_from));
        let time = counted * u128::from(self.next_step) / u128::from(self.steps);
        self.counted_from.saturating_add(time as u64)
    }

    /// The most samples that may have had a checkpoint until a trace time. Half of them at any time: samples are stored
    /// where memory changed, so those of a short spike are close together, and a checkpoint of its start without one of
    /// its end would prolong it.
    fn most_samples(&self, time: u64) -> u64 {
        let (half, duration) = (MOST_RECORDED / 2, u128::from(self.duration.max(1)));
        half + (u128::from(half) * u128::from(time.min(self.duration)) / duration) as u64
    }

    /// The recorded process was forked at a trace time: everything until here belongs to its parent, and does
    /// not count. `fork` makes the stand-in for the parent.
    pub(super) fn fork(&mut self, state: &State, time: u64, fork: impl FnOnce() -> io::Result<Parent>) {
        self.points.clear();
        self.at_largest = None;
        (self.maximum, self.samples, self.next_largest) = (0, 0, 0);
        if !self.is_limited {
            match clock::hold_still(fork) {
                Ok(parent) => self.parent = Some(parent),
                Err(error) => self.doubt_inherited(&format!("the worker cannot be forked: {error}")),
            }
        }
        self.work_begins();
        self.take(state, time);
    }

    /// The parent is no longer needed.
    pub(super) fn end_parent(&mut self) {
        self.parent = None;
    }

    fn doubt_inherited(&mut self, why: &str) {
        self.parent = None;
        self.inherited_bytes = None;
        self.inherited_unknown.get_or_insert_with(|| why.to_owned());
    }

    /// The bytes shared with the parent now, or when they were last read.
    fn read_inherited(&mut self, time: u64) -> Option<u64> {
        let Some(parent) = self.parent.as_ref().filter(|_| time >= self.next_inherited) else {
            return self.inherited_bytes;
        };
        // PERF: the kernel walks all page tables, about 20 ms per GB.
        let counted = self.duration.saturating_sub(self.counted_from);
        self.next_inherited = time.saturating_add(counted / INHERITED_POINTS);
        match inspect(|| parent.shared_bytes()) {
            Ok(Some(bytes)) => self.inherited_bytes = Some(bytes),
            Ok(None) => self.doubt_inherited("this kernel does not tell it (it takes Linux 5.4)"),
            Err(why) => self.doubt_inherited(&why),
        }
        self.inherited_bytes
    }

    /// A window is about to open while none is open: takes the points of the idle time before it. `due_ns` is
    /// the real time of a trace time, at a pace that keeps it; `advance` moves a virtual clock.
    pub(super) fn before_window(
        &mut self,
        state: &State,
        head: &Window,
        due_ns: impl Fn(u64) -> Option<u64>,
        advance: impl Fn(u64),
    ) {
        while self.next_step <= self.steps && self.next_time() <= head.first_time {
            let time = self.next_time();
            advance(time);
            if let Some(due) = due_ns(time) {
                clock::sleep_until_ns(due);
                self.idle = None;
            }
            self.take(state, time);
            self.next_step += 1;
        }
        self.work_begins();
    }

    /// From now on operations are executed.
    pub(super) fn work_begins(&mut self) {
        self.idle = None;
    }

    /// Whether blocks are to be inspected once no window is open.
    pub(super) fn waits_for_rest(&self) -> bool {
        self.waits_for_rest
    }

    /// Window `number` is complete, and no other one is open if it `is_alone`.
    pub(super) fn after_window(&mut self, state: &State, number: u64, head: &Window, is_alone: bool) {
        let is_peak = number == self.peak_window;
        let is_maximum = head.requested_max > self.maximum + self.maximum / NEW_MAXIMUM_SHARE;
        let mut on_grid = false;
        while self.next_step <= self.steps && self.next_time() <= head.last_time {
            self.next_step += 1;
            on_grid = true;
        }
        if is_maximum {
            self.maximum = head.requested_max;
        }
        let is_sampled = head.flags & WINDOW_SAMPLED != 0 && self.samples < self.most_samples(head.last_time);
        self.samples += u64::from(is_sampled);
        let was_awaited = is_alone && std::mem::take(&mut self.waits_for_rest);
        if is_peak || is_maximum || on_grid || is_sampled || was_awaited {
            self.take(state, head.last_time);
        }
        if is_peak {
            let breakdown = inspect(|| break_down(state, self.constant_bytes));
            self.at_peak = Some(breakdown.unwrap_or_else(|error| answer::fail(Status::Error, &error)));
            if state.sizes.is_some() {
                self.live_at_peak = inspect(|| sizes::count_live(&state.slots));
            }
            if self.draws_heap_map {
                let map = inspect(|| heap_map::draw(&state.slots));
                self.heap_map = Some(map.unwrap_or_else(|error| answer::fail(Status::Error, &error)));
                // Last, because jemalloc takes some memory for its answer.
                let resident = self.at_peak.map_or(0, |peak| peak.resident_bytes);
                self.stated_at_peak = inspect(|| state_account(state, self.family, Moment::Peak, resident));
            }
            self.peak_time_ns = Some(head.last_time);
        } else if self.idle.is_some() {
            self.break_down_largest(state, head.last_time, is_alone);
        }
    }

    /// Breaks memory down if more of it is resident than ever before, according to the last point; once nothing is in
    /// flight, if something is: a block that is being freed may be unmapped.
    fn break_down_largest(&mut self, state: &State, time_ns: u64, is_alone: bool) {
        let Some(point) = self.points.last() else { return };
        let of = |breakdown: &Breakdown| breakdown.resident_bytes;
        let at_peak = self.at_peak.as_ref().map_or(0, of);
        let before = self.at_largest.as_ref().map_or(0, |largest| of(&largest.breakdown)).max(at_peak);
        let grown = point.resident_bytes.saturating_sub(before);
        // PERF: each breakdown visits every live block. A growing heap is broken down about 30 times once it
        // is half as large as the requested peak, and a slowly growing one at most 32 times.
        let is_early = point.resident_bytes < self.requested_peak_bytes / 2;
        let is_worth = grown > before / LARGEST_SHARE || time_ns >= self.next_largest;
        if grown == 0 || is_early || !is_worth {
            return;
        }
        if !is_alone {
            self.waits_for_rest = true;
            return;
        }
        self.next_largest = time_ns.saturating_add(self.duration / LARGEST_SHARE);
        let drawn = inspect(|| {
            let breakdown = break_down(state, self.constant_bytes)?;
            let heap_map = self.draws_heap_map.then(|| heap_map::draw(&state.slots)).transpose()?;
            Ok(Largest { breakdown, time_ns, heap_map })
        });
        self.at_largest = Some(drawn.unwrap_or_else(|error: String| answer::fail(Status::Error, &error)));
    }

    fn take(&mut self, state: &State, time: u64) {
        let point = match self.idle {
            Some(last) => Checkpoint { time_ns: time, ..last },
            None => {
                let resident = clock::hold_still(|| self.statm.anonymous_bytes());
                let resident = resident.unwrap_or_else(|error| {
                    answer::fail(Status::Error, &format!("cannot read /proc/self/statm: {error}"))
                });
                let count =
                    |counter: &std::sync::atomic::AtomicI64| counter.load(Ordering::Relaxed).max(0) as u64;
                Checkpoint {
                    time_ns: time,
                    requested_bytes: count(&state.counts.requested),
                    usable_bytes: count(&state.counts.usable),
                    resident_bytes: resident.saturating_sub(self.constant_bytes),
                    inherited_bytes: self.read_inherited(time),
                }
            }
        };
        self.idle = Some(point);
        self.points.push(point);
    }

    /// Time-weighted mean of resident bytes over trace time: each point is valid until the next.
    pub(super) fn resident_mean_bytes(&self) -> Option<u64> {
        let resident = self.points.iter().map(|point| (point.time_ns, point.resident_bytes));
        resident.collect::<TimeWeighted>().mean_until(self.duration)
    }
}

/// Inspects memory while the allocator's clock stands still, using memory that is not charged to the worker's
/// group.
fn inspect<T>(work: impl FnOnce() -> T) -> T {
    clock::hold_still(|| outside(work))
}

/// What the allocator reports about its memory now; none if it reports nothing.
pub(super) fn state_account(
    state: &State,
    family: Family,
    moment: Moment,
    resident_bytes: u64,
) -> Option<Stated> {
    let usable = state.counts.usable.load(Ordering::Relaxed).max(0) as u64;
    let usable_bytes = state.sizes.is_some().then_some(usable);
    account(family).map(|account| Stated { moment, account, usable_bytes, resident_bytes })
}

/// Resident memory now, by the exact reading, and where it goes.
pub(super) fn break_down(state: &State, constant_bytes: u64) -> Result<Breakdown, String> {
    let rollup = Rollup::read()?;
    if rollup.reserved_huge_bytes > 0 {
        return Err(format!(
            "the allocator uses {} bytes of the kernel's reserve of huge pages (hugetlb), which no resident size \
             counts: take the reserve or the setting away",
            rollup.reserved_huge_bytes
        ));
    }
    let resident = rollup.anonymous_bytes.saturating_sub(constant_bytes);
    let usable = state.counts.usable.load(Ordering::Relaxed).max(0) as u64;
    memory::break_down(&state.slots, state.sizes.is_some().then_some(usable), resident)
}
