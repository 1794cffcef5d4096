//! Random draws: a seed in, sizes and times out, the same on every machine.
//!
//! The generator is ChaCha8 by name, whose stream is fixed by its specification; logarithms,
//! exponentials and powers come from the `libm` crate, because those of the platform's C library
//! differ in the last bit. Uniform draws are made here, since `rand` may change its own between
//! versions. Each purpose has its own stream of the generator: turning the payload's parameters
//! does not change when requests arrive.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::weights::SizeWeights;

/// One stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Random {
    rng: ChaCha8Rng,
    /// The second of two normal draws, which come in pairs.
    normal: Option<f64>,
}

/// Bound of [`Random::indices`].
pub(super) const INDICES: usize = 1 << 14;

impl Random {
    /// Stream number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Random {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Random { rng, normal: None }
    }

    /// Uniform in [0, 1).
    #[inline]
    pub(super) fn unit(&mut self) -> f64 {
        (self.rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0 to `count` - 1, for a `count` above 0.
    #[inline]
    pub(super) fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.rng.next_u64()) * u128::from(count)) >> 64) as u64
    }

    /// True with probability `share`.
    #[inline]
    pub(super) fn chance(&mut self, share: f64) -> bool {
        self.unit() < share
    }

    /// Four numbers, each uniform in 0 to [`INDICES`] - 1.
    #[inline]
    pub(super) fn indices(&mut self) -> [usize; 4] {
        let bits = self.rng.next_u64();
        [0, 16, 32, 48].map(|shift| (bits >> shift) as usize % INDICES)
    }

    /// Exponential with mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        // 1 - u is in (0, 1]: its logarithm is finite.
        -libm::log(1.0 - self.unit())
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller).
    pub(super) fn normal(&mut self) -> f64 {
        if let Some(normal) = self.normal.take() {
            return normal;
        }
        let radius = libm::sqrt(2.0 * self.exponential());
        let angle = 2.0 * core::f64::consts::PI * self.unit();
        self.normal = Some(radius * libm::sin(angle));
        radius * libm::cos(angle)
    }
}

/// Tries that succeed with the same probability, many at a time.
///
/// PERF: 64 tries are decided bit by bit of the probability, all at once, which takes 8 draws on average.
#[derive(Debug, Clone)]
pub(super) struct Tries {
    /// The probability times 2^32.
    limit: u64,
    /// Outcomes that were not yet given out, and how many.
    outcomes: u64,
    left: u32,
}

impl Tries {
    /// Tries that succeed with probability `share`, to 2^-32.
    pub(super) fn new(share: f64) -> Tries {
        Tries { limit: (share * (1u64 << 32) as f64) as u64, outcomes: 0, left: 0 }
    }

    /// How many of `first` tries succeed, and how many of `second` after them.
    #[inline]
    pub(super) fn successes(&mut self, random: &mut Random, first: u32, second: u32) -> (u32, u32) {
        if first + second >= self.left {
            return self.successes_across(random, first, second);
        }
        let outcomes = self.take(first + second);
        (count_ones(outcomes & ((1 << first) - 1)), count_ones(outcomes >> first))
    }

    /// The next `count` outcomes, of those that are left: fewer than 64. A bit each, set for a success.
    #[inline]
    fn take(&mut self, count: u32) -> u64 {
        let outcomes = self.outcomes & ((1 << count) - 1);
        self.outcomes >>= count;
        self.left -= count;
        outcomes
    }

    #[inline(never)]
    fn successes_across(&mut self, random: &mut Random, first: u32, second: u32) -> (u32, u32) {
        (self.take_more(random, first), self.take_more(random, second))
    }

    fn take_more(&mut self, random: &mut Random, mut count: u32) -> u32 {
        let mut successes = 0;
        loop {
            let taken = count.min(self.left).min(63);
            successes += count_ones(self.take(taken));
            count -= taken;
            if count == 0 {
                return successes;
            }
            if self.left == 0 {
                self.refill(random);
            }
        }
    }

    fn refill(&mut self, random: &mut Random) {
        let (mut below, mut equal) = (0, u64::MAX);
        if self.limit >= 1 << 32 {
            (below, equal) = (u64::MAX, 0);
        }
        for bit in (0..32).rev() {
            if equal == 0 {
                break;
            }
            let drawn = random.rng.next_u64();
            if self.limit >> bit & 1 == 1 {
                below |= equal & !drawn;
                equal &= drawn;
            } else {
                equal &= !drawn;
            }
        }
        (self.outcomes, self.left) = (below, 64);
    }
}

/// How many bits of `outcomes` are set.
///
/// PERF: without a branch on each, which nothing foresees; and without `u64::count_ones`, for which the oldest
/// processors that we build for have no instruction, where a look at a table of 2 KiB does.
#[inline]
fn count_ones(outcomes: u64) -> u32 {
    match ONES.get(outcomes as usize) {
        Some(ones) => u32::from(*ones),
        None => outcomes.count_ones(),
    }
}

