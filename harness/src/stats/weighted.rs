//! The mean of a value over time.

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
    /// Adds what the value is from `time` on. Times rise.
    pub fn push(&mut self, time: u64, value: u64) {
        let (since, held) = self.last;
        match self.first {
            None => self.first = Some(time),
            Some(_) => self.sum += u128::from(time.saturating_sub(since)) * u128::from(held),
        }
        self.last = (time, value);
    }

    /// The mean until the last value, which counts only where it is alone.
    pub fn mean(&self) -> Option<u64> {
        self.mean_until(self.last.0)
    }

    /// The mean until `end`, or until the last value where that is later.
    pub fn mean_until(&self, end: u64) -> Option<u64> {
        let whole = end.max(self.last.0).saturating_sub(self.first?);
        let mut held = *self;
        held.push(end.max(self.last.0), 0);
        Some(held.sum.checked_div(u128::from(whole)).map_or(self.last.1, |mean| mean as u64))
    }
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

    #[test]
    fn values_that_take_no_time_have_the_last_ones_mean() {
        let mean = |values: &[(u64, u64)]| values.iter().copied().collect::<TimeWeighted>();
        assert_eq!(mean(&[(0, 100), (10, 300), (90, 0)]).mean_until(80), Some((10 * 100 + 80 * 300) / 90));
        assert_eq!(mean(&[(0, 100)]).mean_until(100), Some(100));
        assert_eq!(mean(&[(0, 7)]).mean(), Some(7));
        assert_eq!(mean(&[(5, 3), (5, 9)]).mean(), Some(9));
        assert_eq!(mean(&[(u64::MAX - 1, u64::MAX), (u64::MAX, 0)]).mean(), Some(u64::MAX));
    }
}
