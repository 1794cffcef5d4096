//! The median and its exact interval from order statistics.
//!
//! Of n independent samples, the number that lie below the true median is binomial (n, 1/2), whatever the
//! distribution. So the k-th smallest and the k-th largest enclose the median with probability 1 - 2 P(Bin(n, 1/2) <
//! k) (David and Nagaraja, Order Statistics, 3rd ed., 7.1).

/// The coverage that an interval must reach.
pub const WANTED_COVERAGE: f64 = 0.95;

/// Fewest blocks with which an interval can reach [`WANTED_COVERAGE`]: the whole range of five
/// samples covers 93.75 %, that of six 96.875 %.
pub const MIN_BLOCKS: usize = 6;

/// An interval with the probability that it encloses what it estimates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Its coverage: exact and at least [`WANTED_COVERAGE`], except for a bootstrap, whose coverage is nominal.
    pub coverage: f64,
}

impl Interval {
    /// How far both ends are from their middle, as a ratio minus 1: 0.02 for an interval within 2 %. Infinite if an
    /// end is not positive, except for an interval without width.
    ///
    /// ```
    /// let interval = heaplab::stats::Interval { low: 100.0, high: 121.0, coverage: 0.95 };
    /// assert!((interval.half_width() - 0.1).abs() < 1e-12);
    /// ```
    pub fn half_width(&self) -> f64 {
        match self {
            _ if self.low == self.high => 0.0,
            _ if self.low > 0.0 => (self.high / self.low).sqrt() - 1.0,
            _ => f64::INFINITY,
        }
    }
}

/// The middle value, or the mean of the two middle ones; none if there are no values.
///
/// ```
/// assert_eq!(heaplab::stats::median(&[3.0, 1.0, 2.0]), Some(2.0));
/// assert_eq!(heaplab::stats::median(&[]), None);
/// ```
pub fn median(values: &[f64]) -> Option<f64> {
    median_of_sorted(&sorted(values))
}

/// The narrowest interval of two symmetric order statistics that reaches [`WANTED_COVERAGE`]; none for fewer than
/// [`MIN_BLOCKS`] values.
pub fn median_interval(values: &[f64]) -> Option<Interval> {
    let values = sorted(values);
    let (rank, coverage) = rank_of_coverage(binomial_tails(values.len()))?;
    Some(Interval { low: values[rank - 1], high: values[values.len() - rank], coverage })
}

/// The largest rank k, from 1, whose symmetric interval still reaches [`WANTED_COVERAGE`], with its coverage.
/// `tails` yields P(statistic < k) for k = 1, 2, ...
pub(super) fn rank_of_coverage(tails: impl Iterator<Item = f64>) -> Option<(usize, f64)> {
    let coverages = tails.map(|tail| 1.0 - 2.0 * tail).enumerate();
    coverages
        .take_while(|&(_, coverage)| coverage >= WANTED_COVERAGE)
        .last()
        .map(|(at, coverage)| (at + 1, coverage))
}

pub(super) fn sorted(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values
}

pub(super) fn median_of_sorted(values: &[f64]) -> Option<f64> {
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        // Halve each value first, so that the sum of two huge values does not overflow.
        _ => Some(values[middle - 1] / 2.0 + values[middle] / 2.0),
    }
}

/// P(Bin(n, 1/2) < k) for k = 1 to n. Computed in logarithms, because 2^-n underflows above n = 1,074.
fn binomial_tails(n: usize) -> impl Iterator<Item = f64> {
    let ln_terms = (0..n).scan(-(n as f64) * std::f64::consts::LN_2, move |ln_term, k| {
        let next = *ln_term + ((n - k) as f64 / (k + 1) as f64).ln();
        Some(std::mem::replace(ln_term, next))
    });
    sums(ln_terms.map(f64::exp))
}

/// The sums of the first term, of the first two, and so on.
pub(super) fn sums(terms: impl Iterator<Item = f64>) -> impl Iterator<Item = f64> {
    terms.scan(0.0, |sum, term| {
        *sum += term;
        Some(*sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Ranks and coverages computed with Python's fractions from sums of math.comb(n, i) / 2^n.
    #[test]
    fn ranks_and_coverages_are_the_known_ones() {
        let known = [
            (6, 1, 0.96875),
            (7, 1, 0.984375),
            (8, 1, 0.9921875),
            (9, 2, 0.9609375),
            (10, 2, 0.978515625),
            (20, 6, 0.958610534667969),
            (30, 10, 0.957226054742932),
            (2000, 956, 0.953447179518211),
        ];
        for (n, rank, coverage) in known {
            let values: Vec<f64> = (1..=n).map(f64::from).collect();
            let interval = median_interval(&values).expect("enough values");
            assert_eq!(interval.low, f64::from(rank), "n = {n}");
            assert_eq!(interval.high, f64::from(n + 1 - rank), "n = {n}");
            assert!((interval.coverage - coverage).abs() < 1e-9, "n = {n}: {}", interval.coverage);
        }
    }

    #[test]
    fn five_values_have_a_median_and_no_interval() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(median(&values), Some(3.0));
        assert_eq!(median_interval(&values), None);
    }

    #[test]
    fn the_median_of_huge_values_is_finite() {
        assert_eq!(median(&[f64::MAX, f64::MAX]), Some(f64::MAX));
    }

    proptest! {
        #[test]
        fn neither_order_nor_scale_of_the_values_matters(
            mut values in prop::collection::vec(1e-3f64..1e12, 1..40),
            turn in 0usize..40,
        ) {
            let before = (median(&values), median_interval(&values));
            let scaled: Vec<f64> = values.iter().map(|value| value * 4.0).collect();
            prop_assert_eq!(median(&scaled), before.0.map(|value| value * 4.0));
            if let (Some(of_scaled), Some(plain)) = (median_interval(&scaled), before.1) {
                prop_assert_eq!((of_scaled.low, of_scaled.high), (plain.low * 4.0, plain.high * 4.0));
            }
            let turn = turn % values.len();
            values.rotate_left(turn);
            values.reverse();
            prop_assert_eq!((median(&values), median_interval(&values)), before);
        }

        #[test]
        fn the_interval_encloses_the_median(values in prop::collection::vec(0f64..1e9, 6..60)) {
            let (middle, interval) = (median(&values).expect("some"), median_interval(&values).expect("enough"));
            prop_assert!(interval.low <= middle && middle <= interval.high);
            prop_assert!(interval.coverage >= WANTED_COVERAGE && interval.coverage < 1.0);
        }
    }
}
