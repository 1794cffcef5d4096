//! What is live at which address, and what a step does to it.
//!
//! A step is tried: it happens if its address is as it must be, otherwise nothing changes. Whether it then
//! waits for another thread's step is not decided here. While the journal is open, everything can be undone.

use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use heaplab_raw::{Allocation, Call as RawCall, MarkKind};
use heaplab_trace::{Action, Call, IgnoredReason, ObjectId};
use rustc_hash::FxBuildHasher;

use super::stream::{Need, Step, What};

/// Stands for a block of the thread machinery: neither the block nor what happens to it appears in a trace.
const MACHINERY: ObjectId = ObjectId::MAX;

/// The state of a thread between steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ThreadState {
    /// The block of a realloc that has left its address and not yet arrived.
    moving: Option<ObjectId>,
    /// Whether it is within `pthread_create`.
    creating: bool,
}

/// Totals that the trace cannot know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) unseen_reallocs: u64,
    pub(super) order_guessed: u64,
    pub(super) lost: u64,
    /// Allocations and frees within `pthread_create`.
    pub(super) machinery: u64,
}

/// What a step is to the trace: its stream, and what it did.
pub(super) type Output = Vec<(u32, Entry)>;

/// An event's action, or a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    Action(Action),
    Mark { kind: MarkKind, argument: i32, detail: i16 },
}

/// The live blocks.
#[derive(Default)]
pub(super) struct Heap {
    live: HashMap<u64, ObjectId, FxBuildHasher>,
    /// Blocks at an address that was handed out again before they were freed, as far as is known now.
    older: Vec<(u64, u32, ObjectId)>,
    next_object: ObjectId,
    pub(super) counts: Counts,
    journal: Option<Vec<(u64, Option<ObjectId>)>>,
}

/// A state that a heap can be returned to.
#[derive(Debug, Clone)]
pub(super) struct Mark {
    next_object: ObjectId,
    counts: Counts,
    older: Vec<(u64, u32, ObjectId)>,
}

impl Heap {
    /// Opens the journal: from here on everything can be undone.
    pub(super) fn mark(&mut self) -> Mark {
        self.journal.get_or_insert_default().clear();
        // These are nearly always empty, so copying them costs nothing.
        Mark { next_object: self.next_object, counts: self.counts, older: self.older.clone() }
    }

    /// Undoes everything since `mark`.
    pub(super) fn undo(&mut self, mark: &Mark) {
        if let Some(journal) = &mut self.journal {
            for (address, before) in journal.drain(..).rev() {
                match before {
                    Some(object) => self.live.insert(address, object),
                    None => self.live.remove(&address),
                };
            }
        }
        self.next_object = mark.next_object;
        self.counts = mark.counts;
        self.older.clone_from(&mark.older);
    }

    /// Closes the journal: what was done stays.
    pub(super) fn keep(&mut self) {
        self.journal = None;
    }

    /// Does `step` if its address is as it must be, and says whether it did.
    #[inline]
    pub(super) fn try_step(
        &mut self,
        step: &Step,
        stream: u32,
        thread: &mut ThreadState,
        out: &mut Output,
    ) -> bool {
        let address = step.address;
        match step.need() {
            Need::Nothing => self.record(step, stream, thread, out),
            Need::Vacant => {
                let object = self.arriving(step, thread);
                match self.live.entry(address) {
                    Place::Occupied(_) => return false,
                    Place::Vacant(place) => place.insert(object),
                };
                self.next_object += u64::from(object == self.next_object);
                self.note(address, None);
                self.tell_arrival(step, stream, object, thread, out);
            }
            Need::Released => {
                let Some(object) = self.live.remove(&address) else { return false };
                self.note(address, Some(object));
                let object = self.take_older(address, object);
                self.tell_release(step, stream, Some(object), thread, out);
            }
            Need::Held => {
                let Some(&object) = self.live.get(&address) else { return false };
                if object == MACHINERY {
                    self.counts.machinery += 1;
                } else {
                    tell_touched(step, stream, object, out);
                    out.push((stream, Entry::Action(Action::Realloc { object, size: step.size })));
                }
            }
        }
        true
    }

