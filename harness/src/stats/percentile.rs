//! Percentiles of a histogram.

/// The smallest bucket's value at or below which at least `fraction` of all calls lie; none for an
/// empty histogram. `buckets` are (upper end, count) in ascending order of the end.
///
/// ```
/// let buckets = [(10, 98), (20, 1), (500, 1)];
/// assert_eq!(heaplab::stats::percentile(&buckets, 0.50), Some(10));
/// assert_eq!(heaplab::stats::percentile(&buckets, 0.99), Some(20));
/// assert_eq!(heaplab::stats::percentile(&buckets, 1.0), Some(500));
/// ```
pub fn percentile(buckets: &[(u64, u64)], fraction: f64) -> Option<u64> {
    let total: u128 = buckets.iter().map(|&(_, count)| u128::from(count)).sum();
    if total == 0 {
        return None;
    }
    let rank = (fraction.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u128;
    let mut below = 0u128;
    let reached = buckets.iter().filter(|bucket| bucket.1 > 0).find(|bucket| {
        below += u128::from(bucket.1);
        below >= rank
    });
    let last = || buckets.iter().rfind(|bucket| bucket.1 > 0);
    reached.or_else(last).map(|bucket| bucket.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts_near_the_limit_do_not_overflow() {
        assert_eq!(percentile(&[(1, u64::MAX), (2, u64::MAX)], 1.0), Some(2));
        assert_eq!(percentile(&[(1, u64::MAX), (2, u64::MAX)], 0.25), Some(1));
    }

    #[test]
    fn an_empty_histogram_has_none() {
        assert_eq!(percentile(&[], 0.5), None);
        assert_eq!(percentile(&[(5, 0)], 0.5), None);
    }

    proptest! {
        /// The definition itself, counted over the calls one by one.
        #[test]
        fn it_is_the_rank_in_the_sorted_calls(counts in prop::collection::vec(0u64..20, 1..30), fraction in 0f64..=1.0) {
            let buckets: Vec<(u64, u64)> = counts.iter().enumerate().map(|(at, &n)| (at as u64 * 3, n)).collect();
            let calls: Vec<u64> = buckets.iter().flat_map(|&(value, n)| (0..n).map(move |_| value)).collect();
            let rank = ((fraction * calls.len() as f64).ceil() as usize).max(1);
            prop_assert_eq!(percentile(&buckets, fraction), calls.get(rank - 1).copied());
        }
    }
}
