//! The memory of a tree of processes under a variant, from the predictions of its members.
//!
//! ```text
//! sum(t, X)  = predictions of all members that live at t, added up
//! once(t, X) = sum(t, X) - shared(t)
//! ```
//!
//! `shared` is what the sum counted more than once while it was recorded. What a child inherited is in its own
//! prediction as it was recorded, because no event of its trace made it. So in `once` it cancels, and the inherited heap
//! counts once, as the parent's replay has it. That the same pages are written to under every allocator is assumed.

use std::collections::HashMap;

use super::prediction::{Prediction, Predictions};
use crate::results::{MemoryPoint, Pass, Run, RunTree};

/// Predicted memory of a tree under one variant, by one block's replays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreePrediction {
    /// The tree's name.
    pub tree: String,
    /// The variant.
    pub variant: String,
    /// The block.
    pub block: u32,
    /// The members' memory added up.
    pub sum: Prediction,
    /// With shared pages counted once; none where it is not known what is shared.
    pub once: Option<Prediction>,
}

/// The predictions for every tree, variant and block of which all members are predicted, and what is to be said.
pub fn predict_trees(run: &Run, predictions: &Predictions) -> (Vec<TreePrediction>, Vec<String>) {
    let mut places: HashMap<(&str, &str, u32), &Prediction> = HashMap::new();
    for (place, prediction) in &predictions.of_samples {
        let sample = &run.samples[*place];
        places.insert((&sample.workload, &sample.variant, sample.block), prediction);
    }
    let (mut found, mut notes) = (Vec::new(), Vec::new());
    let is_measured = run.samples.iter().any(|sample| sample.pass == Pass::Memory);
    for tree in run.file.trees.iter().filter(|_| is_measured) {
        notes.extend(describe_missing(tree));
        if tree.refused.is_some() {
            continue;
        }
        let before = found.len();
        let blocks = run.samples.iter().map(|sample| sample.block).max().map_or(0, |last| last + 1);
        for variant in &run.file.variants {
            for block in 0..blocks {
                let of = |member: &str| places.get(&(member, variant.label.as_str(), block)).copied();
                let members: Option<Vec<&Prediction>> =
                    tree.members.iter().map(|member| of(&member.workload)).collect();
                let Some(members) = members.filter(|members| !members.is_empty()) else { continue };
                let (sum, once) = add_up(tree, &members);
                found.push(TreePrediction {
                    tree: tree.name.clone(),
                    variant: variant.label.clone(),
                    block,
                    sum,
                    once,
                });
            }
        }
        if found.len() == before {
            notes.push(format!(
                "{}: nothing is predicted of the tree, because not every process of it is: see the notes on them",
                tree.name
            ));
        }
    }
    (found, notes)
}

