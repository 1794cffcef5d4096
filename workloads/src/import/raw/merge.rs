//! All threads' steps as one trace: tick by tick, each tick in the order that `order` finds.
//!
//! At any time it holds a window of each thread that is being read, one tick's steps, and the live blocks. A
//! clock that stands still (the command died, the program went on) is one endless tick: it is processed in
//! rounds of bounded length.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::path::Path;

use heaplab_raw::MarkKind;
use heaplab_trace::{
    Action, Event, HugePages, Mark, Record, ResidentSample, SourceCounts, ThreadId, TraceFile, Tuning,
};

use super::heap::{Entry, Heap, Output, ThreadState};
use super::lineage::is_fork;
use super::order::{Lane, Settler};
use super::samples::Residents;
use super::stream::Stream;
use super::{ImportError, Problems};

/// Approximate number of steps of all threads in a round.
const ROUND_STEPS: usize = 1 << 18;
/// Steps of one thread in a round, at least.
const LANE_STEPS_LEAST: usize = 256;
/// Events between two reports of progress.
const REPORT_EVERY: u64 = 1 << 16;

/// What the trace says about a thread besides its events.
#[derive(Debug, Clone, Default)]
pub(super) struct ThreadFacts {
    pub(super) name: Option<String>,
}

/// The threads of an image, as far as the trace includes them.
pub(super) struct Part<'a> {
    pub(super) streams: Vec<Stream<'a>>,
    pub(super) facts: Vec<ThreadFacts>,
    /// Which of the streams is the initial thread.
    pub(super) initial: Option<usize>,
    /// The fork at which it ends; none of the image that the trace is of.
    pub(super) until_fork: Option<u32>,
}

/// Writes records as a trace has them: threads numbered as they appear, times from the beginning of the first image.
pub(super) struct Sink<'a> {
    trace: &'a mut TraceFile,
    directory: &'a Path,
    residents: Residents,
    base_us: u64,
    /// The trace's thread of each stream, once it has appeared.
    threads: Vec<Option<ThreadId>>,
    /// Whether the trace has an event of a stream's thread.
    has_acted: Vec<bool>,
    facts: Vec<ThreadFacts>,
    next_thread: ThreadId,
    /// The stream that continues a thread of the previous part.
    continued: Option<u32>,
    /// The tick of the last fork: nothing after it is earlier.
    forked_us: u64,
    forked_events: u64,
    events: u64,
    /// Records of threads' beginnings that are damaged.
    begun_again: u64,
    /// When recording was paused and continued, in microseconds, the latest first.
    pauses: Vec<(u64, &'static str)>,
}

