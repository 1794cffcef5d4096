//! How sizes and times are distributed, and draws from these distributions.

use super::random::Random;
use super::weights::SizeWeights;

/// The shape of a distribution. What it is scaled by differs: sizes by their median, times by their mean.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// Always the same.
    Fixed,
    /// Memoryless.
    Exponential,
    /// The logarithm is normal with deviation `sigma`.
    Lognormal {
        /// Deviation of the natural logarithm.
        sigma: f64,
    },
    /// A power law's tail with exponent `alpha`.
    Pareto {
        /// Exponent of the tail.
        alpha: f64,
    },
    /// The sizes of a table; only for sizes.
    Empirical(SizeWeights),
}

/// A distribution of sizes in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Sizes {
    /// Its shape.
    pub shape: Shape,
    /// Half of the draws lie below.
    pub median_bytes: u64,
    /// Smaller draws are raised to this.
    pub min_bytes: u64,
    /// Larger draws are cut to this.
    pub max_bytes: u64,
}

impl Sizes {
    /// A draw, with `factor` on the median.
    pub(super) fn draw(&self, random: &mut Random, factor: f64) -> u64 {
        let median = self.median_bytes as f64 * factor;
        let size = match &self.shape {
            Shape::Fixed => median,
            Shape::Exponential => median * random.exponential() / core::f64::consts::LN_2,
            Shape::Lognormal { sigma } => median * libm::exp(sigma * random.normal()),
            Shape::Empirical(table) => table.draw(random) as f64 * factor,
            // Half of the draws lie above lowest * 2^(1/alpha).
            Shape::Pareto { alpha } => {
                median * libm::pow(2.0, -1.0 / alpha) * libm::pow(1.0 - random.unit(), -1.0 / alpha)
            }
        };
        (size as u64).clamp(self.min_bytes, self.max_bytes)
    }
}

/// What part of the draws, and of their bytes, lies at or above a size.
pub(super) struct Tails<'a> {
    sizes: &'a Sizes,
    /// Of an empirical distribution: each size with its tail, from the smallest.
    rows: Vec<(u64, f64, f64)>,
}

impl Tails<'_> {
    /// Those of `sizes`.
    pub(super) fn of(sizes: &Sizes) -> Tails<'_> {
        let rows = match &sizes.shape {
            Shape::Empirical(table) => table.tails(),
            _ => Vec::new(),
        };
        Tails { sizes, rows }
    }

    /// The share of draws of `from` bytes or more, and their part of the mean of all draws, in bytes.
    pub(super) fn at(&self, from: u64) -> (f64, f64) {
        let Sizes { shape, median_bytes, min_bytes, max_bytes } = self.sizes;
        if let Shape::Empirical(_) = shape {
            let first = self.rows.partition_point(|(size, ..)| *size < from);
            return self.rows.get(first).map_or((0.0, 0.0), |(_, share, bytes)| (*share, *bytes));
        }
        if from > *max_bytes {
            return (0.0, 0.0);
        }
        let (median, most) = (*median_bytes as f64, *max_bytes as f64);
        let least = from.max(*min_bytes) as f64;
        let share = share_above(shape, least / median);
        let mut bytes = least * share + median * integral(shape, least / median, most / median);
        if !matches!(shape, Shape::Fixed) {
            // Draws lose their fraction: half a byte on average.
            bytes -= (share - share_above(shape, most / median)) / 2.0;
        }
        match from <= *min_bytes {
            true => (1.0, bytes + least * (1.0 - share)),
            false => (share, bytes),
        }
    }
}

/// The share of draws of at least `from`, in a distribution of median 1 that has this shape.
fn share_above(shape: &Shape, from: f64) -> f64 {
    match shape {
        Shape::Exponential => libm::exp(-from * core::f64::consts::LN_2),
        Shape::Lognormal { sigma } if *sigma > 0.0 => normal_above(libm::log(from) / sigma),
        Shape::Pareto { alpha } => 0.5 * libm::pow(from.max(lowest(*alpha)), -alpha),
        Shape::Fixed | Shape::Lognormal { .. } | Shape::Empirical(_) => f64::from(from <= 1.0),
    }
}

