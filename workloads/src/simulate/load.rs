//! The load clock: how fast load comes at each moment of virtual time.
//!
//! It turns a wait counted in load into virtual time: at factor 3 it runs three times as fast, so that a
//! client that starts to think at night wakes up when the morning's load comes. The factor is the product of
//! the phase's factor, the daily curve's, and that of a process that switches between calm and burst at
//! random, divided by the thinning if only a part of the load is simulated. It is the same for arrivals in an
//! open loop and thinking clients in a closed one.

use std::collections::VecDeque;

use super::definition::{Bursts, Curve, Definition};
use super::random::Random;

/// The most changes of the load that a wait may outlast: all of them are held in memory until it is over.
const MOST_CHANGES: usize = 1 << 22;
/// The most changes that are drawn and forgotten at once, because nothing waited for them: seconds' worth.
const MOST_OVER: usize = 1 << 27;

/// How fast load comes, from now on.
#[derive(Debug, Clone)]
pub(super) struct LoadClock {
    /// End of each phase in ns, and its factor. Past the last one nothing comes.
    phases: Vec<(u64, f64)>,
    curve: Curve,
    bursts: Switch,
    thinned: f64,
    /// No factor is larger.
    highest: f64,
    /// Whether the last wait outlasts more changes than may be held.
    is_stuck: bool,
}

/// The load changes too often.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a wait that begins at {from_ns} ns of simulated time lasts for {MOST_CHANGES} or more changes of the load: make bursts \
     and what lies between them, or the parts of the curve, longer"
)]
pub struct LoadChangesTooOften {
    /// When the wait began, in simulated time.
    pub from_ns: u64,
}

impl LoadClock {
    /// The clock of `definition`, whose phases have these end times, in order, and these factors; `random` is
    /// for the bursts.
    pub(super) fn new(definition: &Definition, phases: Vec<(u64, f64)>, random: Random) -> LoadClock {
        let arrivals = &definition.arrivals;
        let phase = phases.iter().map(|(_, factor)| *factor).fold(0.0, f64::max);
        let curve = arrivals.curve.factors.iter().copied().reduce(f64::max).unwrap_or(1.0);
        LoadClock {
            phases,
            highest: phase * curve * arrivals.bursts.rate.max(1.0) / definition.thinned,
            curve: arrivals.curve.clone(),
            bursts: Switch::new(arrivals.bursts.clone(), random),
            thinned: definition.thinned,
            is_stuck: false,
        }
    }

    /// Whether a wait was too long for this clock: what it said is not to be used.
    ///
    /// # Errors
    ///
    /// The load changes too often within a wait.
    pub(super) fn check(&self) -> Result<(), LoadChangesTooOften> {
        if self.is_stuck { Err(LoadChangesTooOften { from_ns: self.bursts.from_ns }) } else { Ok(()) }
    }

    /// When a wait of `load_ns` that begins at `now_ns` is over; none if the last phase ends before. Time
    /// never goes back from call to call.
    pub(super) fn after(&mut self, now_ns: u64, load_ns: f64) -> Option<u64> {
        if self.is_stuck {
            return None;
        }
        self.bursts.forget_before(now_ns);
        let (mut at_ns, mut left_ns) = (now_ns, load_ns);
        for _ in 0..MOST_CHANGES {
            let (end_ns, factor) = self.span(at_ns)?;
            let capacity_ns = (end_ns - at_ns) as f64 * factor;
            if left_ns < capacity_ns {
                return Some(at_ns.saturating_add((left_ns / factor) as u64).min(end_ns));
            }
            left_ns -= capacity_ns;
            at_ns = end_ns;
        }
        self.is_stuck = true;
        None
    }

    /// The most load that can come from `from_ns` to `to_ns`.
    pub(super) fn most_between(&self, from_ns: u64, to_ns: u64) -> f64 {
        let end_ns = self.phases.last().map_or(0, |(end_ns, _)| *end_ns);
        to_ns.min(end_ns).saturating_sub(from_ns) as f64 * self.highest
    }

