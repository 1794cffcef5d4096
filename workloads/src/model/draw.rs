//! Random draws of a model: a seed in, the same numbers out on every machine.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// One stream of random numbers.
#[derive(Debug, Clone)]
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    /// Stream number `stream` of `seed`.
    pub(super) fn new(seed: u64, stream: u64) -> Draw {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Draw(rng)
    }

    /// Uniform in [0, 1).
    #[inline]
    pub(super) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0 to `count` - 1, for a `count` above 0.
    #[inline]
    pub(super) fn below(&mut self, count: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(count)) >> 64) as u64
    }

    /// Exponential with mean 1.
    pub(super) fn exponential(&mut self) -> f64 {
        // 1 - u is in (0, 1]: its logarithm is finite.
        -libm::log(1.0 - self.unit())
    }

    /// Puts `items` into a random order.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at as u64 + 1) as usize);
        }
    }
}
