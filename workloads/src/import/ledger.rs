//! From addresses to objects: the bookkeeping that every kind of log needs.
//!
//! A log records calls with raw addresses, and addresses are reused; a trace has objects with identities. The
//! ledger holds which object is live at which address, and writes the trace. It does not know the syntax of
//! any log.
//!
//! What a log cannot say correctly is repaired here, and counted:
//!
//! - A free of an address at which nothing is live stays in the trace and has no effect. A realloc of one
//!   begins a new object. A call that failed stays and has no effect; a failed realloc leaves the object
//!   unchanged. A realloc to 0 that returned NULL ends its object.
//! - An address may be handed out while an object is live at it. There are two possible reasons. Either the
//!   object was released by another thread and that call is logged late, after the allocation that it made
//!   possible: the release is searched for among the next [`LOOK_AHEAD`] calls, and moved before the
//!   allocation. (A call by the allocating thread cannot be that release, nor one that began after the
//!   allocation had ended. Where the log has no times, that is so if its thread has logged another call since:
//!   each line is written when its call has ended. Where the log does not distinguish threads, two releases
//!   must follow, for two objects.) Or its free was never logged: then the
//!   object ends there, with a [`FreeMissed`](Action::FreeMissed), which is no event. So the calls that were
//!   logged remain exactly those in the trace, and the live set remains what it was.
//! - A time that goes back is raised to that of the previous event. A call that was moved takes the time of
//!   the allocation that it now precedes, if its own is later.
//! - A thread identifier that is reused after its thread's end is a new thread. Thread starts are not
//!   invented: a replay starts a thread before its first event.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use heaplab_trace::{
    Action, Call as Family, Event, Header, IgnoredReason, Mark, ObjectId, Record, SourceCounts, ThreadId,
    TraceFile,
};
use rustc_hash::FxBuildHasher;

use super::ImportError;

/// How many calls are searched for one that was logged late. Other threads log some thousands of calls while
/// one is switched out between a call and its line.
pub(super) const LOOK_AHEAD: usize = 4096;
/// A late realloc may itself meet an address that is still live, and so on; no real log nests that deep.
const NESTED_MOST: u32 = 8;
/// Objects that may be live at once. No program is known to have more, and they would take 2 GB here; a log
/// that has more is broken, or crafted to exhaust memory. (Tests use a smaller bound, to reach it sooner.)
pub(super) const LIVE_MOST: usize = if cfg!(test) { 20_000 } else { 28_000_000 };
/// The most threads that a log may have.
pub(super) const THREADS_MOST: ThreadId = if cfg!(test) { 20_000 } else { 1 << 24 };
/// Calls between two reports of progress.
const REPORT_EVERY: u64 = 1 << 14;

/// A source of calls in the order of their lines.
pub(super) trait Log {
    /// The next call; none at the end. After the end it is not called again.
    fn next_call(&mut self) -> Result<Option<Call>, ImportError>;

    /// Says in the trace's header what the log holds and what it does not. Called once the first call has
    /// been read.
    fn describe(&self, header: &mut Header);

    /// What the user should know about the log. Called once everything has been read.
    fn warnings(&self) -> Vec<String>;

    /// Whether the log held what was asked for. Called once everything has been read.
    fn check(&self) -> Result<(), ImportError> {
        Ok(())
    }
}

/// One call as logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    /// The operating system's identifier of the thread.
    pub(super) thread: u64,
    /// Its times, in logs that have them.
    pub(super) times: Option<Times>,
    pub(super) what: What,
}

/// When a call began and ended, on any clock. A thread's end has the same time in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
}

/// A call and its result. Address 0 is NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Allocate {
        by: Allocation,
        address: u64,
        size: u64,
    },
    Reallocate {
        address: u64,
        old_address: u64,
        size: u64,
    },
    Free {
        address: u64,
    },
    ThreadEnd,
    /// A named moment, which is not a call.
    Mark(&'static str),
    /// The place of a call that was moved from here.
    Moved,
}

/// The function that allocated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Allocation {
    Malloc,
    Calloc,
    Aligned(u64),
}

impl What {
    /// The address at which an object begins to be.
    fn occupied(&self) -> Option<u64> {
        match *self {
            What::Allocate { address, .. } if address != 0 => Some(address),
            What::Reallocate { address, old_address, .. } if address != 0 && address != old_address => {
                Some(address)
            }
            _ => None,
        }
    }

    /// The address at which an object ceases to be.
    fn released(&self) -> Option<u64> {
        match *self {
            What::Free { address } if address != 0 => Some(address),
            What::Reallocate { address, old_address, size }
                if old_address != 0 && address != old_address && (address != 0 || size == 0) =>
            {
                Some(old_address)
            }
            _ => None,
        }
    }

    fn mentions(&self, wanted: u64) -> bool {
        match *self {
            What::Allocate { address, .. } | What::Free { address } => address == wanted,
            What::Reallocate { address, old_address, .. } => address == wanted || old_address == wanted,
            What::ThreadEnd | What::Mark(_) | What::Moved => false,
        }
    }
}