    /// The factor at `at_ns`, and until when it holds; none after the last phase, or when the load changed too often.
    fn span(&mut self, at_ns: u64) -> Option<(u64, f64)> {
        let next = self.phases.partition_point(|(end_ns, _)| *end_ns <= at_ns);
        let &(mut end_ns, mut factor) = self.phases.get(next)?;
        // Zero stays zero: the parts of a quiet phase need no lookup.
        if factor > 0.0 {
            let (part_end_ns, part) = curve_at(&self.curve, at_ns);
            end_ns = end_ns.min(part_end_ns);
            factor *= part;
        }
        if factor > 0.0 {
            let Some((state_end_ns, state)) = self.bursts.at(at_ns) else {
                self.is_stuck = true;
                return None;
            };
            end_ns = end_ns.min(state_end_ns);
            factor *= state / self.thinned;
        }
        Some((end_ns, factor))
    }
}

/// The factor of `curve` at `at_ns`, and until when it holds.
fn curve_at(curve: &Curve, at_ns: u64) -> (u64, f64) {
    if curve.factors.is_empty() {
        return (u64::MAX, 1.0);
    }
    let (count, period_ns) = (curve.factors.len() as u128, u128::from(curve.period_ns));
    let within_ns = u128::from(at_ns) % period_ns;
    let part = within_ns * count / period_ns;
    // The first ns at which the division gives the next part.
    let end_ns = (part + 1) * period_ns;
    let left_ns = end_ns.div_ceil(count) - within_ns;
    (at_ns.saturating_add(left_ns as u64), curve.factors[part as usize])
}

/// A process of two states that takes turns between calm and burst.
#[derive(Debug, Clone)]
struct Switch {
    plan: Bursts,
    random: Random,
    /// When the last wait began: nothing asks for an earlier time any more.
    from_ns: u64,
    /// Ends of the states that are known and not yet over.
    ends_ns: VecDeque<u64>,
    /// End of the last state that is known.
    last_ns: u64,
    /// Whether the first, and the one after the last, are bursts.
    first_is_burst: bool,
    next_is_burst: bool,
}

impl Switch {
    fn new(plan: Bursts, random: Random) -> Switch {
        Switch {
            plan,
            random,
            from_ns: 0,
            ends_ns: VecDeque::new(),
            last_ns: 0,
            first_is_burst: false,
            next_is_burst: false,
        }
    }

    /// The factor at `at_ns`, and until when it holds; none if too many changes precede it. `at_ns` must not be
    /// before the states that were dropped.
    fn at(&mut self, at_ns: u64) -> Option<(u64, f64)> {
        if self.plan.rate == 1.0 {
            return Some((u64::MAX, 1.0));
        }
        let mut over = 0;
        while self.last_ns <= at_ns {
            if self.ends_ns.len() == MOST_CHANGES || over == MOST_OVER {
                return None;
            }
            let times = if self.next_is_burst { &self.plan.length } else { &self.plan.gap };
            self.last_ns = self.last_ns.saturating_add(times.draw(&mut self.random));
            self.next_is_burst = !self.next_is_burst;
            if self.last_ns > self.from_ns {
                self.ends_ns.push_back(self.last_ns);
            } else {
                over += 1;
                self.first_is_burst = !self.first_is_burst;
            }
        }
        let index = self.ends_ns.partition_point(|end_ns| *end_ns <= at_ns);
        let burst = self.first_is_burst != (index % 2 == 1);
        Some((self.ends_ns[index], if burst { self.plan.rate } else { 1.0 }))
    }

