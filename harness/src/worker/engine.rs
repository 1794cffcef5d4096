//! The replay: which thread executes what, when.
//!
//! Windows are opened in order, at most two at a time; opening one offers its segments to their threads. In
//! causal order all segments of a window are offered at once and the last thread to finish closes it; in
//! strict order one segment is offered at a time, like a baton. The thread that closes a window opens the
//! next, moves the clock, keeps the pace and takes the checkpoint: there is no coordinating thread.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, Ordering};

use heaplab_allocators::{Family, purge, purge_thread};
use heaplab_workloads::program::layout::{WINDOW_BARRIER, WINDOW_DRAIN, WINDOW_FORKED, WINDOW_NUDGE};
use heaplab_workloads::program::window::{Segment, Window};
use heaplab_workloads::program::{Order, ProgramInfo};

use super::answer;
use super::background::Background;
use super::checkpoint::Checkpoints;
use super::clock;
use super::gate;
use super::inherited::{self, Forked};
use super::job::{Job, Status};
use super::lock::Lock;
use super::mapping::Table;
use super::memory;
use super::ops::Runner;
use super::program::{Ops, Program, Segments};
use super::state::{Local, State};
use super::tables::{Offer, ThreadState};
use super::threads::{Body, Threads};
use super::usage::Usage;
use super::windows::{Progress, Unfinished};
use crate::design::Pace;

/// The parts of a replay, one after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The trace itself.
    Trace,
    /// The remaining objects are freed.
    Drain,
    /// Small calls for a minute of trace time.
    Nudge,
}

impl Phase {
    fn holds(self, head: &Window) -> bool {
        let kind = head.flags & (WINDOW_DRAIN | WINDOW_NUDGE);
        let own = match self {
            Phase::Trace => 0,
            Phase::Drain => WINDOW_DRAIN,
            Phase::Nudge => WINDOW_NUDGE,
        };
        kind == own
    }
}

/// A replay and everything that it works on. Lives until the process exits.
pub(super) struct Engine {
    info: ProgramInfo,
    pace: Pace,
    /// The allocator under test.
    family: Family,
    pub(super) state: State,
    inboxes: Table<ThreadState>,
    pub(super) threads: Threads<Engine>,
    /// What other threads work; none in a pass that does not measure busy time.
    background: Option<Background>,
    runner: Runner,
    unfinished: Unfinished,
    forked: Forked,
    /// One segment at a time. Changes between phases only.
    strict: AtomicBool,
    lock: Lock,
    /// Reached under `lock` in causal order, by the holder of the baton in strict order.
    control: UnsafeCell<Control>,
}

// SAFETY: `control` is reached by one thread at a time, as said there; everything else may be shared.
unsafe impl Sync for Engine {}

/// What the replay has taken so far.
#[derive(Clone, Copy)]
pub(super) struct Spent {
    pub(super) usage: Usage,
    pub(super) thread_start_ns: u64,
    pub(super) clock_reads: u64,
    /// CPU time of threads that are not the replay's; none if it is not known.
    pub(super) background_ns: Option<u64>,
}

/// The state of the replay.
pub(super) struct Control {
    phase: Phase,
    program: Program,
    /// In strict order: the segments of the open window that have not been offered yet.
    segments: Segments,
    progress: Progress,
    /// The heads of windows that may be open, each at its number modulo four.
    heads: [Window; 4],
    /// What the allocator's clock shows at time 0 of the phase, at virtual pace.
    clock_base_ns: u64,
    /// The real clock at time 0 of the trace.
    start_ns: u64,
    pub(super) checkpoints: Option<Checkpoints>,
    pub(super) begin: Option<Spent>,
    pub(super) end: Option<Spent>,
}

impl Engine {
    /// The engine of a job's program, with the loop of its pass. The error is the number of bytes that the
    /// system refused.
    pub(super) fn new(
        job: &Job,
        program: Program,
        family: Family,
        state: State,
        runner: Runner,
        checkpoints: Option<Checkpoints>,
    ) -> Result<Engine, usize> {
        let control = Control {
            phase: Phase::Trace,
            program,
            segments: Segments::NONE,
            progress: Progress::default(),
            heads: [Window::default(); 4],
            clock_base_ns: 0,
            start_ns: 0,
            checkpoints,
            begin: None,
            end: None,
        };
        let background = state.empty_span.is_some().then(Background::new).transpose()?;
        Ok(Engine {
            background,
            strict: AtomicBool::new(job.info.order == Order::Strict),
            threads: Threads::new(job.info.thread_table)?,
            inboxes: Table::new(job.info.thread_table as usize)?,
            info: job.info.clone(),
            pace: job.pace,
            family,
            state,
            runner,
            unfinished: Unfinished::default(),
            forked: Forked::default(),
            lock: Lock::new(),
            control: UnsafeCell::new(control),
        })
    }