/// The integral of [`share_above`] between two bounds.
fn integral(shape: &Shape, from: f64, to: f64) -> f64 {
    let at = |bound: f64| bound * share_above(shape, bound);
    match shape {
        Shape::Exponential => (share_above(shape, from) - share_above(shape, to)) / core::f64::consts::LN_2,
        // The mean between the bounds is that of the whole, times the share of a normal distribution moved by sigma.
        Shape::Lognormal { sigma } if *sigma > 0.0 => {
            let moved = |bound: f64| normal_above(libm::log(bound) / sigma - sigma);
            libm::exp(sigma * sigma / 2.0) * (moved(from) - moved(to)) - at(from) + at(to)
        }
        Shape::Pareto { alpha } => {
            let lowest = lowest(*alpha);
            let (first, last) = (from.max(lowest), to.max(lowest));
            let tail = match *alpha == 1.0 {
                true => 0.5 * libm::log(last / first),
                false => (at(first) - at(last)) / (alpha - 1.0),
            };
            (to.min(lowest) - from).max(0.0) + tail
        }
        Shape::Fixed | Shape::Lognormal { .. } | Shape::Empirical(_) => (to.min(1.0) - from).max(0.0),
    }
}

/// The smallest draw of a Pareto distribution of median 1.
fn lowest(alpha: f64) -> f64 {
    libm::pow(2.0, -1.0 / alpha)
}

/// The longest draw of a time, in means.
const MOST_MEANS: f64 = 1000.0;
/// A mean that the cut of the longest draws changes by less than this share is left as it is.
const CUT_MOST: f64 = 1e-6;

/// A distribution of times.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// Its shape.
    pub shape: Shape,
    /// Its mean in ns.
    pub mean_ns: u64,
    /// The factor on draws that restores the mean after the longest are cut.
    stretch: f64,
}

impl Times {
    /// Times of this shape and mean.
    pub(super) fn new(shape: Shape, mean_ns: u64) -> Times {
        let stretch = stretch(&shape);
        Times { shape, mean_ns, stretch }
    }

    /// A draw, at least 1 ns and at most a thousand means.
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        let mean = self.mean_ns as f64;
        let factor = match &self.shape {
            // Times have no table: `definition` reads none.
            Shape::Fixed | Shape::Empirical(_) => 1.0,
            Shape::Exponential => random.exponential(),
            // The mean of a lognormal is exp(sigma^2 / 2) times its median.
            Shape::Lognormal { sigma } => libm::exp(sigma * random.normal() - sigma * sigma / 2.0),
            Shape::Pareto { alpha } => (alpha - 1.0) / alpha * libm::pow(1.0 - random.unit(), -1.0 / alpha),
        };
        ((mean * (factor * self.stretch).min(MOST_MEANS)) as u64).max(1)
    }
}

/// The factor by which a law of mean 1 must be stretched so that its mean is 1 with draws above [`MOST_MEANS`] cut to
/// that.
fn stretch(shape: &Shape) -> f64 {
    let mean = |factor: f64| factor * cut_mean(shape, MOST_MEANS / factor);
    if mean(1.0) > 1.0 - CUT_MOST {
        return 1.0;
    }
    // The mean grows with the factor, to far above 1.
    let (mut low, mut high) = (1.0, 2.0);
    while mean(high) < 1.0 {
        high *= 2.0;
    }
    for _ in 0..f64::MANTISSA_DIGITS {
        let middle = (low + high) / 2.0;
        if mean(middle) < 1.0 { low = middle } else { high = middle }
    }
    low
}

/// The mean of a law of mean 1 whose draws above `most` are cut to that.
fn cut_mean(shape: &Shape, most: f64) -> f64 {
    match shape {
        // The integral of the share of longer draws, from 0 to `most`.
        Shape::Pareto { alpha } => {
            let lowest = (alpha - 1.0) / alpha;
            if most <= lowest { most } else { 1.0 - most * libm::pow(lowest / most, *alpha) / (alpha - 1.0) }
        }
        Shape::Lognormal { sigma } if *sigma > 0.0 => {
            let cut = (libm::log(most) + sigma * sigma / 2.0) / sigma;
            normal_above(sigma - cut) + most * normal_above(cut)
        }
        Shape::Exponential => 1.0 - libm::exp(-most),
        Shape::Fixed | Shape::Lognormal { .. } | Shape::Empirical(_) => most.min(1.0),
    }
}

