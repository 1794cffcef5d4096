//! The interval of a derived quantity: one that is computed from many samples and has no exact interval of its own,
//! such as a fitted line's slope, a number of hosts, or a mean over workloads.
//!
//! The method is the bias-corrected and accelerated bootstrap (Efron, Better Bootstrap Confidence Intervals, 1987;
//! for several groups the acceleration adds up over them, as in Efron and Tibshirani, An Introduction to the
//! Bootstrap, chapter 14). With few samples it is too narrow by itself, because the samples show less than the whole
//! spread: its tails are widened as Student's are compared with the normal distribution's (Hesterberg, What Teachers
//! Should Know about the Bootstrap, The American Statistician 69, 2015). The intervals of quantities made of medians
//! then have the coverage that they claim; those of means do not: if one sample in twenty is a spike, they cover 90
//! % (`cargo bench -p heaplab --bench coverage`). Derive from medians. A median or a ratio within blocks has an
//! exact interval, and is never resampled.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::median::{Interval, MIN_BLOCKS, WANTED_COVERAGE, sorted};
use super::normal::{invert, normal_below, normal_quantile};
use super::student::student_below;

/// How often the samples are resampled.
pub const RESAMPLES: usize = 10_000;

/// There is no interval if the quantity is undefined in more than one of this many resamples.
const UNDEFINED_AT_MOST: usize = 100;

/// The interval of `statistic` over independent groups of samples, each of which is resampled by itself.
///
/// Samples that belong together are one sample: for pairs within blocks resample pairs; for many workloads in the
/// same blocks resample the blocks. The coverage that the interval states is nominal. The same seed gives the same
/// interval on every machine.
///
/// None if a group has fewer than [`MIN_BLOCKS`] samples, or the quantity is undefined or infinite for the samples
/// themselves or for more than 1 % of the resamples.
///
/// ```
/// use heaplab::stats::{bca_interval, median};
/// let (small, large) = ([10.0, 11.0, 12.0, 10.5, 11.5, 11.2], [20.0, 23.0, 21.0, 25.0, 22.0, 24.0]);
/// let saved = |groups: &[Vec<f64>]| Some(1.0 - median(&groups[0])? / median(&groups[1])?);
/// let interval = bca_interval(&[&small, &large], 1, saved).expect("six samples each");
/// assert!(interval.low < 0.5 && 0.5 < interval.high);
/// ```
pub fn bca_interval<T: Copy>(
    groups: &[&[T]],
    seed: u64,
    statistic: impl Fn(&[Vec<T>]) -> Option<f64>,
) -> Option<Interval> {
    let fewest = groups.iter().map(|group| group.len()).min().filter(|&fewest| fewest >= MIN_BLOCKS)?;
    bca_interval_at(groups, seed, statistic, widened_tail(fewest))
}

/// How many standard deviations from the middle the ends of an interval of `count` samples are.
fn widened_tail(count: usize) -> f64 {
    let freedom = count - 1;
    let t = invert(|t| student_below(t, freedom), f64::midpoint(1.0, WANTED_COVERAGE), 1e6);
    t * (count as f64 / freedom as f64).sqrt()
}

/// The interval whose ends are `tail` standard deviations from the middle, before bias and acceleration.
pub(super) fn bca_interval_at<T: Copy>(
    groups: &[&[T]],
    seed: u64,
    statistic: impl Fn(&[Vec<T>]) -> Option<f64>,
    tail: f64,
) -> Option<Interval> {
    let statistic = |groups: &[Vec<T>]| statistic(groups).filter(|value| value.is_finite());
    let mut drawn: Vec<Vec<T>> = groups.iter().map(|group| group.to_vec()).collect();
    let estimate = statistic(&drawn)?;
    let acceleration = acceleration(&mut drawn, &statistic)?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut values = Vec::with_capacity(RESAMPLES);
    for _ in 0..RESAMPLES {
        for (into, group) in drawn.iter_mut().zip(groups) {
            into.iter_mut().for_each(|place| *place = group[random.random_range(0..group.len())]);
        }
        values.extend(statistic(&drawn));
    }
    if (RESAMPLES - values.len()) * UNDEFINED_AT_MOST > RESAMPLES {
        return None;
    }
    let values = sorted(&values);
    let bias = bias(&values, estimate)?;
    let end = |deviations: f64| {
        let shifted = bias + deviations;
        let stretch = 1.0 - acceleration * shifted;
        // Beyond this the adjustment reverses, and is meaningless.
        (stretch > 0.0).then(|| quantile(&values, normal_below(bias + shifted / stretch)))
    };
    Some(Interval { low: end(-tail)?, high: end(tail)?, coverage: WANTED_COVERAGE })
}

