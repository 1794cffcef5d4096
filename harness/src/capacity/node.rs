//! How many pods a node holds: drawn from measured timelines at random phases.
//!
//! A draw fills a node with one pod after another. Each pod has the memory of a random sample, starting at a random
//! moment of it; the node is full when at any moment of the timeline the pods together would need more than there is.
//! The number that it held then is one draw, and the odds come from all draws. Where the pods follow one daily curve,
//! all start at the same moment.
//!
//! The samples are few, and their mean is not the mean of all runs. The memory of many pods follows that mean, so each
//! draw takes it from its distribution (Student's t on logarithms, as for a limit): with three samples far fewer pods
//! fit than their curves alone would let one believe.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::stats::{mean_and_variance, median};

const STEPS: usize = Curve::STEPS;
/// Fraction of the pairs of steps that must grow for memory to count as growing.
const MOST_PAIRS: f64 = 0.75;
/// Fleets that are drawn.
const FLEETS: usize = 10_000;
/// Fewest and most nodes that are drawn: ten of them hold fewer than stated, so that the odds are drawn and not
/// guessed.
const NODES: (f64, f64) = (1000.0, 100_000.0);
const NODES_THAT_HOLD_FEWER: f64 = 10.0;
/// Most pods of a drawn fleet; a larger fleet is scaled up from this many.
const MOST_DRAWN: u64 = 1000;
/// Most degrees of freedom of the mean's distribution. PERF: each takes a draw, and beyond these the distribution hardly
/// changes, and gets narrower.
const MOST_FREEDOM: usize = 100;
/// Most draws that fill a node. PERF: where more pods fit, each draw stands for several alike, which vary more than as
/// many different ones: on the safe side, and by little with so many.
const MOST_FILLED: f64 = 2000.0;

/// Memory over time in equal steps, the largest value of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve([f32; STEPS]);

/// What one block says about a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodBlock {
    /// The most anonymous memory, including the page tables of a replay's heap.
    pub peak_bytes: f64,
    /// Kernel memory of the sample's control group, if it had one.
    pub kernel_bytes: Option<f64>,
    /// File pages of the group.
    pub file_bytes: Option<f64>,
    /// Bytes by which memory grows per second, over the second half of the time.
    pub growth_bytes_per_s: f64,
    /// How long the block was.
    pub time_s: f64,
    /// Memory over time in equal steps, the largest value of each.
    pub curve: Curve,
}

impl Default for Curve {
    fn default() -> Curve {
        Curve::flat(0.0)
    }
}

impl Curve {
    /// Steps of a timeline: a peak is held for a whole sixty-fourth of the time.
    pub const STEPS: usize = 64;

    /// A curve of the same value throughout.
    pub fn flat(bytes: f32) -> Curve {
        Curve([bytes; STEPS])
    }

    /// A curve from (time, bytes) in order of time, until `end`. Each value holds until the next.
    pub fn of(values: &[(u64, u64)], end: u64) -> Curve {
        let Some(&(first, _)) = values.first() else { return Curve::default() };
        let span = end.max(values.last().map_or(first, |last| last.0)).saturating_sub(first).max(1);
        let step_of = |time: u64| {
            let at = u128::from(time.saturating_sub(first)) * STEPS as u128 / u128::from(span);
            (at as usize).min(STEPS - 1)
        };
        let mut curve = [0.0f32; STEPS];
        for (at, &(time, bytes)) in values.iter().enumerate() {
            let until = values.get(at + 1).map_or(end.max(time), |next| next.0);
            for slot in &mut curve[step_of(time)..=step_of(until)] {
                *slot = slot.max(bytes as f32);
            }
        }
        Curve(curve)
    }

    /// The largest value of each step, in order.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// The largest value.
    pub fn peak(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f32::max).into()
    }

    /// The mean of all steps.
    pub(super) fn mean(&self) -> f64 {
        self.0.iter().copied().map(f64::from).sum::<f64>() / STEPS as f64
    }

    /// Growth from step to step over the second half (Theil's and Sen's slope); 0 unless most pairs of steps grow.
    pub fn growth(&self) -> f64 {
        let late = &self.0[STEPS / 2..];
        let mut slopes: Vec<f64> = Vec::new();
        for (at, value) in late.iter().enumerate() {
            let further = late.iter().enumerate().skip(at + 1);
            slopes.extend(further.map(|(to, later)| f64::from(later - value) / (to - at) as f64));
        }
        let growing = slopes.iter().filter(|slope| **slope > 0.0).count();
        if (growing as f64) < MOST_PAIRS * slopes.len() as f64 {
            return 0.0;
        }
        median(&slopes).unwrap_or(0.0).max(0.0)
    }

    /// The same curve with this much more at every moment.
    #[must_use]
    pub fn raised_by(&self, bytes: f32) -> Curve {
        Curve(self.0.map(|value| value + bytes))
    }
}

