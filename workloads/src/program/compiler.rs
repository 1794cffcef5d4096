//! The compiler: events in, windows of operations out.
//!
//! What is settled here, once, need not be decided during the replay: which slot, which operations of two
//! threads on one object can meet in the two windows in flight (only those wait and publish), and how far a
//! block is written to. The replay's loop is then a walk over arrays.

use std::collections::hash_map::Entry;

use heaplab_trace::{Action, Event, ObjectId, ThreadId};
use rustc_hash::FxHashMap;

use super::draft::{Place, SegmentDraft, WindowDraft};
use super::error::{CompileError, Fault};
use super::file::ProgramWriter;
use super::layout::WINDOW_BARRIER;
use super::operation::{Code, OP_PUBLISHES, OP_WAITS, Op, touch_units};
use super::slots::Slots;
use super::touch::Touches;
use super::{Order, Windows};

/// A calloc of at least this many bytes usually comes zeroed from the system and is not written to at once:
/// only its first page is touched, unless the trace says how much was.
const UNTOUCHED_CALLOC_BYTES: u64 = 128 << 10;
/// Only blocks above this size can be touched in a page that a later shrink removes.
const PAGE_BYTES: u64 = 4096;
/// In strict order, what is measured at the requested peak is measured at the end of its window: the window ends
/// before requested bytes fall by more than one over this number of them, and a later one is the peak's only if it has more
/// than that share more.
const PEAK_SHARE: u64 = 1024;
/// More threads than any process has; protects against a damaged file.
const THREADS_MAX: u32 = 1 << 22;

/// An object that is live at the current event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub(super) size: u64,
    /// The last operation on it.
    pub(super) place: Place,
    /// The operation that gave it its block: a touch length belongs to that operation, whatever was done with
    /// the object since.
    pub(super) allocating: Place,
    /// File offset of that touch length, once it is written; 0 before, and for small blocks.
    pub(super) touch_offset: u64,
    pub(super) slot: u32,
    /// The thread of the last operation.
    pub(super) thread: ThreadId,
}

/// The position of a thread.
#[derive(Debug, Clone, Copy)]
pub(super) struct Thread {
    /// The window in which it has a segment, and the segment's number.
    window: u64,
    segment: u32,
    pub(super) seen: bool,
    ended: bool,
}

/// The largest requested bytes, and where they are measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Peak {
    pub(super) bytes: u64,
    /// The window at whose end they are measured, and the most that it has: in strict order, the largest or hardly less.
    pub(super) window: u64,
    of_window: u64,
}

impl Peak {
    fn new(bytes: u64, window: u64) -> Peak {
        Peak { bytes, window, of_window: bytes }
    }

    /// So much is requested in this window. In strict order a window that has hardly more than an earlier one is not worth
    /// ending before its time: each new maximum of a load that goes up and down would end one.
    fn reach(&mut self, bytes: u64, window: u64, order: Order) {
        if bytes <= self.bytes {
            return;
        }
        self.bytes = bytes;
        let is_more = bytes - self.of_window > self.of_window / PEAK_SHARE;
        if order == Order::Causal || window == self.window || is_more {
            (self.window, self.of_window) = (window, bytes);
        }
    }
}

/// The compiler's state between two events.
pub(super) struct Compiler<'a> {
    pub(super) order: Order,
    pub(super) cut: Windows,
    pub(super) has_times: bool,
    pub(super) writer: ProgramWriter<'a>,
    pub(super) live: FxHashMap<ObjectId, Live>,
    touches: Touches,
    pub(super) slots: Slots,
    /// By slot: how many operations on it were published.
    generations: Vec<u32>,
    pub(super) threads: Vec<Thread>,
    pub(super) current: WindowDraft,
    pub(super) held: Option<WindowDraft>,
    spare: Vec<SegmentDraft>,
    first_time: Option<u64>,
    /// Time of the last event. A window can end later, at a sample.
    pub(super) last_event: u64,
    /// The thread of the last event.
    pub(super) last_thread: ThreadId,
    pub(super) requested: u64,
    pub(super) peak: Peak,
    /// Sum of requested bytes times the ns that they were live.
    pub(super) byte_ns: u128,
    /// The time from which peak and sum are counted: that of a fork.
    pub(super) counted_from: u64,
    pub(super) events: u64,
    /// The number of events before that time.
    pub(super) inherited_events: u64,
}

