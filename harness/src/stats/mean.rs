//! Means over workloads.

/// The geometric mean of positive values; none if there are no values, or one is not positive.
///
/// Ratios are averaged in this way because the mean of a ratio and that of its inverse then agree.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_mean_of_inverses_is_the_inverse_of_the_mean(values in prop::collection::vec(1e-6f64..1e6, 1..20)) {
            let inverses: Vec<f64> = values.iter().map(|value| 1.0 / value).collect();
            let (mean, inverse) = (geometric_mean(&values), geometric_mean(&inverses));
            prop_assert!((mean.expect("positive") * inverse.expect("positive") - 1.0).abs() < 1e-9);
        }
    }
}
