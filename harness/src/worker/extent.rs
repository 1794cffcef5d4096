//! How much fresh memory: what a replay needs, what was warmed for it, what it used. Plain values of jobs and replies.

use serde::{Deserialize, Serialize};

/// A pass whose pages cost less than this many times the lowest known cost ran over warm memory.
const NEAR: f64 = 1.5;

/// How much fresh memory is written to, in pages of each size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Bytes in small pages.
    pub small_bytes: u64,
    /// Bytes in huge pages.
    pub huge_bytes: u64,
}

impl Extent {
    /// Bytes of a transparent huge page on x86-64, and on arm64 with pages of 4 KiB.
    pub const HUGE_PAGE_BYTES: u64 = 2 << 20;
}

/// CPU time of the first write to a page of each size; none if no page of that size was written to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageCosts {
    /// A page of 4 KiB.
    pub small_ns: Option<u64>,
    /// A huge page of 2 MiB.
    pub huge_ns: Option<u64>,
}

impl PageCosts {
    /// The lower of two costs of each size.
    #[must_use]
    pub fn least(self, other: PageCosts) -> PageCosts {
        let least = |one: Option<u64>, other: Option<u64>| one.into_iter().chain(other).min();
        PageCosts {
            small_ns: least(self.small_ns, other.small_ns),
            huge_ns: least(self.huge_ns, other.huge_ns),
        }
    }

    /// Whether no size costs more than [`NEAR`] times its cost in `other`. A size that `other` does not know is
    /// never near.
    pub(super) fn is_near(self, other: PageCosts) -> bool {
        let near = |cost: Option<u64>, known: Option<u64>| match (cost, known) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(cost), Some(known)) => cost as f64 <= known as f64 * NEAR,
        };
        near(self.small_ns, other.small_ns) && near(self.huge_ns, other.huge_ns)
    }
}

/// The result of writing to memory until it was warm.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warmed {
    /// The memory that was written to. Huge pages that the kernel did not provide count as small ones.
    pub extent: Extent,
    /// The first pass: pages that the host had not backed cost more.
    pub first: PageCosts,
    /// The last pass.
    pub last: PageCosts,
    /// Whether the last pass cost as much as warm memory does.
    pub is_warm: bool,
}

/// What must be backed before a replay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// How much memory.
    pub extent: Extent,
    /// The cost of warm pages on this machine, as far as an earlier sample measured it.
    pub known: PageCosts,
}

/// The memory that a replay used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// In pages of each size.
    pub extent: Extent,
    /// Page faults that were served with a huge page. The kernel counts those of all processes, so this is an upper
    /// bound; none if it does not count them.
    pub huge_faults: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(small_ns: u64, huge_ns: u64) -> PageCosts {
        PageCosts { small_ns: Some(small_ns), huge_ns: Some(huge_ns) }
    }

    #[test]
    fn a_cost_is_near_where_it_is_no_more_than_half_above() {
        assert!(costs(1500, 400_000).is_near(costs(1000, 400_000)));
        assert!(!costs(1600, 400_000).is_near(costs(1000, 400_000)));
        assert!(!costs(1000, 7_000_000).is_near(costs(1000, 400_000)));
        assert!(!costs(1000, 400_000).is_near(PageCosts::default()), "nothing is known");
        assert!(PageCosts::default().is_near(costs(1, 1)), "nothing was written to");
        assert_eq!(costs(5, 9).least(PageCosts { small_ns: Some(7), huge_ns: None }), costs(5, 9));
    }
}
