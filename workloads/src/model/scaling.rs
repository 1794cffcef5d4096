//! Which part of a process's memory grows with its load, from recordings at two loads, in groups of objects.
//!
//! A group is the objects of one octave of sizes that start-up left, that were freed after their window, or
//! that stayed to the end. Its mean live bytes at another load lie on the line through those at the two
//! recorded loads: a constant part (bounded caches) and a part that grows in proportion (sessions). Where the
//! line has a negative part, a power of the load is used instead.

use super::parts::Outline;

/// One more than the largest octave.
pub(super) const OCTAVES: usize = 65;
/// Each group's means are moved towards those of all groups by this share of them, because the two means of a
/// small group say little.
const SHRINKING: f64 = 0.02;
/// Powers of the load. Growth faster than the load between two recordings was due to chance more often than
/// to a law: an exponent above 1 nearly doubled a server's memory at the next load.
const EXPONENTS: std::ops::RangeInclusive<f64> = -1.0..=1.0;
/// A factor is at most this far from 1, either way.
const MOST_FACTOR: f64 = 100.0;

/// How objects came about, and how long they stayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Start-up left them.
    Startup,
    /// Freed after their window and before the shutdown.
    Freed,
    /// Live when the windows ended.
    Kept,
}

impl Kind {
    pub(super) const COUNT: usize = 3;
}

/// The octave of a size.
#[inline]
pub(super) fn octave(bytes: u64) -> usize {
    (u64::BITS - bytes.leading_zeros()) as usize
}

/// How a recording's parts change at another load.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Factors {
    /// Windows at a time.
    pub(super) lanes: f64,
    /// Live bytes by kind and octave, as multiples of the recording's.
    pub(super) live: [Vec<f64>; Kind::COUNT],
}

impl Factors {
    /// As the user says, or by assumption: lives are `life` in time, and `startup` of start-up's memory
    /// grows.
    pub(super) fn stated(times: f64, life: f64, startup: f64) -> Factors {
        let survivors = vec![libm::pow(times, life); OCTAVES];
        let of_startup = vec![1.0 + startup * (times - 1.0); OCTAVES];
        Factors { lanes: times, live: [of_startup, survivors.clone(), survivors] }
    }

    /// By recordings at two loads, from one of them to the load `to`, using their second halves. In the first
    /// halves, caches fill, sooner at a higher load, which makes them seem to grow with it.
    pub(super) fn told(low: &Outline, high: &Outline, from: &Outline, to: f64) -> Factors {
        Factors::of_halves(low, high, from, to, &[1])
    }

    fn of_halves(low: &Outline, high: &Outline, from: &Outline, to: f64, halves: &[usize]) -> Factors {
        let line = |low_bytes: f64, high_bytes: f64| {
            line([(low.load, low_bytes), (high.load, high_bytes)], from.load, to)
        };
        let rate = |outline: &Outline| {
            let seconds = f64::from(outline.windows) * outline.window_ns as f64 / 1e9;
            outline.windows_events as f64 / seconds
        };
        let (of_low, of_high) = (means(low, halves), means(high, halves));
        let of_kinds =
            |of: &Means, kinds: &[Kind]| -> f64 { kinds.iter().flat_map(|kind| &of[*kind as usize]).sum() };
        let live = [Kind::Startup, Kind::Freed, Kind::Kept].map(|kind| {
            let alike: &[Kind] =
                if kind == Kind::Startup { &[Kind::Startup] } else { &[Kind::Freed, Kind::Kept] };
            let (all_low, all_high) = (of_kinds(&of_low, alike), of_kinds(&of_high, alike));
            let factor = |octave: usize| {
                let shrunk = |of: &Means, all: f64| of[kind as usize][octave] + SHRINKING * all;
                line(shrunk(&of_low, all_low), shrunk(&of_high, all_high))
            };
            (0..OCTAVES).map(factor).collect()
        });
        let mut factors = Factors { lanes: line(rate(low), rate(high)), live };
        // The law of all groups together is known better than that of each: what start-up leaves at a high load may
        // come later at a low one, so that one group seems to grow and another to shrink.
        let sum = |of: &Means| of.iter().flatten().sum::<f64>();
        let of_from = means(from, halves);
        let (wanted, found) = (line(sum(&of_low), sum(&of_high)) * sum(&of_from), factors.total(&of_from));
        if wanted > 0.0 && found > 0.0 {
            let scale = wanted / found;
            for factor in factors.live.iter_mut().flatten() {
                *factor = (*factor * scale).clamp(1.0 / MOST_FACTOR, MOST_FACTOR);
            }
        }
        factors
    }