/// By a number: its bits that are set.
static ONES: [u8; 1 << 11] = {
    let mut ones = [0; 1 << 11];
    let mut number = 1;
    while number < ones.len() {
        ones[number] = ones[number / 2] + (number % 2) as u8;
        number += 1;
    }
    ones
};

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

/// A distribution of small sizes as a table of quantiles: for what is drawn for every object.
///
/// PERF: a lookup instead of a logarithm, a root, a sine and an exponential: 4 ns instead of 45. The
/// price is that the tail ends at the table's outermost quantile, 1 in 8,192.
#[derive(Debug, Clone)]
pub(super) struct SizeTable {
    sizes: Vec<u32>,
}

/// Entries of a [`SizeTable`]: a power of two.
const TABLE_ENTRIES: usize = 4096;

impl SizeTable {
    /// The table of `sizes`, which must be below 4 GiB.
    pub(super) fn new(sizes: &Sizes) -> SizeTable {
        SizeTable { sizes: quantiles(sizes, TABLE_ENTRIES) }
    }

    /// A draw.
    #[inline]
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        let index = (random.rng.next_u32() >> 20) as usize;
        u64::from(self.sizes[index])
    }

    /// The table of those sizes that are `wanted`, and their share.
    pub(super) fn retain(mut self, wanted: impl Fn(u64) -> bool) -> (SizeTable, f64) {
        let all = self.sizes.clone();
        self.sizes.retain(|size| wanted(u64::from(*size)));
        let share = self.sizes.len() as f64 / all.len() as f64;
        if self.sizes.is_empty() {
            self.sizes = all;
        } else {
            // As many entries again, since a draw takes any of a power of two.
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
    // Of a large, fixed sample: one way for every shape, an empirical one included.
    const SAMPLE: usize = 1 << 16;
    let draws = SAMPLE.div_ceil(count.max(1));
    let mut random = Random::new(0, 0);
    let mut sample: Vec<u64> = (0..count * draws).map(|_| sizes.draw(&mut random, 1.0)).collect();
    sample.sort_unstable();
    (0..count).map(|part| sample[part * draws + draws / 2] as u32).collect()
}

/// A distribution of times.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// Its shape.
    pub shape: Shape,
    /// Its mean in ns.
    pub mean_ns: u64,
}

impl Times {
    /// A draw, at least `1` ns and at most a thousand means.
    pub(super) fn draw(&self, random: &mut Random) -> u64 {
        let mean = self.mean_ns as f64;
        let factor = match &self.shape {
            // No time has a table: `definition` reads none.
            Shape::Fixed | Shape::Empirical(_) => 1.0,
            Shape::Exponential => random.exponential(),
            // The mean of a lognormal is exp(sigma^2 / 2) times its median.
            Shape::Lognormal { sigma } => libm::exp(sigma * random.normal() - sigma * sigma / 2.0),
            Shape::Pareto { alpha } => (alpha - 1.0) / alpha * libm::pow(1.0 - random.unit(), -1.0 / alpha),
        };
        ((mean * factor.min(1000.0)) as u64).max(1)
    }
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
            let times = Times { shape: shape.clone(), mean_ns: 1_000_000 };
            let mean = (0..DRAWS).map(|_| times.draw(&mut random) as f64).sum::<f64>() / DRAWS as f64;
            assert!((mean / 1e6 - 1.0).abs() < 0.02, "{shape:?}: {mean}");
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

    #[test]
    fn tries_succeed_with_their_share() {
        let mut random = Random::new(1, 0);
        for share in [0.0, 1e-9, 0.1, 0.5, 1.0 / 3.0, 0.999, 1.0] {
            let mut tries = Tries::new(share);
            let (mut count, mut successes) = (0, 0);
            for taken in (1..=200).cycle().take(5000) {
                let (first, second) = tries.successes(&mut random, taken / 3, taken - taken / 3);
                assert!(first <= taken / 3 && second <= taken - taken / 3);
                count += taken;
                successes += first + second;
            }
            let found = f64::from(successes) / f64::from(count);
            assert!((found - share).abs() < 0.003, "{share}: {found}");
            assert!(share == found || (1e-9..1.0).contains(&share), "{share}: {found}");
        }
    }

    #[test]
    fn indices_are_even() {
        let mut random = Random::new(1, 0);
        let mut eighths = [0; 8];
        for _ in 0..20_000 {
            for index in random.indices() {
                eighths[index * 8 / INDICES] += 1;
            }
        }
        assert!(eighths.iter().all(|count| (9_600..10_400).contains(count)), "{eighths:?}");
    }

    #[test]
    fn streams_and_seeds_differ() {
        let first = |seed, stream| Random::new(seed, stream).rng.next_u64();
        assert_eq!(first(1, 1), first(1, 1));
        assert_ne!(first(1, 1), first(1, 2));
        assert_ne!(first(1, 1), first(2, 1));
    }
}
