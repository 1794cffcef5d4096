//! Statistics of samples: pure functions over numbers, without I/O and without a word of memory.
//!
//! Everything is distribution-free: benchmark samples are skewed and have outliers, so medians
//! stand for means, and intervals come from exact discrete distributions with the coverage that
//! they achieve, which is never the round 95 % that was asked for. Nothing is resampled: a
//! percentile bootstrap of few samples covers far less than it claims.

mod mean;
mod order;
mod paired;
mod percentile;
mod verdict;

pub use mean::geometric_mean;
pub use order::{Interval, MIN_BLOCKS, WANTED_COVERAGE, median, median_interval};
pub use paired::{Ratio, paired_ratio};
pub use percentile::percentile;
pub use verdict::{NOISE_THRESHOLD, Verdict, verdict};
