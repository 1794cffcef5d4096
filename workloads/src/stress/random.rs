//! Random draws of the stress patterns: whole numbers only, the same on every machine.
//!
//! ChaCha8 by name, whose stream its specification fixes. Each thread of a pattern has its own stream, so
//! that one thread's draws do not depend on the number of threads.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One in [`chance`](Random::chance)'s unit.
pub(crate) const MILLION: u64 = 1_000_000;

/// One stream of random numbers.
#[derive(Debug, Clone)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// Stream number `stream` of `seed`.
    pub(crate) fn new(seed: u64, stream: u64) -> Random {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Random(rng)
    }

    /// Uniform in 0 to `count` - 1, for a `count` above 0.
    #[inline]
    pub(crate) fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(count)) >> 64) as u64
    }

    /// Like [`below`](Random::below), for a count of more than 64 bits.
    #[inline]
    pub(crate) fn wide_below(&mut self, count: u128) -> u128 {
        let drawn = u128::from(self.0.next_u64()) << 64 | u128::from(self.0.next_u64());
        // The remainder favours small values by less than count / 2^128.
        drawn % count
    }

    /// An index of a list of `length`, which is not empty.
    #[inline]
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// True with a probability in millionths.
    #[inline]
    pub(crate) fn chance(&mut self, millionths: u64) -> bool {
        self.below(MILLION) < millionths
    }

    /// Puts a list in random order (Fisher and Yates).
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for last in (1..list.len()).rev() {
            list.swap(last, self.index(last + 1));
        }
    }
}

/// Sizes that are uniform between two bounds, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Uniform {
    /// The smallest, in bytes.
    pub(crate) least: u64,
    /// The largest, in bytes.
    pub(crate) most: u64,
}

impl Uniform {
    /// A size.
    #[inline]
    pub(crate) fn draw(self, random: &mut Random) -> u64 {
        self.least + random.below(self.most - self.least + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_in_bounds_and_reach_them() {
        let mut random = Random::new(1, 0);
        let draws: Vec<u64> = (0..2000).map(|_| Uniform { least: 5, most: 9 }.draw(&mut random)).collect();
        assert_eq!((draws.iter().min(), draws.iter().max()), (Some(&5), Some(&9)));
        let hits = (0..100_000).filter(|_| random.chance(250_000)).count();
        assert!((24_000..26_000).contains(&hits), "{hits}");
    }

    #[test]
    fn a_shuffled_list_has_its_members() {
        let mut list: Vec<u32> = (0..100).collect();
        Random::new(1, 0).shuffle(&mut list);
        assert!(!list.is_sorted());
        list.sort_unstable();
        assert!(list.into_iter().eq(0..100));
    }
}
