//! How far to trust a model's figure: the width of its band, and whether the gate lets it pass.
//!
//! The parts of the band are independent errors, and are added as such: how far off the model was at a
//! recording's own load, how far off one load's recording predicted the other's, how much longer recordings
//! might have changed that, what one load cannot tell, and what a longer time adds.

use super::endless::Endless;
use super::facts::{CheckKind, Facts};
use super::generate::queue::Staff;
use super::law::SETTLED;
use super::parts::Outline;
use super::scaling::{
    Factors, difference_if_longer, difference_of_late_quarters, difference_within, mean_of, share_of_growth,
    within_windows,
};
use super::schedule::Tempo;

/// A band is at least this wide on each side.
const NARROWEST_BAND: f64 = 0.06;
/// The gate passes a figure if its band is at most this wide.
pub const MOST_BAND: f64 = 0.15;
/// Beyond this multiple of the recorded load, the data support little.
const SUPPORTED_TIMES: f64 = 4.0;
/// The live set has not settled if it gains this share of its mean over the recording's length.
pub(super) const GROWTH_LIMIT: f64 = 0.1;
/// The share of the time for which a pool's threads are busy beyond which a small error in it decides how long requests
/// wait.
const BUSY: f64 = 0.9;
/// If the length exceeds the recording's by this factor, what the first half says about the whole matters.
const LONGER: f64 = 1.2;
/// With this many objects of a quarter of the peak, no single one decides it.
pub(super) const MANY_LARGE_OBJECTS: u64 = 10;

/// The gate's verdict on what is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Half the width of the band, as a share.
    pub band: f64,
    /// Why the figures are not to be trusted; empty if the gate lets them pass.
    pub reasons: Vec<String>,
}

impl Verdict {
    /// Whether the figures can be trusted within their band.
    pub fn passes(&self) -> bool {
        self.reasons.is_empty()
    }
}

/// What is asked of a model, and what it was fitted to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent<'a> {
    /// The nearest recording.
    pub(super) from: &'a Outline,
    /// What is never freed in it.
    pub(super) endless: Endless,
    /// How its parts scale to the load.
    pub(super) factors: &'a Factors,
    /// Its pools' threads at the load.
    pub(super) staff: &'a [Staff],
    /// How its windows follow each other.
    pub(super) tempo: Tempo,
    /// The two recordings that show what grows, if there are two and the user did not say.
    pub(super) pair: Option<(&'a Outline, &'a Outline)>,
    /// Whether the user said how lives are counted.
    pub(super) is_life_stated: bool,
    /// Whether the user said how much of start-up's memory grows.
    pub(super) is_startup_stated: bool,
    pub(super) load: f64,
    /// The length as a multiple of the recording's.
    pub(super) lengths: f64,
}

impl Extent<'_> {
    fn times(&self) -> f64 {
        self.load / self.from.load
    }

    fn is_another_load(&self) -> bool {
        (self.times() - 1.0).abs() > 1e-9
    }
}

/// Whether the live set had not settled in the second half of a recording either.
fn is_unsettled_late(outline: &Outline) -> bool {
    outline.growth.abs() > GROWTH_LIMIT || difference_of_late_quarters(outline) > SETTLED
}

