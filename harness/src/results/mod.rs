//! The files of a run's directory.

mod sample;

pub use sample::{LatencyBucket, Pass, Sample, Status, TimelinePoint};
