//! Which part of a process's memory grows with its load, from recordings at two loads, in groups of objects.
//!
//! A group is the objects of one octave of sizes that start-up left, or that survived their window. Its mean
//! live bytes at another load lie on the line through those at the two recorded loads: a constant part
//! (bounded caches) and a part that grows in proportion (sessions). Where the line has a negative part, a
//! power of the load is used instead. Groups that follow the number of events
//! ([`Law`]) do not change with the load at all: they only come sooner to where they were.

use super::law::{Law, share_of_difference};
use super::parts::{COURSE, OCTAVES, Origin, Outline};

/// Each group's means are moved towards those of all groups by this share of them, because the two means of a
/// small group say little.
const SHRINKING: f64 = 0.02;
/// Powers of the load. Growth faster than the load between two recordings was due to chance more often than
/// to a law: an exponent above 1 nearly doubled a server's memory at the next load.
const EXPONENTS: std::ops::RangeInclusive<f64> = -1.0..=1.0;
/// A factor is at most this far from 1, either way.
const MOST_FACTOR: f64 = 100.0;
/// What grows with more than this power of the load is in flight: requests in flight grow with the first power.
const IN_FLIGHT: f64 = 0.5;

/// How a recording's parts change at another load.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Factors {
    /// Windows at a time.
    pub(super) lanes: f64,
    /// Live bytes by kind and octave, as multiples of the recording's.
    pub(super) live: [Vec<f64>; Origin::COUNT],
    /// Which survivors live for a number of events.
    pub(super) law: Law,
}

impl Factors {
    /// As the user says, or by assumption: lives are `life` in time, from 0 for a number of events to 1, and
    /// `startup` of start-up's memory grows.
    pub(super) fn stated(times: f64, life: f64, startup: f64) -> Factors {
        let survivors = vec![libm::pow(times, life); OCTAVES];
        let of_startup = vec![1.0 + startup * (times - 1.0); OCTAVES];
        let law = Law::stated(life == 0.0);
        Factors { lanes: times, live: [of_startup, survivors], law }
    }

    /// By recordings at two loads, from one of them to the load `to`, using their second halves. In the first
    /// halves, caches fill, sooner at a higher load, which makes them seem to grow with it.
    pub(super) fn told(low: &Outline, high: &Outline, from: &Outline, to: f64) -> Factors {
        Factors::of(low, high, from, to, &|outline| means(outline, SECOND_HALF))
    }

    fn of(
        low: &Outline,
        high: &Outline,
        from: &Outline,
        to: f64,
        means: &dyn Fn(&Outline) -> Means,
    ) -> Factors {
        let line = |low_bytes: f64, high_bytes: f64| {
            line([(low.load, low_bytes), (high.load, high_bytes)], from.load, to)
        };
        let rate = |outline: &Outline| {
            let seconds = f64::from(outline.windows) * outline.window_ns as f64 / 1e9;
            outline.windows_events as f64 / seconds
        };
        let law = Law::told(low, high);
        let (of_low, of_high) = (means(low), means(high));
        let live = Origin::ALL.map(|kind| {
            let all = |of: &Means| of[kind as usize].iter().sum::<f64>();
            let (all_low, all_high) = (all(&of_low), all(&of_high));
            let factor = |octave: usize| {
                if follows_events(&law, kind, octave) {
                    return 1.0;
                }
                let shrunk = |of: &Means, all: f64| of[kind as usize][octave] + SHRINKING * all;
                line(shrunk(&of_low, all_low), shrunk(&of_high, all_high))
            };
            (0..OCTAVES).map(factor).collect()
        });
        let mut factors = Factors { lanes: line(rate(low), rate(high)), live, law };
        // The law of all groups together is known better than that of each: what start-up leaves at a high load may
        // come later at a low one, so that one group seems to grow and another to shrink.
        let sum = |of: &Means| by_load(&factors.law, of).map(|(.., bytes)| bytes).sum::<f64>();
        let of_from = means(from);
        let (wanted, found) = (line(sum(&of_low), sum(&of_high)) * sum(&of_from), factors.total(&of_from));
        if wanted > 0.0 && found > 0.0 {
            let scale = wanted / found;
            let places: Vec<(Origin, usize)> =
                by_load(&factors.law, &of_from).map(|(kind, octave, _)| (kind, octave)).collect();
            for (kind, octave) in places {
                let factor = &mut factors.live[kind as usize][octave];
                *factor = (*factor * scale).clamp(1.0 / MOST_FACTOR, MOST_FACTOR);
            }
        }
        factors
    }

