//! What a validation compares: memory counted in one way, as predicted, as recorded, and as measured.

use std::collections::HashMap;

use super::prediction::{Prediction, Predictions, find_base};
use super::progress::Progress;
use super::samples::values;
use super::tree::TreePredictions;
use crate::results::{Counting, MemoryPoint, Pass, ResultsError, Run, RunTree, Sample, Status};

static NONE: Vec<MemoryPoint> = Vec::new();

/// Memory of one variant over time.
#[derive(Debug, Clone, PartialEq)]
pub struct Curves {
    /// Variant's label.
    pub variant: String,
    /// Its allocator.
    pub allocator: String,
    /// The prediction of the block whose mean is the median.
    pub predicted: Vec<MemoryPoint>,
    /// The program's own samples.
    pub real: Vec<Vec<MemoryPoint>>,
}

/// One way of counting.
pub(super) struct Subject<'a> {
    pub(super) counting: Counting,
    pub(super) recorded: &'a [MemoryPoint],
    pub(super) curves: Vec<Curves>,
    predicted: Vec<(&'a str, &'a Prediction)>,
    /// How the CPU time of each of the program's own samples accumulated, by variant.
    progress: Vec<(&'a str, Progress)>,
    /// The variant of the recording.
    base: Option<String>,
    replays: &'a Run,
    real: &'a Run,
}

