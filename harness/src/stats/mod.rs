//! Statistics of samples: pure functions over numbers, without I/O and without a word of memory.
//!
//! Everything is distribution-free: benchmark samples are skewed and have outliers, so medians
//! stand for means, and intervals come from exact discrete distributions with the coverage that
//! they achieve, which is never the round 95 % that was asked for. Only derived quantities, which
//! have no exact interval, are resampled: a bootstrap of few samples covers less than it claims.

mod bootstrap;
#[cfg(test)]
mod known;
mod mean;
mod normal;
mod order;
mod paired;
mod percentile;
mod power;
mod separate;
mod spread;
mod student;
mod verdict;

pub use bootstrap::{RESAMPLES, bca_interval};
pub use mean::geometric_mean;
pub use order::{Interval, MIN_BLOCKS, WANTED_COVERAGE, median, median_interval};
pub use paired::{Ratio, paired_ratio};
pub use percentile::percentile;
pub use power::{Power, WANTED_POWER};
pub use separate::{mann_whitney, separate_ratio};
pub use spread::{OUTLIER_SCORE, mad, outliers};
pub use verdict::{NOISE_THRESHOLD, Verdict, verdict};