    /// Executes a phase; the calling thread is the recorded initial thread, and returns when everything is
    /// done.
    ///
    /// Only the process's initial thread may call this, one phase after another.
    pub(super) fn run_phase(&'static self, phase: Phase, local: &mut Local, taken: &mut u32) {
        {
            let _guard = self.lock.hold();
            // SAFETY: no replayed thread has a segment, so that none reaches the control; see `control`.
            let control = unsafe { &mut *self.control.get() };
            control.phase = phase;
            if phase != Phase::Trace {
                self.strict.store(true, Ordering::Relaxed);
            }
            self.threads.join_ended();
            self.leave_out_caller();
            if self.shows_trace_time(phase) {
                control.clock_base_ns = clock::make_virtual();
            }
            control.begin = Some(self.spent());
            control.start_ns = clock::real_ns();
            self.open_next(control);
        }
        self.replay_segments(0, local, taken);
        // A thread that has just finished may still be returning its cache: the next measurement waits for
        // that.
        self.threads.join_ended();
    }

    /// Makes the allocator's purge call: first each living thread, one after another, returns what only it can reach,
    /// if the allocator needs that, then the initial thread, which calls this. None if the allocator has no such call.
    pub(super) fn purge(&'static self, local: &mut Local, taken: &mut u32) -> Option<()> {
        for (thread, state) in (0..).zip(self.inboxes.iter()).skip(1) {
            let is_alive =
                state.started.load(Ordering::Relaxed) == 1 && state.ended.load(Ordering::Relaxed) == 0;
            if is_alive {
                self.put_offer(thread, Offer::PURGE, |_| {});
                // Returns when the thread has offered the end, which it does after its call.
                self.replay_segments(0, local, taken);
            }
        }
        purge(self.family)
    }

    /// The control, between two phases.
    pub(super) fn with_control<R>(&self, action: impl FnOnce(&mut Control) -> R) -> R {
        let _guard = self.lock.hold();
        // SAFETY: called between phases only, when no replayed thread has a segment.
        action(unsafe { &mut *self.control.get() })
    }

    /// Takes and executes the segments of one thread, until it exits or, for the initial thread, until the
    /// phase is over.
    fn replay_segments(&'static self, thread: u32, local: &mut Local, taken: &mut u32) {
        let state = &self.inboxes[thread as usize];
        loop {
            gate::wait_for_offer(&self.state, &state.offered, *taken);
            let offer = &state.inbox[(*taken % 4) as usize];
            *taken = taken.wrapping_add(1);
            let kind = offer.kind.load(Ordering::Relaxed);
            if kind == Offer::END {
                return;
            }
            if kind == Offer::FORK {
                self.forked.fork();
                continue;
            }
            if kind == Offer::PURGE {
                purge_thread(self.family);
                self.put_offer(0, Offer::END, |_| {});
                continue;
            }
            let begin = std::ptr::with_exposed_provenance(offer.begin.load(Ordering::Relaxed) as usize);
            let end = std::ptr::with_exposed_provenance(offer.end.load(Ordering::Relaxed) as usize);
            let ends = kind == Offer::LAST_SEGMENT && thread != 0;
            self.threads.join_ended_in_turn();
            local.stopwatch.start();
            (self.runner)(&self.state, Ops { begin, end }, local);
            local.stopwatch.stop();
            self.finish_segment(offer, thread, ends, local);
            if ends {
                return;
            }
        }
    }

