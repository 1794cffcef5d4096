//! Two runs that share no block: the same variant last week and today.
//!
//! Nothing pairs their samples, so drift of the machine between them does not cancel: the interval covers the noise
//! within each run. The estimate is Hodges and Lehmann's estimate of shift on logarithms, the median of all
//! differences, with the interval that inverts the Mann–Whitney test, exact from the distribution of its statistic
//! (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd ed., 4.1 to 4.3). Ties make the interval
//! cover more, never less. The probability of the test itself is exact even with ties: it counts every way in which
//! the ranks, including shared ones, can fall to the two runs.

use super::median::{Interval, MIN_BLOCKS, rank_of_coverage, sorted, sums};
use super::normal::normal_below;
use super::signed_rank::Ratio;

/// Up to this many pairs of one sample from each run, the distribution is exact; above, normal. PERF: it costs the
/// square of this: 6 million steps, 10 ms.
const MOST_EXACT_PAIRS: usize = 2500;
/// Up to this many samples of both runs together, the probability is exact; above, normal with the correction for
/// ties.
const MOST_EXACT_SAMPLES: usize = 50;

/// The ratio of `new` to `old`, two sets of samples without pairs.
///
/// The interval is none if either set has fewer than [`MIN_BLOCKS`] samples. The result is none if either has no
/// samples, or a value is not positive. `blocks` of the result is the number of samples in the smaller set.
///
/// ```
/// let old = [10.0, 11.0, 10.5, 10.2, 10.8, 10.4];
/// let new = old.map(|value| value * 2.0);
/// let ratio = heaplab::stats::separate_ratio(&new, &old).expect("positive");
/// assert!((ratio.estimate - 2.0).abs() < 1e-9);
/// ```
pub fn separate_ratio(new: &[f64], old: &[f64]) -> Option<Ratio> {
    let positive = |values: &[f64]| !values.is_empty() && values.iter().all(|&v| v.is_finite() && v > 0.0);
    if !positive(new) || !positive(old) {
        return None;
    }
    let logs = |values: &[f64]| sorted(&values.iter().map(|value| value.ln()).collect::<Vec<f64>>());
    let differences = Differences { of: logs(new), from: logs(old) };
    let pairs = differences.count();
    let (lower, upper) = (differences.at(pairs.div_ceil(2)), differences.at(pairs / 2 + 1));
    let blocks = new.len().min(old.len());
    let interval = (blocks >= MIN_BLOCKS)
        .then(|| rank_of_coverage(rank_sum_tails(new.len(), old.len())))
        .flatten()
        .map(|(rank, coverage)| Interval {
            low: differences.at(rank).exp(),
            high: differences.at(pairs + 1 - rank).exp(),
            coverage,
        });
    Some(Ratio { estimate: f64::midpoint(lower, upper).exp(), interval, blocks })
}

/// The two-sided probability that two sets of samples from one distribution are at least as far apart by ranks as
/// these are; none if either has no samples, or a sample is not a number.
///
/// ```
/// let p = heaplab::stats::mann_whitney(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).expect("samples");
/// assert!((p - 0.1).abs() < 1e-12);
/// ```
pub fn mann_whitney(one: &[f64], other: &[f64]) -> Option<f64> {
    if one.is_empty() || other.is_empty() || one.iter().chain(other).any(|value| value.is_nan()) {
        return None;
    }
    let ranks = doubled_ranks(one, other);
    let exact = ranks.len() <= MOST_EXACT_SAMPLES;
    Some(if exact { exact_probability(&ranks, one.len()) } else { normal_probability(&ranks, one.len()) })
}

/// All differences of a member of one sorted list from a member of another, without computing them all.
struct Differences {
    of: Vec<f64>,
    from: Vec<f64>,
}

impl Differences {
    fn count(&self) -> usize {
        self.of.len() * self.from.len()
    }

    /// How many do not exceed `limit`. A difference grows along one list and shrinks along the other, so one walk
    /// along both counts them.
    fn not_above(&self, limit: f64) -> usize {
        let (mut count, mut least) = (0, 0);
        for of in &self.of {
            while least < self.from.len() && of - self.from[least] > limit {
                least += 1;
            }
            count += self.from.len() - least;
        }
        count
    }

    /// The difference with this rank, from 1: the smallest number that this many do not exceed, by bisection over
    /// the numbers.
    fn at(&self, rank: usize) -> f64 {
        let (first, last) = (self.of[0], self.of[self.of.len() - 1]);
        let low = ordered_bits(first - self.from[self.from.len() - 1]);
        let high = ordered_bits(last - self.from[0]);
        let (mut low, mut high) = (low, high);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.not_above(of_ordered_bits(middle)) >= rank { high = middle } else { low = middle + 1 }
        }
        of_ordered_bits(low)
    }
}

