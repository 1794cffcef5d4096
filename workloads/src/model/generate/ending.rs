//! The end of a part: which of its objects live on, and how many more of each there are at another load.

use std::sync::Arc;

use super::super::crew::Seats;
use super::super::parts::Origin;
use super::super::survivors::{Playable, Survivor};
use super::fate::Fate;
use super::{Generation, Living, NOT_YET, Playing, SHUTDOWN, STARTUP};

/// A part that has ended, some of whose survivors do not live on yet.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) playing: Playing,
    /// The next of its survivors.
    pub(super) at: usize,
    pub(super) then: Then,
}

/// What comes once those survivors of a part live on that wait for nothing.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    /// What waited in it is done when it is due. It has this number among what is due.
    Play(u64),
    /// The trace ends: the survivors that still wait follow in a second pass, which is [`Then::Over`].
    Waiting,
    /// This is the second pass, over the survivors that still waited. Nothing follows.
    Over,
}

/// An object that comes more often than in the recording.
#[derive(Debug)]
pub(super) struct Copying {
    pub(super) part: u32,
    pub(super) survivor: Survivor,
    pub(super) model_begin_ns: u64,
    /// Where in the course of the recording its part is, in lengths of the recording.
    pub(super) lengths: f64,
    pub(super) seats: Seats,
    /// Copies with the fate of the last object that are still to be made.
    pub(super) alike: u64,
    pub(super) fate: Fate,
    /// Copies with fates of their own that are still to be made after those.
    pub(super) left: u64,
}

impl Generation {
    /// Lets the next survivors of a part that has ended live on, up to one that has copies.
    pub(super) fn end_part(&mut self, mut ending: Ending) {
        let score = Arc::clone(&self.score);
        let playable = score.playable(ending.playing.part);
        let waits = matches!(ending.then, Then::Over);
        while let Some(survivor) = playable.survivors.get(ending.at) {
            ending.at += 1;
            if ending.playing.waits(survivor.object) == waits {
                self.survive(&ending.playing, survivor);
                if self.copying.is_some() {
                    self.ending = Some(ending);
                    return;
                }
            }
        }
        if !waits {
            self.end_threads(playable, &ending.playing);
        }
        match ending.then {
            Then::Play(number) => self.current = Some((number, ending.playing)),
            Then::Waiting if ending.playing.delays.is_some() => {
                self.ending = Some(Ending { at: 0, then: Then::Over, ..ending });
            }
            Then::Waiting | Then::Over => {}
        }
    }

    /// Schedules the ends of a part's threads that come after it.
    fn end_threads(&mut self, playable: &Playable, playing: &Playing) {
        let Some(turn) = &playing.ended_as else { return };
        for (at, step) in playable.thread_ends().iter().enumerate() {
            let at = playable.threads_from + at as u32;
            self.settle(Living {
                part: playing.part,
                object: u64::MAX,
                at,
                anchored: if step.is_anchored { at } else { at + 1 },
                to: at + 1,
                model_begin_ns: playing.model_begin_ns,
                seats: Seats { turn: Arc::clone(turn), own: None },
                stretch: 1.0,
                freed_ns: None,
                thread: step.thread,
            });
        }
    }

    /// An object has survived its part.
    pub(super) fn survive(&mut self, playing: &Playing, survivor: &Survivor) {
        let (part, object) = (playing.part, playing.objects[survivor.object as usize]);
        let Some(seats) = playing.seats(survivor.object).filter(|_| object != NOT_YET) else { return };
        let model_begin_ns =
            match playing.delays.as_ref().map_or(0, |delays| delays.of_object(survivor.object)) {
                0 => playing.model_begin_ns,
                delay_ns => self.asked.warp.model_ns(playing.begin_ns.saturating_add(delay_ns)),
            };
        let factors = Arc::clone(&self.asked.factors);
        let octave = survivor.octave as usize;
        let (mut stretch, mut copies, mut is_dropped) = (1.0, 0.0, false);
        match part {
            SHUTDOWN => {}
            STARTUP => {
                let share = factors.live[Origin::Startup as usize][octave];
                copies = share - 1.0;
                is_dropped = share < 1.0 && self.draw.unit() >= share;
            }
            _ if survivor.is_freed => {
                stretch = factors.stretch(octave);
            }
            _ => {
                let share = factors.kept_share(octave);
                copies = share - 1.0;
                is_dropped = playing.keeping >= share;
            }
        }
        if is_dropped {
            return self.drop_survivor(part, object, survivor, model_begin_ns, &seats);
        }
        let mut fate = self.fate(part, model_begin_ns, survivor, playing.chance);
        let lengths = playing.lengths;
        let alike = self.count_alike(survivor, &fate, lengths);
        if alike == 0 {
            return self.drop_survivor(part, object, survivor, model_begin_ns, &seats);
        }
        fate.stretch *= stretch;
        self.begin_life(part, object, survivor, model_begin_ns, &seats, fate);
        let copies = copies.max(0.0);
        let left = copies.floor() as u64 + u64::from(copies > 0.0 && self.draw.unit() < copies.fract());
        if left > 0 || alike > 1 {
            let (survivor, alike) = (*survivor, alike - 1);
            self.copying =
                Some(Copying { part, survivor, model_begin_ns, lengths, seats, alike, fate, left });
        }
    }
}

#[cfg(test)]
mod tests {
    use heaplab_trace::{Action, Event, Record};

    use super::super::super::Question;
    use super::super::super::made::{at, model, subject};
    use crate::stream::RecordStream;

    #[test]
    fn copies_are_made_one_by_one() {
        // Start-up leaves 2,000 objects, of which each of ten times the clients has its own.
        let model = model(vec![subject(1.0, true, || {
            let held = (0..2_000).map(|object| (object, 0, Action::Malloc { object, size: 100 }));
            let served = (1..4_000u64).flat_map(|number| {
                let (time_ns, object) = (number * 2_500_000, 10_000 + number);
                [
                    (time_ns, 0, Action::Malloc { object, size: 64 }),
                    (time_ns + 1_000, 0, Action::Free { object }),
                ]
            });
            held.chain(served).collect()
        })]);
        let question = Question { startup: Some(1.0), ..at(10.0) };
        let mut played = model.play("copies", &question, 1).unwrap();
        let (mut waiting, mut held) = (0, 0);
        while let Some(record) = played.next().unwrap() {
            waiting = waiting.max(played.out.len());
            if let Record::Event(Event { action: Action::Malloc { size: 100, .. }, .. }) = record {
                held += 1;
            }
        }
        assert_eq!(held, 20_000);
        assert!(waiting < 512, "{waiting} records waited");
    }
}
