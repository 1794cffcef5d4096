//! Which member to test next, in a list whose first is good and whose last is worse: halving, around those that cannot
//! be tested.

/// What is known about a list. Its members are numbered from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// The last one known to be good.
    good: usize,
    /// The first one known to be worse.
    worse: usize,
    skipped: Vec<usize>,
}

impl Search {
    /// A list of this many, the first of which is good and the last worse.
    pub(super) fn new(count: usize) -> Search {
        Search { good: 0, worse: count - 1, skipped: Vec::new() }
    }

    /// The one to test next, as near to the middle as can be tested; none if nothing remains.
    pub(super) fn next(&self) -> Option<usize> {
        let open = (self.good + 1..self.worse).filter(|at| !self.skipped.contains(at));
        let middle = (self.good + self.worse) / 2;
        open.min_by_key(|at| at.abs_diff(middle))
    }

    /// Records what a test of `at` showed.
    pub(super) fn learn(&mut self, at: usize, is_worse: bool) {
        if is_worse {
            self.worse = at;
        } else {
            self.good = at;
        }
    }

    /// Records that `at` cannot be tested.
    pub(super) fn skip(&mut self, at: usize) {
        self.skipped.push(at);
    }

    /// Those among which the first worse one is: a single one, unless one that matters was skipped.
    pub(super) fn suspects(&self) -> std::ops::RangeInclusive<usize> {
        self.good + 1..=self.worse
    }

    /// The most tests that a list of this many takes if none is skipped.
    pub(super) fn most_tests(count: usize) -> u32 {
        (count.saturating_sub(1).max(1) as u64).next_power_of_two().trailing_zeros()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_first_worse_one_is_found_in_the_stated_tests(count in 2usize..200, share in 0.0f64..1.0) {
            let first = 1 + ((count - 2) as f64 * share) as usize;
            let mut search = Search::new(count);
            let mut tests = 0;
            while let Some(at) = search.next() {
                search.learn(at, at >= first);
                tests += 1;
            }
            prop_assert_eq!(search.suspects(), first..=first);
            prop_assert!(tests <= Search::most_tests(count), "{} tests of {}", tests, count);
        }

        #[test]
        fn what_cannot_be_tested_stays_a_suspect(
            count in 3usize..60,
            share in 0.0f64..1.0,
            skipped in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let first = 1 + ((count - 2) as f64 * share) as usize;
            let mut search = Search::new(count);
            while let Some(at) = search.next() {
                if skipped[at] { search.skip(at) } else { search.learn(at, at >= first) }
            }
            prop_assert!(search.suspects().contains(&first));
            // All suspects except the last, which was tested, were skipped.
            prop_assert!(search.suspects().rev().skip(1).all(|at| skipped[at]));
        }
    }
}