impl<'a> Sink<'a> {
    pub(super) fn new(
        trace: &'a mut TraceFile,
        directory: &'a Path,
        residents: Residents,
        base_us: u64,
    ) -> Sink<'a> {
        Sink {
            trace,
            directory,
            residents,
            base_us,
            threads: Vec::new(),
            has_acted: Vec::new(),
            facts: Vec::new(),
            next_thread: 0,
            continued: None,
            forked_us: 0,
            forked_events: 0,
            events: 0,
            begun_again: 0,
            pauses: Vec::new(),
        }
    }

    /// The trace gets marks of these pauses.
    pub(super) fn add_pauses(&mut self, pauses: &[(u64, Option<u64>)]) {
        let marks = pauses.iter().flat_map(|&(begin_us, end_us)| {
            [Some((begin_us, Mark::PAUSED)), end_us.map(|end_us| (end_us, Mark::CONTINUED))]
        });
        self.pauses = marks.flatten().filter(|(at_us, _)| *at_us >= self.base_us).collect();
        self.pauses.reverse();
    }

    /// The records of `part` follow. The trace gets thread 0, the initial one, at once: it is the initial
    /// thread of the first part, if that has recorded. In a later part it is the thread `forker` of the
    /// previous part.
    fn begin_part(
        &mut self,
        part: &Part<'_>,
        forker: Option<ThreadId>,
        initial_name: &str,
    ) -> Result<(), ImportError> {
        self.facts.clone_from(&part.facts);
        self.threads = vec![None; part.facts.len()];
        self.has_acted = vec![false; part.facts.len()];
        self.continued = None;
        if self.next_thread == 0 {
            let name = part.initial.and_then(|stream| self.facts[stream].name.clone());
            let name = name.unwrap_or_else(|| initial_name.to_string());
            self.trace.push(&Record::ThreadName { thread: 0, name })?;
            self.next_thread = 1;
        } else {
            self.continued = part.initial.and_then(|stream| u32::try_from(stream).ok());
        }
        if let Some(stream) = part.initial {
            self.threads[stream] = Some(forker.unwrap_or(0));
        }
        Ok(())
    }

    /// Events before the last fork.
    pub(super) fn events_at_fork(&self) -> u64 {
        self.forked_events
    }

    /// The process was forked here.
    fn fork(&mut self, tick_us: u64) -> Result<(), ImportError> {
        (self.forked_us, self.forked_events) = (tick_us, self.events);
        let (time_ns, name) = (self.time_ns(tick_us), Mark::FORKED.to_string());
        Ok(self.trace.push(&Record::Mark(Mark { time_ns, name }))?)
    }

    fn time_ns(&self, tick_us: u64) -> u64 {
        tick_us.max(self.forked_us).saturating_sub(self.base_us).saturating_mul(1000)
    }

    /// Writes what was seen from outside until the tick at `tick_us` began: resident samples and pauses.
    fn write_seen(&mut self, tick_us: u64) -> Result<(), ImportError> {
        while let Some((at_us, name)) = self.pauses.pop_if(|(at_us, _)| *at_us <= tick_us) {
            self.write_residents(at_us)?;
            let (time_ns, name) = (self.time_ns(at_us), name.to_string());
            self.trace.push(&Record::Mark(Mark { time_ns, name }))?;
        }
        self.write_residents(tick_us)
    }

    /// Writes resident samples that were taken until the tick at `tick_us` began.
    fn write_residents(&mut self, tick_us: u64) -> Result<(), ImportError> {
        let fail = |source: io::Error| ImportError::Io {
            path: self.directory.join(heaplab_raw::SAMPLES_NAME),
            doing: "read",
            source,
        };
        while let Some((at_us, resident_bytes)) = self.residents.next_until(tick_us).map_err(fail)? {
            let time_ns = at_us.saturating_sub(self.base_us).saturating_mul(1000);
            self.trace.push(&Record::Resident(ResidentSample { time_ns, resident_bytes }))?;
        }
        Ok(())
    }

    fn write(&mut self, tick_us: u64, out: &mut Output) -> Result<(), ImportError> {
        let time_ns = self.time_ns(tick_us);
        for (stream, entry) in out.drain(..) {
            match entry {
                // It began in the previous part.
                Entry::Action(Action::ThreadStart) if self.continued == Some(stream) => {}
                // A thread begins once, before anything else.
                Entry::Action(Action::ThreadStart) if self.has_acted[stream as usize] => {
                    self.begun_again += 1
                }
                Entry::Action(action) => {
                    let thread = self.thread(stream)?;
                    self.has_acted[stream as usize] = true;
                    self.trace.push(&Record::Event(Event { time_ns, thread, action }))?;
                    self.events += 1;
                }
                Entry::Mark { kind, argument, detail } => {
                    if let Some(name) = mark_name(kind, argument, detail) {
                        self.trace.push(&Record::Mark(Mark { time_ns, name }))?;
                    }
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn thread(&mut self, stream: u32) -> Result<ThreadId, ImportError> {
        match self.threads[stream as usize] {
            Some(thread) => Ok(thread),
            None => self.enter_thread(stream as usize),
        }
    }

    #[cold]
    fn enter_thread(&mut self, stream: usize) -> Result<ThreadId, ImportError> {
        let thread = self.next_thread;
        self.next_thread = thread.saturating_add(1);
        self.threads[stream] = Some(thread);
        if let Some(name) = self.facts[stream].name.take() {
            self.trace.push(&Record::ThreadName { thread, name })?;
        }
        Ok(thread)
    }
}

/// The mark's name in a trace; none for a fork, which does not concern the parent's heap.
fn mark_name(kind: MarkKind, argument: i32, detail: i16) -> Option<String> {
    match kind {
        MarkKind::MallocTrim => Some(Tuning::MallocTrim { pad: argument.max(0) as u64 }.mark()),
        MarkKind::Mallopt => Some(Tuning::Mallopt { parameter: i32::from(detail), value: argument }.mark()),
        MarkKind::HugePages => Some(HugePages::from_prctl(argument, detail).mark().to_owned()),
        MarkKind::Filter => Some(Mark::FILTERED.to_owned()),
        MarkKind::Fork => None,
    }
}

/// Merges `parts`, one after another and over one heap, into `sink`; returns the totals that the trace cannot
/// know, and how many calls belonged to the thread machinery. From time to time, `report` is called with the
/// bytes read and the events.
pub(super) fn merge(
    parts: &mut [Part<'_>],
    sink: &mut Sink<'_>,
    initial_name: &str,
    problems: &mut Problems,
    mut report: impl FnMut(u64, u64),
) -> Result<(SourceCounts, u64), ImportError> {
    let mut heap = Heap::default();
    let (mut read_bytes, mut ticks_raised) = (0, 0);
    let mut forker = None;
    for part in parts {
        sink.begin_part(part, forker, initial_name)?;
        let mut merge = Merge {
            states: vec![ThreadState::default(); part.streams.len()],
            streams: &mut part.streams,
            until_fork: part.until_fork,
            forker: None,
            heap,
            settler: Settler::default(),
            lanes: Vec::new(),
            spare: Vec::new(),
            out: Output::new(),
        };
        merge.run(sink, problems, |bytes, events| report(read_bytes + bytes, events))?;
        forker = merge.forker.map(|stream| sink.thread(stream)).transpose()?;
        read_bytes += merge.read_bytes();
        ticks_raised += merge.streams.iter().map(|stream| stream.ticks_raised).sum::<u64>();
        heap = merge.heap;
    }
    if sink.begun_again > 0 {
        problems
            .add(format!("{} records of a thread that begins a second time are not read", sink.begun_again));
    }
    sink.write_seen(u64::MAX)?;
    if sink.residents.out_of_order > 0 {
        let (count, name) = (sink.residents.out_of_order, heaplab_raw::SAMPLES_NAME);
        problems
            .add(format!("{name}: {count} samples of resident memory are out of order and were not read"));
    }
    report(read_bytes, sink.events);
    let counts = heap.counts;
    let source_counts = SourceCounts {
        times_raised: ticks_raised,
        unseen_reallocs: counts.unseen_reallocs,
        lost: counts.lost,
        order_guessed: counts.order_guessed,
        ..SourceCounts::default()
    };
    Ok((source_counts, counts.machinery))
}

struct Merge<'a, 'f> {
    streams: &'a mut [Stream<'f>],
    states: Vec<ThreadState>,
    /// The fork at which it ends, and the stream that made it, once it is found.
    until_fork: Option<u32>,
    forker: Option<u32>,
    heap: Heap,
    settler: Settler,
    /// Threads that have steps in this tick.
    lanes: Vec<Lane>,
    /// Lanes whose memory can be used again.
    spare: Vec<Lane>,
    out: Output,
}

impl Merge<'_, '_> {
    fn run(
        &mut self,
        sink: &mut Sink<'_>,
        problems: &mut Problems,
        mut report: impl FnMut(u64, u64),
    ) -> Result<(), ImportError> {
        let mut queue: BinaryHeap<Reverse<(u64, u32)>> = BinaryHeap::new();
        let begins = self.streams.iter().enumerate();
        queue.extend(begins.map(|(at, stream)| Reverse((stream.begin_us(), at as u32))));
        let mut reported = 0;
        while let Some(&Reverse((tick_us, _))) = queue.peek() {
            sink.write_seen(tick_us)?;
            while let Some(&Reverse((at_us, stream))) = queue.peek() {
                if at_us > tick_us {
                    break;
                }
                queue.pop();
                match self.streams[stream as usize].next_tick(problems)? {
                    Some(next_us) if next_us > tick_us => queue.push(Reverse((next_us, stream))),
                    Some(_) => self.open_lane(stream),
                    None => {}
                }
            }
            self.run_tick(tick_us, sink, problems)?;
            if self.forker.is_some() {
                // What other threads did in this tick may be later than the fork: the order is not known more
                // precisely.
                return sink.fork(tick_us);
            }
            for lane in std::mem::take(&mut self.lanes) {
                if let Some(next_us) = self.close_lane(lane, problems)? {
                    queue.push(next_us);
                }
            }
            if sink.events - reported >= REPORT_EVERY {
                reported = sink.events;
                report(self.read_bytes(), reported);
            }
        }
        Ok(())
    }

    fn read_bytes(&self) -> u64 {
        self.streams.iter().map(|stream| stream.read_bytes).sum()
    }

    fn open_lane(&mut self, stream: u32) {
        let mut lane = self.spare.pop().unwrap_or_default();
        lane.steps.clear();
        lane.stream = stream;
        lane.state = self.states[stream as usize];
        self.lanes.push(lane);
    }

    /// Takes the thread's state back; returns its place in the queue, if it continues.
    fn close_lane(
        &mut self,
        lane: Lane,
        problems: &mut Problems,
    ) -> Result<Option<Reverse<(u64, u32)>>, ImportError> {
        let stream = lane.stream;
        self.states[stream as usize] = lane.state;
        self.spare.push(lane);
        let next_us = self.streams[stream as usize].next_tick(problems)?;
        Ok(next_us.map(|next_us| Reverse((next_us, stream))))
    }

    /// Does all steps of the tick, usually in one round.
    fn run_tick(
        &mut self,
        tick_us: u64,
        sink: &mut Sink<'_>,
        problems: &mut Problems,
    ) -> Result<(), ImportError> {
        let most = (ROUND_STEPS / self.lanes.len().max(1)).max(LANE_STEPS_LEAST);
        loop {
            let mut has_more = false;
            let mut grew = false;
            for lane in &mut self.lanes {
                let before = lane.steps.len();
                if self.forker == Some(lane.stream) {
                    continue;
                }
                let stream = &mut self.streams[lane.stream as usize];
                let lane_has_more = stream.take_tick(tick_us, &mut lane.steps, most, problems)?;
                if let Some(number) = self.until_fork
                    && let Some(at) = lane.steps[before..].iter().position(|step| is_fork(step, number))
                {
                    lane.steps.truncate(before + at);
                    self.forker = Some(lane.stream);
                } else {
                    has_more |= lane_has_more;
                }
                grew |= lane.steps.len() > before;
            }
            if grew || !has_more {
                self.settler.settle(&mut self.lanes, has_more, &mut self.heap, &mut self.out);
            } else {
                self.settler.settle_by_guess(&mut self.lanes, &mut self.heap, &mut self.out);
            }
            self.heap.end_disputes(!has_more, &mut self.out);
            sink.write(tick_us, &mut self.out)?;
            for lane in &mut self.lanes {
                lane.steps.drain(..lane.done);
            }
            if !has_more {
                return Ok(());
            }
        }
    }
}
