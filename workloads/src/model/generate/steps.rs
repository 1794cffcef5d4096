//! The steps of a part, one after another, and those that wait when they are due.

use std::cmp::Reverse;
use std::sync::Arc;

use heaplab_trace::{Action, Event, Mark, Record};

use super::super::crew::Turn;
use super::super::parts::{Kind, NO_OBJECT, Step};
use super::super::survivors::Playable;
use super::{FIRST_WINDOW, Generation, Playing, SHUTDOWN, STARTUP};

impl Generation {
    /// When a part's next step is due; at the end of time if it has none.
    pub(super) fn due_ns(&self, playing: &Playing) -> u64 {
        let waiting_ns = playing.delays.as_ref().and_then(|delays| delays.due_ns());
        self.direct_ns(playing).min(waiting_ns.unwrap_or(u64::MAX))
    }

    /// The same for the steps that have not been looked at.
    #[inline]
    fn direct_ns(&self, playing: &Playing) -> u64 {
        match self.playable(playing.part).part.steps.get(playing.at) {
            Some(step) => playing.begin_ns.saturating_add(self.paced(playing.part, step.time_ns)),
            None => u64::MAX,
        }
    }

    /// Plays a part's next steps.
    #[inline]
    pub(super) fn step(&mut self, number: u64, mut playing: Playing) {
        let score = Arc::clone(&self.score);
        let playable = match playing.part {
            STARTUP => &score.startup,
            SHUTDOWN => &score.shutdown,
            window => &score.windows[(window - FIRST_WINDOW) as usize],
        };
        let ahead =
            self.heap.peek().map_or((u64::MAX, u64::MAX), |Reverse((time, other, _))| (*time, *other));
        let last_ns = if playing.part == SHUTDOWN { u64::MAX } else { self.end_ns };
        let was_at_end = playing.at >= playable.part.steps.len();
        // PERF: plays all steps until something else is due; otherwise each step would cost a lookup in the
        // heap.
        for _ in 0..256 {
            let due_ns =
                if playing.delays.is_some() { self.due_ns(&playing) } else { self.direct_ns(&playing) };
            if due_ns == u64::MAX || (due_ns, number) > ahead || due_ns > last_ns {
                break;
            }
            match playing.delays.is_some() {
                false => {
                    let step = &playable.part.steps[playing.at];
                    playing.at += 1;
                    self.perform(step, due_ns, &mut playing);
                }
                true => self.step_in_turn(playable, &mut playing, due_ns),
            }
        }
        let due_ns = self.due_ns(&playing);
        let is_cut = due_ns > last_ns;
        let is_at_end = playing.at >= playable.part.steps.len() || is_cut;
        if is_at_end && !was_at_end {
            self.end_part(playable, &playing, false);
        }
        if due_ns == u64::MAX || is_cut {
            if playing.delays.is_some() {
                self.end_part(playable, &playing, true);
            }
        } else {
            self.current = Some((number, playing));
        }
    }

    /// Takes the next step, or does what has waited until now.
    fn step_in_turn(&mut self, playable: &Playable, playing: &mut Playing, now_ns: u64) {
        let (Some(delays), Some(queue)) = (playing.delays.as_mut(), self.queue.as_mut()) else { return };
        let steps = &playable.part.steps;
        let ready = if delays.due_ns() == Some(now_ns) {
            delays.pop()
        } else {
            let at = playing.at as u32;
            playing.at += 1;
            let step = &steps[at as usize];
            let bursts = &self.score.bursts[(playing.part - FIRST_WINDOW) as usize];
            delays.take(queue, bursts, (at, step), playing.turn.place(step.thread), now_ns)
        };
        let Some(ready) = ready else { return };
        let step = &steps[ready.step as usize];
        if let Some(place) = ready.place {
            playing.turn.give(step.thread, place);
        }
        self.perform(step, now_ns, playing);
    }

    #[inline]
    fn perform(&mut self, step: &Step, time_ns: u64, playing: &mut Playing) {
        let object = match step.kind.allocates() {
            true => {
                playing.objects[step.object as usize] = self.next_object;
                self.next_object += 1;
                self.next_object - 1
            }
            false if step.object == NO_OBJECT => 0,
            false => playing.objects[step.object as usize],
        };
        self.now_ns = time_ns;
        self.emit(step, time_ns, object, &mut playing.turn);
    }

    #[inline]
    fn emit(&mut self, step: &Step, time_ns: u64, object: u64, turn: &mut Turn) {
        if step.kind == Kind::ThreadEnd {
            if let Some(thread) = self.crew.end(turn, step.thread) {
                self.out.push_back(Record::Event(Event { time_ns, thread, action: Action::ThreadEnd }));
            }
            return;
        }
        if step.kind == Kind::Mark {
            let name = self.score.marks[step.bytes as usize].clone();
            self.out.push_back(Record::Mark(Mark { time_ns, name }));
            return;
        }
        let thread = self.crew.resolve(turn, step.thread, time_ns, &mut self.out);
        if step.kind != Kind::ThreadStart {
            let action = action(step, object);
            self.out.push_back(Record::Event(Event { time_ns, thread, action }));
        }
    }

    /// The same for what happens after its part.
    pub(super) fn emit_after(&mut self, step: &Step, time_ns: u64, object: u64, turn: &Turn) {
        if step.kind == Kind::ThreadEnd {
            if let Some(thread) = self.crew.end(turn, step.thread) {
                self.out.push_back(Record::Event(Event { time_ns, thread, action: Action::ThreadEnd }));
            }
            return;
        }
        let thread = self.crew.find(turn, step.thread, time_ns, &mut self.out);
        self.out.push_back(Record::Event(Event { time_ns, thread, action: action(step, object) }));
    }
}

#[inline]
fn action(step: &Step, object: u64) -> Action {
    let size = step.bytes;
    match step.kind {
        Kind::Malloc => Action::Malloc { object, size },
        Kind::Calloc => Action::Calloc { object, size },
        Kind::AlignedAlloc => Action::AlignedAlloc { object, size, alignment: 1 << step.alignment_bits },
        Kind::ReallocNull => Action::ReallocNull { object, size },
        Kind::Realloc => Action::Realloc { object, size },
        Kind::Free => Action::Free { object },
        Kind::ReallocFree => Action::ReallocFree { object },
        Kind::Touched => Action::Touched { object, bytes: size },
        Kind::FreeNull => Action::FreeNull,
        // The emitter has already handled these.
        Kind::ThreadStart => Action::ThreadStart,
        Kind::ThreadEnd => Action::ThreadEnd,
        Kind::Mark => Action::FreeNull,
    }
}
