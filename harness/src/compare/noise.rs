//! A variant compared with itself: what a machine calls different although it is the same, and how small a
//! difference it can tell from none.

use serde::Serialize;

use crate::results::metrics::{ALLOCATOR_PER_EVENT, BUSY_PER_EVENT};
use crate::stats::{
    NOISE_THRESHOLD, NetRatio, Power, Ratio, Shared, Verdict, net_ratio, paired_ratio, verdict,
};

/// What a metric shows for a variant compared with itself. An empty number of blocks means that more than 100 are
/// needed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NoiseRow {
    /// Workload's name.
    pub workload: String,
    /// The metric's name in summary.csv.
    pub metric: String,
    /// Blocks that were measured.
    pub blocks: u64,
    /// Ratio of one to the other within blocks.
    pub ratio: f64,
    /// Lower end of its interval.
    pub ratio_low: f64,
    /// Upper end of its interval.
    pub ratio_high: f64,
    /// What it shows: anything except no difference is a fault of the machine or of the measurement.
    pub verdict: Verdict,
    /// Blocks that tell a difference of 2 % from none.
    pub blocks_for_2_percent: Option<u64>,
    /// Blocks that tell a difference of 5 % from none.
    pub blocks_for_5_percent: Option<u64>,
    /// Blocks that tell a difference of 10 % from none.
    pub blocks_for_10_percent: Option<u64>,
    /// Blocks until a difference of 5 % is beyond the noise threshold, and so has a verdict.
    pub blocks_for_verdict_at_5_percent: Option<u64>,
    /// Blocks until a difference of 10 % has a verdict.
    pub blocks_for_verdict_at_10_percent: Option<u64>,
}

impl NoiseRow {
    /// What blocks of a variant and itself show, compared as in a report: busy time without the harness's share, if
    /// the rest can be told from nothing. None if there are too few blocks, or they contain zeros.
    pub fn of_blocks(workload: &str, metric: &str, blocks: &[Shared], seed: u64) -> Option<NoiseRow> {
        if metric == BUSY_PER_EVENT
            && blocks.iter().any(|block| block.harness > 0.0)
            && let Some(NetRatio::Known(ratio)) = net_ratio(&[blocks.to_vec()], seed)
        {
            let net = |block: &Shared| (block.variant - block.harness, block.base - block.harness);
            let pairs: Vec<(f64, f64)> = blocks.iter().map(net).collect();
            if let Some(row) = NoiseRow::of_ratio(workload, ALLOCATOR_PER_EVENT, ratio, &pairs, seed) {
                return Some(row);
            }
        }
        let pairs: Vec<(f64, f64)> = blocks.iter().map(|block| (block.variant, block.base)).collect();
        NoiseRow::of_ratio(workload, metric, paired_ratio(&pairs)?, &pairs, seed)
    }

    fn of_ratio(
        workload: &str,
        metric: &str,
        ratio: Ratio,
        pairs: &[(f64, f64)],
        seed: u64,
    ) -> Option<NoiseRow> {
        let interval = ratio.interval?;
        let power = Power::of_pairs(pairs, seed)?;
        let told = |difference| power.blocks_for(difference, 0.0).map(|blocks| blocks as u64);
        let called = |difference| power.blocks_for(difference, NOISE_THRESHOLD).map(|blocks| blocks as u64);
        Some(NoiseRow {
            workload: workload.to_owned(),
            metric: metric.to_owned(),
            blocks: ratio.blocks as u64,
            ratio: ratio.estimate,
            ratio_low: interval.low,
            ratio_high: interval.high,
            verdict: verdict(&ratio, NOISE_THRESHOLD),
            blocks_for_2_percent: told(0.02),
            blocks_for_5_percent: told(0.05),
            blocks_for_10_percent: told(0.10),
            blocks_for_verdict_at_5_percent: called(0.05),
            blocks_for_verdict_at_10_percent: called(0.10),
        })
    }

    /// Whether the same was called different.
    pub fn is_fault(&self) -> bool {
        matches!(self.verdict, Verdict::Smaller | Verdict::Larger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(metric: &str, blocks: &[Shared]) -> Option<NoiseRow> {
        NoiseRow::of_blocks("w", metric, blocks, 1)
    }

    fn blocks(variant: f64, base: f64, harness: f64, count: usize) -> Vec<Shared> {
        vec![Shared { variant, base, harness }; count]
    }

    #[test]
    fn equal_pairs_tell_every_difference_with_the_fewest_blocks() {
        let row = row("busy_ns_per_event", &blocks(40.0, 40.0, 0.0, 10)).expect("ten blocks");
        assert_eq!((row.verdict, row.is_fault(), row.blocks), (Verdict::NoDifference, false, 10));
        assert_eq!((row.blocks_for_2_percent, row.blocks_for_verdict_at_5_percent), (Some(6), Some(6)));
    }

    #[test]
    fn one_that_differs_from_itself_is_a_fault() {
        let row = row("busy_ns_per_event", &blocks(50.0, 40.0, 0.0, 10)).expect("ten blocks");
        assert!(row.is_fault());
        let many = row.blocks_for_2_percent.is_none_or(|blocks| blocks >= 30);
        assert!(many, "noise of a quarter hides 2 %: {row:?}");
    }

    #[test]
    fn the_share_of_the_harness_hides_no_fault() {
        let net = row("busy_ns_per_event", &blocks(41.0, 40.0, 30.0, 10)).expect("ten blocks");
        assert_eq!((net.metric.as_str(), net.is_fault()), ("allocator_ns_per_event", true), "{net:?}");
        assert!((net.ratio - 1.1).abs() < 1e-9, "{net:?}");
        let drowned = row("busy_ns_per_event", &blocks(40.0, 40.0, 41.0, 10)).expect("ten blocks");
        assert_eq!((drowned.metric.as_str(), drowned.is_fault()), ("busy_ns_per_event", false));
    }

    #[test]
    fn few_blocks_and_zeroes_say_nothing() {
        assert_eq!(row("m", &blocks(1.0, 1.0, 0.0, 5)), None);
        assert_eq!(row("m", &blocks(0.0, 0.0, 0.0, 10)), None);
    }
}
