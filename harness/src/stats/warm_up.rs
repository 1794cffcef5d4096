//! Where a figure over time stops depending on how it started.

use super::weighted::mean_between;

/// Stretches of equal length into which the time is divided.
const STRETCHES: u64 = 200;
/// A standard error of this fraction of the mean is small enough: no more is left out to make it smaller.
const SMALL_ERROR: f64 = 0.0001;

/// The start of a run, judged by a figure over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmUp {
    /// When it ends.
    pub end: u64,
    /// Whether the rest is steady. If not, `end` is the middle of the run.
    pub is_steady: bool,
}

/// Where the warm-up of a figure ends, given as (time, value from then on) in order of time until `end`; none if no
/// time passes.
///
/// The rule is the marginal standard error (White, An Effective Truncation Heuristic for Bias Reduction in Simulation
/// Output, Simulation 69(6), 1997): of all starts that can be left out, it chooses the one after which the standard
/// error of the mean is smallest. Three choices are ours: at most half of the run is left out; a standard error of a
/// ten-thousandth of the mean is small enough; and the rule is applied to the means of 200 stretches of equal length,
/// so that it does not matter how often the figure was read. A minimum at the middle says that leaving out more would
/// be better still: the figure is not steady.
///
/// ```
/// use heaplab::stats::warm_up;
///
/// let rises_then_stays: Vec<(u64, u64)> = (0..1000).map(|time| (time, time.min(200))).collect();
/// let found = warm_up(&rises_then_stays, 1000).unwrap();
/// assert!(found.is_steady && (195..=205).contains(&found.end));
///
/// let rises: Vec<(u64, u64)> = (0..1000).map(|time| (time, time)).collect();
/// assert!(!warm_up(&rises, 1000).unwrap().is_steady);
/// ```
pub fn warm_up(points: &[(u64, u64)], end: u64) -> Option<WarmUp> {
    let first = points.first()?.0;
    let length = end.checked_sub(first).filter(|length| *length >= STRETCHES)?;
    let edge =
        |stretch: u64| first + (u128::from(length) * u128::from(stretch) / u128::from(STRETCHES)) as u64;
    let means: Vec<f64> = (0..STRETCHES)
        .map(|stretch| mean_between(points, edge(stretch), edge(stretch + 1)).map(|mean| mean as f64))
        .collect::<Option<_>>()?;
    let last_start = means.len() / 2;
    let (mut best, mut least) = (0, f64::INFINITY);
    for start in 0..=last_start {
        let (mean, error) = standard_error(&means[start..]);
        // Of equal ones, the first: nothing is left out without need.
        if error < least {
            (best, least) = (start, error);
        }
        if error <= SMALL_ERROR * mean {
            return Some(WarmUp { end: edge(start as u64), is_steady: true });
        }
    }
    let is_steady = best < last_start;
    Some(WarmUp { end: edge(best as u64), is_steady })
}

/// A mean and its marginal standard error.
fn standard_error(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>().sqrt() / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_figure_loses_nothing_and_how_often_it_is_read_does_not_matter() {
        let steady: Vec<(u64, u64)> = (0..500).map(|at| (at * 10, 1000 + at * 7919 % 100)).collect();
        let found = warm_up(&steady, 5000).expect("time goes by");
        assert!(found.is_steady && found.end < 1000, "{found:?}");
        let ramp = |step: u64| -> Vec<(u64, u64)> {
            (0..100_000 / step).map(|at| (at * step, (at * step).min(30_000) + at * 7919 % 100)).collect()
        };
        for step in [10, 50, 200] {
            let found = warm_up(&ramp(step), 100_000).expect("time goes by");
            assert!(found.is_steady && (29_000..34_000).contains(&found.end), "{step}: {found:?}");
        }
        assert_eq!(warm_up(&[], 100), None);
        assert_eq!(warm_up(&[(5, 1)], 5), None);
        assert_eq!(warm_up(&[(0, 7)], 1000).map(|found| found.end), Some(0));
    }
}
