//! The ratio of a variant to the baseline, within blocks.
//!
//! Both were measured in every block, minutes apart at most, so that drift of the machine affects both and cancels
//! in the block's ratio. The estimate is Hodges and Lehmann's on the logarithms d of the n ratios: the median of
//! all averages (d_i + d_j) / 2, i <= j, with the interval that inverts Wilcoxon's signed-rank test, exact from
//! that statistic's distribution (Hollander, Wolfe and Chicken, Nonparametric Statistical Methods, 3rd ed., 3.2
//! and 3.3). It assumes that log ratios are symmetric about their median; ties make it cover more, never less.

use std::sync::OnceLock;

use super::median::{
    Interval, MIN_BLOCKS, median_interval, median_of_sorted, rank_of_coverage, sorted, sums,
};

/// Up to this many blocks, the estimate is Hodges and Lehmann's; above, it is the median of the ratios with its
/// order-statistic interval, which at that number is as narrow for every use here. PERF: the exact distribution
/// costs n^3 / 2 steps, 0.5 ms at 100, once per process.
const MOST_BLOCKS_OF_WALSH: usize = 100;

/// A variant's ratio to the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Estimate: if it is above 1, the variant's value is larger.
    pub estimate: f64,
    /// Its interval; none for fewer than [`MIN_BLOCKS`] blocks.
    pub interval: Option<Interval>,
    /// Blocks in which both were measured.
    pub blocks: usize,
}

/// The ratio of pairs (variant's value, baseline's value), one from each block.
///
/// None if there are no pairs, or a value is not positive: zero has no ratio, and leaving out such blocks would
/// favour one side.
pub fn paired_ratio(pairs: &[(f64, f64)]) -> Option<Ratio> {
    let positive = |value: f64| value.is_finite() && value > 0.0;
    if pairs.is_empty() || pairs.iter().any(|&(value, base)| !positive(value) || !positive(base)) {
        return None;
    }
    let logs: Vec<f64> = pairs.iter().map(|(value, base)| value.ln() - base.ln()).collect();
    let (estimate, interval) = if logs.len() <= MOST_BLOCKS_OF_WALSH {
        hodges_lehmann(&logs)?
    } else {
        (median_of_sorted(&sorted(&logs))?, median_interval(&logs))
    };
    let interval = interval.map(|of_logs| Interval {
        low: of_logs.low.exp(),
        high: of_logs.high.exp(),
        coverage: of_logs.coverage,
    });
    Some(Ratio { estimate: estimate.exp(), interval, blocks: pairs.len() })
}

fn hodges_lehmann(differences: &[f64]) -> Option<(f64, Option<Interval>)> {
    let mut averages = walsh_averages(differences);
    averages.sort_by(f64::total_cmp);
    let estimate = median_of_sorted(&averages)?;
    if differences.len() < MIN_BLOCKS {
        return Some((estimate, None));
    }
    let interval = signed_rank(differences.len()).map(|(rank, coverage)| Interval {
        low: averages[rank - 1],
        high: averages[averages.len() - rank],
        coverage,
    });
    Some((estimate, interval))
}

/// The averages of every two differences, and of each with itself, in no particular order.
pub(super) fn walsh_averages(differences: &[f64]) -> Vec<f64> {
    let mut averages = Vec::with_capacity(differences.len() * (differences.len() + 1) / 2);
    for (at, first) in differences.iter().enumerate() {
        averages.extend(differences[at..].iter().map(|second| (first + second) / 2.0));
    }
    averages
}

/// Which of the sorted averages of `n` differences, counted from either side, ends the interval, and its coverage.
/// None for fewer than [`MIN_BLOCKS`] or more than [`MOST_BLOCKS_OF_WALSH`].
pub(super) fn signed_rank(n: usize) -> Option<(usize, f64)> {
    static RANKS: [OnceLock<Option<(usize, f64)>>; MOST_BLOCKS_OF_WALSH + 1] =
        [const { OnceLock::new() }; MOST_BLOCKS_OF_WALSH + 1];
    *RANKS.get(n)?.get_or_init(|| rank_of_coverage(signed_rank_tails(n)))
}