    /// The factor for a group's survivors beyond that from playing more windows.
    pub(super) fn beyond_lanes(&self, kind: Kind, octave: usize) -> f64 {
        self.live[kind as usize][octave] / self.lanes
    }

    /// Live bytes of the recording's groups, multiplied.
    fn total(&self, of: &Means) -> f64 {
        self.live.iter().flatten().zip(of.iter().flatten()).map(|(factor, bytes)| factor * bytes).sum()
    }
}

/// How much the two halves of the recordings' time differ in what they predict for the load `to`, as a share.
pub(super) fn difference_of_halves(low: &Outline, high: &Outline, from: &Outline, to: f64) -> f64 {
    let of = means(from, &[0, 1]);
    let [first, second] = [0, 1].map(|half| Factors::of_halves(low, high, from, to, &[half]).total(&of));
    let most = first.max(second);
    if most > 0.0 { (first - second).abs() / most } else { 0.0 }
}

/// By how much the live bytes change from the load of `from` to the load `to`, as a share of the larger.
pub(super) fn share_of_growth(low: &Outline, high: &Outline, from: &Outline, to: f64) -> f64 {
    let of = means(from, &[0, 1]);
    let now: f64 = of.iter().flatten().sum();
    let then = Factors::told(low, high, from, to).total(&of);
    let most = now.max(then);
    if most > 0.0 { (then - now).abs() / most } else { 0.0 }
}

/// How much the mean live bytes of the two halves of a recording's time differ, as a share of the larger. A cache that
/// fills shows here even if it is full before the end.
pub(super) fn difference_within(outline: &Outline) -> f64 {
    let [first, second] = [0, 1].map(|half| means(outline, &[half]).iter().flatten().sum::<f64>());
    let most = first.max(second);
    if most > 0.0 { (first - second).abs() / most } else { 0.0 }
}

/// Mean live bytes of what start-up left, and of what survived its window.
pub(super) fn mean_of(outline: &Outline) -> (f64, f64) {
    let [startup, freed, kept] = means(outline, &[0, 1]).map(|kind| kind.iter().sum::<f64>());
    (startup, freed + kept)
}

type Means = [Vec<f64>; Kind::COUNT];

fn means(outline: &Outline, halves: &[usize]) -> Means {
    let mut means = [vec![0.0; OCTAVES], vec![0.0; OCTAVES], vec![0.0; OCTAVES]];
    for group in &outline.groups {
        let place = means.get_mut(group.kind as usize).and_then(|kind| kind.get_mut(group.octave as usize));
        if let Some(place) = place {
            let bytes: f64 = halves.iter().map(|half| group.halves[*half]).sum();
            *place += bytes / halves.len() as f64;
        }
    }
    means
}

/// The factor from the load `from` to the load `to`, by the line through two points.
fn line(points: [(f64, f64); 2], from: f64, to: f64) -> f64 {
    let [(low_load, low), (high_load, high)] = points;
    let factor = if low <= 0.0 || high <= 0.0 {
        // Nothing is known about what does not exist at both loads.
        1.0
    } else {
        let slope = (high - low) / (high_load - low_load);
        let always = low - slope * low_load;
        if slope >= 0.0 && always >= 0.0 {
            (always + slope * to) / (always + slope * from)
        } else {
            let exponent = libm::log(high / low) / libm::log(high_load / low_load);
            libm::pow(to / from, exponent.clamp(*EXPONENTS.start(), *EXPONENTS.end()))
        }
    };
    if factor.is_nan() { 1.0 } else { factor.clamp(1.0 / MOST_FACTOR, MOST_FACTOR) }
}