/// What is drawn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    /// Pods of a fleet.
    pub(super) replicas: u64,
    /// Odds that a node holds fewer pods than stated.
    pub(super) odds: f64,
    /// Whether all pods start at the same moment.
    pub(super) correlated: bool,
    /// Most pods of a node.
    pub(super) most: u64,
    /// Decides the draws.
    pub(super) seed: u64,
}

/// What was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Drawn {
    /// Pods that a node holds, except with the odds asked for.
    pub(super) pods: u64,
    /// The fleet's memory at a moment: what it exceeds in 97.5 % of moments, in half of them, and in 2.5 %.
    pub(super) fleet_bytes: Option<[u64; 3]>,
}

/// Draws nodes and fleets of pods with these curves.
pub(super) fn count_fitting(curves: &[Curve], allocatable: f64, asked: &Draws) -> Drawn {
    if curves.is_empty() {
        return Drawn { pods: 0, fleet_bytes: None };
    }
    let mut random = ChaCha8Rng::seed_from_u64(asked.seed);
    let draws = (NODES_THAT_HOLD_FEWER / asked.odds).clamp(NODES.0, NODES.1) as usize;
    let means: Vec<f64> = curves.iter().map(Curve::mean).collect();
    let expected = (allocatable / median(&means).unwrap_or(0.0)).min(asked.most as f64);
    let alike = (expected / MOST_FILLED).ceil().max(1.0);
    let deviation = deviation_of_mean(&means);
    let freedom = (curves.len() - 1).min(MOST_FREEDOM);
    let most = (asked.most as f64 / alike).ceil() as u64;
    let mut held: Vec<u64> = (0..draws)
        .map(|_| {
            let larger = (student(freedom, &mut random) * deviation).exp();
            // Pods that are larger by a factor have the room of a node that is smaller by it.
            let room = allocatable / larger / alike;
            (fill_node(curves, room as f32, most, asked.correlated, &mut random) * alike as u64)
                .min(asked.most)
        })
        .collect();
    held.sort_unstable();
    // This many of the drawn nodes may hold fewer.
    let at = ((asked.odds * draws as f64).floor() as usize).min(draws - 1);
    Drawn { pods: held[at], fleet_bytes: Some(draw_fleets(curves, asked, &mut random)) }
}

/// The standard deviation of the mean of samples, on logarithms; 0 for fewer than two, or where a sample is 0.
fn deviation_of_mean(means: &[f64]) -> f64 {
    if means.iter().any(|mean| *mean <= 0.0) {
        return 0.0;
    }
    let logs: Vec<f64> = means.iter().map(|mean| mean.ln()).collect();
    mean_and_variance(&logs).map_or(0.0, |(_, variance)| (variance / logs.len() as f64).sqrt())
}

/// A draw from Student's t distribution: a normal one over the root of the mean of squares of others. 0 without a
/// degree of freedom.
fn student(freedom: usize, random: &mut ChaCha8Rng) -> f64 {
    // Box and Muller's.
    let mut normal = || {
        let (radius, turn): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * turn).cos()
    };
    if freedom == 0 {
        return 0.0;
    }
    let squares: f64 = (0..freedom).map(|_| normal().powi(2)).sum();
    normal() / (squares / freedom as f64).sqrt()
}

fn fill_node(
    curves: &[Curve],
    allocatable: f32,
    most: u64,
    correlated: bool,
    random: &mut ChaCha8Rng,
) -> u64 {
    let mut used = [0.0f32; STEPS];
    for pods in 0..most {
        let curve = &curves[random.random_range(0..curves.len())].0;
        let phase = if correlated { 0 } else { random.random_range(0..STEPS) };
        let (late, early) = curve.split_at(phase);
        let mut largest = 0.0f32;
        for (used, more) in used.iter_mut().zip(early.iter().chain(late)) {
            *used += more;
            largest = largest.max(*used);
        }
        if largest > allocatable {
            return pods;
        }
    }
    most
}

