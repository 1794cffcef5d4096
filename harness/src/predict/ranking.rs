//! Two orders of the variants, by prediction and by reality.

/// A variant's place in both.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    /// The predicted figure.
    pub predicted: f64,
    /// Median of the real samples.
    pub real: f64,
    /// Smallest and largest of the real samples.
    pub range: (f64, f64),
}

/// How well they agree.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// Kendall's tau-a: 1 for the same order, -1 for the opposite.
    pub tau: f64,
    /// Pairs that really differ: by more than [`CLEAR_DIFFERENCE`], and their samples do not overlap.
    pub clear_pairs: usize,
    /// Those of them that the prediction orders correctly.
    pub right_pairs: usize,
}

/// A real difference above this fraction must be predicted in the right order.
pub const CLEAR_DIFFERENCE: f64 = 0.10;

/// Compares the order by prediction with that by reality; none for fewer than two variants.
#[must_use]
pub fn rank(standings: &[Standing]) -> Option<Ranking> {
    let (mut concordant, mut all, mut clear_pairs, mut right_pairs) = (0.0, 0.0, 0, 0);
    for (at, one) in standings.iter().enumerate() {
        for other in &standings[at + 1..] {
            let agrees = (one.predicted - other.predicted) * (one.real - other.real);
            all += 1.0;
            concordant += if agrees == 0.0 { 0.0 } else { agrees.signum() };
            if really_differ(one, other) {
                clear_pairs += 1;
                right_pairs += usize::from(agrees > 0.0);
            }
        }
    }
    (all > 0.0).then(|| Ranking { tau: concordant / all, clear_pairs, right_pairs })
}

/// A difference between two medians whose samples overlap may be chance.
fn really_differ(one: &Standing, other: &Standing) -> bool {
    let apart = one.range.1 < other.range.0 || other.range.1 < one.range.0;
    apart && (one.real - other.real).abs() > CLEAR_DIFFERENCE * one.real.min(other.real)
}

/// One in how many pairs of equal variants chance separates, with this many samples of each: of all orders of 2n
/// samples, two keep them apart.
#[must_use]
pub fn chance_apart(samples: usize) -> f64 {
    (1..=samples).map(|k| (samples + k) as f64 / k as f64).product::<f64>() / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standings(pairs: &[(f64, f64)], spread: f64) -> Vec<Standing> {
        let place = |&(predicted, real)| Standing { predicted, real, range: (real - spread, real + spread) };
        pairs.iter().map(place).collect()
    }

    #[test]
    fn kendalls_tau_of_known_orders() {
        let tau = |pairs: &[(f64, f64)]| rank(&standings(pairs, 0.0)).expect("pairs").tau;
        assert_eq!(tau(&[(1.0, 10.0), (2.0, 20.0), (3.0, 30.0)]), 1.0);
        assert_eq!(tau(&[(3.0, 10.0), (2.0, 20.0), (1.0, 30.0)]), -1.0);
        assert!((tau(&[(1.0, 10.0), (3.0, 20.0), (2.0, 30.0)]) - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(rank(&standings(&[(1.0, 1.0)], 0.0)), None);
    }

    #[test]
    fn chance_sets_few_samples_apart() {
        assert_eq!([1, 2, 3, 5].map(|samples| chance_apart(samples).round()), [1.0, 3.0, 10.0, 126.0]);
        assert_eq!(chance_apart(0), 0.5, "no sample");
    }

    #[test]
    fn only_clear_differences_must_be_right() {
        // 100 and 105 are not clearly different, 100 and 120 are.
        let pairs = [(2.0, 100.0), (1.0, 105.0), (3.0, 120.0)];
        let clear = |spread| {
            rank(&standings(&pairs, spread)).map(|ranking| (ranking.clear_pairs, ranking.right_pairs))
        };
        assert_eq!(clear(0.0), Some((2, 2)));
        assert_eq!(clear(8.0), Some((1, 1)), "112 and 113 overlap");
        assert_eq!(
            rank(&standings(&[(2.0, 100.0), (1.0, 150.0)], 0.0)).map(|ranking| ranking.right_pairs),
            Some(0)
        );
    }
}
