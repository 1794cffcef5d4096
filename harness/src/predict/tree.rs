//! The memory of a tree of processes under a variant, from the predictions of its members.
//!
//! ```text
//! sum(t, X)  = predictions of all members alive at t, added up
//! once(t, X) = sum(t, X) - shared(t)
//! ```
//!
//! `shared` is the memory that the sum counted more than once during the recording. Memory that a child inherited is in
//! its own prediction as recorded, because no event of its trace created it. So in `once` it cancels, and the inherited
//! heap counts once, as the parent's replay has it.
//!
//! A forked child's replay starts with its parent's history, and knows at each time how much of the inherited memory has
//! not been written to since the fork: `I(t, X)`. What the program itself writes to, which no replay knows, is the same
//! under every allocator:
//!
//! ```text
//! shared(t, X) = shared(t) + I(t, X) - I(t, base)
//! ```
//!
//! where `I` is the sum over the living children. A child whose history is not known starts with an empty heap: it
//! contains the allocator's initial memory again, which counts as shared.
//!
//! Once the tree is asked to stop, its memory no longer counts: a shutdown that touches shared memory is not load, and
//! no run of the program itself measures it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::adding::add_up;
use super::prediction::{Prediction, Predictions};
use crate::results::{Counting, MemoryPoint, OverTime, Pass, Run, RunTree, RunTreeMember};

/// If processes shared more than this fraction of the recorded memory, added up, a prediction is marked as doubtful.
const MUCH_SHARED: f64 = 0.1;

/// Predicted memory of a tree under one variant, from one block's replays.
#[derive(Debug, Clone, PartialEq)]
pub struct TreePrediction {
    /// The tree's name.
    pub tree: String,
    /// The variant.
    pub variant: String,
    /// The block.
    pub block: u32,
    /// The members' memory added up.
    pub sum: Prediction,
    /// With shared pages counted once; none if it is not known what is shared.
    pub once: Option<Prediction>,
}

/// The recorded memory of the processes of a tree, counted in the same way.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedTree {
    /// Added up.
    pub sum: Vec<MemoryPoint>,
    /// With shared pages counted once; none if it is not known what is shared.
    pub once: Option<Vec<MemoryPoint>>,
}

/// The predictions of a run's trees.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TreePredictions {
    /// One for every tree, variant and block of which enough is predicted.
    pub all: Vec<TreePrediction>,
    /// The recorded memory of each tree with a prediction, by its name.
    pub recorded: HashMap<String, RecordedTree>,
    /// Notes for the report.
    pub notes: Vec<String>,
}

impl RecordedTree {
    /// The recorded memory, counted in one way.
    #[must_use]
    pub fn of(&self, counting: Counting) -> Option<&Vec<MemoryPoint>> {
        if counting == Counting::Once { self.once.as_ref() } else { Some(&self.sum) }
    }
}

impl TreePrediction {
    /// The predicted memory, counted in one way.
    #[must_use]
    pub fn of(&self, counting: Counting) -> Option<&Prediction> {
        if counting == Counting::Once { self.once.as_ref() } else { Some(&self.sum) }
    }
}

impl TreePredictions {
    /// The prediction for a variant whose mean is the median (the lower of two).
    #[must_use]
    pub fn middle(&self, tree: &str, variant: &str, counting: Counting) -> Option<&Prediction> {
        let of_variant = self.all.iter().filter(|found| found.tree == tree && found.variant == variant);
        let mut found: Vec<&Prediction> = of_variant.filter_map(|found| found.of(counting)).collect();
        found.sort_by_key(|prediction| prediction.mean_bytes);
        found.get(found.len().saturating_sub(1) / 2).copied()
    }
}

/// Predicts every tree of a run from the predictions of its members.
pub fn predict_trees(run: &Run, predictions: &Predictions) -> TreePredictions {
    let mut places: HashMap<(&str, &str, u32), &Prediction> = HashMap::new();
    for (place, prediction) in &predictions.of_samples {
        let sample = &run.samples[*place];
        places.insert((&sample.workload, &sample.variant, sample.block), prediction);
    }
    let mut found = TreePredictions::default();
    let is_measured = run.samples.iter().any(|sample| sample.pass == Pass::Memory);
    for tree in run.file.trees.iter().filter(|_| is_measured) {
        found.notes.extend(describe_missing(tree));
        if tree.refused.is_none() {
            predict_tree(run, tree, predictions, &places, &mut found);
        }
    }
    found
}

