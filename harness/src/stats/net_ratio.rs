//! The ratio of what two variants take, with a share that both contain subtracted from each.
//!
//! A replay's time contains the harness's own. Within a block, as fractions of what the baseline takes, a variant
//! takes `v` and the harness `h`: the ratio of the rest is (v - h) / (1 - h). Fractions within blocks do not drift
//! with the machine, and their medians withstand spikes. The quantity is derived, so its interval is a bootstrap over
//! blocks.

use super::bootstrap::bca_interval;
use super::median::{MIN_BLOCKS, median};
use super::signed_rank::Ratio;

/// The figures of one workload in one block, in one unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shared {
    /// What the variant took.
    pub variant: f64,
    /// What the baseline took.
    pub base: f64,
    /// The part of each of the two that is the harness's.
    pub harness: f64,
}

/// The ratio of what remains, if something does.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NetRatio {
    /// There is one.
    Known(Ratio),
    /// The harness's share is so large a part of both that the rest cannot be distinguished from nothing.
    Drowned,
}

/// The ratio over blocks, for one workload or as the geometric mean of several: `workloads` holds the blocks of each,
/// the same blocks in the same order.
///
/// None if there are no blocks, or a block's baseline is not positive.
///
/// ```
/// use heaplab::stats::{NetRatio, Shared, net_ratio};
/// let block = |noise: f64| Shared { variant: 30.0 + noise, base: 20.0 + noise, harness: 10.0 + noise };
/// let blocks: Vec<Shared> = (0..10).map(|at| block(f64::from(at) * 0.01)).collect();
/// match net_ratio(&[blocks], 1) {
///     Some(NetRatio::Known(ratio)) => assert!((ratio.estimate - 2.0).abs() < 0.01),
///     other => panic!("{other:?}"),
/// }
/// ```
pub fn net_ratio(workloads: &[Vec<Shared>], seed: u64) -> Option<NetRatio> {
    let blocks = workloads.first()?.len();
    let positive =
        |shared: &Shared| shared.base > 0.0 && shared.variant.is_finite() && shared.harness.is_finite();
    let sound = workloads.iter().all(|of| of.len() == blocks && of.iter().all(positive));
    if blocks == 0 || !sound {
        return None;
    }
    let all: Vec<usize> = (0..blocks).collect();
    let Some(estimate) = ratio_over(workloads, &all) else { return Some(NetRatio::Drowned) };
    if blocks < MIN_BLOCKS {
        return Some(NetRatio::Known(Ratio { estimate, interval: None, blocks }));
    }
    let interval = bca_interval(&[&all], seed, |drawn: &[Vec<usize>]| ratio_over(workloads, &drawn[0]));
    Some(match interval {
        Some(interval) => NetRatio::Known(Ratio { estimate, interval: Some(interval), blocks }),
        None => NetRatio::Drowned,
    })
}

/// The ratio in these blocks; none if nothing remains of one side.
fn ratio_over(workloads: &[Vec<Shared>], blocks: &[usize]) -> Option<f64> {
    let mut logarithms = 0.0;
    for of in workloads {
        let parts =
            |part: fn(&Shared) -> f64| median(&blocks.iter().map(|&at| part(&of[at])).collect::<Vec<f64>>());
        let harness = parts(|shared| shared.harness / shared.base)?;
        let net = (parts(|shared| shared.variant / shared.base)? - harness) / (1.0 - harness);
        if harness >= 1.0 || net <= 0.0 {
            return None;
        }
        logarithms += net.ln();
    }
    Some((logarithms / workloads.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{NOISE_THRESHOLD, Verdict, verdict};

    /// Ten blocks of a machine that drifts by a third, with some noise in each part.
    fn blocks(variant: f64, base: f64, harness: f64) -> Vec<Shared> {
        let noise = [0.3, -0.8, 0.1, 0.9, -0.4, 0.6, -0.2, -0.9, 0.7, -0.1];
        let of = |at: usize, shift: usize| 1.0 + 0.01 * noise[(at + shift) % 10];
        let block = |at: usize| {
            let drift = 1.0 + at as f64 / 30.0;
            Shared {
                variant: variant * drift * of(at, 0),
                base: base * drift * of(at, 3),
                harness: harness * drift * of(at, 6),
            }
        };
        (0..10).map(block).collect()
    }

    fn known(workloads: &[Vec<Shared>]) -> Ratio {
        match net_ratio(workloads, 1) {
            Some(NetRatio::Known(ratio)) => ratio,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_share_of_both_is_in_neither() {
        let ratio = known(&[blocks(30.0, 20.0, 10.0)]);
        assert!((ratio.estimate - 2.0).abs() < 0.05, "{ratio:?}");
        let interval = ratio.interval.expect("ten blocks");
        assert!(interval.low < 2.0 && 2.0 < interval.high && interval.high - interval.low < 0.3, "{ratio:?}");
        assert_eq!(verdict(&ratio, NOISE_THRESHOLD), Verdict::Larger);
        let plain = known(&[blocks(30.0, 20.0, 0.0)]);
        assert!((plain.estimate - 1.5).abs() < 0.02, "{plain:?}");
    }

    #[test]
    fn the_larger_the_share_the_wider_the_interval() {
        let width = |harness: f64| {
            let interval = known(&[blocks(20.2, 20.0, harness)]).interval.expect("ten blocks");
            interval.high - interval.low
        };
        assert!(width(15.0) > 2.0 * width(0.0));
        let ratio = known(&[blocks(20.2, 20.0, 15.0)]);
        assert_eq!(verdict(&ratio, NOISE_THRESHOLD), Verdict::NoDifference);
    }

    #[test]
    fn what_is_all_harness_is_drowned() {
        assert_eq!(net_ratio(&[blocks(20.0, 20.0, 21.0)], 1), Some(NetRatio::Drowned));
        assert_eq!(
            net_ratio(&[blocks(10.0, 20.0, 11.0)], 1),
            Some(NetRatio::Drowned),
            "cheaper than the harness"
        );
        assert_eq!(net_ratio(&[blocks(20.0, 20.0, 19.9)], 1), Some(NetRatio::Drowned), "within the noise");
    }

    #[test]
    fn several_workloads_are_a_geometric_mean() {
        let ratio = known(&[blocks(50.0, 20.0, 10.0), blocks(20.0, 20.0, 0.0)]);
        assert!((ratio.estimate - 2.0).abs() < 0.06, "{ratio:?}");
    }

    #[test]
    fn few_blocks_have_no_interval_and_none_no_ratio() {
        let five = blocks(30.0, 20.0, 10.0)[..5].to_vec();
        assert_eq!(known(&[five]).interval, None);
        assert_eq!(net_ratio(&[], 1), None);
        assert_eq!(net_ratio(&[Vec::new()], 1), None);
        assert_eq!(net_ratio(&[vec![Shared { variant: 1.0, base: 0.0, harness: 0.0 }]], 1), None);
        assert_eq!(net_ratio(&[blocks(3.0, 2.0, 1.0), Vec::new()], 1), None, "other blocks");
    }
}