/// P(T+ < k) for k = 1 to n(n+1)/2 of Wilcoxon's signed-rank statistic: each of the ranks 1 to n
/// counts with probability 1/2, so the distribution is the product of (1 + x^rank) / 2.
fn signed_rank_tails(n: usize) -> impl Iterator<Item = f64> {
    let most = n * (n + 1) / 2;
    let mut probability = vec![0.0; most + 1];
    probability[0] = 1.0;
    for rank in 1..=n {
        for sum in (0..=most).rev() {
            let with_rank = if sum >= rank { probability[sum - rank] } else { 0.0 };
            probability[sum] = (probability[sum] + with_rank) / 2.0;
        }
    }
    sums(probability.into_iter().take(most))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Computed with Python's fractions by the same product; the ranks are those of the published tables (n = 10:
    /// T = 8 at 5 % two-sided, so the interval's rank is 9).
    #[test]
    fn ranks_and_coverages_are_the_known_ones() {
        let known = [
            (6, 1, 0.96875),
            (7, 3, 0.953125),
            (8, 4, 0.9609375),
            (10, 9, 0.951171875),
            (20, 53, 0.951559066772461),
            (30, 138, 0.950289878994227),
        ];
        for (n, rank, coverage) in known {
            let (found_rank, found) = rank_of_coverage(signed_rank_tails(n)).expect("reached");
            assert_eq!(found_rank, rank, "n = {n}");
            assert!((found - coverage).abs() < 1e-12, "n = {n}: {found}");
        }
    }

    #[test]
    fn the_estimate_is_the_median_of_the_walsh_averages() {
        // Averages of 1, 2, 6: 1, 1.5, 3.5, 2, 4, 6; their median is (2 + 3.5) / 2.
        let (estimate, interval) = hodges_lehmann(&[1.0, 2.0, 6.0]).expect("some");
        assert_eq!((estimate, interval), (2.75, None));
    }

    #[test]
    fn equal_factors_in_every_block_are_found_through_any_drift() {
        let pairs: Vec<(f64, f64)> =
            (1..=10).map(|drift| (f64::from(drift) * 3.0, f64::from(drift) * 2.0)).collect();
        let ratio = paired_ratio(&pairs).expect("positive");
        let interval = ratio.interval.expect("ten blocks");
        for value in [ratio.estimate, interval.low, interval.high] {
            assert!((value - 1.5).abs() < 1e-12);
        }
    }

    #[test]
    fn zero_and_no_pairs_have_no_ratio() {
        assert_eq!(paired_ratio(&[]), None);
        assert_eq!(paired_ratio(&[(1.0, 2.0), (0.0, 2.0)]), None);
        assert_eq!(paired_ratio(&[(1.0, 0.0)]), None);
        assert_eq!(paired_ratio(&[(f64::NAN, 1.0)]), None);
    }

    proptest! {
        #[test]
        fn order_scale_and_direction_hold(
            pairs in prop::collection::vec((1e-3f64..1e9, 1e-3f64..1e9), 1..130),
            turn in 0usize..130,
        ) {
            let near = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
            let ratio = paired_ratio(&pairs).expect("positive");
            let mut turned = pairs.clone();
            turned.rotate_left(turn % pairs.len());
            prop_assert!(near(paired_ratio(&turned).expect("positive").estimate, ratio.estimate));

            let scaled: Vec<(f64, f64)> = pairs.iter().map(|&(a, b)| (a * 7.0, b * 7.0)).collect();
            prop_assert!(near(paired_ratio(&scaled).expect("positive").estimate, ratio.estimate));

            let swapped: Vec<(f64, f64)> = pairs.iter().map(|&(a, b)| (b, a)).collect();
            let inverse = paired_ratio(&swapped).expect("positive");
            prop_assert!(near(inverse.estimate * ratio.estimate, 1.0));
            if let (Some(there), Some(back)) = (ratio.interval, inverse.interval) {
                prop_assert!(near(there.low * back.high, 1.0) && near(there.high * back.low, 1.0));
                prop_assert!(there.low <= ratio.estimate && ratio.estimate <= there.high);
            }
        }
    }
}
