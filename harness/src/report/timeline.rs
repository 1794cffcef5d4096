//! Memory over trace time: one sample for each variant, thinned to what a plot can show.
//!
//! It shows the block whose mean resident memory is the median (the lower of two). Points are streamed and
//! merged in pairs when there are too many, keeping each stretch's smallest and largest resident figure, so
//! that no peak is lost and memory does not grow with the file.

use std::collections::HashMap;

use super::analysis::Analysis;
use crate::results::{Pass, ResultsError, Sample};
use crate::worker::Checkpoint;

/// Most stretches of a thinned timeline: more than a plot has columns of pixels.
const MOST_STRETCHES: usize = 4096;

/// Consecutive checkpoints of one sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Time of the first.
    pub(super) time_ns: u64,
    /// Smallest and largest resident bytes.
    pub(super) resident_bytes: (u64, u64),
    /// Largest requested bytes.
    pub(super) requested_bytes: u64,
    /// Largest difference between usable and requested bytes.
    pub(super) internal_bytes: u64,
    points: u64,
}

/// One sample's memory over trace time.
#[derive(Debug, Clone)]
pub(super) struct Timeline {
    /// Stretches in order of time.
    pub(super) stretches: Vec<Stretch>,
    /// Points of a stretch, doubled whenever there are too many stretches.
    points_each: u64,
}

impl Default for Timeline {
    fn default() -> Timeline {
        Timeline { stretches: Vec::new(), points_each: 1 }
    }
}

impl Timeline {
    /// Adds a checkpoint after the others.
    pub(super) fn push(&mut self, point: Checkpoint) {
        let stretch = Stretch {
            time_ns: point.time_ns,
            resident_bytes: (point.resident_bytes, point.resident_bytes),
            requested_bytes: point.requested_bytes,
            internal_bytes: point.usable_bytes.saturating_sub(point.requested_bytes),
            points: 1,
        };
        match self.stretches.last_mut() {
            Some(last) if last.points < self.points_each => last.join(&stretch),
            _ => self.stretches.push(stretch),
        }
        if self.stretches.len() > MOST_STRETCHES {
            self.points_each *= 2;
            let pairs = self.stretches.chunks(2).map(|pair| {
                let mut joined = pair[0];
                pair[1..].iter().for_each(|next| joined.join(next));
                joined
            });
            self.stretches = pairs.collect();
        }
    }
}

impl Stretch {
    fn join(&mut self, next: &Stretch) {
        self.time_ns = self.time_ns.min(next.time_ns);
        self.resident_bytes.0 = self.resident_bytes.0.min(next.resident_bytes.0);
        self.resident_bytes.1 = self.resident_bytes.1.max(next.resident_bytes.1);
        self.requested_bytes = self.requested_bytes.max(next.requested_bytes);
        self.internal_bytes = self.internal_bytes.max(next.internal_bytes);
        self.points += next.points;
    }
}

/// Timelines by (workload, variant).
pub(super) type Timelines = HashMap<(String, String), Timeline>;

/// Streams timeline.csv once and keeps the shown sample of each workload and variant.
pub(super) fn read(analysis: &Analysis<'_>, notes: &mut Vec<String>) -> Result<Timelines, ResultsError> {
    let mut shown: HashMap<usize, Timeline> = HashMap::new();
    for workload in &analysis.workloads {
        for variant in &analysis.variants {
            let place =
                median_sample(analysis, workload, variant, Pass::Memory, |sample| sample.resident_mean_bytes);
            shown.extend(place.map(|place| (place, Timeline::default())));
        }
    }
    notes.extend(analysis.run.each_timeline_point(|place, point| {
        if let Some(timeline) = shown.get_mut(&place) {
            timeline.push(point);
        }
    })?);
    let named = shown.into_iter().filter(|(_, timeline)| !timeline.stretches.is_empty()).map(
        |(place, mut timeline)| {
            timeline.stretches.sort_by_key(|stretch| stretch.time_ns);
            let sample = &analysis.run.samples[place];
            ((sample.workload.clone(), sample.variant.clone()), timeline)
        },
    );
    Ok(named.collect())
}

/// The index of the ok sample of a pass whose figure is the median, the lower of two.
pub(super) fn median_sample(
    analysis: &Analysis<'_>,
    workload: &str,
    variant: &str,
    pass: Pass,
    figure: fn(&Sample) -> Option<u64>,
) -> Option<usize> {
    let samples = analysis.ok_samples(workload, pass).filter(|(_, sample)| sample.variant == variant);
    let mut figures: Vec<(u64, usize)> =
        samples.filter_map(|(place, sample)| Some((figure(sample)?, place))).collect();
    figures.sort_unstable();
    figures.get(figures.len().saturating_sub(1) / 2).map(|&(_, place)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_timeline_is_thinned_and_keeps_its_peaks() {
        let mut timeline = Timeline::default();
        for time_ns in 0..1_000_000u64 {
            let resident_bytes = match time_ns {
                123_456 => 9_999,
                654_321 => 1,
                _ => 500,
            };
            timeline.push(Checkpoint {
                time_ns,
                requested_bytes: 400,
                usable_bytes: 450,
                resident_bytes,
                inherited_bytes: None,
            });
        }
        let stretches = &timeline.stretches;
        assert!((MOST_STRETCHES / 2..=MOST_STRETCHES).contains(&stretches.len()), "{}", stretches.len());
        assert_eq!(stretches.iter().map(|stretch| stretch.resident_bytes.1).max(), Some(9_999));
        assert_eq!(stretches.iter().map(|stretch| stretch.resident_bytes.0).min(), Some(1));
        assert_eq!(stretches.iter().map(|stretch| stretch.points).sum::<u64>(), 1_000_000);
        assert!(stretches.is_sorted_by_key(|stretch| stretch.time_ns));
    }
}
