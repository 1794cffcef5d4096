//! How many blocks a machine needs before a difference of a given size can be told from none.
//!
//! The noise is that of a variant compared with itself: its ratios within blocks. Experiments of n blocks are drawn
//! from it, and the interval of the ratio within blocks is computed for each. A factor on every ratio is a factor
//! on the interval, so one set of experiments serves for differences of every size.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::median::{MIN_BLOCKS, sorted};
use super::signed_rank::{signed_rank, walsh_averages};

/// The fraction of experiments that must show the difference.
pub const WANTED_POWER: f64 = 0.8;

/// Numbers of blocks that are tried. If the last is not enough, a better machine helps, not more patience.
const BLOCKS: [usize; 13] = [MIN_BLOCKS, 7, 8, 10, 12, 15, 20, 25, 30, 40, 50, 70, 100];

/// Experiments for each number of blocks.
const EXPERIMENTS: usize = 500;

/// How well differences can be told on a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Power {
    /// For each number of blocks, the lower ends of the experiments' intervals, ascending, for a true ratio of 1.
    lower_ends: Vec<(usize, Vec<f64>)>,
}

impl Power {
    /// Learns the noise from pairs of a variant with itself, one from each block. None for fewer than
    /// [`MIN_BLOCKS`] pairs, or if a value is not positive.
    ///
    /// Which of the two is called the first is chance, so each ratio also represents its inverse.
    pub fn of_pairs(pairs: &[(f64, f64)], seed: u64) -> Option<Power> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if pairs.len() < MIN_BLOCKS || pairs.iter().any(|&(one, other)| !positive(one) || !positive(other)) {
            return None;
        }
        let logs: Vec<f64> = pairs.iter().map(|(one, other)| one.ln() - other.ln()).collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || {
            let log = logs[random.random_range(0..logs.len())];
            if random.random_range(0..2u8) == 0 { log } else { -log }
        };
        let mut lower_ends = Vec::new();
        for blocks in BLOCKS {
            let (rank, _) = signed_rank(blocks)?;
            let mut experiment = || {
                let mut averages = walsh_averages(&(0..blocks).map(|_| draw()).collect::<Vec<f64>>());
                let (_, low, _) = averages.select_nth_unstable_by(rank - 1, f64::total_cmp);
                low.exp()
            };
            let lows: Vec<f64> = (0..EXPERIMENTS).map(|_| experiment()).collect();
            lower_ends.push((blocks, sorted(&lows)));
        }
        Some(Power { lower_ends })
    }

    /// The fewest blocks that show, in [`WANTED_POWER`] of all experiments, that a variant that is larger by
    /// `difference` (0.05 for 5 %) is beyond `threshold`; none if more than 100 are needed, or no number would be
    /// enough.
    pub fn blocks_for(&self, difference: f64, threshold: f64) -> Option<usize> {
        let least = (1.0 + threshold) / (1.0 + difference);
        let enough = |lows: &Vec<f64>| {
            let beyond = lows.len() - lows.partition_point(|&low| low <= least);
            beyond as f64 >= WANTED_POWER * lows.len() as f64
        };
        // From the end: the exact coverage jumps with n, so a few more blocks can show less than a few fewer.
        let sufficing = self.lower_ends.iter().rev().take_while(|(_, lows)| enough(lows));
        sufficing.last().map(|&(blocks, _)| blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs whose ratio has about this relative spread.
    fn noisy(spread: f64) -> Vec<(f64, f64)> {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        (0..40)
            .map(|_| [(); 2].map(|()| 100.0 * (1.0 + spread * random.random_range(-1.0..1.0))).into())
            .collect()
    }

    #[test]
    fn noise_of_nothing_needs_the_fewest_blocks() {
        let power = Power::of_pairs(&[(7.0, 7.0); 10], 1).expect("ten");
        assert_eq!(power.blocks_for(0.02, 0.0), Some(MIN_BLOCKS));
        assert_eq!(power.blocks_for(0.05, 0.02), Some(MIN_BLOCKS));
        assert_eq!(power.blocks_for(0.02, 0.02), None, "what is not beyond the threshold is never shown");
    }

    #[test]
    fn smaller_differences_and_more_noise_need_more_blocks() {
        let [calm, noisy, hopeless] =
            [0.01, 0.05, 0.9].map(|spread| Power::of_pairs(&noisy(spread), 1).expect("forty"));
        let blocks = |power: &Power, difference: f64| power.blocks_for(difference, 0.0).unwrap_or(usize::MAX);
        assert!(blocks(&noisy, 0.10) <= blocks(&noisy, 0.05) && blocks(&noisy, 0.05) <= blocks(&noisy, 0.02));
        assert!(blocks(&calm, 0.02) < blocks(&noisy, 0.02));
        assert_eq!(hopeless.blocks_for(0.02, 0.0), None, "and said so");
    }

    #[test]
    fn few_pairs_say_nothing() {
        assert_eq!(Power::of_pairs(&[(1.0, 1.0); 5], 1), None);
        assert_eq!(Power::of_pairs(&[(0.0, 1.0); 10], 1), None);
    }
}
