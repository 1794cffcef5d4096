//! Whether memory follows the load or the number of events, from recordings at two loads.
//!
//! A cache that fills, or a heap that grows until it is collected, has the same size after the same number of
//! events, however long they took. Compared at equal times it seems to grow with the load, because it fills
//! sooner at the higher one. So groups whose size still changed are compared at equal numbers of events too:
//! if they agree there, their objects live for a number of events, and another load only makes them pass
//! faster. Sessions that expire after a minute do not agree: at three times the load there are three times as
//! many. Groups that settled at both loads, but not at the same size, follow the load.

use super::parts::{COURSE, OCTAVES, Origin, Outline};

/// A group follows the events if its courses differ by at most this share at equal numbers of events.
const SAME: f64 = 0.15;
/// A group has settled if the means of the last two quarters of its course differ by at most this share.
pub(super) const SETTLED: f64 = 0.1;
/// Groups that have settled are the same at both loads if their means over the second half differ by at most this share.
const EQUAL: f64 = 0.03;

/// Mean live bytes in each part of the windows' time.
pub(super) type Course = [f64; COURSE];

/// The octaves whose survivors live for a number of events rather than for a time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Law {
    is_by_events: Vec<bool>,
    /// How much the courses of those octaves differ at equal numbers of events, as a share of all survivors.
    pub(super) difference: f64,
    /// Whether most survivors' bytes follow the events: then what happens does so too.
    pub(super) is_progress: bool,
}

impl Law {
    /// One law for all.
    pub(super) fn stated(is_by_events: bool) -> Law {
        Law { is_by_events: vec![is_by_events; OCTAVES], difference: 0.0, is_progress: is_by_events }
    }

    /// By recordings at two loads.
    pub(super) fn told(low: &Outline, high: &Outline) -> Law {
        let (of_low, of_high) = (courses(low), courses(high));
        let (all_low, all_high) = (sum(&of_low), sum(&of_high));
        let of_pair = |a: &Course, b: &Course| follows_events((low, a), (high, b));
        if of_pair(&all_low, &all_high) {
            let difference = at_equal_events((low, &all_low), (high, &all_high)).unwrap_or(0.0);
            return Law { difference, ..Law::stated(true) };
        }
        let is_by_events: Vec<bool> =
            of_low.iter().zip(&of_high).map(|(one, other)| of_pair(one, other)).collect();
        let bytes = |of: &Course| of.iter().sum::<f64>();
        let (mut followed, mut difference) = (0.0, 0.0);
        for (octave, _) in is_by_events.iter().enumerate().filter(|(_, is_by_events)| **is_by_events) {
            let (one, other) = (&of_low[octave], &of_high[octave]);
            followed += bytes(other);
            difference += at_equal_events((low, one), (high, other)).unwrap_or(0.0) * bytes(other);
        }
        let all = bytes(&all_high).max(1.0);
        Law { is_by_events, difference: difference / all, is_progress: followed > all / 2.0 }
    }

    /// Whether survivors of this octave live for a number of events.
    pub(super) fn is_by_events(&self, octave: usize) -> bool {
        self.is_by_events[octave]
    }
}

/// Survivors by octave, whether they were freed before the end or not: which of the two differs between loads.
fn courses(outline: &Outline) -> Vec<Course> {
    let mut courses = vec![[0.0; COURSE]; OCTAVES];
    let survivors = outline.groups.iter().filter(|group| group.kind != Origin::Startup as u32);
    for group in survivors {
        let Some(course) = courses.get_mut(group.octave as usize) else { continue };
        course.iter_mut().zip(&group.course).for_each(|(sum, bytes)| *sum += bytes);
    }
    courses
}

fn sum(courses: &[Course]) -> Course {
    std::array::from_fn(|at| courses.iter().map(|course| course[at]).sum())
}

fn mean(course: &[f64]) -> f64 {
    course.iter().sum::<f64>() / course.len() as f64
}

/// How much the means of the last two quarters of a course differ, as a share of the larger.
fn difference_of_quarters(course: &Course) -> f64 {
    let (third, last) = course[COURSE / 2..].split_at(COURSE / 4);
    share_of_difference(mean(third), mean(last))
}

/// The difference of two amounts as a share of the larger.
pub(super) fn share_of_difference(one: f64, other: f64) -> f64 {
    let most = one.max(other);
    if most > 0.0 { (one - other).abs() / most } else { 0.0 }
}

fn follows_events(low: (&Outline, &Course), high: (&Outline, &Course)) -> bool {
    let in_events = at_equal_events(low, high);
    if [low.1, high.1].into_iter().all(|course| difference_of_quarters(course) <= SETTLED) {
        // Then it depends on the load, unless that makes no difference at all.
        let [of_low, of_high] = [low.1, high.1].map(|course| mean(&course[COURSE / 2..]));
        return in_events.is_some() && share_of_difference(of_low, of_high) <= EQUAL;
    }
    in_events.is_some_and(|off| off <= SAME && off <= at_equal_times(low.1, high.1))
}

/// How much two courses differ if one is a multiple of the other, as a share.
fn at_equal_times(low: &Course, high: &Course) -> f64 {
    let times = mean(high) / mean(low);
    if !times.is_finite() {
        return f64::INFINITY;
    }
    let pairs = low.iter().zip(high).map(|(one, other)| (one * times, *other));
    difference(pairs)
}

