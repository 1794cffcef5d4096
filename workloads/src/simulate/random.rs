//! Random draws: a seed in, numbers out, the same on every machine.
//!
//! The generator is ChaCha8 by name, whose stream is fixed by its specification; logarithms, exponentials and
//! powers come from the `libm` crate, because those of platform C libraries differ in the last bit. Uniform
//! draws are made here, since `rand` may change its algorithms between versions. Each purpose has its own
//! stream of the generator: changing the payload's parameters does not change when requests arrive.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

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

    /// A random number of this many bits, at most 32.
    #[inline]
    pub(super) fn bits(&mut self, count: u32) -> u32 {
        self.rng.next_u32() >> (u32::BITS - count)
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
/// PERF: 64 tries are decided together, one bit of the probability at a time, which takes 8 draws on average.
#[derive(Debug, Clone)]
pub(super) struct Tries {
    /// The probability times 2^32.
    limit: u64,
    /// Outcomes not handed out yet, and how many.
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

    /// The next `count` of the outcomes that are left; fewer than 64. One bit each, set for a success.
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
/// PERF: without a branch on each bit, which no processor could predict; and without `u64::count_ones`, for
/// which the oldest processors that we build for have no instruction, so a lookup in a table of 2 KiB serves
/// instead.
#[inline]
fn count_ones(outcomes: u64) -> u32 {
    match ONES.get(outcomes as usize) {
        Some(ones) => u32::from(*ones),
        None => outcomes.count_ones(),
    }
}

/// For each number, how many of its bits are set.
static ONES: [u8; 1 << 11] = {
    let mut ones = [0; 1 << 11];
    let mut number = 1;
    while number < ones.len() {
        ones[number] = ones[number / 2] + (number % 2) as u8;
        number += 1;
    }
    ones
};

#[cfg(test)]
mod tests {
    use super::*;

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
