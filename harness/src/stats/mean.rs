//! Means over workloads.

/// The geometric mean of positive values; none of no values, or where one is not positive.
///
/// Ratios are averaged so, because the mean of a ratio and that of its inverse then agree.
///
/// ```
/// assert_eq!(heaplab::stats::geometric_mean(&[2.0, 0.5]), Some(1.0));
/// assert_eq!(heaplab::stats::geometric_mean(&[2.0, 0.0]), None);
/// ```
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() || values.iter().any(|&value| !(value.is_finite() && value > 0.0)) {
        return None;
    }
    Some((values.iter().map(|value| value.ln()).sum::<f64>() / values.len() as f64).exp())
}

/// The places at which every row has a value: the workloads that every variant finished.
///
/// Means of several variants are comparable over these alone. A variant that fails on a hard workload would else
/// look better than one that finishes it.
///
/// ```
/// let (one, other) = (vec![Some(2.0), None, Some(4.0)], vec![Some(1.0), Some(9.0), Some(1.0)]);
/// assert_eq!(heaplab::stats::common_places(&[one, other]), [0, 2]);
/// ```
pub fn common_places<T>(rows: &[Vec<Option<T>>]) -> Vec<usize> {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let in_all = |place: &usize| rows.iter().all(|row| row.get(*place).is_some_and(Option::is_some));
    (0..longest).filter(in_all).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_rows_and_rows_of_other_lengths_share_what_they_share() {
        assert_eq!(common_places::<f64>(&[]), [] as [usize; 0]);
        assert_eq!(common_places(&[vec![Some(1), Some(2)], vec![Some(1)]]), [0]);
    }

    proptest! {
        #[test]
        fn the_mean_of_inverses_is_the_inverse_of_the_mean(values in prop::collection::vec(1e-6f64..1e6, 1..20)) {
            let inverses: Vec<f64> = values.iter().map(|value| 1.0 / value).collect();
            let (mean, inverse) = (geometric_mean(&values), geometric_mean(&inverses));
            prop_assert!((mean.expect("positive") * inverse.expect("positive") - 1.0).abs() < 1e-9);
        }
    }
}