fn predict_tree(
    run: &Run,
    tree: &RunTree,
    predictions: &Predictions,
    places: &HashMap<(&str, &str, u32), &Prediction>,
    found: &mut TreePredictions,
) {
    let recorded_of = |member: &RunTreeMember| predictions.recorded.get(&member.workload);
    let recorded: Vec<Option<Prediction>> = tree
        .members
        .iter()
        .map(|member| {
            let whole = Prediction::of(recorded_of(member)?.clone(), 0);
            Some(whole.kept(predictions.moments, member.first_event_ns))
        })
        .collect();
    let members: Vec<Option<&Prediction>> = recorded.iter().map(Option::as_ref).collect();
    let (sum, once) = add_up(tree, &members);
    let (from, note) = find_start(run, &sum);
    found.notes.extend(note.map(|note| format!("{}: {note}", tree.name)));
    found.notes.extend(describe_unsampled(tree, &members));
    found.notes.extend(describe_forked(tree, &sum, once.as_deref()));
    let before = found.all.len();
    let blocks = run.samples.iter().map(|sample| sample.block).max().map_or(0, |last| last + 1);
    let of = |member: &RunTreeMember, variant: &str, block: u32| {
        places.get(&(member.workload.as_str(), variant, block)).copied()
    };
    // A process whose memory could not be sampled had almost none over time.
    let is_sampled = |member: &RunTreeMember| recorded_of(member).is_some();
    let variants = || run.file.variants.iter().map(|variant| variant.label.as_str());
    let is_never = |member: &&RunTreeMember| {
        variants().all(|variant| (0..blocks).all(|block| of(member, variant, block).is_none()))
    };
    let never: Vec<&RunTreeMember> = tree.members.iter().filter(is_never).collect();
    found.notes.extend(never.iter().filter(|member| is_sampled(member)).map(|member| {
        format!(
            "{}: nothing is predicted for {}, which had {:.1} % of the tree's memory: the tree's figures lack it under \
             every variant, or are not there if more than {:.0} % is missing",
            tree.name,
            member.workload,
            member.share.unwrap_or(1.0) * 100.0,
            RunTree::MOST_MISSING_SHARE * 100.0
        )
    }));
    let is_too_little = never.iter().any(|member| is_sampled(member))
        && tree.missing_share + share_of(never.iter().copied()) > RunTree::MOST_MISSING_SHARE;
    let mut lacking: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    let mut unknown_shares: BTreeSet<(&str, &str)> = BTreeSet::new();
    for variant in variants().filter(|_| !is_too_little) {
        for block in 0..blocks {
            let members: Vec<Option<&Prediction>> =
                tree.members.iter().map(|member| of(member, variant, block)).collect();
            if members.iter().all(Option::is_none) {
                continue;
            }
            // NOTE: a tree without a process that it has elsewhere cannot be compared.
            let lacks = |(member, found): &(&RunTreeMember, &Option<&Prediction>)| {
                found.is_none() && is_sampled(member) && !never.contains(member)
            };
            if let Some((member, _)) = tree.members.iter().zip(&members).find(lacks) {
                *lacking.entry((&member.workload, variant)).or_default() += 1;
                continue;
            }
            let (sum, once) = add_up(tree, &members);
            let once = once.filter(|_| {
                let unknown = find_unknown_share(tree, &members);
                unknown_shares.extend(unknown.map(|member| (&*member.workload, variant)));
                unknown.is_none()
            });
            found.all.push(TreePrediction {
                tree: tree.name.clone(),
                variant: variant.to_owned(),
                block,
                sum: Prediction::of(sum, from),
                once: once.map(|once| Prediction::of(once, from)),
            });
        }
    }
    found.notes.extend(lacking.into_iter().map(|((workload, variant), lacking)| {
        format!(
            "{}: under {variant} {lacking} of {blocks} blocks predict nothing for {workload}: the tree has no figures of \
             them",
            tree.name
        )
    }));
    found.notes.extend(unknown_shares.into_iter().map(|(workload, variant)| {
        format!(
            "{}: under {variant} it is not known how much memory {workload} shared with its parent (see the warnings of its \
             samples; under a memory limit it is not measured), so only the sum is predicted there",
            tree.name
        )
    }));
    if found.all.len() == before {
        found.notes.push(format!(
            "{}: nothing is predicted for the tree, because too little of it is: see the notes on its processes",
            tree.name
        ));
    } else {
        found.recorded.insert(tree.name.clone(), RecordedTree { sum, once });
    }
}

/// Finds a process whose replay started with its parent's history and does not know what it shared with it: what all
/// processes share is then not known either.
fn find_unknown_share<'a>(tree: &'a RunTree, members: &[Option<&Prediction>]) -> Option<&'a RunTreeMember> {
    let is_unknown = |(member, found): &(&RunTreeMember, &Option<&Prediction>)| {
        member.inherits && found.is_some_and(|found| found.inherited.len() != found.points.len())
    };
    tree.members.iter().zip(members).find(is_unknown).map(|(member, _)| member)
}

