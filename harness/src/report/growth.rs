//! Whether a variant's memory still grows at the end of a run: then a longer run has other figures.

use super::analysis::Analysis;
use super::units;
use crate::results::Pass;
use crate::stats::{NOISE_THRESHOLD, median, median_interval};

/// Growth from the second third of the time to the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    /// By how much mean memory grew, as a fraction: median over blocks.
    fraction: f64,
    /// How fast, where times are times.
    bytes_per_hour: Option<f64>,
}

impl Growth {
    /// The growth of a variant; none where it is within the noise threshold, or not shown by the blocks.
    pub(super) fn of(analysis: &Analysis<'_>, workload: &str, variant: &str, pass: Pass) -> Option<Growth> {
        let samples = analysis.ok_samples(workload, pass).filter(|(_, sample)| sample.variant == variant);
        let thirds = samples.filter_map(|(_, sample)| {
            let middle = sample.resident_middle_third_bytes.filter(|bytes| *bytes > 0)? as f64;
            Some((sample.resident_last_third_bytes? as f64, middle, sample.wall_ns))
        });
        let thirds: Vec<(f64, f64, Option<u64>)> = thirds.collect();
        let fractions: Vec<f64> = thirds.iter().map(|(last, middle, _)| last / middle - 1.0).collect();
        let fraction = median(&fractions)?;
        let is_shown = median_interval(&fractions).is_none_or(|interval| interval.low > 0.0);
        if fraction <= NOISE_THRESHOLD || !is_shown {
            return None;
        }
        let length_ns = |wall_ns: Option<u64>| match pass {
            Pass::Exec => wall_ns,
            _ => analysis.workload(workload)?.duration_ns.filter(|_| analysis.has_times(workload)),
        };
        let speeds = thirds.iter().filter_map(|&(last, middle, wall_ns)| {
            let third_h = length_ns(wall_ns).filter(|ns| *ns > 0)? as f64 / 3.0 / 3600e9;
            Some((last - middle) / third_h)
        });
        Some(Growth { fraction, bytes_per_hour: median(&speeds.collect::<Vec<f64>>()) })
    }

    /// The growth in words.
    pub(super) fn describe(self) -> String {
        let speed =
            self.bytes_per_hour.map_or(String::new(), |bytes| format!(", {} an hour", units::bytes(bytes)));
        let percent = units::percent(self.fraction);
        format!(
            "memory still grows: {percent} from the second third of the time to the last{speed}; a longer run has other figures"
        )
    }
}
