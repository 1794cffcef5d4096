//! The mean and the percentiles of a value over time.

use super::percentile;

/// A time-weighted mean: each value holds until the next.
///
/// ```
/// use heaplab::stats::TimeWeighted;
/// let values: TimeWeighted = [(0, 100), (10, 300), (90, 0)].into_iter().collect();
/// assert_eq!(values.mean(), Some((10 * 100 + 80 * 300) / 90));
/// assert_eq!(values.mean_until(100), Some((10 * 100 + 80 * 300) / 100));
/// assert_eq!(TimeWeighted::default().mean_until(10), None);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct TimeWeighted {
    sum: u128,
    first: Option<u64>,
    last: (u64, u64),
}

impl TimeWeighted {
    /// Adds the value that holds from `time` on. Times must not decrease.
    pub fn push(&mut self, time: u64, value: u64) {
        let (since, held) = self.last;
        match self.first {
            None => self.first = Some(time),
            Some(_) => self.sum += u128::from(time.saturating_sub(since)) * u128::from(held),
        }
        self.last = (time, value);
    }

    /// The mean until the last value, which counts only if it is the only one.
    pub fn mean(&self) -> Option<u64> {
        self.mean_until(self.last.0)
    }

    /// The mean until `end`, or until the last value if that is later.
    pub fn mean_until(&self, end: u64) -> Option<u64> {
        let whole = end.max(self.last.0).saturating_sub(self.first?);
        let mut held = *self;
        held.push(end.max(self.last.0), 0);
        Some(held.sum.checked_div(u128::from(whole)).map_or(self.last.1, |mean| mean as u64))
    }
}

/// The value that is not exceeded in a fraction of the time until `end`, each value holding until the next; none if
/// there are no values. `values` are times and values, in any order.
///
/// ```
/// use heaplab::stats::percentile_over_time;
/// let values = [(0, 100), (500, 900), (515, 100), (900, 5000), (905, 100)];
/// assert_eq!(percentile_over_time(&values, 1000, 0.99), Some(900));
/// assert_eq!(percentile_over_time(&values, 1000, 1.0), Some(5000));
/// ```
pub fn percentile_over_time(values: &[(u64, u64)], end: u64, fraction: f64) -> Option<u64> {
    let mut values = values.to_vec();
    values.sort_by_key(|(time, _)| *time);
    let last = values.last()?.0;
    let largest = values.iter().map(|(_, value)| *value).max();
    let nexts = values.iter().skip(1).map(|(time, _)| *time).chain([end.max(last)]);
    let mut held: Vec<(u64, u64)> =
        values.iter().zip(nexts).map(|((time, value), next)| (*value, next - time)).collect();
    held.sort_unstable();
    // Values that take no time cannot be weighted by it.
    percentile(&held, fraction).or(largest)
}

/// The mean from one time to another of a figure given as (time, value from then on) in order of time; the value at
/// `from` if no time passes. None before the first point.
///
/// ```
/// use heaplab::stats::mean_between;
/// let points = [(0, 100), (10, 300), (90, 0)];
/// assert_eq!(mean_between(&points, 5, 15), Some((5 * 100 + 5 * 300) / 10));
/// assert_eq!(mean_between(&points, 20, 20), Some(300));
/// assert_eq!(mean_between(&points[1..], 0, 5), None);
/// ```
pub fn mean_between(points: &[(u64, u64)], from: u64, to: u64) -> Option<u64> {
    let next = points.partition_point(|&(time, _)| time <= from);
    let held = points[next.checked_sub(1)?].1;
    let within = points[next..].iter().take_while(|&&(time, _)| time < to);
    let weighted: TimeWeighted = std::iter::once((from, held)).chain(within.copied()).collect();
    weighted.mean_until(to)
}

impl FromIterator<(u64, u64)> for TimeWeighted {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(values: I) -> TimeWeighted {
        let mut weighted = TimeWeighted::default();
        values.into_iter().for_each(|(time, value)| weighted.push(time, value));
        weighted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn values_that_take_no_time_have_the_last_ones_mean() {
        let mean = |values: &[(u64, u64)]| values.iter().copied().collect::<TimeWeighted>();
        assert_eq!(mean(&[(0, 100), (10, 300), (90, 0)]).mean_until(80), Some((10 * 100 + 80 * 300) / 90));
        assert_eq!(mean(&[(0, 100)]).mean_until(100), Some(100));
        assert_eq!(mean(&[(0, 7)]).mean(), Some(7));
        assert_eq!(mean(&[(5, 3), (5, 9)]).mean(), Some(9));
        assert_eq!(mean(&[(u64::MAX - 1, u64::MAX), (u64::MAX, 0)]).mean(), Some(u64::MAX));
    }

    fn percentile_of(points: &[(u64, u64)], end: u64) -> Option<u64> {
        percentile_over_time(points, end, 0.99)
    }

    #[test]
    fn a_percentile_is_weighted_by_time() {
        // 100 for 980 of 1000, 900 for 15, 5000 for 5.
        let points = [(0, 100), (500, 900), (515, 100), (900, 5000), (905, 100)];
        assert_eq!(percentile_of(&points, 1000), Some(900));
        let spike = [(0, 100), (900, 5000), (905, 100)];
        assert_eq!(percentile_of(&spike, 1000), Some(100));
        assert_eq!(percentile_of(&[(0, 1), (10, 7)], 1000), Some(7), "the last holds to the end");
        assert_eq!(percentile_of(&[(5, 3), (5, 9), (5, 4)], 5), Some(9), "no time goes by");
        assert_eq!(percentile_of(&[], 9), None);
    }

    proptest! {
        #[test]
        fn it_is_exceeded_for_a_hundredth_of_the_time_at_most(
            points in prop::collection::vec((0u64..10_000, 0u64..1000), 1..60),
            more in 1u64..5000,
        ) {
            let end = points.iter().map(|point| point.0).max().unwrap_or(0) + more;
            let found = percentile_of(&points, end).expect("a point");
            let mut sorted = points.clone();
            sorted.sort_by_key(|point| point.0);
            let nexts: Vec<u64> = sorted.iter().skip(1).map(|next| next.0).chain([end]).collect();
            let above: u64 =
                sorted.iter().zip(&nexts).filter(|(point, _)| point.1 > found).map(|(point, next)| next - point.0).sum();
            let all = end - sorted[0].0;
            prop_assert!(above * 100 <= all, "{above} of {all}");
            prop_assert!(points.iter().any(|point| point.1 == found));
        }
    }
}