/// The share of the tree's memory that processes had. All images of a process have the process's share; if a share is
/// not known, it may be everything.
fn share_of<'a>(members: impl Iterator<Item = &'a RunTreeMember>) -> f64 {
    let mut shares: BTreeMap<u32, f64> = BTreeMap::new();
    for member in members {
        let share = shares.entry(member.pid).or_default();
        *share = share.max(member.share.unwrap_or(1.0));
    }
    shares.values().sum()
}

/// The time from which the memory of a tree counts in means, on the recording's clock, and the note about it. The load
/// is judged by the recorded memory, which is the same for all variants.
fn find_start(run: &Run, recorded: &[MemoryPoint]) -> (u64, Option<String>) {
    let Some(count_from) = run.file.options.count_from else { return (0, None) };
    let points: Vec<(u64, u64)> = recorded.iter().copied().map(<(u64, u64)>::from).collect();
    let Some((end, _)) = points.last().copied() else { return (0, None) };
    OverTime { load: &points, resident: &points, has_times: true }.find_start(count_from, end)
}

/// Processes whose memory was never sampled.
fn describe_unsampled(tree: &RunTree, recorded: &[Option<&Prediction>]) -> Option<String> {
    let members = || tree.members.iter().zip(recorded).filter(|(_, found)| found.is_none());
    let (count, share) = (members().count(), share_of(members().map(|(member, _)| member)));
    (count > 0).then(|| {
        format!(
            "{}: {count} of its processes exited before their memory was sampled: they count as nothing, and had \
             about {:.1} % of the tree's memory",
            tree.name,
            share.min(1.0) * 100.0
        )
    })
}

/// The effect of forked processes with unknown history on a prediction. Such a child is replayed from an empty heap, and
/// under another allocator it gets fresh memory where it would really use inherited free memory.
fn describe_forked(tree: &RunTree, sum: &[MemoryPoint], once: Option<&[MemoryPoint]>) -> Option<String> {
    let mean = |points: &[MemoryPoint]| Prediction::of(points.to_vec(), 0).mean_bytes as f64;
    let shared = 1.0 - mean(once?) / mean(sum).max(1.0);
    let is_known = |member: &RunTreeMember| member.forked_from.is_none() || member.inherits;
    let is_unknown = !tree.members.iter().all(is_known);
    (is_unknown && shared > MUCH_SHARED).then(|| {
        format!(
            "{}: its processes shared {:.0} % of their memory since they were forked, and it is not recorded what some \
             of them inherited. Those are replayed from an empty heap: under an allocator other than the recorded one \
             the prediction may be too high, the more so the smaller they are",
            tree.name,
            shared * 100.0
        )
    })
}

