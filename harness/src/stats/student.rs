//! Student's distribution: how much wider an interval must be because few samples showed the spread.

use super::normal::invert;

/// The value that Student's t with this many degrees of freedom is below with a given probability.
///
/// ```
/// use heaplab::stats::student_quantile;
/// assert!((student_quantile(0.95, 9) - 1.8331).abs() < 1e-4);
/// assert!((student_quantile(0.999, 19) - 3.5794).abs() < 1e-4);
/// ```
pub fn student_quantile(probability: f64, freedom: usize) -> f64 {
    invert(|t| student_below(t, freedom), probability, 1e6)
}

/// The mean of values, and how far Student's interval of this coverage reaches from it. None for fewer than two values.
///
/// ```
/// use heaplab::stats::student_mean;
/// let (mean, reach) = student_mean(&[1.0, 2.0, 3.0], 0.95).unwrap();
/// assert!((mean - 2.0).abs() < 1e-12 && (reach - 4.302_653 / 3f64.sqrt()).abs() < 1e-5);
/// ```
pub fn student_mean(values: &[f64], coverage: f64) -> Option<(f64, f64)> {
    let (mean, variance) = mean_and_variance(values)?;
    let t = student_quantile(f64::midpoint(1.0, coverage), values.len() - 1);
    Some((mean, t * (variance / values.len() as f64).sqrt()))
}

/// The mean of one group minus that of another, and how far Welch's interval of this coverage reaches from it: each
/// group has its own variance, and the degrees of freedom are Satterthwaite's, rounded down. None if a group has fewer
/// than two values.
pub fn welch_difference(one: &[f64], other: &[f64], coverage: f64) -> Option<(f64, f64)> {
    let [(mean, variance), (other_mean, other_variance)] =
        [mean_and_variance(one)?, mean_and_variance(other)?];
    let (part, other_part) = (variance / one.len() as f64, other_variance / other.len() as f64);
    let all = part + other_part;
    let least = one.len().min(other.len()) - 1;
    let spread = part.powi(2) / (one.len() - 1) as f64 + other_part.powi(2) / (other.len() - 1) as f64;
    let freedom = if spread > 0.0 { ((all * all / spread) as usize).max(least) } else { least };
    let t = student_quantile(f64::midpoint(1.0, coverage), freedom);
    Some((mean - other_mean, t * all.sqrt()))
}

/// The mean, and the variance with n - 1 degrees of freedom; none for fewer than two values.
pub fn mean_and_variance(values: &[f64]) -> Option<(f64, f64)> {
    let freedom = values.len().checked_sub(1).filter(|freedom| *freedom > 0)?;
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    Some((mean, squares / freedom as f64))
}

/// P(T < t) with `freedom` degrees of freedom, at least 1. It is a finite sum because that number is whole (Abramowitz
/// and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4).
pub(super) fn student_below(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // The terms of 1 + (1/2) cos^2 + (1/2)(3/4) cos^4 + ..., or of cos + (2/3) cos^3 + ... if the number is odd.
    let (mut term, mut sum) = if odd { (cosine, 0.0) } else { (1.0, 0.0) };
    let mut power = if odd { 1 } else { 0 };
    while power + 2 <= freedom {
        sum += term;
        power += 2;
        term *= cosine * cosine * (power - 1) as f64 / power as f64;
    }
    let within = if odd { (angle + sine * sum) * std::f64::consts::FRAC_2_PI } else { sine * sum };
    f64::midpoint(1.0, within)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A worked example of two samples with unequal variances: t = 1.959 with 7.031 degrees of freedom, which are
    /// rounded down to 7.
    #[test]
    fn two_groups_are_compared_as_welch_does() {
        let one = [30.02, 29.99, 30.11, 29.97, 30.01, 29.99];
        let other = [29.89, 29.93, 29.72, 29.98, 30.02, 29.98];
        let (difference, reach) = welch_difference(&one, &other, 0.95).expect("six values each");
        let error = difference / 1.959;
        assert!((difference - 0.095).abs() < 1e-9, "{difference}");
        assert!((reach / error - 2.364_624).abs() < 2e-3, "{reach}");
        assert_eq!(welch_difference(&[1.0; 6], &[2.0; 6], 0.95), Some((-1.0, 0.0)));
        assert_eq!(welch_difference(&[1.0], &[2.0; 6], 0.95), None);
    }

    #[test]
    fn one_and_two_degrees_have_closed_forms() {
        for t in [-3.0f64, -0.4, 0.0, 1.0, 12.7] {
            assert!((student_below(t, 1) - (0.5 + t.atan() / std::f64::consts::PI)).abs() < 1e-14);
            assert!((student_below(t, 2) - (0.5 + t / (2.0 * (2.0 + t * t).sqrt()))).abs() < 1e-14);
        }
    }
}