    fn finish_segment(&'static self, offer: &Offer, thread: u32, ends: bool, local: &mut Local) {
        self.state.add_segment(offer, local);
        let window = offer.window.load(Ordering::Relaxed);
        let strict = self.strict.load(Ordering::Relaxed);
        if ends {
            self.inboxes[thread as usize].ended.store(1, Ordering::Relaxed);
            self.threads.end(thread, strict);
        }
        if !strict {
            if self.unfinished.finish(window) {
                let _guard = self.lock.hold();
                // SAFETY: the lock is held.
                let control = unsafe { &mut *self.control.get() };
                control.progress.complete(window);
                self.advance(control);
            }
            return;
        }
        // SAFETY: this thread has the baton until it offers the next segment.
        let control = unsafe { &mut *self.control.get() };
        // SAFETY: the window is in flight until `advance` counts it as done.
        match unsafe { control.segments.next() } {
            Some((segment, ops)) => self.offer(&segment, ops, window),
            None => {
                control.progress.complete(window);
                self.advance(control);
            }
        }
    }

    /// Counts complete windows, and opens those that may then be opened.
    fn advance(&'static self, control: &mut Control) {
        let mut moved = false;
        while control.progress.oldest_is_complete() {
            let done = control.progress.done();
            let head = control.heads[(done % 4) as usize];
            if let Some(checkpoints) = &mut control.checkpoints
                && control.phase == Phase::Trace
            {
                // In causal order the next window may be open, and change what is read.
                let is_alone = control.progress.open_count() == 1;
                checkpoints.after_window(&self.state, done, &head, is_alone);
                if !is_alone {
                    checkpoints.work_begins();
                }
            }
            control.progress.count_done();
            moved = true;
        }
        if moved {
            self.move_clock(control);
            self.open_next(control);
        }
    }

    /// The allocator's clock is never past the oldest open window.
    fn move_clock(&self, control: &Control) {
        if self.shows_trace_time(control.phase) && control.progress.open_count() > 0 {
            let head = &control.heads[(control.progress.done() % 4) as usize];
            clock::advance_to(control.clock_base_ns.saturating_add(head.first_time));
        }
    }

    /// Opens windows until two are open, one must wait for those before it, or the phase is over.
    fn open_next(&'static self, control: &mut Control) {
        loop {
            let head = match control.program.peek() {
                Ok(head) => head.filter(|head| control.phase.holds(head)),
                Err(error) => answer::fail(Status::Error, &format!("cannot read the program: {error}")),
            };
            let Some(head) = head else {
                if control.progress.open_count() == 0 {
                    self.end_phase(control);
                }
                return;
            };
            // Blocks are inspected at rest: the window after the peak waits too.
            let strict = self.strict.load(Ordering::Relaxed);
            let inspects = |checkpoints: &Checkpoints| {
                checkpoints.waits_for_rest() || control.progress.next() == self.info.peak_window + 1
            };
            let alone = strict
                || head.flags & WINDOW_BARRIER != 0
                || control.checkpoints.as_ref().is_some_and(inspects);
            if !control.progress.may_open(alone) {
                return;
            }
            self.open(control, &head);
            if strict {
                return;
            }
        }
    }

    fn open(&'static self, control: &mut Control, head: &Window) {
        let mut segments = control.program.take(head);
        let number = control.progress.open();
        control.heads[(number % 4) as usize] = *head;
        match control.phase {
            Phase::Trace => self.keep_pace(control, head),
            Phase::Drain => {}
            Phase::Nudge => {
                if let Some(due) = self.due_ns(control.start_ns, head.first_time) {
                    clock::sleep_until_ns(due);
                }
            }
        }
        if let Err(error) = memory::follow_huge_pages(head.flags) {
            answer::fail(
                Status::Error,
                &format!("cannot set huge pages as in the recorded process: {error}"),
            );
        }
        if head.flags & WINDOW_FORKED != 0 {
            self.fork(control, head);
        }
        self.move_clock(control);
        let window = number as u32;
        self.unfinished.open(window, head.segments);
        let strict = self.strict.load(Ordering::Relaxed);
        // SAFETY: the window is in flight.
        while let Some((segment, ops)) = unsafe { segments.next() } {
            if strict {
                control.segments = segments;
            }
            self.offer(&segment, ops, window);
            if strict {
                // NOTE: the baton went with the offer: the control must not be touched any more.
                return;
            }
        }
    }

    /// The recorded process was forked before the window, which opens alone: its parent did everything until here.
    fn fork(&self, control: &mut Control, head: &Window) {
        self.state.forget();
        if let Some(checkpoints) = &mut control.checkpoints {
            checkpoints.fork(&self.state, head.first_time, || {
                if inherited::is_initial_thread() {
                    self.forked.fork();
                } else {
                    // It waits for an offer, or is about to: no window is open.
                    self.put_offer(0, Offer::FORK, |_| {});
                }
                self.forked.wait()
            });
        }
        control.begin = Some(self.spent());
    }

