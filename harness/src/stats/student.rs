//! Student's distribution: how much wider an interval must be because few samples showed the spread.

use super::normal::invert;

/// What Student's t with so many degrees of freedom is below with a probability.
///
/// ```
/// use heaplab::stats::student_quantile;
/// assert!((student_quantile(0.95, 9) - 1.8331).abs() < 1e-4);
/// assert!((student_quantile(0.999, 19) - 3.5794).abs() < 1e-4);
/// ```
pub fn student_quantile(probability: f64, freedom: usize) -> f64 {
    invert(|t| student_below(t, freedom), probability, 1e6)
}

/// P(T < t) with `freedom` degrees of freedom, from 1. A finite sum, because that number is whole (Abramowitz and
/// Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4).
pub(super) fn student_below(t: f64, freedom: usize) -> f64 {
    let angle = (t / (freedom as f64).sqrt()).atan();
    let (sine, cosine) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // Of the sum 1 + (1/2) cos^2 + (1/2)(3/4) cos^4 + ..., or of cos + (2/3) cos^3 + ... where the number is odd.
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
    use super::student_below;

    #[test]
    fn one_and_two_degrees_have_closed_forms() {
        for t in [-3.0f64, -0.4, 0.0, 1.0, 12.7] {
            assert!((student_below(t, 1) - (0.5 + t.atan() / std::f64::consts::PI)).abs() < 1e-14);
            assert!((student_below(t, 2) - (0.5 + t / (2.0 * (2.0 + t * t).sqrt()))).abs() < 1e-14);
        }
    }
}
