//! The options that put each sample into its own control group.

use heaplab_workloads::simulate::parse_size_bytes;

use crate::group::GroupLimits;

/// The limits of each sample.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct LimitArgs {
    /// Put each sample into its own control group, in which the kernel kills processes at this much memory,
    /// such as 512MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    memory_max: Option<u64>,
    /// Put each sample into its own control group, which is slowed down above this much memory (version 2
    /// only)
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    memory_high: Option<u64>,
    /// Swap that such a group may use
    #[arg(long, value_name = "SIZE", value_parser = parse_size_bytes)]
    swap_max: Option<u64>,
}

impl LimitArgs {
    /// The limits; none if none was given.
    pub(super) fn limits(self) -> Option<GroupLimits> {
        let limits = GroupLimits {
            max_bytes: self.memory_max,
            high_bytes: self.memory_high,
            swap_max_bytes: self.swap_max,
        };
        limits.is_some().then_some(limits)
    }
}