fn describe_missing(tree: &RunTree) -> Vec<String> {
    let name = &tree.name;
    let mut notes = Vec::new();
    if let Some(why) = &tree.refused {
        notes.push(format!("{name}: nothing is predicted of the tree: {why}"));
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

/// A change at a time: of a member's memory, or of what is shared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Member { at: usize, bytes: u64 },
    Shared { bytes: u64 },
}

/// The members' predictions on the recording's clock, added up; and the same less what is shared.
fn add_up(tree: &RunTree, members: &[&Prediction]) -> (Prediction, Option<Prediction>) {
    let mut changes: Vec<(u64, Change)> = Vec::new();
    for (at, (member, prediction)) in tree.members.iter().zip(members).enumerate() {
        let within = prediction.points.iter().map(|point| {
            let time = member.first_event_ns.saturating_add(point.time_ns).min(member.end_ns);
            (time, Change::Member { at, bytes: point.resident_bytes })
        });
        // Before its first event a child has what it inherited already.
        let first = prediction.points.first().map(|point| point.resident_bytes);
        changes.extend(first.map(|bytes| (member.start_ns, Change::Member { at, bytes })));
        changes.extend(within);
        changes.push((member.end_ns, Change::Member { at, bytes: 0 }));
    }
    changes.extend(fill_gaps(tree).into_iter().map(|(time, bytes)| (time, Change::Shared { bytes })));
    // Of changes at one time the last counts: a member's end comes after its last point.
    changes.sort_by_key(|change| change.0);
    let (mut bytes_of, mut shared) = (vec![0u64; members.len()], 0u64);
    let (mut sum, mut once) = (Vec::new(), Vec::new());
    for (at, &(time_ns, change)) in changes.iter().enumerate() {
        match change {
            Change::Member { at, bytes } => bytes_of[at] = bytes,
            Change::Shared { bytes } => shared = bytes,
        }
        if changes.get(at + 1).is_some_and(|next| next.0 == time_ns) {
            continue;
        }
        let all: u64 = bytes_of.iter().sum();
        // A process shares no more than it has.
        let least = bytes_of.iter().copied().max().unwrap_or(0);
        sum.push(MemoryPoint { time_ns, resident_bytes: all });
        once.push(MemoryPoint { time_ns, resident_bytes: all.saturating_sub(shared).max(least) });
    }
    (Prediction::of(sum, 0), tree.shared_unknown.is_none().then(|| Prediction::of(once, 0)))
}

/// What is shared. From the moment that a process begins or ends until the next sample it is not known: there the larger
/// of the samples before and after stands, or else a child's heap would count twice until it is sampled.
fn fill_gaps(tree: &RunTree) -> Vec<(u64, u64)> {
    let mut lives: HashMap<u32, (u64, u64)> = HashMap::new();
    for member in &tree.members {
        let life = lives.entry(member.pid).or_insert((member.start_ns, member.end_ns));
        *life = (life.0.min(member.start_ns), life.1.max(member.end_ns));
    }
    let mut edges: Vec<u64> = lives.into_values().flat_map(|life| [life.0, life.1]).collect();
    edges.sort_unstable();
    let (mut filled, mut before) = (Vec::new(), (0, 0));
    for &(time, bytes) in &tree.shared {
        let edge = edges.iter().find(|edge| **edge > before.0 && **edge < time);
        filled.extend(edge.map(|edge| (*edge, bytes.max(before.1))));
        filled.push((time, bytes));
        before = (time, bytes);
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::RunTreeMember;

    fn prediction(points: &[(u64, u64)]) -> Prediction {
        Prediction::of(points.iter().copied().map(MemoryPoint::from).collect(), 0)
    }

    fn member(start_ns: u64, first_event_ns: u64, end_ns: u64) -> RunTreeMember {
        RunTreeMember { pid: start_ns as u32, workload: String::new(), start_ns, first_event_ns, end_ns }
    }

    #[test]
    fn members_are_added_up_on_one_clock_and_what_they_share_counts_once() {
        let tree = RunTree {
            members: vec![member(0, 10, 100), member(40, 50, 80)],
            shared: vec![(45, 70), (85, 70)],
            ..RunTree::default()
        };
        // The child inherits 100 at 40; its first event is at 50.
        let (server, worker) =
            (prediction(&[(0, 100), (80, 120)]), prediction(&[(0, 100), (10, 130), (40, 130)]));
        let (sum, once) = add_up(&tree, &[&server, &worker]);
        let points = |prediction: &Prediction| {
            let points = prediction.points.iter();
            points.map(|point| (point.time_ns, point.resident_bytes)).collect::<Vec<_>>()
        };
        let expected = [
            (0, 100),
            (10, 100),
            (40, 200),
            (45, 200),
            (50, 200),
            (60, 230),
            (80, 100),
            (85, 100),
            (90, 120),
            (100, 0),
        ];
        assert_eq!(points(&sum), expected);
        let once = once.expect("it is known what is shared");
        let expected = [
            (0, 100),
            (10, 100),
            (40, 130),
            (45, 130),
            (50, 130),
            (60, 160),
            (80, 100),
            (85, 100),
            (90, 120),
            (100, 0),
        ];
        assert_eq!(points(&once), expected);
        assert_eq!((sum.peak_bytes, once.peak_bytes), (230, 160));
        let unknown = RunTree { shared_unknown: Some("no".to_owned()), ..tree };
        assert_eq!(add_up(&unknown, &[&server, &worker]).1, None);
    }
}
