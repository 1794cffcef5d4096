//! Which window is played when: lanes of slots, one after another, each slot a window of its phase.
//!
//! A load of three times the recorded one has three lanes. A lane that is only partly needed leaves slots
//! empty, evenly. Within a phase every window is drawn equally often, in random order. Beyond the recorded
//! time the phases of the second half repeat: what a program does once, at its start, it does not do again.
//! A program whose memory follows the number of events goes through its phases in step with them: at three
//! times the load, three times as fast.

use super::draw::Draw;
use super::parts::{Outline, PHASES};
use super::survey::phase_of;

/// A lane more is used only if the load is this much more than the lanes have: 1.02 times a load does not double what is
/// in flight at once.
const WORTH_A_LANE: f64 = 1.03;

/// How windows follow each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tempo {
    /// Windows at a time.
    pub(super) lanes: u32,
    /// How much of each lane is used.
    share: f64,
    /// How many times faster than recorded a window is played.
    pub(super) pace: f64,
    /// Whether the course of the recording advances with each window played, rather than with time.
    is_progress: bool,
}

impl Tempo {
    /// For `times` the recorded load. A program that does one thing at a time plays its windows one after another, and
    /// faster at a higher load; others play several at once. With `is_progress` the course of the recording advances with
    /// each window played: at three times the load, three times as fast.
    pub(super) fn new(times: f64, is_serial: bool, is_progress: bool) -> Tempo {
        if is_serial && times > 1.0 {
            return Tempo { lanes: 1, share: 1.0, pace: times, is_progress };
        }
        let lanes = (times / WORTH_A_LANE).ceil().max(1.0);
        Tempo { lanes: lanes as u32, share: (times / lanes).min(1.0), pace: 1.0, is_progress }
    }

    /// How many more windows than `times` may be in flight at once.
    pub(super) fn rounding(self, times: f64) -> f64 {
        if self.pace > 1.0 { 0.0 } else { (f64::from(self.lanes) - times).max(0.0) }
    }
}

/// Lanes of slots.
#[derive(Debug)]
pub(super) struct Schedule {
    /// Windows by phase, as positions in the model.
    phases: Vec<Vec<u32>>,
    /// The remaining windows of each phase in this round.
    decks: Vec<Vec<u32>>,
    tempo: Tempo,
    windows: u64,
    played: u64,
}

impl Schedule {
    /// A schedule with the windows of these numbers.
    pub(super) fn new(outline: &Outline, numbers: &[u32], tempo: Tempo) -> Schedule {
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
        Schedule {
            decks: vec![Vec::new(); PHASES],
            phases,
            tempo,
            windows: u64::from(outline.windows),
            played: 0,
        }
    }

    pub(super) fn lanes(&self) -> u32 {
        self.tempo.lanes
    }

    /// The window of a lane's slot, and its place in the course of the recording, in windows; none where the slot stays
    /// empty.
    pub(super) fn draw(&mut self, lane: u32, slot: u64, draw: &mut Draw) -> Option<(u32, u64)> {
        // Lanes leave different slots empty: each is ahead of the previous one by an equal part of a slot.
        let ahead = f64::from(lane) / f64::from(self.tempo.lanes);
        let used_until = |slot: u64| ((slot as f64) * self.tempo.share + ahead).floor();
        if used_until(slot + 1) <= used_until(slot) {
            return None;
        }
        let at = if self.tempo.is_progress { self.played } else { (slot as f64 / self.tempo.pace) as u64 };
        self.played += 1;
        let half = self.windows / 2;
        let number = if at < self.windows { at } else { half + (at - self.windows) % (self.windows - half) };
        let phase = phase_of(number as u32);
        if self.decks[phase].is_empty() {
            self.decks[phase].clone_from(&self.phases[phase]);
            draw.shuffle(&mut self.decks[phase]);
        }
        self.decks[phase].pop().map(|window| (window, at))
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
