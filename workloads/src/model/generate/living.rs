//! What outlives its part: how long it lives on, which of its later steps are its own, and when it is freed.

use std::sync::Arc;

use heaplab_trace::{Action, Event, Record, ThreadId};

use super::super::crew::Seats;
use super::super::parts::Kind;
use super::super::survivors::Survivor;
use super::ending::Copying;
use super::fate::Fate;
use super::{Generation, Living, STARTUP, What};

impl Generation {
    /// An object that does not stay at this load goes when its part ends.
    pub(super) fn drop_survivor(
        &mut self,
        part: u32,
        object: u64,
        survivor: &Survivor,
        model_begin_ns: u64,
        seats: &Seats,
    ) {
        let anchored = survivor.anchored_from;
        let seats = seats.clone();
        let end_ns = model_begin_ns.saturating_add(self.length_of(part));
        self.settle(Living {
            part,
            object,
            at: anchored,
            anchored,
            to: survivor.to,
            model_begin_ns,
            seats,
            stretch: 1.0,
            freed_ns: Some(end_ns).filter(|end_ns| *end_ns < self.model_end_ns),
            thread: survivor.thread,
        });
    }

    /// How long a part was when it was recorded.
    fn recorded_length_of(&self, part: u32) -> u64 {
        let outline = &self.score.outline;
        if part == STARTUP { outline.startup_ns } else { outline.window_ns }
    }

    /// How long a part is as it is played.
    fn length_of(&self, part: u32) -> u64 {
        self.paced(part, self.recorded_length_of(part))
    }

    /// Makes the next copy of a survivor: what exists for each connection also exists for added connections, and what a
    /// window leaves for long is also left by the windows that it stands for.
    pub(super) fn copy(&mut self, mut copying: Copying) {
        let Copying { part, survivor, model_begin_ns, lengths, ref seats, .. } = copying;
        let time_ns = self.now_ns;
        let object = self.next_object;
        self.next_object += 1;
        let thread = self.crew.find(seats, survivor.thread, time_ns, &mut self.out);
        let action = Action::Malloc { object, size: survivor.bytes_at_end };
        self.out.push_back(Record::Event(Event { time_ns, thread, action }));
        if copying.alike > 0 {
            copying.alike -= 1;
        } else {
            copying.left -= 1;
            let chance = self.draw.unit();
            copying.fate = self.fate(part, model_begin_ns, &survivor, chance);
            if copying.fate.stands_for > 1 {
                // It exists, because the object that it is a copy of does.
                copying.alike = self.count_alike(&survivor, &copying.fate, lengths).saturating_sub(1);
            }
        }
        self.begin_life(part, object, &survivor, model_begin_ns, seats, copying.fate);
        self.copying = Some(copying).filter(|copying| copying.alike + copying.left > 0);
    }

    pub(super) fn begin_life(
        &mut self,
        part: u32,
        object: u64,
        survivor: &Survivor,
        model_begin_ns: u64,
        seats: &Seats,
        Fate { freed_ns, stretch, .. }: Fate,
    ) {
        let Survivor { from: at, anchored_from: anchored, to, thread, .. } = *survivor;
        let seats = seats.clone();
        self.settle(Living {
            part,
            object,
            at,
            anchored,
            to,
            model_begin_ns,
            seats,
            stretch,
            freed_ns,
            thread,
        });
    }

    /// Schedules what happens to an object next, if anything does.
    pub(super) fn settle(&mut self, living: Living) {
        let Some(time_ns) = self.next_ns(&living) else { return };
        let place = match self.living_free.pop() {
            Some(place) => place,
            None => {
                self.living.push(None);
                self.living.len() as u32 - 1
            }
        };
        self.living[place as usize] = Some(living);
        self.push(time_ns, What::Living(place));
    }

    /// When something happens to an object next; none if it stays as it is to the end.
    pub(super) fn next_ns(&self, living: &Living) -> Option<u64> {
        if living.at >= living.to && living.freed_ns.is_none() {
            return None;
        }
        let trace_ns = |model_ns: u64| self.asked.warp.trace_ns(model_ns);
        if living.at < living.anchored {
            let step = &self.playable(living.part).part.later[living.at as usize];
            let (part_ns, stretch) = (self.length_of(living.part), living.stretch);
            let beyond_ns = step.time_ns.saturating_sub(self.recorded_length_of(living.part));
            let beyond_ns = if stretch == 1.0 { beyond_ns } else { (beyond_ns as f64 * stretch) as u64 };
            let model_ns = living.model_begin_ns.saturating_add(part_ns).saturating_add(beyond_ns);
            // What is in flight at the end is finished while the program shuts down.
            return match model_ns.checked_sub(self.model_end_ns).filter(|beyond_ns| *beyond_ns > 0) {
                None => Some(trace_ns(model_ns)),
                Some(beyond_ns) if beyond_ns <= self.score.outline.shutdown_ns => {
                    Some(self.end_ns.saturating_add(beyond_ns))
                }
                Some(_) => self.anchored_ns(living),
            };
        }
        match living.freed_ns {
            Some(freed_ns) => Some(trace_ns(freed_ns)),
            None => self.anchored_ns(living),
        }
    }

    /// When what belongs to the shutdown happens to it. Anything still due before then no longer happens.
    pub(super) fn anchored_ns(&self, living: &Living) -> Option<u64> {
        let at = living.at.max(living.anchored);
        let step = self.playable(living.part).part.later.get(at as usize).filter(|_| at < living.to)?;
        Some(self.end_ns.saturating_add(step.time_ns))
    }

    pub(super) fn live_on(&mut self, place: u32, time_ns: u64) {
        let Some(mut living) = self.living[place as usize].take() else { return };
        self.living_free.push(place);
        let is_over = time_ns >= self.end_ns && living.at >= living.anchored;
        if living.at >= living.anchored && living.freed_ns.is_some() && !is_over {
            return self.free(&living, time_ns);
        }
        if is_over {
            living.freed_ns = None;
        }
        let score = Arc::clone(&self.score);
        let playable = score.playable(living.part);
        if living.at >= living.to {
            return;
        }
        let step = &playable.part.later[living.at as usize];
        living.at += 1;
        self.emit_after(step, time_ns, living.object, &living.seats);
        if !step.kind.frees() && step.kind != Kind::ThreadEnd {
            self.settle(living);
        }
    }

    /// Frees an object that the recording does not say when to free.
    pub(super) fn free(&mut self, living: &Living, time_ns: u64) {
        let thread: ThreadId = self.crew.find(&living.seats, living.thread, time_ns, &mut self.out);
        let object = living.object;
        let of_end =
            self.playable(living.part).part.later[living.anchored as usize..living.to as usize].iter();
        // What it had been touched by then: a later realloc may have made it larger.
        let of_end = of_end.take_while(|step| step.kind != Kind::Realloc);
        let touched = of_end.filter(|step| step.kind == Kind::Touched).last().map(|step| step.bytes);
        if let Some(bytes) = touched {
            let action = Action::Touched { object, bytes };
            self.out.push_back(Record::Event(Event { time_ns, thread, action }));
        }
        self.out.push_back(Record::Event(Event { time_ns, thread, action: Action::Free { object } }));
    }
}