/// Which object is live at which address, and the trace being written.
pub(super) struct Ledger<'a> {
    trace: &'a mut TraceFile,
    path: &'a Path,
    /// Whether the log distinguishes threads.
    has_threads: bool,
    objects: HashMap<u64, ObjectId, FxBuildHasher>,
    next_object: ObjectId,
    threads: HashMap<u64, ThreadId, FxBuildHasher>,
    next_thread: ThreadId,
    /// Calls that have been read but not yet written; empty except for the first call and after a conflict.
    ahead: VecDeque<Call>,
    /// The clock's value at the first event.
    base_ns: Option<u64>,
    last_time_ns: u64,
    events: u64,
    counts: SourceCounts,
}

impl<'a> Ledger<'a> {
    /// A ledger of the log at `path` that writes to `trace`, with the call that was read to find out what its
    /// header must say.
    pub(super) fn new(
        first: Option<Call>,
        header: &Header,
        path: &'a Path,
        trace: &'a mut TraceFile,
    ) -> Ledger<'a> {
        Ledger {
            trace,
            path,
            has_threads: header.has_threads,
            objects: HashMap::default(),
            next_object: 0,
            threads: HashMap::default(),
            next_thread: 0,
            ahead: first.into_iter().collect(),
            base_ns: None,
            last_time_ns: 0,
            events: 0,
            counts: SourceCounts::default(),
        }
    }

    /// Writes all calls of `log`, calling `report` with the number of events from time to time.
    pub(super) fn write_all<L: Log>(
        mut self,
        log: &mut L,
        mut report: impl FnMut(u64),
    ) -> Result<(), ImportError> {
        loop {
            let call = match self.ahead.pop_front() {
                Some(call) => call,
                None => match log.next_call()? {
                    Some(call) => call,
                    None => break,
                },
            };
            self.enter(call, log, 0)?;
            if self.events.is_multiple_of(REPORT_EVERY) {
                report(self.events);
            }
        }
        report(self.events);
        self.trace.set_source_counts(self.counts);
        Ok(())
    }

    /// Writes `call`, preceded by whatever must have ended for it to be possible.
    fn enter<L: Log>(&mut self, call: Call, log: &mut L, nested: u32) -> Result<(), ImportError> {
        if let Some(address) = call.what.occupied()
            && self.objects.contains_key(&address)
        {
            self.vacate(address, &call, log, nested)?;
        }
        let action = match self.act(&call.what) {
            Effect::Action(action) => action,
            Effect::Mark(name) => return self.mark(name, call.times),
            Effect::Nothing => return Ok(()),
        };
        let thread = self.thread(call.thread)?;
        let time_ns = self.time(call.times);
        if self.objects.len() > LIVE_MOST {
            return Err(self.too_many("objects live at once", LIVE_MOST as u64));
        }
        if action == Action::ThreadEnd {
            self.threads.remove(&call.thread);
        }
        self.events += 1;
        Ok(self.trace.push(&Record::Event(Event { time_ns, thread, action }))?)
    }

    /// Writes a named moment at the time of the previous event, because it has no index of its own.
    fn mark(&mut self, name: &str, times: Option<Times>) -> Result<(), ImportError> {
        let time_ns = match times {
            Some(_) => self.relative(times).max(self.last_time_ns),
            None => self.last_time_ns,
        };
        self.last_time_ns = time_ns;
        Ok(self.trace.push(&Record::Mark(Mark { time_ns, name: name.to_string() }))?)
    }

    /// Ends the object at `address`, which `call` is about to occupy.
    fn vacate<L: Log>(
        &mut self,
        address: u64,
        call: &Call,
        log: &mut L,
        nested: u32,
    ) -> Result<(), ImportError> {
        while self.ahead.len() < LOOK_AHEAD {
            match log.next_call()? {
                Some(next) => self.ahead.push_back(next),
                None => break,
            }
        }
        if nested < NESTED_MOST
            && let Some(mut late) = self.take_late(address, call)
        {
            if let (Some(late), Some(call)) = (&mut late.times, call.times) {
                late.start_ns = late.start_ns.min(call.start_ns);
            }
            self.counts.frees_hoisted += 1;
            self.enter(late, log, nested + 1)?;
        }
        if let Some(object) = self.objects.remove(&address) {
            let thread = self.thread(call.thread)?;
            // The allocation that follows counts its own time, if it must be raised.
            let time_ns = self.relative(call.times).max(self.last_time_ns);
            let action = Action::FreeMissed { object };
            self.trace.push(&Record::Event(Event { time_ns, thread, action }))?;
        }
        Ok(())
    }

    /// Moves the call that released `address`, and was logged after `call`, before it.
    fn take_late(&mut self, address: u64, call: &Call) -> Option<Call> {
        let mut mentions = (0..self.ahead.len()).filter(|&at| self.ahead[at].what.mentions(address));
        let position = mentions.next()?;
        let later = &self.ahead[position];
        let in_time = match (later.times, call.times) {
            (Some(later), Some(call)) => later.start_ns <= call.end_ns,
            // A log with times may have its lines in the order in which calls began, and says itself which came first.
            _ => !self.has_threads || self.is_first_of_thread(position),
        };
        let another = if self.has_threads {
            // A thread's own lines are in the order of its calls.
            later.thread != call.thread
        } else {
            // The first of two consecutive releases is that of the older object; otherwise the second would
            // release nothing.
            mentions.next().is_some_and(|at| self.ahead[at].what.released() == Some(address))
        };
        if later.what.released() != Some(address) || !another || !in_time {
            return None;
        }
        // The thread's line stays, for what is searched for after it.
        let late = *later;
        self.ahead[position].what = What::Moved;
        Some(late)
    }

    /// Whether the thread of a call ahead has no other line before it, since the allocation. What it did before that call
    /// was logged before the call began.
    fn is_first_of_thread(&self, position: usize) -> bool {
        let thread = self.ahead[position].thread;
        self.ahead.range(..position).all(|earlier| earlier.thread != thread)
    }

    fn act(&mut self, what: &What) -> Effect {
        Effect::Action(match *what {
            What::Mark(name) => return Effect::Mark(name),
            What::Moved => return Effect::Nothing,
            What::ThreadEnd => Action::ThreadEnd,
            What::Allocate { by, address: 0, size } => failed(by.family(), size),
            What::Allocate { by, address, size } => {
                let object = self.begin(address);
                match by {
                    Allocation::Malloc => Action::Malloc { object, size },
                    Allocation::Calloc => Action::Calloc { object, size },
                    Allocation::Aligned(alignment) => Action::AlignedAlloc { object, size, alignment },
                }
            }
            What::Free { address: 0 } => Action::FreeNull,
            What::Free { address } => match self.objects.remove(&address) {
                Some(object) => Action::Free { object },
                None => unseen(Family::Free),
            },
            What::Reallocate { address, old_address, size } => self.reallocate(address, old_address, size),
        })
    }

    fn reallocate(&mut self, address: u64, old_address: u64, size: u64) -> Action {
        if address == 0 {
            if size > 0 || old_address == 0 {
                return failed(Family::Realloc, size);
            }
            return match self.objects.remove(&old_address) {
                Some(object) => Action::ReallocFree { object },
                None => unseen(Family::Realloc),
            };
        }
        if old_address == 0 {
            return Action::ReallocNull { object: self.begin(address), size };
        }
        match self.objects.remove(&old_address) {
            Some(object) => {
                self.objects.insert(address, object);
                Action::Realloc { object, size }
            }
            None => {
                self.counts.unseen_reallocs += 1;
                Action::ReallocNull { object: self.begin(address), size }
            }
        }
    }

    fn begin(&mut self, address: u64) -> ObjectId {
        let object = self.next_object;
        self.next_object += 1;
        self.objects.insert(address, object);
        object
    }

    fn thread(&mut self, identifier: u64) -> Result<ThreadId, ImportError> {
        if let Some(&thread) = self.threads.get(&identifier) {
            return Ok(thread);
        }
        if self.next_thread >= THREADS_MOST {
            return Err(self.too_many("threads", THREADS_MOST.into()));
        }
        let thread = self.next_thread;
        self.threads.insert(identifier, thread);
        self.next_thread += 1;
        Ok(thread)
    }

    fn too_many(&self, what: &'static str, most: u64) -> ImportError {
        ImportError::TooMany { path: self.path.to_path_buf(), what, most, events: self.events }
    }

    /// The time of the next event, raised if it goes back.
    fn time(&mut self, times: Option<Times>) -> u64 {
        let went_back = match (times, self.base_ns) {
            (Some(times), Some(base_ns)) => times.start_ns < base_ns.saturating_add(self.last_time_ns),
            _ => false,
        };
        self.counts.times_raised += u64::from(went_back);
        self.last_time_ns = self.relative(times).max(self.last_time_ns);
        self.last_time_ns
    }

    /// The time on the trace's clock: since the first event, or the event's index.
    fn relative(&mut self, times: Option<Times>) -> u64 {
        match times {
            Some(times) => times.start_ns.saturating_sub(*self.base_ns.get_or_insert(times.start_ns)),
            None => self.events,
        }
    }
}

/// What the trace records of a call.
enum Effect {
    Action(Action),
    Mark(&'static str),
    Nothing,
}

impl Allocation {
    fn family(self) -> Family {
        match self {
            Allocation::Malloc => Family::Malloc,
            Allocation::Calloc => Family::Calloc,
            Allocation::Aligned(_) => Family::AlignedAlloc,
        }
    }
}

fn failed(call: Family, size: u64) -> Action {
    Action::Ignored { call, reason: IgnoredReason::Failed, size }
}

fn unseen(call: Family) -> Action {
    Action::Ignored { call, reason: IgnoredReason::Unseen, size: 0 }
}
