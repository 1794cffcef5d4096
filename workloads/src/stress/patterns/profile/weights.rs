//! Weighted draws from a table whose weights change: a binary indexed tree of sums (Fenwick).
//!
//! PERF: a draw and a change take about ten steps in a table of a thousand rows. Whole numbers, because sums
//! of fractions would drift.

/// Weights by index.
#[derive(Debug)]
pub(super) struct Weights {
    weights: Vec<u128>,
    /// At index i, the sum of the weights from i - lowbit(i) to i - 1; index 0 is not used.
    sums: Vec<u128>,
    total: u128,
}

impl Weights {
    /// A table with these weights.
    pub(super) fn new(weights: Vec<u128>) -> Weights {
        let mut empty =
            Weights { weights: vec![0; weights.len()], sums: vec![0; weights.len() + 1], total: 0 };
        for (index, weight) in weights.into_iter().enumerate() {
            empty.set(index, weight);
        }
        empty
    }

    /// Their sum.
    pub(super) fn total(&self) -> u128 {
        self.total
    }

    /// Changes one weight.
    pub(super) fn set(&mut self, index: usize, weight: u128) {
        let before = std::mem::replace(&mut self.weights[index], weight);
        self.total = self.total - before + weight;
        let mut place = index + 1;
        while place < self.sums.len() {
            self.sums[place] = self.sums[place] - before + weight;
            place += place & place.wrapping_neg();
        }
    }

    /// The index at which `drawn`, below the total, falls when the weights are laid end to end.
    pub(super) fn find(&self, mut drawn: u128) -> usize {
        let mut place = 0;
        let mut step = self.weights.len().checked_ilog2().map_or(0, |bits| 1usize << bits);
        while step > 0 {
            if let Some(sum) = self.sums.get(place + step).filter(|sum| **sum <= drawn) {
                drawn -= sum;
                place += step;
            }
            step /= 2;
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn draws_fall_where_the_weights_lie(
            weights in prop::collection::vec(0u128..50, 1..40),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0u128..50), 0..20),
        ) {
            let mut tree = Weights::new(weights.clone());
            let mut plain = weights;
            for (index, weight) in changes {
                let index = index.index(plain.len());
                plain[index] = weight;
                tree.set(index, weight);
            }
            prop_assert_eq!(tree.total(), plain.iter().sum::<u128>());
            let expected = plain.iter().enumerate().flat_map(|(index, weight)| vec![index; *weight as usize]);
            for (drawn, index) in expected.enumerate() {
                prop_assert_eq!(tree.find(drawn as u128), index);
            }
        }
    }
}
