//! Separates the sources of a spread: the components of variance of a one-way design with random effects.
//!
//! Every block has a load of its own, and some loads were measured twice, under two layouts. Two figures of one load
//! differ by the effect of layout and machine: half of the mean squared difference is their variance, the mean square
//! within subjects of two measurements each (Bland and Altman, Measurement Error, BMJ 313:744, 1996). The variance of
//! the blocks' figures contains it in addition to the load's: the difference is the load's, as in the analysis of
//! variance (Searle, Casella and McCulloch, Variance Components, Wiley, 1992), and 0 if it is negative.

/// Fewest loads that were measured twice: fewer say nothing about either component.
pub const MIN_TWINS: usize = 3;

/// Standard deviations as fractions of the mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Components {
    /// Among loads.
    pub load: f64,
    /// Among layouts of one load, and among hours of the machine.
    pub layout: f64,
    /// Loads that were measured twice.
    pub twins: usize,
}

/// The components of `figures`, each of which is the first figure of a load and the second, if there is one. None if
/// there are too few, or the mean is not positive.
///
/// ```
/// use heaplab::stats::components;
/// let same_load_same_figure: Vec<(f64, Option<f64>)> = [9.0, 10.0, 11.0].map(|x| (x, Some(x))).to_vec();
/// let of = components(&same_load_same_figure).unwrap();
/// assert_eq!((of.load, of.layout), (0.1, 0.0));
/// ```
pub fn components(figures: &[(f64, Option<f64>)]) -> Option<Components> {
    let differences: Vec<f64> =
        figures.iter().filter_map(|(one, other)| other.map(|other| one - other)).collect();
    let (count, twins) = (figures.len() as f64, differences.len());
    if twins < MIN_TWINS {
        return None;
    }
    let mean = figures.iter().map(|(one, _)| one).sum::<f64>() / count;
    let squares = figures.iter().map(|(one, _)| (one - mean).powi(2)).sum::<f64>();
    let all = squares / (count - 1.0);
    let layout = differences.iter().map(|difference| difference.powi(2)).sum::<f64>() / (2 * twins) as f64;
    let part = |variance: f64| variance.max(0.0).sqrt() / mean;
    (mean > 0.0).then(|| Components { load: part(all - layout), layout: part(layout), twins })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// The mean of both estimates over many runs of ten blocks, six of which have twins.
    fn estimate(load: f64, layout: f64) -> (f64, f64) {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let mut normal = || (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
        let runs = 2000;
        let (mut of_load, mut of_layout) = (0.0, 0.0);
        for _ in 0..runs {
            let figures: Vec<(f64, Option<f64>)> = (0..10)
                .map(|block| {
                    let mean = 100.0 + load * normal();
                    let mut figure = || mean + layout * normal();
                    (figure(), Some(figure()).filter(|_| block < 6))
                })
                .collect();
            let found = components(&figures).unwrap();
            of_load += found.load.powi(2);
            of_layout += found.layout.powi(2);
        }
        ((of_load / f64::from(runs)).sqrt() * 100.0, (of_layout / f64::from(runs)).sqrt() * 100.0)
    }

    #[test]
    fn what_loads_and_layouts_were_given_is_found() {
        for (load, layout) in [(5.0, 1.0), (2.0, 2.0), (5.0, 0.0)] {
            let (of_load, of_layout) = estimate(load, layout);
            assert!((of_load / load - 1.0).abs() < 0.05, "{load} {layout}: {of_load} {of_layout}");
            assert!(
                (of_layout - layout).abs() < 0.05 * layout + 1e-9,
                "{load} {layout}: {of_load} {of_layout}"
            );
        }
        let (of_load, _) = estimate(0.0, 3.0);
        assert!(of_load < 2.0, "cut off at 0, so that it is above 0 in the mean: {of_load}");
    }

    #[test]
    fn too_few_tell_nothing() {
        assert_eq!(components(&[(1.0, Some(1.0)), (2.0, Some(2.0)), (3.0, None)]), None);
        assert_eq!(components(&[]), None);
        assert_eq!(components(&[(0.0, Some(0.0)); 6]), None);
    }
}