fn draw_fleets(curves: &[Curve], asked: &Draws, random: &mut ChaCha8Rng) -> [u64; 3] {
    let pods = asked.replicas.clamp(1, MOST_DRAWN);
    let scale = asked.replicas as f64 / pods as f64;
    let mut totals: Vec<f64> = (0..FLEETS)
        .map(|_| {
            let moment = random.random_range(0..STEPS);
            let of_pod = |random: &mut ChaCha8Rng| {
                let curve = &curves[random.random_range(0..curves.len())].0;
                let at = if asked.correlated { moment } else { random.random_range(0..STEPS) };
                f64::from(curve[at])
            };
            (0..pods).map(|_| of_pod(random)).sum::<f64>() * scale
        })
        .collect();
    totals.sort_by(f64::total_cmp);
    [0.025, 0.5, 0.975].map(|part: f64| totals[(part * (FLEETS - 1) as f64) as usize] as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(odds: f64, correlated: bool) -> Draws {
        Draws { replicas: 100, odds, correlated, most: 110, seed: 1 }
    }

    #[test]
    fn a_curve_keeps_every_peak() {
        let curve = Curve::of(&[(0, 10), (500, 1000), (501, 20)], 1000);
        assert_eq!(curve.0.iter().filter(|value| **value == 1000.0).count(), 1);
        assert_eq!((curve.0[0], curve.0[STEPS - 1]), (10.0, 20.0));
        assert_eq!(Curve::of(&[], 5), Curve::flat(0.0));
        let rising: Vec<(u64, u64)> = (0..1000).map(|at| (at, 1_000_000 + at * 500)).collect();
        let growth = Curve::of(&rising, 1000).growth() * STEPS as f64 / 1000.0;
        assert!((growth - 500.0).abs() < 10.0, "{growth}");
        assert_eq!(Curve::flat(5.0).growth(), 0.0);
    }

    #[test]
    fn flat_pods_fill_a_node_exactly_and_peaks_apart_fit_more() {
        let flat = count_fitting(&[Curve::flat(100.0)], 1050.0, &draws(0.01, false));
        assert_eq!((flat.pods, flat.fleet_bytes), (10, Some([10_000; 3])));
        // A pod that has 1000 for a quarter of its time and 100 otherwise.
        let mut peaky = Curve::flat(100.0);
        peaky.0[..STEPS / 4].fill(1000.0);
        let apart = count_fitting(std::slice::from_ref(&peaky), 20_000.0, &draws(0.01, false));
        let together = count_fitting(&[peaky], 20_000.0, &draws(0.01, true));
        assert_eq!(together.pods, 20, "all peaks at once");
        assert!(apart.pods > 25, "{apart:?}");
        let [low, middle, high] = apart.fleet_bytes.expect("drawn");
        assert!(low < middle && middle < high, "{apart:?}");
    }

    /// Nodes that are filled with other runs of the program hold fewer than stated as often as the odds say.
    #[test]
    fn few_samples_are_not_taken_for_all_that_may_come() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut fails = [0.0; 2];
        for (samples, fails) in [3, 10].into_iter().zip(&mut fails) {
            const PROGRAMS: usize = 150;
            for seed in 0..PROGRAMS as u64 {
                // Runs differ by a tenth; a node has the mean of many.
                let normal = |random: &mut ChaCha8Rng| student(1000, random);
                let measured: Vec<Curve> =
                    (0..samples).map(|_| Curve::flat((0.1 * normal(&mut random)).exp() as f32)).collect();
                let pods = count_fitting(&measured, 20.0, &Draws { seed, ..draws(0.05, false) }).pods;
                let needed: f64 = (0..pods).map(|_| (0.1 * normal(&mut random)).exp()).sum();
                *fails += f64::from(u8::from(needed > 20.0)) / PROGRAMS as f64;
            }
        }
        assert!(fails.iter().all(|part| *part < 0.1), "{fails:?}");
    }

    #[test]
    fn very_many_fit_where_they_are_small() {
        let asked = Draws { most: 10_000_000, ..draws(0.01, false) };
        let drawn = count_fitting(&[Curve::flat(3.0)], 65_536.0, &asked);
        assert!((21_800..=21_845).contains(&drawn.pods), "{drawn:?}");
    }

    #[test]
    fn the_same_seed_draws_the_same() {
        let mut curve = Curve::flat(1.0);
        curve.0[3] = 9.0;
        let draw =
            |seed| count_fitting(std::slice::from_ref(&curve), 300.0, &Draws { seed, ..draws(0.05, false) });
        assert_eq!(draw(7), draw(7));
    }
}
