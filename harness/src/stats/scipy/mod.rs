//! Compares our results with scipy's. `answers.json` was written by `make.py` next to it; nothing else is read.

use serde::Deserialize;

use super::bootstrap::bca_interval_at;
use super::normal::{normal_below, normal_quantile};
use super::student::student_below;
use super::*;

#[derive(Deserialize)]
struct Answers {
    medians: Vec<OfMedian>,
    paired: Vec<OfRatio>,
    separate: Vec<OfRatio>,
    ranks: Vec<OfRanks>,
    bootstraps: Vec<OfBootstrap>,
    normal: Vec<OfNormal>,
    student: Vec<OfStudent>,
}

#[derive(Deserialize)]
struct OfMedian {
    values: Vec<f64>,
    median: f64,
    mad: f64,
    low: f64,
    high: f64,
    coverage: f64,
    geometric_mean: f64,
}

#[derive(Deserialize)]
struct OfRatio {
    #[serde(alias = "new")]
    values: Vec<f64>,
    #[serde(alias = "old")]
    base: Vec<f64>,
    estimate: f64,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct OfRanks {
    one: Vec<f64>,
    other: Vec<f64>,
    p: f64,
}

#[derive(Deserialize)]
struct OfBootstrap {
    statistic: String,
    groups: Vec<Vec<f64>>,
    low: f64,
    high: f64,
}

#[derive(Deserialize)]
struct OfNormal {
    z: f64,
    below: f64,
}

#[derive(Deserialize)]
struct OfStudent {
    t: f64,
    freedom: usize,
    below: f64,
}

fn answers() -> Answers {
    serde_json::from_str(include_str!("answers.json")).expect("what make.py wrote")
}

#[track_caller]
fn assert_near(found: f64, known: f64) {
    assert!((found - known).abs() <= 1e-9 * known.abs().max(1e-3), "{found} is not {known}");
}

#[track_caller]
fn assert_interval(found: Option<Interval>, low: f64, high: f64) {
    let found = found.expect("enough samples");
    assert_near(found.low, low);
    assert_near(found.high, high);
}

#[test]
fn medians_spreads_and_means() {
    for known in answers().medians {
        assert_near(median(&known.values).expect("some"), known.median);
        assert_near(mad(&known.values).expect("some"), known.mad);
        assert_near(geometric_mean(&known.values).expect("positive"), known.geometric_mean);
        let interval = median_interval(&known.values);
        assert_interval(interval, known.low, known.high);
        assert_near(interval.expect("enough").coverage, known.coverage);
    }
}

#[test]
fn ratios_within_blocks() {
    for known in answers().paired {
        let pairs: Vec<(f64, f64)> = known.values.iter().copied().zip(known.base).collect();
        let ratio = paired_ratio(&pairs).expect("positive");
        assert_near(ratio.estimate, known.estimate);
        assert_interval(ratio.interval, known.low, known.high);
    }
}

#[test]
fn ratios_of_separate_runs() {
    for known in answers().separate {
        let ratio = separate_ratio(&known.values, &known.base).expect("positive");
        assert_near(ratio.estimate, known.estimate);
        assert_interval(ratio.interval, known.low, known.high);
    }
}

#[test]
fn probabilities_of_ranks_with_and_without_ties() {
    for known in answers().ranks {
        assert_near(mann_whitney(&known.one, &known.other).expect("samples"), known.p);
    }
}

#[test]
fn the_normal_distribution_and_its_inverse() {
    for known in answers().normal {
        assert_near(normal_below(known.z), known.below);
        if known.z.abs() < 6.0 {
            assert!((normal_quantile(known.below).expect("inside") - known.z).abs() < 1e-8, "{}", known.z);
        }
    }
}

#[test]
fn the_distribution_of_student() {
    for known in answers().student {
        assert_near(student_below(known.t, known.freedom), known.below);
    }
}

/// Both are random: an end of 10,000 resamples varies by 1 to 2 % of the width. The tails here are scipy's, which
/// does not widen them for few samples.
#[test]
fn bootstrap_intervals_of_derived_quantities() {
    let tail = normal_quantile(0.975).expect("inside");
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    for known in answers().bootstraps {
        let found = match known.statistic.as_str() {
            "mean" => bca_interval_at(&[&known.groups[0]], 1, |groups| Some(mean(&groups[0])), tail),
            "ratio of means" => {
                let groups: Vec<&[f64]> = known.groups.iter().map(Vec::as_slice).collect();
                bca_interval_at(&groups, 1, |groups| Some(mean(&groups[0]) / mean(&groups[1])), tail)
            }
            "slope" => {
                let points: Vec<(f64, f64)> =
                    known.groups[0].iter().copied().zip(known.groups[1].iter().copied()).collect();
                bca_interval_at(&[&points], 1, |groups| slope(&groups[0]), tail)
            }
            other => panic!("no statistic is called {other}"),
        };
        let (found, width) = (found.expect("enough samples"), known.high - known.low);
        let (low, high) = ((found.low - known.low) / width, (found.high - known.high) / width);
        assert!(low.abs() < 0.04 && high.abs() < 0.04, "{}: off by {low} and {high}", known.statistic);
    }
}

fn slope(points: &[(f64, f64)]) -> Option<f64> {
    let count = points.len() as f64;
    let x_mean = points.iter().map(|point| point.0).sum::<f64>() / count;
    let y_mean = points.iter().map(|point| point.1).sum::<f64>() / count;
    let rise: f64 = points.iter().map(|point| (point.0 - x_mean) * (point.1 - y_mean)).sum();
    let run: f64 = points.iter().map(|point| (point.0 - x_mean).powi(2)).sum();
    (run > 0.0).then(|| rise / run)
}
