//! What a pod is charged at its peak, and what another day's peak may be.

use super::need::Need;
use super::node::PodBlock;
use super::request::PodRequest;
use crate::stats::{mean_and_variance, median, student_quantile};

/// Kernel memory of a thread's stack on x86-64.
const KERNEL_STACK_BYTES: f64 = 16384.0;
/// Page cache counts up to this fraction of the rest: the kernel reclaims cache beyond it before it kills.
const CACHE_PART: f64 = 0.1;
/// Fewest draws for a limit. Up to the largest draw a limit needs no distribution; beyond it, the tail is log-normal.
pub(super) const LEAST_DRAWS: usize = 3;

/// What a pod is charged at its peak, block by block, and the median of each part of it.
pub(super) struct Charge {
    pub(super) peaks: Vec<f64>,
    pub(super) anonymous: f64,
    pub(super) kernel: f64,
    pub(super) kernel_is_estimate: bool,
    pub(super) cache: f64,
    pub(super) growth: f64,
}

impl Charge {
    /// `more` is memory outside the heap, where only the heap was measured. None without samples.
    pub(super) fn of(need: &Need, request: &PodRequest, more: f64) -> Option<Charge> {
        let blocks: Vec<&PodBlock> = need.pods.values().collect();
        let middle = |figure: &dyn Fn(&PodBlock) -> Option<f64>| {
            median(&blocks.iter().filter_map(|block| figure(block)).collect::<Vec<f64>>())
        };
        let anonymous = middle(&|block| Some(block.peak_bytes))? + more;
        let measured = middle(&|block| block.kernel_bytes);
        let kernel = measured.unwrap_or(need.threads.unwrap_or(1) as f64 * KERNEL_STACK_BYTES);
        let cache = middle(&|block| block.file_bytes).unwrap_or(0.0).min((anonymous + kernel) * CACHE_PART);
        let growth = middle(&|block| Some(grown_bytes(block, request)))?;
        // Each block grows at its own rate, so that the limit covers the fastest.
        let peak = |block: &&PodBlock| {
            let beside = more + block.kernel_bytes.unwrap_or(kernel) + cache;
            block.peak_bytes + beside + grown_bytes(block, request)
        };
        let peaks = blocks.iter().map(peak).collect();
        Some(Charge { peaks, anonymous, kernel, kernel_is_estimate: measured.is_none(), cache, growth })
    }
}

/// By how much a pod's memory grows after the block's time, in the rest of its life.
pub(super) fn grown_bytes(block: &PodBlock, request: &PodRequest) -> f64 {
    let longer_s = (request.uptime_s.unwrap_or(block.time_s) - block.time_s).max(0.0);
    block.growth_bytes_per_s.max(0.0) * longer_s
}

/// Predicts the value that a further draw exceeds with probability `odds`, log-normally; none for fewer than
/// [`LEAST_DRAWS`] draws.
pub(super) fn predict_upper(draws: &[f64], odds: f64) -> Option<f64> {
    let n = draws.len();
    let upper = log_normal_upper(draws, n, odds)?;
    let largest = draws.iter().copied().fold(0.0, f64::max);
    // Where the draws alone can show these odds, the limit is at least their largest: log-normal is an assumption.
    let shown = 1.0 / (n as f64 + 1.0);
    Some(if odds <= shown { upper.max(largest) } else { upper })
}

/// The same by the distribution alone, if there were `n` draws that vary as much.
pub(super) fn log_normal_upper(draws: &[f64], n: usize, odds: f64) -> Option<f64> {
    if draws.len() < LEAST_DRAWS || draws.iter().any(|draw| *draw <= 0.0) {
        return None;
    }
    let logs: Vec<f64> = draws.iter().map(|draw| draw.ln()).collect();
    let (mean, variance) = mean_and_variance(&logs)?;
    let reach = student_quantile(1.0 - odds, n - 1) * (variance * (1.0 + 1.0 / n as f64)).sqrt();
    Some((mean + reach).exp())
}

/// The value that a given fraction of the draws does not exceed, by rank.
pub(super) fn percentile_of(draws: &[f64], part: f64) -> f64 {
    let mut draws = draws.to_vec();
    draws.sort_by(f64::total_cmp);
    let at = (part * draws.len() as f64).ceil() as usize;
    draws.get(at.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The odds hold for draws from the distribution that is assumed.
        #[test]
        fn smaller_odds_never_have_a_smaller_limit(
            draws in prop::collection::vec(1e6f64..1e9, 3..40), odds in 0.001f64..0.4,
        ) {
            let wide = predict_upper(&draws, odds / 2.0).expect("enough");
            prop_assert!(wide >= predict_upper(&draws, odds).expect("enough") * 0.999_999);
        }
    }
}