    /// Does `step` although its address is not as it must be: either the free of the block that is live there
    /// was never recorded, or the block that it frees was never seen.
    pub(super) fn do_unproven(
        &mut self,
        step: &Step,
        stream: u32,
        thread: &mut ThreadState,
        out: &mut Output,
    ) {
        match step.need() {
            Need::Vacant => {
                if let Some(object) = self.live.remove(&step.address) {
                    self.note(step.address, Some(object));
                    if object != MACHINERY {
                        out.push((stream, Entry::Action(Action::FreeMissed { object })));
                    }
                }
                self.try_step(step, stream, thread, out);
            }
            Need::Released => self.tell_release(step, stream, None, thread, out),
            Need::Held => {
                // The block began before the recording: it is known from here on.
                self.counts.unseen_reallocs += 1;
                let object = self.begin();
                self.note(step.address, None);
                self.live.insert(step.address, object);
                out.push((stream, Entry::Action(Action::ReallocNull { object, size: step.size })));
            }
            Need::Nothing => self.record(step, stream, thread, out),
        }
    }

    /// Does `step` although no order was found in which its address is as it must be. For an allocation at a
    /// live address, the older block stays live too: its free, if there is one, comes late.
    pub(super) fn do_guessed(
        &mut self,
        step: &Step,
        stream: u32,
        thread: &mut ThreadState,
        out: &mut Output,
    ) {
        self.counts.order_guessed += 1;
        if step.need() == Need::Vacant
            && let Some(object) = self.live.remove(&step.address)
        {
            self.older.push((step.address, stream, object));
            self.try_step(step, stream, thread, out);
        } else {
            self.do_unproven(step, stream, thread, out);
        }
    }

    /// Ends the blocks that were handed out twice and freed once: at the end of the tick, or before the thread ends that
    /// was given the address again.
    pub(super) fn end_disputes(&mut self, is_tick_over: bool, out: &mut Output) {
        if self.older.is_empty() {
            return;
        }
        let is_end = |entry: &Entry| matches!(entry, Entry::Action(Action::ThreadEnd));
        let ends = out.iter().filter(|(_, entry)| is_end(entry));
        let ending: BTreeSet<u32> = ends.map(|(stream, _)| *stream).collect();
        let mut missed: BTreeMap<u32, Output> = BTreeMap::new();
        self.older.retain(|&(_, stream, object)| {
            let is_over = is_tick_over || ending.contains(&stream);
            if is_over && object != MACHINERY {
                let free = Entry::Action(Action::FreeMissed { object });
                missed.entry(stream).or_default().push((stream, free));
            }
            !is_over
        });
        for (stream, entry) in std::mem::take(out) {
            if is_end(&entry) {
                out.extend(missed.remove(&stream).unwrap_or_default());
            }
            out.push((stream, entry));
        }
        out.extend(missed.into_values().flatten());
    }

    /// The block that a release at `address` frees, where `object` is the newest there: the oldest.
    fn take_older(&mut self, address: u64, object: ObjectId) -> ObjectId {
        if self.older.is_empty() {
            return object;
        }
        match self.older.iter().position(|(at, ..)| *at == address) {
            Some(place) => {
                self.live.insert(address, object);
                self.older.remove(place).2
            }
            None => object,
        }
    }

    /// The object that is live from `step` on, if that can be done: the next one, or one that is known.
    #[inline]
    fn arriving(&self, step: &Step, thread: &ThreadState) -> ObjectId {
        match (step.what, thread.moving) {
            (What::Arrive, Some(object)) => object,
            _ if thread.creating => MACHINERY,
            _ => self.next_object,
        }
    }

    fn begin(&mut self) -> ObjectId {
        let object = self.next_object;
        self.next_object += 1;
        object
    }

