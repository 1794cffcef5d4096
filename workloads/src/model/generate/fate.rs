//! What becomes of a survivor whose end the recording did not see, and how many objects it stands for in a thinned trace.

use super::super::survivors::Survivor;
use super::{FIRST_WINDOW, Generation};

/// In a thinned trace, an object with a long life lives for this many of the windows that are played, so that as many are
/// alive at once soon, and without jumps.
const PLAYED_WINDOWS_LIVED: u128 = 10;

/// What becomes of a survivor whose end the recording did not see.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fate {
    /// When it is freed, in the model's time, if that is before the end.
    pub(super) freed_ns: Option<u64>,
    /// How many objects it stands for: one, unless its window stands for several.
    pub(super) stands_for: u64,
    /// How many times later than in the recording anything happens to it after its window, in the model's time.
    pub(super) stretch: f64,
}

impl Generation {
    /// How many objects a survivor becomes: as many as it stands for, unless they no longer come as often as in the
    /// recording.
    pub(super) fn count_alike(&mut self, survivor: &Survivor, fate: &Fate, lengths: f64) -> u64 {
        let is_endless = fate.freed_ns.is_none() && !survivor.is_freed && lengths > 1.0;
        if !is_endless || !self.score.continuation.stays(survivor.class as usize) {
            return fate.stands_for;
        }
        let still = fate.stands_for as f64 * self.score.endless.share(lengths);
        still.floor() as u64 + u64::from(self.draw.unit() < still.fract())
    }

    /// What becomes of a survivor whose end the recording did not see.
    pub(super) fn fate(&mut self, part: u32, begin_ns: u64, survivor: &Survivor, chance: f64) -> Fate {
        let lasts = Fate { freed_ns: None, stands_for: 1, stretch: 1.0 };
        if part < FIRST_WINDOW || survivor.is_freed {
            return lasts;
        }
        let outline = &self.score.outline;
        let number = u64::from(self.score.windows[(part - FIRST_WINDOW) as usize].part.number);
        let all_ns = u64::from(outline.windows) * outline.window_ns;
        let age_ns = all_ns.saturating_sub(number * outline.window_ns + survivor.birth_ns);
        let birth_ns = begin_ns.saturating_add(self.paced(part, survivor.birth_ns));
        // What lives for a number of events ages as fast as they come.
        let pace = self.asked.factors.ageing(survivor.octave as usize);
        let warp = self.asked.warp;
        let is_thinned = warp.factor > 1 && self.model_end_ns > warp.from_ns;
        // A life is told to be long or not, however near the end is.
        let left_ns = match is_thinned {
            true => self.end_ns.saturating_sub(warp.trace_ns(birth_ns)).max(all_ns),
            false => self.model_end_ns.saturating_sub(birth_ns),
        };
        let left_ns = left_ns as f64 * pace;
        // Where it is about as old at the end as it was in the recording, nothing need be guessed.
        let life_ns = match left_ns <= age_ns as f64 * 1.02 + 1e6 {
            true => None,
            false => {
                let class = survivor.class as usize;
                self.score.continuation.draw(class, age_ns, left_ns as u64, chance, &mut self.draw)
            }
        };
        let lived_ns = life_ns.map(|life_ns| (life_ns as f64 / pace) as u64);
        if is_thinned && lived_ns.is_none_or(|lived_ns| lived_ns > all_ns) {
            return self.long_fate(begin_ns, birth_ns, all_ns, lived_ns);
        }
        let freed_ns = lived_ns.map(|lived_ns| birth_ns.saturating_add(lived_ns));
        Fate { freed_ns: freed_ns.filter(|freed_ns| *freed_ns < self.model_end_ns), ..lasts }
    }

    /// What becomes of an object that lives for longer than the recording, in a thinned trace. Most objects live as many
    /// times longer there as windows come more rarely, so that as many are alive at once. That takes too long for this
    /// one: if nothing frees it, the trace would end with a fraction of a leak. So it comes more often, and lives less
    /// long, or as long as it would.
    fn long_fate(&self, begin_ns: u64, birth_ns: u64, all_ns: u64, lived_ns: Option<u64>) -> Fate {
        let warp = self.asked.warp;
        let windows = u64::from(self.score.outline.windows);
        // As many as live for ten of the windows that are played, or all.
        let times = lived_ns.map_or(warp.factor, |lived_ns| {
            let windows_lived = u128::from(lived_ns) * u128::from(windows) / u128::from(all_ns.max(1));
            let times = windows_lived.div_ceil(PLAYED_WINDOWS_LIVED).clamp(1, u128::from(warp.factor));
            times as u64
        });
        let freed_ns = lived_ns.and_then(|lived_ns| {
            let before_ns = lived_ns.min(warp.from_ns.saturating_sub(birth_ns));
            let beyond_ns = (lived_ns - before_ns) as f64 * (warp.factor as f64 / times as f64);
            let freed_ns = warp.trace_ns(birth_ns).saturating_add(before_ns).saturating_add(beyond_ns as u64);
            (freed_ns < self.end_ns).then(|| warp.model_ns(freed_ns))
        });
        // Windows of the recorded time stand for themselves.
        let is_beyond = begin_ns >= warp.from_ns;
        let stretch = if is_beyond { 1.0 / times as f64 } else { 1.0 };
        Fate { freed_ns, stands_for: if is_beyond { times } else { 1 }, stretch }
    }
}
