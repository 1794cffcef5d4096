//! The standard normal distribution, for the adjustments of the bootstrap and for large samples.

use std::f64::consts::SQRT_2;

/// P(Z < z).
pub(super) fn normal_below(z: f64) -> f64 {
    libm::erfc(-z / SQRT_2) / 2.0
}

/// The z below which `probability` lies; none unless it is between 0 and 1, both excluded.
///
/// P(Z < -39) is below the smallest positive number.
pub(super) fn normal_quantile(probability: f64) -> Option<f64> {
    (probability > 0.0 && probability < 1.0).then(|| invert(normal_below, probability, 39.0))
}

/// The argument between -`most` and `most` at which an increasing function reaches `value`.
///
/// Found by bisection: it is needed only a few times per interval, and this way the inverse of the
/// distribution is computed from the distribution itself.
pub(super) fn invert(function: impl Fn(f64) -> f64, value: f64, most: f64) -> f64 {
    let (mut low, mut high) = (-most, most);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return middle;
        }
        if function(middle) < value { low = middle } else { high = middle }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_inverts_the_distribution() {
        for probability in [1e-300, 1e-9, 0.025, 0.3, 0.5, 0.8, 0.975, 1.0 - 1e-12] {
            let z = normal_quantile(probability).expect("inside");
            assert!((normal_below(z) / probability - 1.0).abs() < 1e-9, "{probability}: {z}");
        }
        for probability in [0.0, 1.0, -0.5, 1.5, f64::NAN] {
            assert_eq!(normal_quantile(probability), None, "{probability}");
        }
    }
}