/// A number's bits, transformed so that they increase with the number.
fn ordered_bits(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

fn of_ordered_bits(bits: u64) -> f64 {
    f64::from_bits(if bits >> 63 == 1 { bits & !(1 << 63) } else { !bits })
}

/// P(U < k) for k = 1, 2, ... of the Mann–Whitney statistic for m and n samples without ties.
fn rank_sum_tails(m: usize, n: usize) -> Box<dyn Iterator<Item = f64>> {
    let pairs = m * n;
    if pairs > MOST_EXACT_PAIRS {
        let mean = pairs as f64 / 2.0;
        let deviation = (pairs as f64 * (m + n + 1) as f64 / 12.0).sqrt();
        return Box::new((1..=pairs).map(move |k| normal_below((k as f64 - 0.5 - mean) / deviation)));
    }
    // Of i samples of one run and j of the other, the largest is from the first with probability i / (i + j), from
    // the second with j / (i + j): it adds j to the statistic, or nothing. One row for each j, recomputed for each
    // i.
    let mut rows: Vec<Vec<f64>> = vec![vec![1.0]; n + 1];
    for i in 1..=m {
        for j in 0..=n {
            let mut row = vec![0.0; i * j + 1];
            let (of_one, of_other) = (i as f64 / (i + j) as f64, j as f64 / (i + j) as f64);
            for (u, chance) in rows[j].iter().enumerate() {
                row[u + j] += chance * of_one;
            }
            if j > 0 {
                for (u, chance) in rows[j - 1].iter().enumerate() {
                    row[u] += chance * of_other;
                }
            }
            rows[j] = row;
        }
    }
    let chances = rows.swap_remove(n);
    Box::new(sums(chances.into_iter().take(pairs)))
}

/// Twice the rank of each sample among all, those of `one` first; equal samples share the mean of their ranks.
fn doubled_ranks(one: &[f64], other: &[f64]) -> Vec<usize> {
    let all: Vec<f64> = one.iter().chain(other).copied().collect();
    let in_order = sorted(&all);
    let below = |value: f64| in_order.partition_point(|&of| of < value);
    let not_above = |value: f64| in_order.partition_point(|&of| of <= value);
    all.iter().map(|&value| below(value) + not_above(value) + 1).collect()
}

/// Counts, among all ways to choose `m` of the ranks, those whose sum is as far from the mean as that of the first
/// `m`.
fn exact_probability(ranks: &[usize], m: usize) -> f64 {
    let seen: usize = ranks[..m].iter().sum();
    let most: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0; most + 1]; m + 1];
    ways[0][0] = 1.0;
    for (at, &rank) in ranks.iter().enumerate() {
        for chosen in (1..=m.min(at + 1)).rev() {
            let (before, after) = ways.split_at_mut(chosen);
            for (sum, way) in before[chosen - 1][..=most - rank].iter().enumerate() {
                after[0][sum + rank] += way;
            }
        }
    }
    let all: f64 = ways[m].iter().sum();
    let below: f64 = ways[m][..=seen].iter().sum();
    let above: f64 = ways[m][seen..].iter().sum();
    (2.0 * below.min(above) / all).min(1.0)
}

