//! A sequential test of whether ratios lie above a limit or below it: it takes as many blocks as it needs, and no more.
//!
//! Each block's ratio is on one side of the limit or the other. The test is decided when one side is ahead by a fixed
//! number of blocks, the lead. It is Wald's sequential probability ratio test of a sign that is right with probability
//! 3/4 against one that is right with 1/4 (Wald, Sequential Analysis, 1947): the sum of its steps of ln 3 is a random
//! walk between two walls, and the odds that it ends at the wrong one are exactly
//!
//! ```text
//! 1 / (1 + 3^lead)
//! ```
//!
//! if blocks are on their true side with probability 3/4, and less if that probability is higher. Nothing else is
//! assumed about the distribution of ratios.

/// The result of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The ratio is above the limit.
    Above,
    /// It is not.
    Below,
}

/// The walk of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Walk {
    lead: u32,
    /// Blocks above minus blocks below.
    place: i64,
}

/// The smallest lead with which the odds of a wrong decision are at most these.
///
/// ```
/// use heaplab::stats::{lead_for, odds_of};
/// assert_eq!(lead_for(0.01), 5);
/// assert_eq!(odds_of(5), 1.0 / 244.0);
/// ```
#[must_use]
pub fn lead_for(odds: f64) -> u32 {
    (1..=40).find(|&lead| odds_of(lead) <= odds).unwrap_or(40)
}

/// The largest odds of a wrong decision with this lead.
#[must_use]
pub fn odds_of(lead: u32) -> f64 {
    1.0 / (1.0 + 3f64.powi(lead.min(60) as i32))
}

impl Walk {
    /// A test that is decided with this lead.
    #[must_use]
    pub fn new(lead: u32) -> Walk {
        Walk { lead: lead.max(1), place: 0 }
    }

    /// Adds a block on this side of the limit; returns the side that the ratio is on, once that is decided.
    pub fn add(&mut self, side: Side) -> Option<Side> {
        self.place += if side == Side::Above { 1 } else { -1 };
        self.decided()
    }

    /// The side that the ratio is on; none while neither is far enough ahead.
    #[must_use]
    pub fn decided(&self) -> Option<Side> {
        let lead = i64::from(self.lead);
        match self.place {
            place if place >= lead => Some(Side::Above),
            place if place <= -lead => Some(Side::Below),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_clear_case_takes_as_many_blocks_as_the_lead() {
        let mut walk = Walk::new(3);
        assert_eq!([Side::Below; 2].map(|side| walk.add(side)), [None, None]);
        assert_eq!(walk.add(Side::Above), None);
        assert_eq!(walk.add(Side::Below), None);
        assert_eq!(walk.add(Side::Below), Some(Side::Below));
    }

    #[test]
    fn a_lead_is_the_least_that_keeps_the_odds() {
        for odds in [0.2, 0.01, 1e-4] {
            let lead = lead_for(odds);
            assert!(odds_of(lead) <= odds && odds_of(lead - 1) > odds, "{odds}: {lead}");
        }
    }

    #[test]
    fn decisions_are_wrong_as_often_as_the_formula_says() {
        // 40,000 walks of a sign that is right in three of four blocks: 1 of 28 is wrong with a lead of 3.
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let mut wrong = 0;
        const WALKS: u32 = 40_000;
        for _ in 0..WALKS {
            let mut walk = Walk::new(3);
            let side = loop {
                let side = if random.random_range(0..4) < 3 { Side::Above } else { Side::Below };
                if let Some(side) = walk.add(side) {
                    break side;
                }
            };
            wrong += u32::from(side == Side::Below);
        }
        let expected = odds_of(3) * f64::from(WALKS);
        // Four standard deviations of a binomial count.
        assert!((f64::from(wrong) - expected).abs() < 4.0 * expected.sqrt(), "{wrong} of {expected}");
    }
}
