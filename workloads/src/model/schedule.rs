//! Which window is played when: lanes of slots, one after another, each slot a window of its phase.
//!
//! A load of three times the recorded one has three lanes. A lane that is only partly needed leaves slots
//! empty, evenly. Within a phase every window is drawn equally often, in random order. Beyond the recorded
//! time the phases of the second half repeat: what a program does once, at its start, it does not do again.

use super::draw::Draw;
use super::parts::{Outline, PHASES};
use super::survey::phase_of;

/// Lanes of slots.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Windows by phase, as positions in the model.
    phases: Vec<Vec<u32>>,
    /// The remaining windows of each phase in this round.
    decks: Vec<Vec<u32>>,
    lanes: u32,
    /// How much of each lane is used.
    share: f64,
    windows: u64,
}

impl Schedule {
    /// A schedule for `times` the recorded load, with the windows of these numbers.
    pub(super) fn new(outline: &Outline, numbers: &[u32], times: f64) -> Schedule {
        let mut phases = vec![Vec::new(); PHASES];
        // How long objects of the last window live is not known, so it is used only where there is no other.
        let usable = |number: &u32| *number + 1 < outline.windows || numbers.len() == 1;
        for (at, number) in numbers.iter().enumerate().filter(|(_, number)| usable(number)) {
            phases[phase_of(*number)].push(at as u32);
        }
        let filled: Vec<usize> = (0..PHASES).filter(|&phase| !phases[phase].is_empty()).collect();
        for phase in 0..PHASES {
            let nearest = filled.iter().min_by_key(|&&other| other.abs_diff(phase));
            if let (true, Some(&other)) = (phases[phase].is_empty(), nearest) {
                phases[phase] = phases[other].clone();
            }
        }
        let lanes = times.ceil().max(1.0);
        Schedule {
            decks: vec![Vec::new(); PHASES],
            phases,
            lanes: lanes as u32,
            share: times / lanes,
            windows: u64::from(outline.windows),
        }
    }

    pub(super) fn lanes(&self) -> u32 {
        self.lanes
    }

    /// The window of a lane's slot; none where it stays empty.
    pub(super) fn draw(&mut self, lane: u32, slot: u64, draw: &mut Draw) -> Option<u32> {
        // Lanes leave different slots empty: each is ahead of the previous one by an equal part of a slot.
        let ahead = f64::from(lane) / f64::from(self.lanes);
        let used_until = |slot: u64| ((slot as f64) * self.share + ahead).floor();
        if used_until(slot + 1) <= used_until(slot) {
            return None;
        }
        let half = self.windows / 2;
        let number =
            if slot < self.windows { slot } else { half + (slot - self.windows) % (self.windows - half) };
        let phase = phase_of(number as u32);
        if self.decks[phase].is_empty() {
            self.decks[phase].clone_from(&self.phases[phase]);
            draw.shuffle(&mut self.decks[phase]);
        }
        self.decks[phase].pop()
    }
}

/// Maps the model's time to the trace's: in a thinned trace, time beyond the recorded one passes faster than
/// windows do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Warp {
    /// Until then both times are the same.
    pub(super) from_ns: u64,
    /// How many times faster.
    pub(super) factor: u64,
}

impl Warp {
    #[inline]
    pub(super) fn trace_ns(self, model_ns: u64) -> u64 {
        match model_ns.checked_sub(self.from_ns) {
            Some(beyond) if self.factor > 1 => {
                self.from_ns.saturating_add(beyond.saturating_mul(self.factor))
            }
            _ => model_ns,
        }
    }

    pub(super) fn model_ns(self, trace_ns: u64) -> u64 {
        match trace_ns.checked_sub(self.from_ns) {
            Some(beyond) => self.from_ns + beyond / self.factor,
            None => trace_ns,
        }
    }
}
