//! The steps of a part, one after another, and those that wait when they are due.

use std::cmp::Reverse;
use std::sync::Arc;

use heaplab_trace::{Action, Event, Mark, Record};

use super::super::crew::{Seats, Turn};
use super::super::parts::{Kind, NO_OBJECT, Step};
use super::super::survivors::Playable;
use super::ending::{Ending, Then};
use super::queue::Delays;
use super::{FIRST_WINDOW, Generation, Playing, SHUTDOWN};

impl Generation {
    /// When a part's next step is due; at the end of time if it has none.
    #[inline]
    pub(super) fn due_ns(&self, playing: &Playing) -> u64 {
        let next_ns = match self.playable(playing.part).part.steps.get(playing.at) {
            Some(step) => playing.begin_ns.saturating_add(self.paced(playing.part, step.time_ns)),
            None => u64::MAX,
        };
        let waiting_ns = playing.delays.as_ref().and_then(Delays::due_ns);
        waiting_ns.map_or(next_ns, |waiting_ns| waiting_ns.min(next_ns))
    }

    /// Plays a part's next steps.
    #[inline]
    pub(super) fn step(&mut self, number: u64, mut playing: Playing) {
        let score = Arc::clone(&self.score);
        let playable = score.playable(playing.part);
        let steps = &playable.part.steps;
        let ahead =
            self.heap.peek().map_or((u64::MAX, u64::MAX), |Reverse((time, other, _))| (*time, *other));
        let last_ns = if playing.part == SHUTDOWN { u64::MAX } else { self.end_ns };
        let had_ended = playing.at >= steps.len();
        // PERF: plays all steps until something else is due; otherwise each step would cost a lookup in the
        // heap.
        for _ in 0..256 {
            let due_ns = self.due_ns(&playing);
            if due_ns == u64::MAX || (due_ns, number) > ahead || due_ns > last_ns {
                break;
            }
            if playing.delays.is_none() {
                playing.at += 1;
                self.perform(&steps[playing.at - 1], due_ns, &mut playing, None);
            } else if let Some(object) = self.step_in_turn(playable, &mut playing, due_ns)
                && had_ended
                && !playing.waits(object)
            {
                // It was the last that waited in this object's part. What happens to it now may be due first.
                let at = playable.survivors.binary_search_by_key(&object, |survivor| survivor.object);
                if let Ok(at) = at {
                    self.survive(&playing, &playable.survivors[at]);
                    break;
                }
            }
            // What waits from here on lives on one by one.
            if !had_ended && playing.at >= steps.len() {
                break;
            }
        }
        let due_ns = self.due_ns(&playing);
        let is_over = due_ns == u64::MAX || due_ns > last_ns;
        if !had_ended && (is_over || playing.at >= steps.len()) {
            playing.ended_as = Some(Arc::new(playing.turn.clone()));
            self.ending = Some(Ending {
                playing,
                at: 0,
                then: if is_over { Then::Waiting } else { Then::Play(number) },
            });
        } else if !is_over {
            self.current = Some((number, playing));
        } else {
            self.ending = Some(Ending { playing, at: 0, then: Then::Over });
        }
    }

    /// Takes the next step, or does what has waited until now. The object of a step that had waited.
    fn step_in_turn(&mut self, playable: &Playable, playing: &mut Playing, now_ns: u64) -> Option<u32> {
        let (delays, queue) = (playing.delays.as_mut()?, self.queue.as_mut()?);
        let steps = &playable.part.steps;
        let has_waited = delays.due_ns() == Some(now_ns);
        let ready = if has_waited {
            delays.pop(steps)
        } else {
            let at = playing.at as u32;
            playing.at += 1;
            let step = &steps[at as usize];
            let bursts = &self.score.bursts[(playing.part - FIRST_WINDOW) as usize];
            let wanted = playing.turn.place(step.thread);
            delays.take(queue, bursts, (at, step), wanted, (now_ns, self.end_ns))
        }?;
        let step = &steps[ready.step as usize];
        self.perform(step, now_ns, playing, ready.place);
        (has_waited && step.object != NO_OBJECT).then_some(step.object)
    }

    #[inline]
    fn perform(&mut self, step: &Step, time_ns: u64, playing: &mut Playing, place: Option<u32>) {
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
        self.emit(step, time_ns, object, (&mut playing.turn, place));
    }

    #[inline]
    fn emit(&mut self, step: &Step, time_ns: u64, object: u64, (turn, place): (&mut Turn, Option<u32>)) {
        if step.kind == Kind::ThreadEnd {
            if let Some(thread) = self.crew.end(turn, place, step.thread) {
                self.out.push_back(Record::Event(Event { time_ns, thread, action: Action::ThreadEnd }));
            }
            return;
        }
        if step.kind == Kind::Mark {
            let name = self.score.marks[step.bytes as usize].clone();
            self.out.push_back(Record::Mark(Mark { time_ns, name }));
            return;
        }
        let thread = self.crew.resolve(turn, place, step.thread, time_ns, &mut self.out);
        if step.kind != Kind::ThreadStart {
            let action = action(step, object);
            self.out.push_back(Record::Event(Event { time_ns, thread, action }));
        }
    }

    /// The same for what happens after its part.
    pub(super) fn emit_after(&mut self, step: &Step, time_ns: u64, object: u64, seats: &Seats) {
        if step.kind == Kind::ThreadEnd {
            if let Some(thread) = self.crew.end(&seats.turn, None, step.thread) {
                self.out.push_back(Record::Event(Event { time_ns, thread, action: Action::ThreadEnd }));
            }
            return;
        }
        let thread = self.crew.find(seats, step.thread, time_ns, &mut self.out);
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