    /// How many times longer than recorded a survivor lives whose end was recorded.
    pub(super) fn stretch(&self, octave: usize) -> f64 {
        self.live[Origin::Survivor as usize][octave] / self.lanes
    }

    /// How many survivors of each window last to the end, as a share of those that did in the recording.
    pub(super) fn kept_share(&self, octave: usize) -> f64 {
        match self.law.is_by_events(octave) {
            true => 1.0,
            false => self.stretch(octave),
        }
    }

    /// How many times faster than in the recording a survivor ages whose end was not recorded.
    pub(super) fn ageing(&self, octave: usize) -> f64 {
        if self.law.is_by_events(octave) { self.lanes } else { 1.0 }
    }

    /// Live bytes of the groups that follow the load, multiplied.
    fn total(&self, of: &Means) -> f64 {
        by_load(&self.law, of).map(|(kind, octave, bytes)| self.live[kind as usize][octave] * bytes).sum()
    }
}

/// Whether a group's size depends on the number of events alone. What start-up left does if most other bytes do.
fn follows_events(law: &Law, kind: Origin, octave: usize) -> bool {
    match kind {
        Origin::Startup => law.is_progress,
        Origin::Survivor => law.is_by_events(octave),
    }
}

/// The groups that follow the load, with their bytes.
fn by_load<'a>(law: &'a Law, of: &'a Means) -> impl Iterator<Item = (Origin, usize, f64)> + 'a {
    let groups = Origin::ALL.into_iter().flat_map(|kind| (0..OCTAVES).map(move |octave| (kind, octave)));
    groups
        .filter(|(kind, octave)| !follows_events(law, *kind, *octave))
        .map(|(kind, octave)| (kind, octave, of[kind as usize][octave]))
}

/// How much it would change what the recordings predict for the load `to`, as a share of all, if they had gone on for a
/// quarter of their length as from the third quarter to the last.
pub(super) fn difference_if_longer(low: &Outline, high: &Outline, from: &Outline, to: f64) -> f64 {
    let of = means(from, SECOND_HALF);
    let longer = |outline: &Outline| {
        let [third, last] = [2, 3].map(|quarter| means(outline, &[quarter]));
        Origin::ALL.map(|kind| {
            let pairs = third[kind as usize].iter().zip(&last[kind as usize]);
            pairs.map(|(third, last)| (2.0 * last - third).max(0.0)).collect()
        })
    };
    let now = Factors::told(low, high, from, to).total(&of);
    let then = Factors::of(low, high, from, to, &longer).total(&of);
    (now - then).abs() / (now.max(then) + of_events(low, high, &of)).max(1.0)
}

/// By how much the live bytes change from the load of `from` to the load `to`, as a share of the larger.
pub(super) fn share_of_growth(low: &Outline, high: &Outline, from: &Outline, to: f64) -> f64 {
    let of = means(from, ALL);
    let factors = Factors::told(low, high, from, to);
    let now: f64 = by_load(&factors.law, &of).map(|(.., bytes)| bytes).sum();
    let then = factors.total(&of);
    (then - now).abs() / (now.max(then) + of_events(low, high, &of)).max(1.0)
}

/// The bytes of the groups that follow the number of events.
fn of_events(low: &Outline, high: &Outline, of: &Means) -> f64 {
    let law = Law::told(low, high);
    let all: f64 = of.iter().flatten().sum();
    all - by_load(&law, of).map(|(.., bytes)| bytes).sum::<f64>()
}

/// How much the mean live bytes of the last two quarters of a recording's time differ, as a share of the larger. A cache
/// that is still filling shows here. Only the groups that follow the load count: what follows the number of events may
/// still change.
pub(super) fn difference_within(outline: &Outline, law: &Law) -> f64 {
    let sums = [2, 3].map(|quarter| {
        let means = means(outline, &[quarter]);
        let rest: f64 = means.iter().flatten().sum();
        let counted: f64 = by_load(law, &means).map(|(.., bytes)| bytes).sum();
        (counted, rest - counted)
    });
    let [(third, _), (last, others)] = sums;
    let most = third.max(last) + others;
    if most > 0.0 { (third - last).abs() / most } else { 0.0 }
}

