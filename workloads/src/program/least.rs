//! The least length of a trace's program, known before it is compiled.

use heaplab_trace::Summary;

use super::group::{GROUP_OPS, group_bytes};

/// The fewest bytes that the programs of a trace with these totals take: each object is allocated and freed,
/// each in a group of similar operations, which is the shortest encoding of an operation.
#[must_use]
pub fn least_bytes(summary: &Summary) -> u64 {
    const FREES: u64 = group_bytes(0) as u64;
    const MALLOCS: u64 = group_bytes((1 << GROUP_OPS) - 1) as u64;
    // NOTE: a damaged file may say any number.
    summary.objects.saturating_mul(FREES + MALLOCS) / GROUP_OPS as u64
}
