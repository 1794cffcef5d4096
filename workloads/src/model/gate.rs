//! How far to trust a model's figure: the width of its band, and whether the gate lets it pass.
//!
//! The parts of the band are independent errors, and are added as such: how far off the model was at a
//! recording's own load, how far off one load's recording predicted the other's, how much the halves of the
//! recordings disagree, what one load cannot tell, and what a longer time adds.

use super::facts::{CheckKind, Facts};
use super::parts::Outline;
use super::scaling::{difference_of_halves, difference_within, mean_of, share_of_growth};

/// A band is at least this wide on each side.
const NARROWEST_BAND: f64 = 0.06;
/// The gate passes a figure if its band is at most this wide.
pub const MOST_BAND: f64 = 0.15;
/// Beyond this multiple of the recorded load, the data support little.
const SUPPORTED_TIMES: f64 = 4.0;
/// The live set has not settled if it gains this share of its mean over the recording's length, or if its mean differs by
/// this share between the halves.
pub(super) const GROWTH_LIMIT: f64 = 0.1;
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
    /// The two recordings that show what grows, if there are two and the user did not say.
    pub(super) pair: Option<(&'a Outline, &'a Outline)>,
    /// Whether the user said what grows.
    pub(super) is_stated: bool,
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

/// Whether the live set of a recording had not settled.
fn is_unsettled(outline: &Outline) -> bool {
    outline.growth.abs() > GROWTH_LIMIT || difference_within(outline) > GROWTH_LIMIT
}

/// Judges what is asked.
pub(super) fn judge(facts: &Facts, asked: &Extent<'_>) -> Verdict {
    let growth = asked.from.growth;
    let is_longer = asked.lengths > LONGER;
    // The error in resident memory contains that in requested bytes.
    let at_own_load = facts.worst_off(CheckKind::Itself).max(facts.worst_off(CheckKind::Resident));
    let mut parts = vec![at_own_load, facts.worst_off(CheckKind::Alternate) / 2.0];
    let mut reasons = Vec::new();
    let unsettled = match asked.pair {
        Some((low, high)) => [low, high, asked.from].into_iter().any(is_unsettled),
        None => is_unsettled(asked.from),
    };
    if is_longer {
        // The first half predicted twice its length. What had not settled by then may be off by as much for each further
        // length.
        let further = if is_unsettled(asked.from) { (asked.lengths - 1.0).max(1.0) } else { 1.0 };
        parts.push(facts.worst_off(CheckKind::FirstHalf) * further);
        parts.push(growth.abs() * (asked.lengths - 1.0) / 2.0);
    }
    if asked.is_another_load() {
        match asked.pair {
            Some((low, high)) => {
                let way = libm::log(asked.times()).abs() / libm::log(high.load / low.load);
                // Loads above the recordings are predicted from the lower to the higher, and loads below them
                // the other way.
                let up = asked.load > asked.from.load;
                parts.push(facts.other_load_off(up) * way);
                parts.push(difference_of_halves(low, high, asked.from, asked.load));
                if unsettled {
                    // What was still growing may have been a cache that fills, sooner at the higher load:
                    // then another load makes no difference once it is full.
                    parts.push(share_of_growth(low, high, asked.from, asked.load));
                }
            }
            None if asked.is_stated => {}
            None => parts.push(unknown_share(asked.from, asked.times())),
        }
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
    } else if is_longer && is_unsettled(asked.from) {
        reasons.push("the live set had not settled while it was recorded".to_owned());
    }
    let band = parts.iter().map(|part| part * part).sum::<f64>().sqrt().max(NARROWEST_BAND);
    if band > MOST_BAND {
        reasons.insert(0, format!("the band is wider than {:.0} %", 100.0 * MOST_BAND));
    }
    Verdict { band, reasons }
}

/// What one load cannot tell: whether survivors grow with the load, and whether what start-up leaves does.
fn unknown_share(from: &Outline, times: f64) -> f64 {
    let (of_startup, of_survivors) = mean_of(from);
    let more = (times - 1.0).abs();
    let grown = (from.requested_mean_bytes as f64 - of_startup).max(0.0) * times + of_startup;
    more * of_startup.max(of_survivors) / grown.max(1.0)
}