impl<'a> Compiler<'a> {
    pub(super) fn new(
        writer: ProgramWriter<'a>,
        order: Order,
        cut: Windows,
        has_times: bool,
    ) -> Compiler<'a> {
        Compiler {
            order,
            cut,
            has_times,
            writer,
            live: FxHashMap::default(),
            touches: Touches::default(),
            slots: Slots::default(),
            generations: Vec::new(),
            threads: Vec::new(),
            current: WindowDraft::new(0, 0, 0),
            held: None,
            spare: Vec::new(),
            first_time: None,
            last_event: 0,
            last_thread: 0,
            requested: 0,
            peak: Peak::default(),
            byte_ns: 0,
            counted_from: 0,
            events: 0,
            inherited_events: 0,
        }
    }

    pub(super) fn law(&self, what: impl Into<String>) -> Fault {
        CompileError::Law { event: self.events, what: what.into() }.into()
    }

    pub(super) fn event(&mut self, event: &Event) -> Result<(), Fault> {
        let first = *self.first_time.get_or_insert(event.time_ns);
        let Some(time) = event.time_ns.checked_sub(first).filter(|time| *time >= self.current.head.last_time)
        else {
            return Err(self.law("its time is before its predecessor's"));
        };
        let gap = time - self.last_event;
        self.last_event = time;
        self.last_thread = event.thread;
        self.byte_ns += u128::from(gap) * u128::from(self.requested);
        let barrier = self.has_times && gap > self.cut.gap_ns;
        let late =
            self.has_times && self.cut.time_ns.is_some_and(|span| time - self.current.head.first_time > span);
        if barrier || late {
            self.close_window(Some((time, if barrier { WINDOW_BARRIER } else { 0 })))?;
        } else if self.leaves_peak(event.action) {
            self.close_window(Some((time, 0)))?;
        }
        self.action(event.thread, event.action)?;
        if event.action.is_event() {
            self.current.head.events += 1;
            self.events += 1;
        }
        let head = &mut self.current.head;
        head.last_time = time;
        head.requested_end = self.requested;
        head.requested_max = head.requested_max.max(self.requested);
        self.peak.reach(self.requested, self.current.number, self.order);
        let bytes = self.cut.bytes.max(self.requested / self.cut.live_share);
        if head.events + self.current.works >= self.cut.events || self.current.allocated_bytes >= bytes {
            self.close_window(Some((time, 0)))?;
        }
        Ok(())
    }

    /// Whether the window has the largest requested bytes so far, and would end with clearly less after this.
    fn leaves_peak(&self, action: Action) -> bool {
        if self.order == Order::Causal || self.peak.window != self.current.number {
            return false;
        }
        let (object, kept) = match action {
            Action::Free { object } | Action::ReallocFree { object } | Action::FreeMissed { object } => {
                (object, 0)
            }
            Action::Realloc { object, size } => (object, size),
            _ => return false,
        };
        let lost = self.live.get(&object).map_or(0, |live| live.size.saturating_sub(kept));
        self.peak.of_window - (self.requested - lost) > self.peak.of_window / PEAK_SHARE
    }

    /// Figures count only what follows.
    pub(super) fn count_from(&mut self, time: u64) {
        self.byte_ns = 0;
        self.inherited_events = self.events;
        self.counted_from = time;
        self.last_event = time;
        self.peak = Peak::new(self.requested, self.current.number);
    }

    /// A time of the trace as the program has it; none before the first event.
    pub(super) fn since_first_event(&self, time_ns: u64) -> Option<u64> {
        self.first_time.and_then(|first| time_ns.checked_sub(first))
    }

    fn action(&mut self, thread: ThreadId, action: Action) -> Result<(), Fault> {
        match action {
            Action::ThreadStart => {
                self.segment(thread)?;
            }
            Action::ThreadEnd => {
                let segment = self.segment(thread)?;
                self.current.segments[segment as usize].ends_thread = true;
                self.threads[thread as usize].ended = true;
            }
            Action::Malloc { object, size } => self.allocate(thread, object, Code::Malloc, size, 0)?,
            Action::Calloc { object, size } => self.allocate(thread, object, Code::Calloc, size, 0)?,
            Action::AlignedAlloc { object, size, alignment } => {
                if !alignment.is_power_of_two() {
                    return Err(self.law(format!("alignment {alignment} is not a power of two")));
                }
                let log2 = alignment.trailing_zeros() as u8;
                self.allocate(thread, object, Code::AlignedAlloc, size, log2)?;
            }
            Action::ReallocNull { object, size } => {
                self.allocate(thread, object, Code::ReallocNull, size, 0)?;
            }
            Action::Realloc { object, size } => self.reallocate(thread, object, size)?,
            // NOTE: realloc(p, 0) frees on glibc and makes a new minimal block on jemalloc 5.3. The recording
            // says that the object ended, so every allocator gets a free.
            Action::Free { object } | Action::ReallocFree { object } | Action::FreeMissed { object } => {
                self.free(thread, object)?;
            }
            Action::Work { object, bytes, repeats } => self.work(thread, object, bytes, repeats)?,
            Action::Touched { object, bytes } => self.touched(object, bytes)?,
            Action::FreeNull => {
                self.push(thread, Op::new(Code::FreeNull, 0, 0))?;
            }
            Action::Ignored { .. } => {}
        }
        Ok(())
    }

    fn allocate(
        &mut self,
        thread: ThreadId,
        object: ObjectId,
        code: Code,
        size: u64,
        alignment_log2: u8,
    ) -> Result<(), Fault> {
        let segment = self.segment(thread)? as usize;
        let own = &mut self.current.segments[segment].freed_slots;
        let limit = CompileError::Limit { what: "objects live at once", limit: u64::from(u32::MAX) };
        let slot = self.slots.take(own).ok_or(limit)?;
        if self.generations.len() <= slot as usize {
            self.generations.resize(slot as usize + 1, 0);
        }
        let mut op = Op::new(code, slot, size);
        op.alignment_log2 = alignment_log2;
        op.generation = self.generations[slot as usize];
        let untouched = code == Code::Calloc && size >= UNTOUCHED_CALLOC_BYTES;
        op.touch = touch_units(if untouched { PAGE_BYTES } else { size });
        if untouched {
            self.touches.add(object, PAGE_BYTES);
        }
        let place = self.push_to(segment, op);
        let Entry::Vacant(entry) = self.live.entry(object) else {
            return Err(self.law(format!("object {object} is allocated while it is live")));
        };
        entry.insert(Live { size, place, allocating: place, touch_offset: 0, slot, thread });
        self.grow(size)?;
        if size > PAGE_BYTES {
            self.current.large.push((object, place));
        }
        Ok(())
    }

    fn reallocate(&mut self, thread: ThreadId, object: ObjectId, size: u64) -> Result<(), Fault> {
        let Some(live) = self.live.get(&object).copied() else {
            return Err(self.law(format!("object {object} is reallocated and is not live")));
        };
        if let Some(reach) = self.touches.resize(object, live.size, size) {
            self.set_touch(&live, reach)?;
        }
        let segment = self.segment(thread)? as usize;
        let mut op = Op::new(Code::Realloc, live.slot, size);
        op.old_size = live.size;
        op.touch = touch_units(size);
        self.order_behind(&live, thread, &mut op);
        let place = self.push_to(segment, op);
        self.live.insert(object, Live { size, place, allocating: place, touch_offset: 0, thread, ..live });
        self.requested -= live.size;
        self.grow(size)?;
        if size > PAGE_BYTES {
            self.current.large.push((object, place));
        }
        Ok(())
    }

    fn free(&mut self, thread: ThreadId, object: ObjectId) -> Result<(), Fault> {
        let Some(live) = self.live.remove(&object) else {
            return Err(self.law(format!("object {object} is freed and is not live")));
        };
        self.touches.end(object);
        let segment = self.segment(thread)? as usize;
        let mut op = Op::new(Code::Free, live.slot, live.size);
        self.order_behind(&live, thread, &mut op);
        self.push_to(segment, op);
        self.requested -= live.size;
        match self.order {
            Order::Causal => self.current.segments[segment].freed_slots.push(live.slot),
            Order::Strict => self.slots.give(live.slot),
        }
        Ok(())
    }

    /// This many bytes of a live object were written to: its last allocating operation touches exactly that
    /// much, which for a large calloc is more than its first page.
    fn touched(&mut self, object: ObjectId, bytes: u64) -> Result<(), Fault> {
        let Some(live) = self.live.get(&object).copied() else {
            return Err(
                self.law(format!("it is said what was written of object {object}, which is not live"))
            );
        };
        let reach = self.touches.set(object, bytes, live.size);
        self.set_touch(&live, reach)
    }

    /// Changes how far the block of a live object is touched, in the windows that are held back or in the file.
    fn set_touch(&mut self, live: &Live, bytes: u64) -> Result<(), Fault> {
        let touch = touch_units(bytes);
        let held = self.held.as_mut().and_then(|held| held.op_mut(live.allocating));
        if let Some(op) = self.current.op_mut(live.allocating).or(held) {
            op.touch = touch;
        } else if live.touch_offset != 0 {
            self.writer.patch_touch(live.touch_offset, touch)?;
        }
        Ok(())
    }

    fn work(&mut self, thread: ThreadId, object: ObjectId, bytes: u64, repeats: u32) -> Result<(), Fault> {
        let Some(live) = self.live.get(&object).copied() else {
            return Err(self.law(format!("object {object} is worked on and is not live")));
        };
        if bytes > live.size {
            return Err(
                self.law(format!("work on {bytes} bytes of object {object}, which has {}", live.size))
            );
        }
        let segment = self.segment(thread)? as usize;
        let mut op = Op::new(Code::Work, live.slot, bytes);
        op.old_size = u64::from(repeats);
        self.order_behind(&live, thread, &mut op);
        let place = self.push_to(segment, op);
        self.live.insert(object, Live { place, thread, ..live });
        self.current.works += 1;
        Ok(())
    }

    fn grow(&mut self, size: u64) -> Result<(), Fault> {
        let limit = CompileError::Limit { what: "requested bytes live at once", limit: u64::MAX };
        self.requested = self.requested.checked_add(size).ok_or(limit)?;
        self.current.allocated_bytes = self.current.allocated_bytes.saturating_add(size);
        Ok(())
    }

    /// Makes `op` wait for the previous operation on the same object where the two can meet: in different
    /// threads, and in windows that can be in flight together.
    fn order_behind(&mut self, live: &Live, thread: ThreadId, op: &mut Op) {
        let generation = &mut self.generations[live.slot as usize];
        op.generation = *generation;
        if self.order == Order::Strict || live.thread == thread {
            return;
        }
        let before = match self.current.op_mut(live.place) {
            Some(before) => before,
            None => match self.held.as_mut().and_then(|held| held.op_mut(live.place)) {
                Some(before) => before,
                None => return,
            },
        };
        before.flags |= OP_PUBLISHES;
        before.generation = *generation;
        *generation = generation.wrapping_add(1);
        op.flags |= OP_WAITS;
        op.generation = *generation;
    }

    fn push(&mut self, thread: ThreadId, op: Op) -> Result<Place, Fault> {
        let segment = self.segment(thread)? as usize;
        Ok(self.push_to(segment, op))
    }

    pub(super) fn push_to(&mut self, segment: usize, op: Op) -> Place {
        let ops = &mut self.current.segments[segment].ops;
        ops.push(op);
        Place { window: self.current.number, segment: segment as u32, op: ops.len() as u32 - 1 }
    }

    /// The segment for the thread's next operation.
    pub(super) fn segment(&mut self, thread: ThreadId) -> Result<u32, Fault> {
        if thread >= THREADS_MAX {
            return Err(CompileError::Limit { what: "threads", limit: u64::from(THREADS_MAX) }.into());
        }
        let index = thread as usize;
        if index >= self.threads.len() {
            let unseen = Thread { window: u64::MAX, segment: 0, seen: false, ended: false };
            self.threads.resize(index + 1, unseen);
        }
        if self.threads[index].ended {
            return Err(self.law(format!("thread {thread} acts after its end")));
        }
        let last = self.current.segments.len().wrapping_sub(1) as u32;
        let state = &mut self.threads[index];
        state.seen = true;
        if state.window == self.current.number && (self.order == Order::Causal || state.segment == last) {
            return Ok(state.segment);
        }
        (state.window, state.segment) = (self.current.number, last.wrapping_add(1));
        let mut draft = self.spare.pop().unwrap_or_default();
        draft.thread = thread;
        self.current.segments.push(draft);
        Ok(state.segment)
    }

    /// Whether the thread has acted and not ended.
    pub(super) fn is_alive(&self, thread: ThreadId) -> bool {
        self.threads.get(thread as usize).is_some_and(|state| state.seen && !state.ended)
    }

    /// Threads that started and did not end, in order; the initial thread always.
    pub(super) fn threads_at_end(&self) -> Vec<ThreadId> {
        let threads = 0..self.threads.len() as ThreadId;
        let alive: Vec<ThreadId> = threads.filter(|&thread| thread == 0 || self.is_alive(thread)).collect();
        if alive.is_empty() { vec![0] } else { alive }
    }

    /// Closes the current window; the next one, if any, begins at a given time with given flags.
    pub(super) fn close_window(&mut self, next: Option<(u64, u32)>) -> Result<(), Fault> {
        if self.current.segments.is_empty() {
            if let Some((time, flags)) = next {
                (self.current.head.first_time, self.current.head.last_time) = (time, time);
                self.current.head.flags |= flags;
            }
            return Ok(());
        }
        let (time, flags) = next.unwrap_or((self.current.head.last_time, 0));
        let number = self.current.number;
        for segment in &mut self.current.segments {
            self.slots.age(number, &mut segment.freed_slots);
        }
        self.slots.begin_window(number + 1);
        self.write_held()?;
        let mut window = WindowDraft::new(number + 1, time, flags);
        window.head.requested_end = self.requested;
        window.head.requested_max = self.requested;
        std::mem::swap(&mut window, &mut self.current);
        self.held = Some(window);
        Ok(())
    }

    /// Writes the window that was held back, and remembers where the large objects' touch lengths lie.
    pub(super) fn write_held(&mut self) -> Result<(), Fault> {
        let Some(mut window) = self.held.take() else { return Ok(()) };
        self.writer.write(&window)?;
        for (object, place) in window.large.drain(..) {
            if let Some(live) = self.live.get_mut(&object).filter(|live| live.allocating == place) {
                live.touch_offset = self.writer.touch_offset(place).unwrap_or(0);
            }
        }
        for mut segment in window.segments.drain(..) {
            segment.ops.clear();
            segment.ends_thread = false;
            self.spare.push(segment);
        }
        Ok(())
    }
}