#[cfg(test)]
mod tests {
    use super::super::parts::Group;
    use super::*;

    fn outline(load: f64, events: u64, kept: f64, freed: f64) -> Outline {
        let group = |kind: Kind, bytes: f64| Group { kind: kind as u32, octave: 7, halves: [bytes, bytes] };
        Outline {
            load,
            windows: 200,
            window_ns: 5_000_000,
            windows_events: events,
            groups: vec![group(Kind::Kept, kept), group(Kind::Freed, freed)],
            ..Outline::default()
        }
    }

    #[test]
    fn what_is_bounded_stays_and_what_is_not_grows_in_proportion() {
        let (low, high) = (outline(1.0, 1000, 500.0, 100.0), outline(3.0, 3000, 500.0, 300.0));
        let factors = Factors::told(&low, &high, &high, 9.0);
        assert!((factors.lanes - 3.0).abs() < 1e-9);
        // Each is moved a little towards the other.
        let kept = factors.live[Kind::Kept as usize][7];
        let freed = factors.live[Kind::Freed as usize][7];
        assert!((1.0..1.1).contains(&kept), "{kept}");
        assert!((2.8..=3.0).contains(&freed), "{freed}");
        assert!((factors.beyond_lanes(Kind::Kept, 7) - kept / 3.0).abs() < 1e-9);
        assert!(difference_of_halves(&low, &high, &high, 9.0) < 1e-9);
    }

    #[test]
    fn groups_that_change_places_do_not_make_the_whole_grow() {
        let (low, high) = (outline(1.0, 1000, 500.0, 100.0), outline(3.0, 3000, 200.0, 400.0));
        let factors = Factors::told(&low, &high, &high, 9.0);
        let total = factors.total(&means(&high, &[1]));
        assert!((total - 600.0).abs() < 1.0, "{total}: 600 bytes at both loads");
    }

    #[test]
    fn what_a_load_brings_is_a_share_of_what_is_there_then() {
        let (low, high) = (outline(1.0, 1000, 400.0, 100.0), outline(3.0, 3000, 1200.0, 300.0));
        let share = share_of_growth(&low, &high, &high, 9.0);
        assert!((share - 2.0 / 3.0).abs() < 0.01, "{share}: three times as much");
        assert_eq!(share_of_growth(&low, &high, &high, 3.0), 0.0);
        let share = share_of_growth(&low, &high, &low, 1.0 / 3.0);
        assert!((share - 2.0 / 3.0).abs() < 0.01, "{share}: a third of it");
    }

    #[test]
    fn halves_that_disagree_are_seen() {
        let (mut low, high) = (outline(1.0, 1000, 500.0, 100.0), outline(3.0, 3000, 500.0, 300.0));
        assert_eq!(difference_within(&low), 0.0);
        low.groups[0].halves = [100.0, 500.0];
        assert!((difference_within(&low) - 2.0 / 3.0).abs() < 1e-9);
        assert!(difference_of_halves(&low, &high, &high, 9.0) > 0.3);
    }

    #[test]
    fn a_line_that_falls_below_nothing_is_a_power() {
        assert!(
            (line([(1.0, 100.0), (3.0, 900.0)], 3.0, 9.0) - 3.0).abs() < 1e-9,
            "no more than in proportion"
        );
        assert!((line([(1.0, 300.0), (3.0, 100.0)], 3.0, 9.0) - 1.0 / 3.0).abs() < 1e-9);
        assert!((line([(1.0, 100.0), (3.0, 200.0)], 3.0, 9.0) - 2.5).abs() < 1e-9);
        assert!((line([(1.0, 0.0), (3.0, 200.0)], 3.0, 9.0) - 1.0).abs() < 1e-9);
        assert!(line([(1.0, f64::NAN), (3.0, 200.0)], 3.0, 9.0).is_finite());
    }

    #[test]
    fn a_size_has_an_octave() {
        assert_eq!([0, 1, 2, 3, 64, u64::MAX].map(octave), [0, 1, 2, 2, 7, 64]);
    }
}