/// How much the mean live bytes of the third and the last quarter of a recording's time differ, as a share of the larger.
pub(super) fn difference_of_late_quarters(outline: &Outline) -> f64 {
    let quarter = COURSE / 4;
    let [third, last] = [2, 3].map(|at| {
        let courses = outline.groups.iter().map(|group| &group.course[at * quarter..(at + 1) * quarter]);
        courses.flatten().sum::<f64>()
    });
    share_of_difference(third, last)
}

/// Mean live bytes of what start-up left, and of what survived its window.
pub(super) fn mean_of(outline: &Outline) -> (f64, f64) {
    let [startup, survivors] = means(outline, ALL).map(|kind| kind.iter().sum::<f64>());
    (startup, survivors)
}

/// Mean requested bytes of what neither start-up left nor outlived its window.
pub(super) fn within_windows(outline: &Outline) -> f64 {
    let (of_startup, of_survivors) = mean_of(outline);
    (outline.requested_mean_bytes as f64 - of_startup - of_survivors).max(0.0)
}

/// Whether what is held within windows grows with the load like requests in flight, rather than not at all.
pub(super) fn is_in_flight(low: &Outline, high: &Outline) -> bool {
    let grown = libm::log(within_windows(high) / within_windows(low)) / libm::log(high.load / low.load);
    grown > IN_FLIGHT
}

type Means = [Vec<f64>; Origin::COUNT];

/// All quarters of a recording's time, and the last two.
const ALL: &[usize] = &[0, 1, 2, 3];
const SECOND_HALF: &[usize] = &[2, 3];

fn means(outline: &Outline, quarters: &[usize]) -> Means {
    let mut means = [vec![0.0; OCTAVES], vec![0.0; OCTAVES]];
    for group in &outline.groups {
        let place = means.get_mut(group.kind as usize).and_then(|kind| kind.get_mut(group.octave as usize));
        let Some(place) = place else { continue };
        for quarter in quarters {
            let course = &group.course[quarter * COURSE / 4..(quarter + 1) * COURSE / 4];
            *place += course.iter().sum::<f64>() / course.len() as f64 / quarters.len() as f64;
        }
    }
    means
}

/// The factor from the load `from` to the load `to`, by the line through two points.
pub(super) fn line(points: [(f64, f64); 2], from: f64, to: f64) -> f64 {
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

    fn outline(load: f64, events: u64, small: f64, large: f64) -> Outline {
        let kind = Origin::Survivor as u32;
        let group = |octave: u32, bytes: f64| Group { kind, octave, course: vec![bytes; COURSE] };
        Outline {
            load,
            windows: 200,
            window_ns: 5_000_000,
            windows_events: events,
            groups: vec![group(7, small), group(9, large)],
            ..Outline::default()
        }
    }

    #[test]
    fn what_is_bounded_stays_and_what_is_not_grows_in_proportion() {
        let (low, high) = (outline(1.0, 1000, 500.0, 100.0), outline(3.0, 3000, 500.0, 300.0));
        let factors = Factors::told(&low, &high, &high, 9.0);
        assert!((factors.lanes - 3.0).abs() < 1e-9);
        // Each is moved a little towards the other.
        let [small, large] = [7, 9].map(|octave| factors.live[Origin::Survivor as usize][octave]);
        assert!((1.0..1.1).contains(&small), "{small}");
        assert!((2.8..=3.0).contains(&large), "{large}");
        assert!((factors.kept_share(7) - small / 3.0).abs() < 1e-9);
        assert!(difference_if_longer(&low, &high, &high, 9.0) < 1e-9);
    }

    #[test]
    fn groups_that_change_places_do_not_make_the_whole_grow() {
        let (low, high) = (outline(1.0, 1000, 500.0, 100.0), outline(3.0, 3000, 200.0, 400.0));
        let factors = Factors::told(&low, &high, &high, 9.0);
        let total = factors.total(&means(&high, SECOND_HALF));
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
    fn quarters_that_disagree_are_seen() {
        let (mut low, high) = (outline(1.0, 1000, 500.0, 100.0), outline(3.0, 3000, 500.0, 300.0));
        let law = Law::stated(false);
        assert_eq!(difference_within(&low, &law), 0.0);
        low.groups[0].course[COURSE / 2..COURSE * 3 / 4].fill(100.0);
        assert!((difference_within(&low, &law) - 2.0 / 3.0).abs() < 1e-9);
        assert!(difference_if_longer(&low, &high, &high, 9.0) > 0.3);
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
}
