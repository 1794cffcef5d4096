//! Whether a variant's memory still grows at the end of a run: a longer run would then give different
//! figures.

use super::analysis::Analysis;
use super::units;
use crate::results::Pass;
use crate::stats::{median, shown_growth};

/// Growth from the second third of the time to the last.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    /// How much mean memory grew, as a fraction: median over blocks.
    fraction: f64,
    /// How fast, if times are real.
    speed: Option<Speed>,
}

/// Growth over time, per unit of time that the run lasted for: growth per hour means nothing for a
/// run of a second.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Speed {
    bytes: f64,
    per: &'static str,
}

/// Units of time, the longest first, in ns.
const UNITS: [(&str, f64); 3] = [("an hour", 3600e9), ("a minute", 60e9), ("a second", 1e9)];

impl Growth {
    /// The growth of a variant; none if it is within the noise threshold, or not shown by the blocks.
    pub(super) fn of(analysis: &Analysis<'_>, workload: &str, variant: &str, pass: Pass) -> Option<Growth> {
        let samples = analysis.ok_samples(workload, pass).filter(|(_, sample)| sample.variant == variant);
        let thirds = samples.filter_map(|(_, sample)| {
            let middle = sample.resident_middle_third_bytes.filter(|bytes| *bytes > 0)? as f64;
            Some((sample.resident_last_third_bytes? as f64, middle, sample.wall_ns))
        });
        let thirds: Vec<(f64, f64, Option<u64>)> = thirds.collect();
        let fractions: Vec<f64> = thirds.iter().map(|(last, middle, _)| last / middle - 1.0).collect();
        let fraction = shown_growth(&fractions)?;
        let length_ns = |wall_ns: Option<u64>| match pass {
            Pass::Exec => wall_ns,
            _ => analysis.workload(workload)?.duration_ns.filter(|_| analysis.has_times(workload)),
        };
        let timed = thirds.iter().filter_map(|&(last, middle, wall_ns)| {
            let length_ns = length_ns(wall_ns).filter(|ns| *ns > 0)? as f64;
            Some((length_ns, (last - middle) / (length_ns / 3.0)))
        });
        let (lengths_ns, bytes_per_ns): (Vec<f64>, Vec<f64>) = timed.unzip();
        let speed = median(&lengths_ns).zip(median(&bytes_per_ns)).map(|(length_ns, bytes_per_ns)| {
            let unit = UNITS.into_iter().find(|(_, unit_ns)| *unit_ns <= length_ns);
            let (per, unit_ns) = unit.unwrap_or(UNITS[UNITS.len() - 1]);
            Speed { bytes: bytes_per_ns * unit_ns, per }
        });
        Some(Growth { fraction, speed })
    }

    /// The growth in words: how much, and how fast.
    pub(super) fn describe(self) -> String {
        let speed = self
            .speed
            .map_or(String::new(), |Speed { bytes, per }| format!(" ({} {per})", units::bytes(bytes)));
        format!("{}{speed}", units::percent(self.fraction))
    }
}