    #[inline]
    fn tell_arrival(
        &mut self,
        step: &Step,
        stream: u32,
        object: ObjectId,
        thread: &mut ThreadState,
        out: &mut Output,
    ) {
        let size = step.size;
        let moved = step.what == What::Arrive && thread.moving.take().is_some();
        if object == MACHINERY {
            self.counts.machinery += 1;
            return;
        }
        let action = match step.what {
            What::Allocate(Allocation::Malloc) => Action::Malloc { object, size },
            What::Allocate(Allocation::Calloc) => Action::Calloc { object, size },
            What::Aligned { log2 } => Action::AlignedAlloc { object, size, alignment: 1 << log2 },
            What::Arrive if moved => Action::Realloc { object, size },
            What::Arrive => {
                self.counts.unseen_reallocs += 1;
                Action::ReallocNull { object, size }
            }
            _ => Action::ReallocNull { object, size },
        };
        out.push((stream, Entry::Action(action)));
    }

    #[inline]
    fn tell_release(
        &mut self,
        step: &Step,
        stream: u32,
        object: Option<ObjectId>,
        thread: &mut ThreadState,
        out: &mut Output,
    ) {
        if let Some(object) = object.filter(|object| *object != MACHINERY) {
            tell_touched(step, stream, object, out);
        }
        if let What::Leave { .. } = step.what {
            thread.moving = object;
            return;
        }
        match object {
            Some(MACHINERY) => self.counts.machinery += 1,
            Some(object) => out.push((stream, Entry::Action(Action::Free { object }))),
            None => out.push((stream, Entry::Action(unseen(Call::Free)))),
        }
    }

    /// Steps that require nothing of their address.
    fn record(&mut self, step: &Step, stream: u32, thread: &mut ThreadState, out: &mut Output) {
        let action = match step.what {
            What::ReallocFreed => match thread.moving.take() {
                Some(MACHINERY) => return self.counts.machinery += 1,
                Some(object) => Action::ReallocFree { object },
                None => unseen(Call::Realloc),
            },
            // A block whose end was not seen, and whose address now holds another block, is known no less
            // well than before.
            What::Touch { .. } => {
                if let Some(&object) = self.live.get(&step.address).filter(|object| **object != MACHINERY) {
                    tell_touched(step, stream, object, out);
                }
                return;
            }
            What::FreeNull => Action::FreeNull,
            What::Failed(call) => {
                Action::Ignored { call: family(call), reason: IgnoredReason::Failed, size: step.size }
            }
            What::ThreadBegin => Action::ThreadStart,
            What::ThreadEnd => Action::ThreadEnd,
            What::CreateEnter => return thread.creating = true,
            What::CreateLeave => return thread.creating = false,
            What::Lost => return self.counts.lost = self.counts.lost.saturating_add(step.size),
            What::Mark { kind, argument, detail } => {
                return out.push((stream, Entry::Mark { kind, argument, detail }));
            }
            _ => return,
        };
        out.push((stream, Entry::Action(action)));
    }

    #[inline]
    fn note(&mut self, address: u64, before: Option<ObjectId>) {
        if let Some(journal) = &mut self.journal {
            journal.push((address, before));
        }
    }
}

/// Says how much of the object was written to before `step`, which ends it or changes its size, or is the process's end.
#[inline]
fn tell_touched(step: &Step, stream: u32, object: ObjectId, out: &mut Output) {
    let (What::Free { touched }
    | What::Leave { touched }
    | What::Resize { touched }
    | What::Touch { touched }) = step.what
    else {
        return;
    };
    if let Some(bytes) = touched.bytes() {
        out.push((stream, Entry::Action(Action::Touched { object, bytes })));
    }
}

fn unseen(call: Call) -> Action {
    Action::Ignored { call, reason: IgnoredReason::Unseen, size: 0 }
}

fn family(call: RawCall) -> Call {
    match call {
        RawCall::Malloc => Call::Malloc,
        RawCall::Calloc => Call::Calloc,
        RawCall::Aligned => Call::AlignedAlloc,
        RawCall::ReallocNull | RawCall::Realloc => Call::Realloc,
    }
}