impl<'a> Subject<'a> {
    /// The subjects of a validation, the first of which is plotted: one for a process, both ways of counting
    /// for a tree.
    pub(super) fn all(
        replays: &'a Run,
        real: &'a Run,
        predictions: &'a Predictions,
        trees: &'a TreePredictions,
    ) -> Result<Vec<Subject<'a>>, ResultsError> {
        if let Some(tree) = replays.file.trees.first() {
            return Subject::of_tree(replays, real, tree, trees);
        }
        let recorded = predictions.recorded.iter().next();
        // A model has no recorded process.
        let modelled = predictions.outside_malloc.keys().next().map(|workload| (workload, &NONE));
        let Some((workload, recorded)) = recorded.or(modelled) else { return Ok(Vec::new()) };
        let mut places: Vec<_> = predictions.of_samples.iter().collect();
        places.sort_by_key(|(place, _)| **place);
        let predicted = places.into_iter().map(|(place, found)| (&*replays.samples[*place].variant, found));
        let base = find_base(replays, workload).ok();
        let subject = Subject::of(Counting::Process, recorded, predicted.collect(), base, (replays, real))?;
        Ok(vec![subject])
    }

    fn of_tree(
        replays: &'a Run,
        real: &'a Run,
        tree: &'a RunTree,
        trees: &'a TreePredictions,
    ) -> Result<Vec<Subject<'a>>, ResultsError> {
        let Some(recorded) = trees.recorded.get(&tree.name) else { return Ok(Vec::new()) };
        let base = tree.members.iter().find_map(|member| find_base(replays, &member.workload).ok());
        let of_tree = || trees.all.iter().filter(|found| found.tree == tree.name);
        let known = [Counting::Once, Counting::Sum].into_iter();
        let subjects = known.filter_map(|counting| {
            let points = recorded.of(counting)?;
            let predicted = of_tree().filter_map(|found| Some((&*found.variant, found.of(counting)?)));
            Some(Subject::of(counting, points, predicted.collect(), base.clone(), (replays, real)))
        });
        subjects.collect()
    }

    fn of(
        counting: Counting,
        recorded: &'a [MemoryPoint],
        predicted: Vec<(&'a str, &'a Prediction)>,
        base: Option<String>,
        (replays, real): (&'a Run, &'a Run),
    ) -> Result<Subject<'a>, ResultsError> {
        let (mut points, mut cpu): (HashMap<usize, Vec<MemoryPoint>>, HashMap<usize, Vec<u64>>) =
            (HashMap::new(), HashMap::new());
        real.each_program_point(|place, point| {
            let bytes = match counting {
                Counting::Process | Counting::Sum => Some(point.resident_bytes),
                Counting::Once => point.once_bytes,
            };
            if let Some(resident_bytes) = bytes.filter(|_| real.samples[place].status == Status::Ok) {
                points.entry(place).or_default().push(MemoryPoint { time_ns: point.time_ns, resident_bytes });
                cpu.entry(place).or_default().extend(point.cpu_ns);
            }
        })?;
        let mut places: Vec<usize> = points.keys().copied().collect();
        places.sort_unstable();
        let progress = places.iter().filter_map(|place| {
            Some((&*real.samples[*place].variant, Progress::of(&points[place], cpu.get(place)?)?))
        });
        let progress = progress.collect();
        let curves = real.file.variants.iter().map(|variant| Curves {
            variant: variant.label.clone(),
            allocator: variant.allocator.clone(),
            predicted: middle(&predicted, &variant.label)
                .map(|shown| shown.points.clone())
                .unwrap_or_default(),
            real: places
                .iter()
                .filter(|place| real.samples[**place].variant == variant.label)
                .map(|place| points[place].clone())
                .collect(),
        });
        let curves = curves.collect();
        Ok(Subject { counting, recorded, curves, predicted, progress, base, replays, real })
    }

    /// The predictions for a variant, one per block.
    pub(super) fn predicted(&self, variant: &str) -> impl Iterator<Item = &'a Prediction> {
        self.predicted.iter().filter(move |(label, _)| *label == variant).map(|(_, found)| *found)
    }

    /// The largest memory of each of the program's own samples.
    pub(super) fn real_peaks(&self, variant: &str) -> Vec<f64> {
        self.real_values(variant, |sample| sample.once_peak_bytes, |sample| sample.resident_peak_bytes)
    }

    /// The mean memory of each.
    pub(super) fn real_means(&self, variant: &str) -> Vec<f64> {
        self.real_values(variant, |sample| sample.once_mean_bytes, |sample| sample.resident_mean_bytes)
    }

    fn real_values(
        &self,
        variant: &str,
        once: fn(&Sample) -> Option<u64>,
        all: fn(&Sample) -> Option<u64>,
    ) -> Vec<f64> {
        let figure = if self.counting == Counting::Once { once } else { all };
        values(self.real, variant, Pass::Exec, figure)
    }

    /// A figure of the bytes that the recorded process had requested; it is not known for a tree, because its
    /// processes had their peaks at different times.
    pub(super) fn requested(&self, variant: &str, figure: fn(&Sample) -> Option<u64>) -> Vec<f64> {
        match self.counting {
            Counting::Process => values(self.replays, variant, Pass::Memory, figure),
            Counting::Once | Counting::Sum => Vec::new(),
        }
    }

    /// Means over equal progress: of each prediction for a variant, and of each of the program's own samples. None if
    /// it is not known how the program's CPU time accumulated.
    pub(super) fn means_over_progress(&self, variant: &str) -> Option<(Vec<f64>, Vec<f64>)> {
        let of = |label: &str| {
            let of_label = self.progress.iter().filter(|(of, _)| *of == label);
            of_label.map(|(_, progress)| progress).collect::<Vec<_>>()
        };
        let of_base = of(self.base.as_deref()?);
        let predicted = self.predicted(variant).flat_map(|found| {
            of_base.iter().filter_map(|progress| progress.mean_of(&found.points)).collect::<Vec<_>>()
        });
        let real = of(variant).into_iter().filter_map(Progress::mean);
        let (predicted, real): (Vec<f64>, Vec<f64>) = (predicted.collect(), real.collect());
        (!predicted.is_empty() && !real.is_empty()).then_some((predicted, real))
    }
}

/// The prediction of a variant whose mean is the median (the lower of two).
fn middle<'a>(predicted: &[(&str, &'a Prediction)], variant: &str) -> Option<&'a Prediction> {
    let mut of_variant: Vec<&Prediction> =
        predicted.iter().filter(|(label, _)| *label == variant).map(|(_, found)| *found).collect();
    of_variant.sort_by_key(|found| found.mean_bytes);
    of_variant.get(of_variant.len().saturating_sub(1) / 2).copied()
}
