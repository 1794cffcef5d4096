//! The interval of a figure whose values may lie in clusters, and that is not known exactly.
//!
//! Memory over layouts is such a figure: in some layouts a heap's end is free and in others not, so that median and
//! mean lie apart. And if ten blocks are nearly alike, the next may not be: more often than not, ten blocks see nothing
//! of what happens in one layout in thirty. No interval of a mean is right for every distribution (Bahadur and Savage,
//! The Nonexistence of Certain Statistical Procedures in Nonparametric Problems, Annals of Mathematical Statistics
//! 27(4), 1956): which differences are too small to claim must be known beforehand. That is the figure's resolution.

use super::median::{Interval, WANTED_COVERAGE, median, median_interval};
use super::student::student_mean;

/// The interval that covers the median of the distribution from which the values were drawn, and its mean; and whose
/// ends are no nearer to the values' median than `resolution`, a fraction of it. None for fewer than
/// [`super::MIN_BLOCKS`] values.
///
/// It is the union of the interval of order statistics, whose coverage of the median it states, and of Student's
/// interval of the mean.
///
/// ```
/// use heaplab::stats::middle_interval;
/// let two_clusters = [18.0, 18.1, 23.0, 23.1, 31.5, 33.4, 33.4, 33.4, 33.4, 33.5];
/// let interval = middle_interval(&two_clusters, 0.0).unwrap();
/// assert!(interval.low < 25.0 && interval.high >= 33.4);
/// let alike = middle_interval(&[100.0; 10], 0.005).unwrap();
/// assert_eq!((alike.low, alike.high), (99.5, 100.5));
/// ```
pub fn middle_interval(values: &[f64], resolution: f64) -> Option<Interval> {
    let of_median = median_interval(values)?;
    let middle = median(values)?;
    let (mean, reach) = student_mean(values, WANTED_COVERAGE)?;
    Some(Interval {
        low: of_median.low.min(mean - reach).min(middle - middle.abs() * resolution),
        high: of_median.high.max(mean + reach).max(middle + middle.abs() * resolution),
        coverage: of_median.coverage,
    })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// How often the interval of ten draws covers the mean of the distribution from which they are drawn.
    fn coverage(mean: f64, resolution: f64, draw: impl Fn(&mut ChaCha8Rng) -> f64) -> f64 {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let runs = 4000;
        let holds = |_: &i32| {
            let values: Vec<f64> = (0..10).map(|_| draw(&mut random)).collect();
            let interval = middle_interval(&values, resolution).expect("ten values");
            interval.low <= mean && mean <= interval.high
        };
        f64::from((0..runs).filter(holds).count() as u32) / f64::from(runs)
    }

    #[test]
    fn a_mean_that_lies_apart_from_the_median_is_held() {
        // Three layouts in ten take 18 MiB, the others 33.
        let two = |random: &mut ChaCha8Rng| if random.random_range(0..10u8) < 3 { 18.0 } else { 33.0 };
        let held = coverage(0.3 * 18.0 + 0.7 * 33.0, 0.0, two);
        assert!(held > 0.93, "{held}");
    }

    #[test]
    fn what_ten_values_do_not_show_is_held_by_the_resolution_alone() {
        // One in thirty takes 5 % more.
        let rare = |random: &mut ChaCha8Rng| if random.random_range(0..30u8) == 0 { 105.0 } else { 100.0 };
        let mean = 100.0 + 5.0 / 30.0;
        let (without, with) = (coverage(mean, 0.0, rare), coverage(mean, 0.005, rare));
        assert!(without < 0.5 && with > 0.95, "{without} {with}");
    }

    #[test]
    fn too_few_values_have_none_and_others_hold_both_middles() {
        assert_eq!(middle_interval(&[1.0; 5], 0.005), None);
        let values = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0];
        let interval = middle_interval(&values, 0.0).expect("ten values");
        assert!(interval.low <= 1.0 && interval.high >= 1.8, "{interval:?}");
        assert!((interval.high - (1.8 + 2.262_157 * 0.8)).abs() < 1e-5, "{interval:?}");
    }
}
