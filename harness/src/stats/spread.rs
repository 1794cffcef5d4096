//! How far apart samples are, and which of them are far from the rest.
//!
//! An outlier is flagged and never removed: a slow sample is something that the machine or the allocator did, and
//! medians and ranks tolerate it.

use super::median::{median, median_of_sorted, sorted};

/// A sample is an outlier if its modified z-score exceeds this (Iglewicz and Hoaglin, How to Detect and Handle
/// Outliers, 1993).
pub const OUTLIER_SCORE: f64 = 3.5;

/// The median absolute deviation of a normal distribution, in standard deviations.
const MAD_OF_NORMAL: f64 = 0.674_489_750_196_081_7;
/// The same for the mean absolute deviation: the square root of 2 / pi.
const MEAN_DEVIATION_OF_NORMAL: f64 = 0.797_884_560_802_865_4;

/// The median absolute deviation from the median, without a scale factor; none if there are no values.
///
/// ```
/// assert_eq!(heaplab::stats::mad(&[1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0]), Some(1.0));
/// assert_eq!(heaplab::stats::mad(&[]), None);
/// ```
pub fn mad(values: &[f64]) -> Option<f64> {
    median_of_sorted(&sorted(&deviations(values)?))
}

/// Which values are outliers: those more than [`OUTLIER_SCORE`] robust standard deviations from the median.
///
/// If more than half of the values are equal, the median absolute deviation is 0, and the mean absolute deviation takes
/// its place. Fewer than 3 values have no outliers.
///
/// ```
/// let flags = heaplab::stats::outliers(&[10.0, 11.0, 10.5, 9.5, 10.2, 31.0]);
/// assert_eq!(flags, [false, false, false, false, false, true]);
/// ```
pub fn outliers(values: &[f64]) -> Vec<bool> {
    let none = || vec![false; values.len()];
    let Some(deviations) = deviations(values).filter(|_| values.len() >= 3) else { return none() };
    let of_median = mad(values).unwrap_or(0.0) / MAD_OF_NORMAL;
    let of_mean = deviations.iter().sum::<f64>() / values.len() as f64 / MEAN_DEVIATION_OF_NORMAL;
    let deviation = if of_median > 0.0 { of_median } else { of_mean };
    if deviation <= 0.0 {
        return none();
    }
    deviations.iter().map(|&distance| distance / deviation > OUTLIER_SCORE).collect()
}

fn deviations(values: &[f64]) -> Option<Vec<f64>> {
    let middle = median(values)?;
    Some(values.iter().map(|value| (value - middle).abs()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_that_differs_among_equal_ones_is_flagged() {
        let mut values = vec![5.0; 20];
        assert!(outliers(&values).iter().all(|&flag| !flag));
        values[7] = 5.5;
        let flags = outliers(&values);
        assert_eq!(flags.iter().position(|&flag| flag), Some(7));
        assert_eq!(flags.iter().filter(|&&flag| flag).count(), 1);
    }

    #[test]
    fn two_values_have_no_outlier() {
        assert_eq!(outliers(&[1.0, 1e9]), [false, false]);
        assert_eq!(outliers(&[]), [] as [bool; 0]);
    }

    proptest! {
        #[test]
        fn neither_shift_nor_scale_changes_the_flags(
            values in prop::collection::vec(0u32..1000, 3..40),
            shift in 0u32..1000,
        ) {
            let plain: Vec<f64> = values.iter().copied().map(f64::from).collect();
            let moved: Vec<f64> = plain.iter().map(|value| value * 4.0 + f64::from(shift)).collect();
            prop_assert_eq!(outliers(&plain), outliers(&moved));
            prop_assert_eq!(mad(&plain).map(|mad| mad * 4.0), mad(&moved));
            // More than half lie within the median absolute deviation, and are never outliers.
            let flagged = outliers(&plain).into_iter().filter(|&flag| flag).count();
            prop_assert!(flagged <= plain.len() / 2);
        }
    }
}
