//! Whether memory still grows at the end of a run.

use super::{NOISE_THRESHOLD, median, median_interval};

/// Growth from the second third of the time to the last, as a fraction of the former: the median over `fractions`, one
/// per block. None if it is within the noise threshold, or if the blocks do not show that there is any.
pub fn shown_growth(fractions: &[f64]) -> Option<f64> {
    let fraction = median(fractions)?;
    let is_shown = median_interval(fractions).is_none_or(|interval| interval.low > 0.0);
    (fraction > NOISE_THRESHOLD && is_shown).then_some(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_shown_beyond_noise_and_by_all_blocks() {
        assert_eq!(shown_growth(&[0.5; 8]), Some(0.5));
        assert_eq!(shown_growth(&[0.01; 8]), None);
        assert_eq!(shown_growth(&[-0.2, 0.3, -0.1, 0.2, 0.1, 0.25]), None);
        // Too few for an interval: only the median counts.
        assert_eq!(shown_growth(&[0.4]), Some(0.4));
        assert_eq!(shown_growth(&[]), None);
    }
}