fn describe_missing(tree: &RunTree) -> Vec<String> {
    let name = &tree.name;
    let mut notes = Vec::new();
    if let Some(why) = &tree.refused {
        notes.push(format!("{name}: nothing is predicted for the tree: {why}"));
    } else if !tree.missing.is_empty() {
        notes.push(format!(
            "{name}: figures of the tree are partial: processes with {:.1} % of its memory are not in them",
            tree.missing_share * 100.0
        ));
    }
    notes.extend(tree.missing.iter().map(|what| format!("{name}: {what}")));
    if let Some(why) = tree.shared_unknown.as_ref().filter(|_| tree.refused.is_none()) {
        notes.push(format!(
            "{name}: what its processes share is not known ({why}), so only the sum of their memory is predicted"
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::predict::prediction::Inherited;
    use crate::results::{RunFile, RunVariant, Sample};

    fn prediction(points: &[(u64, u64)]) -> Prediction {
        Prediction::of(points.iter().copied().map(MemoryPoint::from).collect(), 0)
    }

    fn member(start_ns: u64, first_event_ns: u64, end_ns: u64) -> RunTreeMember {
        let workload = format!("of {start_ns}");
        let (pid, forked_from) = (start_ns as u32, (start_ns > 0).then_some(0));
        RunTreeMember {
            pid,
            workload,
            forked_from,
            inherits: false,
            start_ns,
            first_event_ns,
            end_ns,
            share: None,
        }
    }

    #[test]
    fn a_child_that_does_not_know_what_it_shares_is_found() {
        let of = |inherits| RunTreeMember { inherits, ..member(0, 0, 10) };
        let tree = RunTree { members: vec![of(false), of(true)], ..RunTree::default() };
        let known = prediction(&[(0, 100)]);
        let shared = Prediction { inherited: vec![Inherited { based: 1, replayed: 1 }], ..known.clone() };
        assert_eq!(find_unknown_share(&tree, &[Some(&known), Some(&shared)]), None);
        assert_eq!(find_unknown_share(&tree, &[Some(&known), Some(&known)]), Some(&tree.members[1]));
        assert_eq!(find_unknown_share(&tree, &[Some(&known), None]), None, "it is not in the sum either");
    }

    #[test]
    fn a_process_that_was_too_short_to_be_sampled_counts_nothing_and_is_said() {
        let of = |pid, share| RunTreeMember { pid, share, ..member(0, 0, 10) };
        let tree = RunTree {
            name: "x.tree".to_owned(),
            members: vec![of(1, Some(0.95)), of(2, Some(0.04)), of(2, Some(0.04)), of(3, Some(0.01))],
            ..RunTree::default()
        };
        let known = prediction(&[(0, 100)]);
        let said = describe_unsampled(&tree, &[Some(&known), None, None, Some(&known)]).expect("a note");
        assert!(said.contains("2 of its processes") && said.contains("had about 4.0 %"), "{said}");
        assert_eq!(describe_unsampled(&tree, &[Some(&known); 4]), None);
        assert_eq!(share_of([of(7, None)].iter()), 1.0, "of one whose share is not known it may be all");
    }
    const RUN: &str = "schema = 2\nheaplab_version = \"1\"\nrun_id = \"r\"\nstarted_utc = \"\"\nargv = []\n[options]\n\
                       seed = \"1\"\npasses = []\nreps = 1\n";

    /// A tree of two processes under variants a and b in two blocks; `is_predicted` by variant, block and process.
    fn found(is_predicted: impl Fn(&str, u32, usize) -> bool) -> TreePredictions {
        let of = |start_ns, share| RunTreeMember { share: Some(share), ..member(start_ns, start_ns, 10) };
        let members = vec![of(0, 0.94), of(5, 0.06)];
        let variants =
            ["a", "b"].map(|label| RunVariant { label: label.to_owned(), ..RunVariant::default() });
        let tree = RunTree { name: "x.tree".to_owned(), members: members.clone(), ..RunTree::default() };
        let mut file: RunFile = toml::from_str(RUN).expect("a run");
        (file.trees, file.variants) = (vec![tree], variants.to_vec());
        let mut predictions = Predictions::default();
        let mut samples = Vec::new();
        for (at, member) in members.iter().enumerate() {
            predictions.recorded.insert(member.workload.clone(), vec![MemoryPoint::from((0, 50))]);
            for (variant, block) in ["a", "b"].into_iter().flat_map(|variant| [(variant, 0), (variant, 1)]) {
                if is_predicted(variant, block, at) {
                    predictions.of_samples.insert(samples.len(), prediction(&[(0, 100)]));
                }
                let (workload, variant) = (member.workload.clone(), variant.to_owned());
                samples.push(Sample { workload, variant, block, pass: Pass::Memory, ..Sample::default() });
            }
        }
        let run =
            Run { directory: "x".into(), file, samples, notes: Vec::new(), incomplete: Default::default() };
        predict_trees(&run, &predictions)
    }

    #[test]
    fn a_tree_is_predicted_where_all_of_its_processes_are() {
        let blocks = |found: &TreePredictions| -> Vec<(String, u32, u64)> {
            found.all.iter().map(|it| (it.variant.clone(), it.block, it.sum.peak_bytes)).collect()
        };
        let of = |variant: &str, block, bytes| (variant.to_owned(), block, bytes);
        let whole = found(|_, _, _| true);
        assert_eq!(blocks(&whole), [of("a", 0, 200), of("a", 1, 200), of("b", 0, 200), of("b", 1, 200)]);
        assert_eq!(whole.notes, [""; 0]);
        // A small process that one sample lacks would make that variant's tree look small.
        let lacking = found(|variant, block, at| (variant, block, at) != ("b", 1, 1));
        assert_eq!(blocks(&lacking), [of("a", 0, 200), of("a", 1, 200), of("b", 0, 200)]);
        assert!(lacking.notes[0].contains("under b 1 of 2 blocks predict nothing for of 5"), "{lacking:?}");
        // One that none has is lacking everywhere.
        let never = found(|_, _, at| at == 0);
        assert_eq!(blocks(&never), [of("a", 0, 100), of("a", 1, 100), of("b", 0, 100), of("b", 1, 100)]);
        assert!(never.notes[0].contains("nothing is predicted for of 5, which had 6.0 %"), "{never:?}");
        assert_eq!(blocks(&found(|_, _, at| at == 1)), [], "most of the tree would be missing");
    }
}
