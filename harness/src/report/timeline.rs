//! Memory over trace time: one sample for each variant, thinned to what a plot can show.
//!
//! It shows the block whose mean resident memory is the median (the lower of two). If blocks have loads of their own,
//! it shows one block for all variants, the nearest to all their medians: lines of different loads compare nothing.
//! Points are streamed and merged in pairs when there are too many, keeping each stretch's smallest and largest
//! resident figure, so that no peak is lost and memory does not grow with the file.

use std::collections::{BTreeMap, HashMap};

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

/// Which block of each variant a plot shows that is of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// Every block has the same load: each variant's median.
    Median,
    /// Blocks have loads of their own: this block of every variant.
    Common(u32),
    /// Blocks have loads of their own, and none has an ok sample of every variant: each variant's median.
    Apart,
}

impl Choice {
    /// The choice in a sentence; `figure` is the one whose median counts.
    pub(super) fn describe(self, figure: &str) -> String {
        match self {
            Choice::Median => format!("For each variant the block whose {figure} is the median."),
            Choice::Common(block) => format!(
                "Each block has a load of its own: of every variant block {block} is shown, whose {figure} is nearest to \
                 the median over all variants."
            ),
            Choice::Apart => format!(
                "Different loads are shown: each block has its own, and none has an ok sample of every variant. For \
                 each variant the block whose {figure} is the median."
            ),
        }
    }
}

/// What such a plot shows of a workload.
pub(super) struct Chosen {
    pub(super) choice: Choice,
    /// The index of a sample for each variant that has one.
    pub(super) places: BTreeMap<String, usize>,
}

/// Chooses the samples of a pass that such a plot shows.
pub(super) fn choose(
    analysis: &Analysis<'_>,
    workload: &str,
    pass: Pass,
    figure: impl Fn(usize, &Sample) -> Option<u64>,
) -> Chosen {
    let mut of_variants: BTreeMap<&str, Vec<Figure>> = BTreeMap::new();
    for (place, sample) in analysis.ok_samples(workload, pass) {
        if let Some(bytes) = figure(place, sample) {
            let figures = of_variants.entry(&sample.variant).or_default();
            figures.push(Figure { bytes, place, block: sample.block });
        }
    }
    of_variants.values_mut().for_each(|figures| figures.sort_unstable());
    let varies = analysis.workload(workload).is_some_and(|workload| workload.varies_load);
    let common = varies.then(|| middle_block(&of_variants)).flatten();
    let pick = |figures: &[Figure]| match common {
        Some(block) => figures.iter().find(|figure| figure.block == block).copied(),
        None => figures.get(figures.len().saturating_sub(1) / 2).copied(),
    };
    let places = of_variants
        .iter()
        .filter_map(|(variant, figures)| Some(((*variant).to_owned(), pick(figures)?.place)));
    let choice = match (varies, common) {
        (false, _) => Choice::Median,
        (true, Some(block)) => Choice::Common(block),
        (true, None) => Choice::Apart,
    };
    Chosen { choice, places: places.collect() }
}

/// A sample's figure; ordered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Figure {
    bytes: u64,
    place: usize,
    block: u32,
}

/// The block that is nearest to the middle of every variant's figures, which ascend: the smallest sum of its ranks'
/// distances from the middle. None if no block has all variants.
fn middle_block(of_variants: &BTreeMap<&str, Vec<Figure>>) -> Option<u32> {
    let from_middle = |figures: &Vec<Figure>, block: u32| {
        let rank = figures.iter().position(|figure| figure.block == block)?;
        Some((2 * rank).abs_diff(figures.len() - 1))
    };
    let distances = of_variants.values().next()?.iter().filter_map(|figure| {
        let each = of_variants.values().map(|figures| from_middle(figures, figure.block));
        Some((each.sum::<Option<usize>>()?, figure.block))
    });
    distances.min().map(|(_, block)| block)
}

/// Timelines by workload and variant.
#[derive(Debug, Default)]
pub(super) struct Timelines {
    all: HashMap<(String, String), Timeline>,
    choices: HashMap<String, Choice>,
}

impl Timelines {
    /// The timeline of a variant; none if none was measured.
    pub(super) fn get(&self, workload: &str, variant: &str) -> Option<&Timeline> {
        self.all.get(&(workload.to_owned(), variant.to_owned()))
    }

    /// Which blocks of a workload they are of.
    pub(super) fn choice(&self, workload: &str) -> Choice {
        self.choices.get(workload).copied().unwrap_or(Choice::Median)
    }
}

/// Streams timeline.csv once and keeps the shown sample of each workload and variant.
pub(super) fn read(analysis: &Analysis<'_>, notes: &mut Vec<String>) -> Result<Timelines, ResultsError> {
    let mut shown: HashMap<usize, Timeline> = HashMap::new();
    let mut choices = HashMap::new();
    for workload in &analysis.workloads {
        let chosen = choose(analysis, workload, Pass::Memory, |_, sample| sample.resident_mean_bytes);
        shown.extend(chosen.places.values().map(|place| (*place, Timeline::default())));
        choices.insert(workload.clone(), chosen.choice);
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
    Ok(Timelines { all: named.collect(), choices })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_block_is_the_nearest_to_the_middle_of_all_variants() {
        let figures = |blocks: &[u32]| -> Vec<Figure> {
            let ascending = blocks.iter().enumerate();
            ascending.map(|(at, &block)| Figure { bytes: at as u64, place: at, block }).collect()
        };
        let of = |variants: &[(&'static str, &[u32])]| {
            middle_block(&variants.iter().map(|(name, blocks)| (*name, figures(blocks))).collect())
        };
        assert_eq!(of(&[("a", &[3, 1, 2])]), Some(1));
        // Block 2 is the median of neither, and near to that of both.
        assert_eq!(of(&[("a", &[0, 1, 2, 3, 4, 5, 6]), ("b", &[3, 4, 1, 0, 2, 5, 6])]), Some(2));
        // Block 1 failed under b.
        assert_eq!(of(&[("a", &[0, 1, 2]), ("b", &[2, 0])]), Some(0));
        assert_eq!(of(&[("a", &[0, 1]), ("b", &[2, 3])]), None);
        assert_eq!(of(&[]), None);
    }

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