    fn forget_before(&mut self, now_ns: u64) {
        self.from_ns = now_ns;
        while self.ends_ns.front().is_some_and(|end_ns| *end_ns <= now_ns) {
            self.ends_ns.pop_front();
            self.first_is_burst = !self.first_is_burst;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::distribution::{Shape, Times};
    use super::super::units::MAX_TIME_NS;
    use super::*;
    use crate::simulate::tests::definition;

    fn clock(phases: Vec<(u64, f64)>) -> LoadClock {
        LoadClock::new(&definition(), phases, Random::new(1, 0))
    }

    fn bursts(rate: f64, length_ns: u64, gap_ns: u64) -> Bursts {
        let times = |mean_ns| Times::new(Shape::Exponential, mean_ns);
        Bursts { rate, length: times(length_ns), gap: times(gap_ns) }
    }

    /// The load that comes until `end_ns`, measured by waits of `step`.
    fn load(clock: &mut LoadClock, end_ns: u64, step: f64) -> f64 {
        let (mut now, mut load) = (0, 0.0);
        while let Some(next) = clock.after(now, step).filter(|next| *next < end_ns) {
            now = next;
            load += step;
        }
        load
    }

    #[test]
    fn a_wait_goes_on_in_the_next_phase_at_its_pace() {
        let mut clock = clock(vec![(100, 1.0), (200, 0.0), (300, 2.0)]);
        assert_eq!(clock.after(0, 40.0), Some(40));
        assert_eq!(clock.after(40, 60.0), Some(200));
        assert_eq!(clock.after(50, 70.0), Some(210));
        assert_eq!(clock.after(150, 199.0), Some(299));
        assert_eq!(clock.after(150, 201.0), None);
        assert_eq!(clock.after(300, 0.0), None);
    }

    #[test]
    fn the_curve_comes_back_each_period() {
        let mut clock = clock(vec![(1_000, 1.0)]);
        clock.curve = Curve { factors: vec![0.0, 2.0, 1.0], period_ns: 100 };
        // Parts of 34, 33 and 33 ns, since 100 cannot be divided by 3.
        assert_eq!(clock.after(0, 0.0), Some(34));
        assert_eq!(clock.after(0, 66.0), Some(67));
        assert_eq!(clock.after(67, 33.0), Some(134));
        assert_eq!(clock.after(134, 99.0), Some(234));
        assert_eq!(clock.after(234, 1000.0), None);
    }

    #[test]
    fn thinning_makes_waits_longer() {
        let mut clock = clock(vec![(1_000_000, 2.0)]);
        clock.thinned = 100.0;
        assert_eq!(clock.after(0, 40.0), Some(2000));
    }

    #[test]
    fn no_more_load_comes_than_the_highest_factors_bring() {
        let mut definition = definition();
        definition.arrivals.curve = Curve { factors: vec![0.5, 3.0], period_ns: 10 };
        definition.arrivals.bursts = bursts(4.0, 1, 1);
        definition.thinned = 2.0;
        let clock = LoadClock::new(&definition, vec![(100, 1.0), (200, 2.0)], Random::new(1, 0));
        assert_eq!(clock.most_between(50, 150), 100.0 * 2.0 * 3.0 * 4.0 / 2.0);
        assert_eq!((clock.most_between(150, 900), clock.most_between(300, 900)), (600.0, 0.0));
        definition.arrivals.bursts.rate = 0.5;
        let clock = LoadClock::new(&definition, vec![(100, 1.0)], Random::new(1, 0));
        assert_eq!(clock.most_between(0, 100), 150.0);
    }

    #[test]
    fn bursts_have_their_share_of_time_and_their_rate() {
        let end = 1_000_000_000;
        let mut clock = clock(vec![(end, 1.0)]);
        clock.bursts = Switch::new(bursts(6.0, 10_000, 40_000), Random::new(3, 0));
        // A fifth of the time at six times the rate.
        let found = load(&mut clock, end, 100.0) / end as f64;
        assert!((found / 2.0 - 1.0).abs() < 0.02, "{found}");
        assert!(clock.bursts.ends_ns.len() < 100);
        assert_eq!(clock.check(), Ok(()));
    }

    #[test]
    fn what_is_over_before_something_waits_is_not_held() {
        let (end, begin) = (1_000_000_000, 500_000_000);
        let fresh = || LoadClock {
            bursts: Switch::new(bursts(6.0, 10_000, 40_000), Random::new(3, 0)),
            ..clock(vec![(end, 1.0)])
        };
        let (mut often, mut once) = (fresh(), fresh());
        for now in (0..begin).step_by(1_000_000) {
            often.after(now, 100.0);
        }
        let next = often.after(begin, 12_345.0);
        assert!(next.is_some());
        assert_eq!(once.after(begin, 12_345.0), next);
        assert!(once.bursts.ends_ns.len() < 100);
    }

    #[test]
    fn a_wait_over_too_many_changes_is_refused_and_not_held() {
        let end = MAX_TIME_NS as u64;
        let often = Switch::new(bursts(2.0, 1_000_000, 1_000_000), Random::new(3, 0));
        let curve = Curve { factors: vec![1.0; 100], period_ns: 1_000_000_000 };
        let quiet = vec![(end / 2, 0.0), (end, 1.0)];
        for (phases, bursts, curve) in [
            (vec![(end, 1.0)], Some(&often), None),
            (vec![(end, 1.0)], None, Some(curve)),
            // All changes within a quiet phase are drawn at its end.
            (quiet, Some(&often), None),
        ] {
            let mut clock = clock(phases);
            clock.bursts = bursts.cloned().unwrap_or(clock.bursts);
            clock.curve = curve.unwrap_or(clock.curve);
            assert_eq!(clock.after(7, end as f64 / 2.0), None);
            assert!(clock.check().is_err());
            assert!(clock.bursts.ends_ns.len() <= MOST_CHANGES);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Waiting twice equals waiting once for the sum, wherever the spans end.
        #[test]
        fn waits_add_up(
            spans in prop::collection::vec((1_000u64..1_000_000, 0.1f64..8.0), 1..8),
            now in 0u64..1_000_000, first in 0f64..1e6, second in 0f64..1e6,
            factors in prop::collection::vec(0.1f64..3.0, 0..6), period_ns in 1_000u64..3_000_000,
            rate in 0.1f64..9.0, length in 50_000u64..1_000_000, gap in 50_000u64..1_000_000,
        ) {
            let mut end = 0;
            let spans = spans.into_iter().map(|(length, factor)| { end += length; (end, factor) }).collect();
            let mut clock = clock(spans);
            clock.curve = Curve { factors, period_ns };
            clock.bursts = Switch::new(bursts(rate, length, gap), Random::new(1, 0));
            let once = clock.clone().after(now, first + second);
            let twice = clock.after(now, first).and_then(|middle| clock.after(middle, second));
            // Each step rounds to whole ns, worth up to the largest factor in load over the smallest.
            match (twice, once) {
                (Some(twice), Some(once)) => {
                    let between = load_between(&mut clock, twice.min(once), twice.max(once));
                    prop_assert!(between <= 2.0 * 8.0 * 3.0 * 9.0, "{} {}: {}", twice, once, between);
                }
                (None, None) => {}
                (twice, once) => {
                    let found = twice.or(once).unwrap();
                    let between = load_between(&mut clock, found, end);
                    prop_assert!(between <= 2.0 * 8.0 * 3.0 * 9.0, "{}", between);
                }
            }
        }
    }

    /// The load that comes between two times.
    fn load_between(clock: &mut LoadClock, from_ns: u64, to_ns: u64) -> f64 {
        let (mut at_ns, mut load) = (from_ns, 0.0);
        while at_ns < to_ns {
            let Some((end_ns, factor)) = clock.span(at_ns) else { break };
            load += (end_ns.min(to_ns) - at_ns) as f64 * factor;
            at_ns = end_ns;
        }
        load
    }
}