/// The share of normal draws (mean 0, deviation 1) above `from`.
pub(super) fn normal_above(from: f64) -> f64 {
    0.5 * libm::erfc(from * core::f64::consts::FRAC_1_SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 200_000;

    fn sizes(shape: Shape) -> Sizes {
        Sizes { shape, median_bytes: 10_000, min_bytes: 0, max_bytes: u64::MAX }
    }

    #[test]
    fn half_of_the_sizes_lie_below_the_median() {
        let shapes = [Shape::Exponential, Shape::Lognormal { sigma: 1.0 }, Shape::Pareto { alpha: 1.5 }];
        for shape in shapes {
            let mut random = Random::new(1, 0);
            let sizes = sizes(shape.clone());
            let below = (0..DRAWS).filter(|_| sizes.draw(&mut random, 1.0) < 10_000).count();
            let share = below as f64 / DRAWS as f64;
            assert!((share - 0.5).abs() < 0.005, "{shape:?}: {share}");
        }
    }

    #[test]
    fn times_have_their_mean() {
        let shapes =
            [Shape::Fixed, Shape::Exponential, Shape::Lognormal { sigma: 0.8 }, Shape::Pareto { alpha: 3.0 }];
        for shape in shapes {
            let mut random = Random::new(1, 0);
            let times = Times::new(shape.clone(), 1_000_000);
            assert_eq!(times.stretch, 1.0, "{shape:?}");
            let mean = (0..DRAWS).map(|_| times.draw(&mut random) as f64).sum::<f64>() / DRAWS as f64;
            assert!((mean / 1e6 - 1.0).abs() < 0.02, "{shape:?}: {mean}");
        }
    }

    #[test]
    fn heavy_tailed_times_have_their_mean_although_the_longest_are_cut() {
        let pareto = [1.01, 1.1, 1.2, 1.5, 2.0].map(|alpha| Shape::Pareto { alpha });
        let lognormal = [2.0, 3.0, 4.0, 5.0].map(|sigma| Shape::Lognormal { sigma });
        for shape in pareto.into_iter().chain(lognormal) {
            let mut random = Random::new(1, 0);
            let times = Times::new(shape.clone(), 1_000_000);
            let draws = (0..5 * DRAWS).map(|_| times.draw(&mut random));
            let (sum, longest) =
                draws.fold((0.0, 0), |(sum, longest), draw| (sum + draw as f64, draw.max(longest)));
            let mean = sum / (5 * DRAWS) as f64;
            assert!((mean / 1e6 - 1.0).abs() < 0.08, "{shape:?}: {mean}");
            assert!(longest <= 1_000_000_000, "{shape:?}: {longest}");
        }
    }

    #[test]
    fn tails_are_those_of_the_draws() {
        let table = SizeWeights::parse("700,1\n90,5\n2000,2\n40,0\n", "t.csv", (1, 9999)).unwrap();
        let shapes = [
            Shape::Fixed,
            Shape::Exponential,
            Shape::Lognormal { sigma: 1.2 },
            Shape::Lognormal { sigma: 0.0 },
            Shape::Pareto { alpha: 1.3 },
            Shape::Pareto { alpha: 1.0 },
            Shape::Pareto { alpha: 0.7 },
            Shape::Empirical(table),
        ];
        for shape in shapes {
            for (min_bytes, max_bytes) in [(1, 100_000), (200, 3000)] {
                let sizes = Sizes { shape: shape.clone(), median_bytes: 600, min_bytes, max_bytes };
                let mut random = Random::new(1, 0);
                let draws: Vec<u64> = (0..DRAWS).map(|_| sizes.draw(&mut random, 1.0)).collect();
                let mean = draws.iter().sum::<u64>() as f64 / DRAWS as f64;
                for from in [0, 1, 100, 200, 201, 599, 600, 601, 1000, 2500, 3000, 3001, 20_000, 100_001] {
                    let tail = draws.iter().filter(|draw| **draw >= from);
                    let (count, sum) = tail.fold((0, 0), |(count, sum), draw| (count + 1, sum + draw));
                    let (share, bytes) = Tails::of(&sizes).at(from);
                    // An empirical distribution is not clamped: its rows are within the bounds.
                    if matches!(shape, Shape::Empirical(_)) && min_bytes > 1 {
                        continue;
                    }
                    let off = (share - f64::from(count) / DRAWS as f64).abs();
                    assert!(off < 0.005, "{shape:?} from {from}: {share}, {count}");
                    let off = (bytes - sum as f64 / DRAWS as f64).abs() / mean;
                    assert!(off < 0.02, "{shape:?} from {from}: {bytes}, {sum}");
                }
            }
        }
    }
}