/// The same with the normal distribution, corrected for ties and for continuity.
fn normal_probability(ranks: &[usize], m: usize) -> f64 {
    let (m, all) = (m as f64, ranks.len() as f64);
    let n = all - m;
    let sum: f64 = ranks[..m as usize].iter().map(|&rank| rank as f64 / 2.0).sum();
    let u = sum - m * (m + 1.0) / 2.0;
    let in_order = sorted(&ranks.iter().map(|&rank| rank as f64).collect::<Vec<f64>>());
    let ties: f64 = in_order
        .chunk_by(|a, b| a == b)
        .map(|equal| equal.len() as f64)
        .map(|equal| equal * (equal * equal - 1.0))
        .sum();
    let variance = m * n / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    if variance <= 0.0 {
        return 1.0;
    }
    let distance = (u - m * n / 2.0).abs() - 0.5;
    (2.0 * normal_below(-distance / variance.sqrt())).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::median;
    use proptest::prelude::*;

    /// Critical values of the published tables: the largest U whose two-sided probability is at most 5 %; the
    /// interval's rank is one more.
    #[test]
    fn ranks_are_those_of_the_published_tables() {
        for (m, n, rank) in [(6, 6, 6), (6, 10, 12), (8, 8, 14), (10, 10, 24), (15, 15, 65), (20, 20, 128)] {
            let (found, coverage) = rank_of_coverage(rank_sum_tails(m, n)).expect("reached");
            assert_eq!(found, rank, "{m} and {n}");
            assert!((0.95..0.97).contains(&coverage), "{m} and {n}: {coverage}");
        }
    }

    #[test]
    fn above_the_exact_limit_the_distribution_goes_on_without_a_step() {
        let (rank, _) = rank_of_coverage(rank_sum_tails(50, 50)).expect("reached");
        let (above, _) = rank_of_coverage(rank_sum_tails(50, 51)).expect("reached");
        assert!((rank..rank + 60).contains(&above), "{rank} and {above}");
    }

    #[test]
    fn few_samples_have_an_estimate_and_no_interval() {
        let ratio = separate_ratio(&[2.0; 5], &[1.0; 50]).expect("positive");
        assert_eq!((ratio.interval, ratio.blocks), (None, 5));
        assert!((ratio.estimate - 2.0).abs() < 1e-12);
        assert_eq!(separate_ratio(&[], &[1.0]), None);
        assert_eq!(separate_ratio(&[1.0, 0.0], &[1.0]), None);
        assert_eq!(separate_ratio(&[1.0], &[f64::INFINITY]), None);
    }

    #[test]
    fn samples_that_are_all_equal_are_not_told_apart() {
        assert_eq!(mann_whitney(&[3.0; 10], &[3.0; 10]), Some(1.0));
        assert_eq!(mann_whitney(&[3.0; 60], &[3.0; 60]), Some(1.0));
        assert_eq!(mann_whitney(&[], &[1.0]), None);
        assert_eq!(mann_whitney(&[f64::NAN], &[1.0]), None);
    }

    proptest! {
        #[test]
        fn a_rank_finds_the_difference_that_sorting_finds(
            of in prop::collection::vec(-1e3f64..1e3, 1..20),
            from in prop::collection::vec(-1e3f64..1e3, 1..20),
            part in 0f64..1.0,
        ) {
            let all: Vec<f64> = of.iter().flat_map(|of| from.iter().map(move |from| of - from)).collect();
            let all = sorted(&all);
            let rank = 1 + (part * all.len() as f64) as usize;
            let differences = Differences { of: sorted(&of), from: sorted(&from) };
            prop_assert_eq!(differences.at(rank.min(all.len())), all[rank.min(all.len()) - 1]);
        }

        #[test]
        fn order_scale_and_direction_hold(
            new in prop::collection::vec(1e-3f64..1e6, 1..60),
            old in prop::collection::vec(1e-3f64..1e6, 1..60),
        ) {
            let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
            let ratio = separate_ratio(&new, &old).expect("positive");
            let back = separate_ratio(&old, &new).expect("positive");
            prop_assert!(near(ratio.estimate * back.estimate, 1.0));
            let turned: Vec<f64> = new.iter().rev().map(|value| value * 7.0).collect();
            let larger = separate_ratio(&turned, &old).expect("positive");
            prop_assert!(near(larger.estimate / ratio.estimate, 7.0));
            if let (Some(there), Some(back)) = (ratio.interval, back.interval) {
                prop_assert!(near(there.low * back.high, 1.0) && near(there.high * back.low, 1.0));
                prop_assert!(there.low <= ratio.estimate && ratio.estimate <= there.high);
                prop_assert!(there.coverage >= super::super::WANTED_COVERAGE);
            }
            let p = (mann_whitney(&new, &old), mann_whitney(&old, &new));
            prop_assert!(near(p.0.expect("samples"), p.1.expect("samples")));
        }

        /// The test and its inversion agree: without ties, the probability is at most 5 % if 1 is outside.
        #[test]
        fn the_interval_holds_one_where_the_test_sees_nothing(
            new in prop::collection::hash_set(1u32..5000, 6..20),
            old in prop::collection::hash_set(5001u32..10_000, 6..20),
            shift in 0.2f64..2.0,
        ) {
            let old: Vec<f64> = old.into_iter().map(f64::from).collect();
            let new: Vec<f64> = new.into_iter().map(|value| f64::from(value) * shift * 2.0 + 0.5).collect();
            prop_assume!(median(&new) != median(&old));
            let interval = separate_ratio(&new, &old).and_then(|ratio| ratio.interval).expect("enough");
            let outside = interval.low > 1.0 || interval.high < 1.0;
            let ties = new.iter().any(|value| old.contains(value));
            if !ties {
                prop_assert_eq!(outside, mann_whitney(&new, &old).expect("samples") <= 0.05);
            }
        }
    }
}
