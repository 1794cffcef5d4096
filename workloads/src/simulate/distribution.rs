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

/// A distribution of small sizes as a table of quantiles: for values drawn for every object.
///
/// PERF: a lookup instead of a logarithm, a root, a sine and an exponential: 4 ns instead of 45. The
/// price is that the tail ends at the table's outermost quantile, 1 in 8,192.
#[derive(Debug, Clone)]
pub(super) struct SizeTable {
    sizes: Vec<u32>,
}

/// Bits that draw an entry of a [`SizeTable`].
const TABLE_BITS: u32 = 12;
const TABLE_ENTRIES: usize = 1 << TABLE_BITS;

impl SizeTable {
    /// The table of `sizes`, which must be below 4 GiB.
    pub(super) fn new(sizes: &Sizes) -> SizeTable {
        SizeTable { sizes: quantiles(sizes, TABLE_ENTRIES) }
    }

    /// A draw.
    #[inline]
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        u64::from(self.sizes[random.bits(TABLE_BITS) as usize])
    }

    /// The table restricted to sizes that are `wanted`, and their share.
    pub(super) fn retain(mut self, wanted: impl Fn(u64) -> bool) -> (SizeTable, f64) {
        let all = self.sizes.clone();
        self.sizes.retain(|size| wanted(u64::from(*size)));
        let share = self.sizes.len() as f64 / all.len() as f64;
        if self.sizes.is_empty() {
            self.sizes = all;
        } else {
            // The same number of entries, since a draw picks one of a power of two.
            let left = std::mem::take(&mut self.sizes);
            self.sizes = (0..TABLE_ENTRIES).map(|entry| left[entry * left.len() / TABLE_ENTRIES]).collect();
        }
        (self, share)
    }

    /// The mean of the draws in bytes.
    #[cfg(test)]
    pub(super) fn mean(&self) -> f64 {
        self.sizes.iter().map(|size| f64::from(*size)).sum::<f64>() / self.sizes.len() as f64
    }
}

/// The middles of `count` equal parts of the draws of `sizes`, from the smallest.
pub(super) fn quantiles(sizes: &Sizes, count: usize) -> Vec<u32> {
    // From a large, fixed sample: one method for every shape, including an empirical one.
    const SAMPLE: usize = 1 << 16;
    let draws = SAMPLE.div_ceil(count.max(1));
    let mut random = Random::new(0, 0);
    let mut sample: Vec<u64> = (0..count * draws).map(|_| sizes.draw(&mut random, 1.0)).collect();
    sample.sort_unstable();
    (0..count).map(|part| sample[part * draws + draws / 2] as u32).collect()
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
    fn a_table_draws_as_its_distribution_does() {
        let sizes = Sizes { max_bytes: 1 << 20, ..sizes(Shape::Lognormal { sigma: 0.8 }) };
        let table = SizeTable::new(&sizes);
        let expected = 10_000.0 * libm::exp(0.32);
        assert!((table.mean() / expected - 1.0).abs() < 0.01, "{}", table.mean());
        let mut random = Random::new(1, 0);
        let mean = (0..DRAWS).map(|_| table.draw(&mut random) as f64).sum::<f64>() / DRAWS as f64;
        assert!((mean / expected - 1.0).abs() < 0.02, "{mean}");
    }
}
