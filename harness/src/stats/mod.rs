//! Statistics of samples: pure functions over numbers, without I/O and ignorant of memory.
//!
//! Most of it is distribution-free: benchmark samples are skewed and have outliers, so medians take the place of means,
//! and intervals come from exact discrete distributions and state the coverage that they achieve, which is never the
//! round 95 % that was asked for. Only derived quantities, which have no exact interval, are resampled: a bootstrap of
//! few samples covers less than it claims. The interval of memory covers the mean too, and many comparisons at once use
//! Student's at a level that ranks of few blocks cannot reach.

mod bootstrap;
mod components;
mod growth;
mod mean;
mod median;
mod middle;
mod net_ratio;
mod normal;
mod percentile;
mod power;
mod rank_sum;
#[cfg(test)]
mod scipy;
mod sequential;
mod signed_rank;
mod spread;
mod student;
mod verdict;
mod warm_up;
mod weighted;

pub use bootstrap::{RESAMPLES, bca_interval};
pub use components::{Components, MIN_TWINS, components};
pub use growth::shown_growth;
pub use mean::geometric_mean;
pub use median::{Interval, MIN_BLOCKS, WANTED_COVERAGE, median, median_interval};
pub use middle::middle_interval;
pub use net_ratio::{NetRatio, Shared, net_ratio};
pub use percentile::percentile;
pub use power::{Power, WANTED_POWER};
pub use rank_sum::{mann_whitney, separate_ratio};
pub use sequential::{Side, Walk, lead_for, odds_of};
pub use signed_rank::{Ratio, paired_ratio};
pub use spread::{OUTLIER_SCORE, mad, outliers};
pub use student::{mean_and_variance, student_mean, student_quantile, welch_difference};
pub use verdict::{NOISE_THRESHOLD, Verdict, verdict};
pub use warm_up::{WarmUp, warm_up};
pub use weighted::{TimeWeighted, mean_between, percentile_over_time};