    /// The calling thread's work is not the allocator's in the background.
    fn leave_out_caller(&self) {
        if let Some(background) = &self.background {
            background.leave_out_caller();
        }
    }

    fn spent(&self) -> Spent {
        let (thread_start_ns, clock_reads) = (self.threads.start_ns(), clock::reads());
        let background_ns = self.background.as_ref().and_then(Background::cpu_ns);
        Spent { usage: Usage::read(), thread_start_ns, clock_reads, background_ns }
    }

    /// Whether the allocator's clock shows the phase's own time. At a pace that keeps times the nudge takes
    /// real time, so that whatever sleeps in real time, such as an allocator's background threads, has that
    /// time too.
    fn shows_trace_time(&self, phase: Phase) -> bool {
        match self.pace {
            Pace::Virtual => true,
            Pace::Max => phase == Phase::Nudge,
            Pace::Times(_) => false,
        }
    }

    /// When a time of the phase that started at `start_ns` is due on the real clock; none at a pace that
    /// keeps no times.
    fn due_ns(&self, start_ns: u64, time: u64) -> Option<u64> {
        match self.pace {
            Pace::Times(factor) => Some(start_ns.saturating_add((time as f64 / factor) as u64)),
            Pace::Max | Pace::Virtual => None,
        }
    }

    /// Waits until the window is due, and takes the checkpoints of the idle time before it.
    fn keep_pace(&self, control: &mut Control, head: &Window) {
        let start_ns = control.start_ns;
        let due_ns = |time: u64| self.due_ns(start_ns, time);
        // The time before a window is idle only if no other window is open. Otherwise these points are taken
        // after the windows, in their order: a point before a window that still runs would be later than the one
        // after it.
        if let Some(checkpoints) = &mut control.checkpoints {
            if control.progress.open_count() == 1 {
                checkpoints.before_window(&self.state, head, due_ns, |time| {
                    if self.pace == Pace::Virtual {
                        clock::advance_to(control.clock_base_ns.saturating_add(time));
                    }
                });
            } else {
                checkpoints.work_begins();
            }
        }
        if let Some(due) = due_ns(head.first_time) {
            clock::sleep_until_ns(due);
        }
    }

    /// Offers a segment to its thread, which is created if this is its first.
    fn offer(&'static self, segment: &Segment, ops: Ops, window: u32) {
        let kind = if segment.ends_thread { Offer::LAST_SEGMENT } else { Offer::SEGMENT };
        self.put_offer(segment.thread, kind, |offer| {
            offer.begin.store(ops.begin.expose_provenance() as u64, Ordering::Relaxed);
            offer.end.store(ops.end.expose_provenance() as u64, Ordering::Relaxed);
            offer.requested_change.store(segment.requested_change, Ordering::Relaxed);
            offer.requested_peak.store(segment.requested_peak, Ordering::Relaxed);
            offer.window.store(window, Ordering::Relaxed);
        });
        let state = &self.inboxes[segment.thread as usize];
        if segment.thread != 0 && state.started.load(Ordering::Relaxed) == 0 {
            state.started.store(1, Ordering::Relaxed);
            self.threads.create(self, segment.thread);
        }
    }

    fn put_offer(&self, thread: u32, kind: u32, write: impl FnOnce(&Offer)) {
        let state = &self.inboxes[thread as usize];
        let count = state.offered.load(Ordering::Relaxed) >> 1;
        let offer = &state.inbox[(count % 4) as usize];
        offer.kind.store(kind, Ordering::Relaxed);
        write(offer);
        gate::add_offer(&self.state, &state.offered);
    }

    fn end_phase(&self, control: &mut Control) {
        if control.phase == Phase::Trace {
            self.threads.join_ended();
            control.end = Some(self.spent());
            if self.pace == Pace::Virtual {
                clock::advance_to(control.clock_base_ns.saturating_add(self.info.duration_ns));
            }
        }
        self.put_offer(0, Offer::END, |_| {});
    }
}

impl Body for Engine {
    fn run(&'static self, thread: u32) {
        self.leave_out_caller();
        self.replay_segments(thread, &mut self.state.local(), &mut 0);
    }
}
