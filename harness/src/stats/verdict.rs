//! Whether a difference was shown.

use serde::{Deserialize, Serialize};

use super::Ratio;

/// A difference below this fraction cannot be told from a benchmark's own noise: layouts of code
/// and memory alone change replays by 1 to 2 %.
pub const NOISE_THRESHOLD: f64 = 0.02;

/// What can be said about a variant compared with the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Fewer than [`super::MIN_BLOCKS`] blocks: nothing can be said.
    #[serde(rename = "too few")]
    TooFew,
    /// The whole interval lies below 1 by more than the noise threshold.
    #[serde(rename = "smaller")]
    Smaller,
    /// The whole interval lies above 1 by more than the noise threshold.
    #[serde(rename = "larger")]
    Larger,
    /// Neither. It is not a proof that both are the same.
    #[serde(rename = "no difference shown")]
    NoDifference,
    /// A latency below what the timer resolves.
    #[serde(rename = "under resolution")]
    UnderResolution,
    /// Memory of a process that was recorded once, however often it was replayed.
    #[serde(rename = "one recording")]
    OneRecording,
}

impl Verdict {
    /// The words in tables and in summary.csv.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::TooFew => "too few",
            Verdict::Smaller => "smaller",
            Verdict::Larger => "larger",
            Verdict::NoDifference => "no difference shown",
            Verdict::UnderResolution => "under resolution",
            Verdict::OneRecording => "one recording",
        }
    }

    /// The same for events per second: more of them is faster.
    pub fn of_speed(self) -> &'static str {
        match self {
            Verdict::Smaller => "slower",
            Verdict::Larger => "faster",
            other => other.as_str(),
        }
    }

    /// The same for time: more of it is slower.
    pub fn of_time(self) -> &'static str {
        match self {
            Verdict::Smaller => "faster",
            Verdict::Larger => "slower",
            other => other.as_str(),
        }
    }
}

/// The verdict on a ratio: the whole interval must be outside 1 / (1 + noise) to 1 + noise.
pub fn verdict(ratio: &Ratio, noise: f64) -> Verdict {
    match ratio.interval {
        None => Verdict::TooFew,
        Some(interval) if interval.low > 1.0 + noise => Verdict::Larger,
        Some(interval) if interval.high < 1.0 / (1.0 + noise) => Verdict::Smaller,
        Some(_) => Verdict::NoDifference,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Interval, paired_ratio};

    fn with_interval(low: f64, high: f64) -> Ratio {
        Ratio { estimate: 1.0, interval: Some(Interval { low, high, coverage: 0.96 }), blocks: 10 }
    }

    #[test]
    fn csv_and_tables_have_the_same_words() {
        for verdict in [
            Verdict::TooFew,
            Verdict::Smaller,
            Verdict::Larger,
            Verdict::NoDifference,
            Verdict::UnderResolution,
        ] {
            assert_eq!(serde_json::json!(verdict), verdict.as_str());
        }
    }

    #[test]
    fn a_difference_must_exclude_one_and_clear_the_noise() {
        assert_eq!(verdict(&with_interval(1.03, 1.10), 0.02), Verdict::Larger);
        assert_eq!(verdict(&with_interval(1.01, 1.10), 0.02), Verdict::NoDifference);
        assert_eq!(verdict(&with_interval(0.90, 0.97), 0.02), Verdict::Smaller);
        assert_eq!(verdict(&with_interval(0.90, 0.99), 0.02), Verdict::NoDifference);
        assert_eq!(verdict(&with_interval(0.50, 2.00), 0.02), Verdict::NoDifference);
    }

    #[test]
    fn five_blocks_are_too_few_however_clear_they_look() {
        let ratio = paired_ratio(&[(9.0, 1.0); 5]).expect("positive");
        assert_eq!(verdict(&ratio, NOISE_THRESHOLD), Verdict::TooFew);
    }

    #[test]
    fn a_variant_against_itself_shows_no_difference() {
        let ratio = paired_ratio(&[(7.0, 7.0); 10]).expect("positive");
        assert_eq!(verdict(&ratio, NOISE_THRESHOLD), Verdict::NoDifference);
    }
}