/// Judges what is asked.
pub(super) fn judge(facts: &Facts, asked: &Extent<'_>) -> Verdict {
    let growth = asked.from.growth;
    let law = &asked.factors.law;
    // Where memory follows the events, a higher load is a greater length.
    let lengths = asked.lengths * if law.is_progress { asked.factors.lanes } else { 1.0 };
    let is_longer = lengths > LONGER;
    // The error in resident memory contains that in requested bytes.
    let off = |kind| facts.worst_off_at(kind, asked.from.load);
    let mut parts =
        vec![off(CheckKind::Itself).max(off(CheckKind::Resident)), off(CheckKind::Alternate) / 2.0];
    let mut reasons = Vec::new();
    // What follows the events may change until its last event; what follows the load may not.
    let grows = |one: &Outline| !law.is_progress && one.growth.abs() / 2.0 > GROWTH_LIMIT;
    let has_settled = |one: &Outline| difference_within(one, law) <= SETTLED && !grows(one);
    let recordings = asked.pair.map_or([asked.from; 3], |(low, high)| [low, high, asked.from]);
    let unsettled = is_unsettled_late(asked.from) || recordings.into_iter().any(|one| !has_settled(one));
    if is_longer {
        if is_unsettled_late(asked.from) {
            // The first half predicted as much again. What had not settled by then may be off by as much for each further
            // length.
            let further = (lengths - 1.0).max(1.0);
            parts.push(off(CheckKind::FirstHalf) * further);
            parts.push(growth.abs() * (lengths - 1.0) / 2.0);
        } else {
            // Three quarters predicted a third as much again. Errors of what has settled add up as those of a random
            // walk.
            let further = ((lengths - 1.0) * 3.0).max(1.0);
            parts.push(off(CheckKind::LastQuarter) * further.sqrt());
        }
        let mean = (asked.from.requested_mean_bytes as f64).max(1.0);
        parts.push(asked.endless.unknown_bytes(lengths) / mean);
    }
    if asked.is_another_load() {
        match asked.pair {
            Some((low, high)) => {
                let way = libm::log(asked.times()).abs() / libm::log(high.load / low.load);
                // Loads above the recordings are predicted from the lower to the higher, and loads below them
                // the other way.
                let up = asked.load > asked.from.load;
                // Where a higher load is a greater length, the lower recording shows how well one of its kind is
                // continued: it says nothing about one that has settled unless it had settled too.
                let is_alike = !law.is_progress || !is_unsettled_late(low) || is_unsettled_late(asked.from);
                if is_alike {
                    // Recordings too far apart cannot predict each other: all that the other load adds is in doubt.
                    let off = facts.other_load_off(up).unwrap_or_else(|| {
                        share_of_growth(low, high, asked.from, asked.load) / way.max(f64::MIN_POSITIVE)
                    });
                    parts.push(off * way);
                }
                parts.push(difference_if_longer(low, high, asked.from, asked.load));
                parts.push(law.difference * way);
                if unsettled {
                    // What was still growing may have been a cache that fills, sooner at the higher load:
                    // then another load makes no difference once it is full.
                    parts.push(share_of_growth(low, high, asked.from, asked.load));
                }
            }
            None => parts.push(unknown_share(asked)),
        }
        parts.push(unknown_overlap(asked));
        reasons.extend(asked.staff.iter().filter_map(overload));
        if unsettled {
            reasons.push("the live set had not settled while it was recorded".to_owned());
        }
        if (1..MANY_LARGE_OBJECTS).contains(&asked.from.large_objects) {
            reasons.push("a few large objects decide the peak".to_owned());
        }
        if !(1.0 / SUPPORTED_TIMES..=SUPPORTED_TIMES).contains(&asked.times()) {
            let times = asked.times();
            reasons.push(format!("the load is {times:.1} times the nearest recorded one"));
        }
    } else if is_longer && is_unsettled_late(asked.from) {
        reasons.push("the live set had not settled while it was recorded".to_owned());
    }
    let band = parts.iter().map(|part| part * part).sum::<f64>().sqrt().max(NARROWEST_BAND);
    if band > MOST_BAND {
        reasons.insert(0, format!("the band is wider than {:.0} %", 100.0 * MOST_BAND));
    }
    Verdict { band, reasons }
}

/// What is said of a pool that is too busy at a load for its figures to be trusted.
fn overload(staff: &Staff) -> Option<String> {
    let (threads, share) = (staff.threads, staff.busy / f64::from(staff.threads.max(1)));
    if share < BUSY || staff.takes_one == Some(false) {
        return None;
    }
    let told = format!("a pool of {threads} threads would be busy for {:.0} % of the time", 100.0 * share);
    Some(match staff.takes_one {
        Some(true) if share >= 1.0 => format!("{told}: the program cannot keep up with this load"),
        Some(_) => told,
        None => format!("{told}, and that requests then wait for a thread is assumed"),
    })
}

/// What overlaps at another load, as a share: whether a program of one thread waits in the middle of requests, and begins
/// others meanwhile, cannot be seen; and other programs play whole windows at once.
fn unknown_overlap(asked: &Extent<'_>) -> f64 {
    let (of_startup, of_survivors) = mean_of(asked.from);
    let within_windows = within_windows(asked.from);
    let times = asked.factors.lanes;
    let is_serial = asked.tempo.pace > 1.0;
    let (unknown, said) = if is_serial { (times - 1.0, 1.0) } else { (asked.tempo.rounding(times), times) };
    unknown * within_windows / (of_startup + of_survivors + within_windows * said).max(1.0)
}

/// What one load cannot tell and the user did not: whether survivors grow with the load, and whether what start-up leaves
/// does.
fn unknown_share(asked: &Extent<'_>) -> f64 {
    let (from, times) = (asked.from, asked.times());
    let (of_startup, of_survivors) = mean_of(from);
    let more = (times - 1.0).abs();
    let grown = (from.requested_mean_bytes as f64 - of_startup).max(0.0) * times + of_startup;
    let unknown = |is_stated: bool, bytes: f64| if is_stated { 0.0 } else { bytes };
    let most = unknown(asked.is_startup_stated, of_startup).max(unknown(asked.is_life_stated, of_survivors));
    more * most / grown.max(1.0)
}