/// How far the estimate is from the middle of the resamples, in standard deviations.
fn bias(values: &[f64], estimate: f64) -> Option<f64> {
    let below = values.partition_point(|&value| value < estimate);
    let not_above = values.partition_point(|&value| value <= estimate);
    let least = 0.5 / values.len() as f64;
    let part = (below + not_above) as f64 / (2 * values.len()) as f64;
    normal_quantile(part.clamp(least, 1.0 - least))
}

/// How fast the spread changes with the quantity, from leaving out each sample in turn.
fn acceleration<T: Copy>(
    groups: &mut [Vec<T>],
    statistic: &impl Fn(&[Vec<T>]) -> Option<f64>,
) -> Option<f64> {
    let (mut cubes, mut squares) = (0.0, 0.0);
    for at in 0..groups.len() {
        let whole = groups[at].clone();
        let count = whole.len() as f64;
        let mut left_out = Vec::with_capacity(whole.len());
        for place in 0..whole.len() {
            groups[at] = [&whole[..place], &whole[place + 1..]].concat();
            left_out.push(statistic(groups)?);
        }
        groups[at] = whole;
        let mean = left_out.iter().sum::<f64>() / count;
        let influence = left_out.iter().map(|value| (count - 1.0) * (mean - value));
        let (cube, square) =
            influence.fold((0.0, 0.0), |(cube, square), of| (cube + of * of * of, square + of * of));
        cubes += cube / (count * count * count);
        squares += square / (count * count);
    }
    Some(if squares > 0.0 { cubes / (6.0 * squares * squares.sqrt()) } else { 0.0 })
}

/// The value below which `fraction` of the values lie, interpolated linearly between two of them.
fn quantile(sorted: &[f64], fraction: f64) -> f64 {
    let place = fraction.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    low + (high - low) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mean(groups: &[Vec<f64>]) -> Option<f64> {
        let all = groups.concat();
        Some(all.iter().sum::<f64>() / all.len() as f64)
    }

    #[test]
    fn the_seed_decides() {
        let values = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];
        let interval = |seed| bca_interval(&[&values], seed, mean).expect("seven");
        assert_eq!(interval(1), interval(1));
        assert_ne!(interval(1), interval(2));
    }

    #[test]
    fn few_samples_and_undefined_quantities_have_none() {
        assert_eq!(bca_interval(&[&[1.0, 2.0, 3.0, 4.0, 5.0]], 1, mean), None);
        assert_eq!(bca_interval(&[&[1.0; 6], &[1.0; 5]], 1, mean), None);
        assert_eq!(bca_interval::<f64>(&[], 1, mean), None);
        assert_eq!(bca_interval(&[&[1.0; 8]], 1, |_| None), None);
        assert_eq!(bca_interval(&[&[1.0; 8]], 1, |_| Some(f64::NAN)), None);
        // A resample of a single repeated value has no spread to divide by: rare enough with 8 values, but not with
        // 6 of two kinds.
        let inverse_spread = |groups: &[Vec<f64>]| {
            let low = groups[0].iter().copied().fold(f64::MAX, f64::min);
            let high = groups[0].iter().copied().fold(f64::MIN, f64::max);
            Some(1.0 / (high - low))
        };
        assert!(bca_interval(&[&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]], 1, inverse_spread).is_some());
        assert_eq!(bca_interval(&[&[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]], 1, inverse_spread), None);
    }

    #[test]
    fn equal_samples_have_an_interval_without_width() {
        let interval = bca_interval(&[&[7.0; 9]], 1, mean).expect("nine");
        assert_eq!((interval.low, interval.high), (7.0, 7.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

        #[test]
        fn scale_and_direction_hold(values in prop::collection::vec(1u32..10_000, 6..14), seed in any::<u64>()) {
            let plain: Vec<f64> = values.iter().copied().map(f64::from).collect();
            let scaled: Vec<f64> = plain.iter().map(|value| value * 4.0).collect();
            let (one, four) = (bca_interval(&[&plain], seed, mean), bca_interval(&[&scaled], seed, mean));
            let (one, four) = (one.expect("enough"), four.expect("enough"));
            prop_assert!((four.low / one.low - 4.0).abs() < 1e-6 && (four.high / one.high - 4.0).abs() < 1e-6);
            let (low, high) = (sorted(&plain)[0], sorted(&plain)[plain.len() - 1]);
            prop_assert!(low <= one.low && one.low <= one.high && one.high <= high);
        }
    }
}