/// How much two courses differ after equal numbers of events, as a share. None if there are none.
fn at_equal_events(low: (&Outline, &Course), high: (&Outline, &Course)) -> Option<f64> {
    let (of_low, of_high) = (middles(low.0)?, middles(high.0)?);
    let seen = *of_high.last()?;
    let both = of_low.iter().zip(low.1).take_while(|(events, _)| **events <= seen);
    let pairs: Vec<(f64, f64)> =
        both.map(|(events, bytes)| (*bytes, at(&of_high, high.1, *events))).collect();
    // The lower load has fewer events: all of its course can be compared.
    (pairs.len() * 2 >= COURSE).then(|| difference(pairs.into_iter()))
}

fn difference(pairs: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (apart, all) = pairs.fold((0.0, 0.0), |(apart, all), (one, other)| {
        (apart + (one - other).abs(), all + f64::max(one, other))
    });
    if all > 0.0 { apart / all } else { 0.0 }
}

/// The number of events in the middle of each part of the course.
fn middles(outline: &Outline) -> Option<Vec<f64>> {
    let events = &outline.course_events;
    let before = std::iter::once(&0).chain(events);
    let middles: Vec<f64> =
        before.zip(events).map(|(from, to)| (*from as f64).midpoint(*to as f64)).collect();
    (middles.len() == COURSE && middles[COURSE - 1] > 0.0).then_some(middles)
}

/// A course after a number of events.
fn at(middles: &[f64], course: &Course, events: f64) -> f64 {
    let above = middles.partition_point(|middle| *middle < events).clamp(1, COURSE - 1);
    let (from, to) = (middles[above - 1], middles[above]);
    let share = if to > from { ((events - from) / (to - from)).clamp(0.0, 1.0) } else { 0.0 };
    course[above - 1] + share * (course[above] - course[above - 1])
}

#[cfg(test)]
mod tests {
    use super::super::parts::Group;
    use super::*;

    /// A recording in which `bytes` gives the survivors' bytes, by the share of its time that has passed.
    fn outline(load: f64, bytes: impl Fn(f64) -> f64) -> Outline {
        let course = (0..COURSE).map(|part| bytes((part as f64 + 0.5) / COURSE as f64)).collect();
        Outline {
            load,
            windows: 200,
            window_ns: 5_000_000,
            windows_events: (1000.0 * load) as u64 * COURSE as u64,
            groups: vec![Group { kind: Origin::Survivor as u32, octave: 7, course }],
            course_events: (1..=COURSE as u64).map(|part| part * (1000.0 * load) as u64).collect(),
            ..Outline::default()
        }
    }

    #[test]
    fn a_cache_that_fills_follows_the_events() {
        // Full after 1.5 times the events of the recording at the lower load.
        let cache = |load: f64| outline(load, move |time| 1e6 * (load * time / 1.5).min(1.0));
        let law = Law::told(&cache(1.0), &cache(3.0));
        assert!(law.is_by_events(7) && law.is_progress, "{law:?}");
        assert!(law.difference < 0.03, "{}", law.difference);
    }

    #[test]
    fn sessions_that_expire_follow_the_load() {
        // They live for a fifth of the time.
        let sessions = |load: f64| outline(load, move |time| 1e6 * load * (time * 5.0).min(1.0));
        let law = Law::told(&sessions(1.0), &sessions(3.0));
        assert!(!law.is_by_events(7) && !law.is_progress, "{law:?}");
    }

    #[test]
    fn what_has_settled_is_compared_by_load_alone() {
        let flat = |load: f64| outline(load, move |_| 1e6 + load * 1e5);
        assert!(!Law::told(&flat(1.0), &flat(3.0)).is_by_events(7));
        // It fills soon, at the same number of events, and then depends on the load a little.
        let soon = |load: f64| outline(load, move |time| (1e6 + load * 1e5) * (load * time * 3.0).min(1.0));
        assert!(!Law::told(&soon(1.0), &soon(3.0)).is_by_events(7));
    }

    #[test]
    fn what_is_the_same_at_both_loads_follows_the_events() {
        let full = |load: f64| outline(load, move |time| 1e6 * (load * time * 3.0).min(1.0));
        assert!(Law::told(&full(1.0), &full(3.0)).is_progress);
    }

    #[test]
    fn groups_may_follow_different_laws() {
        let both = |load: f64| {
            let mut both = outline(load, move |time| 1e6 * (load * time / 1.5).min(1.0));
            let sessions = outline(load, move |time| 3e6 * load * (time * 5.0).min(1.0));
            both.groups.extend(sessions.groups.into_iter().map(|group| Group { octave: 10, ..group }));
            both
        };
        let law = Law::told(&both(1.0), &both(3.0));
        assert!(law.is_by_events(7) && !law.is_by_events(10), "{law:?}");
        assert!(!law.is_progress, "most bytes are sessions");
    }

    #[test]
    fn nothing_follows_events_that_were_not_counted() {
        let cache = |load: f64| outline(load, move |time| 1e6 * (load * time / 1.5).min(1.0));
        let uncounted = Outline { course_events: Vec::new(), ..cache(1.0) };
        assert!(!Law::told(&uncounted, &cache(3.0)).is_by_events(7));
        let nothing = Outline::default();
        assert_eq!(Law::told(&nothing, &nothing).difference, 0.0);
    }
}
