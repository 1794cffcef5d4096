//! A tree's memory over time from that of its members: added up, and with shared pages counted once. See
//! [`super::tree`].

use std::collections::HashMap;

use super::prediction::{Inherited, Prediction};
use crate::results::{MemoryPoint, RunTree, RunTreeMember};
use crate::sharing::fill_edges;

/// A fork's time is known to within a tick: a sample of shared memory no later than that may be from before the fork.
const TICK_NS: u64 = 2_000_000;

/// A change at a point in time: of a member's memory, or of the shared memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Member { at: usize, bytes: u64, inherited: Option<Inherited> },
    Shared { bytes: u64 },
}

/// The members' predictions on the recording's clock, added up, and the same minus shared memory. A member without a
/// prediction counts as nothing.
pub(super) fn add_up(
    tree: &RunTree,
    members: &[Option<&Prediction>],
) -> (Vec<MemoryPoint>, Option<Vec<MemoryPoint>>) {
    let mut changes: Vec<(u64, Change)> = Vec::new();
    for (at, (member, prediction)) in tree.members.iter().zip(members).enumerate() {
        let Some(prediction) = prediction else { continue };
        let within = prediction.points.iter().enumerate().map(|(place, point)| {
            let time = member.first_event_ns.saturating_add(point.time_ns);
            let inherited = prediction.inherited.get(place).copied();
            let bytes = point.resident_bytes;
            (time.clamp(member.start_ns, member.end_ns), Change::Member { at, bytes, inherited })
        });
        // Before its first sample a child already has what it inherited.
        let first = within.clone().next();
        changes.extend(first.map(|(_, change)| (member.start_ns, change)));
        changes.extend(within);
        changes.push((member.end_ns, Change::Member { at, bytes: 0, inherited: None }));
    }
    changes.extend(fill_gaps(tree).into_iter().map(|(time, bytes)| (time, Change::Shared { bytes })));
    // Of several changes at one time the last counts: a member's end comes after its last point.
    changes.sort_by_key(|change| change.0);
    if let Some(asked) = tree.asked_to_end_ns {
        changes.retain(|change| change.0 < asked);
    }
    let families = find_families(tree);
    let (mut bytes_of, mut shared) = (vec![0u64; members.len()], 0u64);
    let mut inherited_of: Vec<Option<Inherited>> = vec![None; members.len()];
    let (mut sum, mut once) = (Vec::new(), Vec::new());
    for (at, &(time_ns, change)) in changes.iter().enumerate() {
        match change {
            Change::Member { at, bytes, inherited } => (bytes_of[at], inherited_of[at]) = (bytes, inherited),
            Change::Shared { bytes } => shared = bytes,
        }
        if changes.get(at + 1).is_some_and(|next| next.0 == time_ns) {
            continue;
        }
        let all: u64 = bytes_of.iter().sum();
        let shared = move_shared(shared, &inherited_of) + count_starts(&families, members, &bytes_of);
        // A process cannot share more than it has.
        let least = bytes_of.iter().copied().max().unwrap_or(0);
        sum.push(MemoryPoint { time_ns, resident_bytes: all });
        once.push(MemoryPoint { time_ns, resident_bytes: all.saturating_sub(shared).max(least) });
    }
    for points in [&mut sum, &mut once] {
        let last = points.last().copied();
        points.extend(tree.asked_to_end_ns.zip(last).map(|(time_ns, last)| MemoryPoint { time_ns, ..last }));
    }
    (sum, tree.shared_unknown.is_none().then_some(once))
}

/// The memory shared under the variant, from the memory shared during the recording.
fn move_shared(shared: u64, inherited: &[Option<Inherited>]) -> u64 {
    let sum = |of: fn(Inherited) -> u64| inherited.iter().flatten().map(|found| of(*found)).sum::<u64>();
    let (based, replayed) = (sum(|found| found.based), sum(|found| found.replayed));
    (shared + replayed).saturating_sub(based)
}

/// For each member, the first of its ancestors by forks: itself, if it started as a new program.
fn find_families(tree: &RunTree) -> Vec<usize> {
    // The family of a process when it forked another: after an exec it belongs to a family of its own.
    let parent_of = |member: &RunTreeMember| {
        let parent = member.forked_from?;
        let before =
            |at: &usize| tree.members[*at].pid == parent && tree.members[*at].start_ns <= member.start_ns;
        (0..tree.members.len()).filter(before).max_by_key(|at| tree.members[*at].start_ns)
    };
    let parents: Vec<Option<usize>> = tree.members.iter().map(parent_of).collect();
    let first = |mut at: usize| {
        // No line of descent is longer than there are processes, whatever a manifest says.
        for _ in 0..parents.len() {
            let Some(parent) = parents[at] else { break };
            at = parent;
        }
        at
    };
    (0..parents.len()).map(first).collect()
}

/// The initial memory of allocators, which forked children inherit: each replay has it, but in reality only one of the
/// living processes of a family does.
fn count_starts(families: &[usize], members: &[Option<&Prediction>], bytes_of: &[u64]) -> u64 {
    let mut starts = vec![(0, 0); families.len()];
    for (at, prediction) in members.iter().enumerate().filter(|(at, _)| bytes_of[*at] > 0) {
        let bytes = prediction.map_or(0, |prediction| prediction.start_bytes);
        let (sum, largest) = &mut starts[families[at]];
        *sum += bytes;
        *largest = bytes.max(*largest);
    }
    starts.into_iter().map(|(sum, largest): (u64, u64)| sum - largest).sum()
}

/// The shared memory, with the bounds of the members' lives.
fn fill_gaps(tree: &RunTree) -> Vec<(u64, u64)> {
    let mut lives: HashMap<u32, (u64, u64)> = HashMap::new();
    for member in &tree.members {
        let life = lives.entry(member.pid).or_insert((member.start_ns, member.end_ns));
        *life = (life.0.min(member.start_ns), life.1.max(member.end_ns));
    }
    let mut edges: Vec<u64> = lives.into_values().flat_map(|life| [life.0, life.1]).collect();
    edges.sort_unstable();
    // Such a sample is taken to be from just before the start: what is shared from the start on is then what rises.
    let before_start = |&(time, bytes): &(u64, u64)| {
        let forked = tree.members.iter().filter(|member| member.inherits);
        let starts = forked.map(|member| member.start_ns);
        let start = starts.filter(|start| (*start..start.saturating_add(TICK_NS)).contains(&time)).min();
        (start.map_or(time, |start| start.saturating_sub(1)), bytes)
    };
    let mut points: Vec<(u64, u64)> = tree.shared.iter().map(before_start).collect();
    points.sort_by_key(|point| point.0);
    fill_edges(&points, &edges)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn members_are_added_up_on_one_clock_and_what_they_share_counts_once() {
        let tree = RunTree {
            members: vec![member(0, 10, 100), member(40, 50, 80)],
            shared: vec![(45, 70), (85, 70)],
            ..RunTree::default()
        };
        // The child inherits 100 at 40; its first event is at 50.
        let (server, worker) =
            (prediction(&[(0, 100), (80, 120)]), prediction(&[(0, 100), (10, 130), (40, 130)]));
        let (sum, once) = add_up(&tree, &[Some(&server), Some(&worker)]);
        let points = |points: &[MemoryPoint]| {
            points.iter().map(|point| (point.time_ns, point.resident_bytes)).collect::<Vec<_>>()
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
        let asked = RunTree { asked_to_end_ns: Some(70), ..tree.clone() };
        let (sum, once) = add_up(&asked, &[Some(&server), Some(&worker)]);
        let before = [(0, 100), (10, 100), (40, 200), (45, 200), (50, 200), (60, 230), (70, 230)];
        assert_eq!(points(&sum), before, "what a tree does that was asked to end is no load");
        assert_eq!(points(&once.expect("it is known")).last(), Some(&(70, 160)));
        // The allocator had 20 of initial memory in the worker's replay, as in its server's.
        let [first, started] = [&server, &worker].map(|one| Prediction { start_bytes: 20, ..one.clone() });
        let (sum, once) = add_up(&tree, &[Some(&first), Some(&started)]);
        let once = points(&once.expect("it is known"));
        assert_eq!((sum[5].resident_bytes, once[5], once[7]), (230, (60, 140), (85, 100)));
        // The same process after an exec: its initial memory is its own.
        let mut execed = tree.clone();
        execed.members.push(RunTreeMember { forked_from: None, start_ns: 50, ..execed.members[1].clone() });
        let starts = |bytes_of: &[u64]| {
            count_starts(&find_families(&execed), &[Some(&first), Some(&started), Some(&started)], bytes_of)
        };
        assert_eq!((starts(&[1, 1, 0]), starts(&[1, 0, 1]), starts(&[0, 1, 0])), (20, 0, 0));
        let unknown = RunTree { shared_unknown: Some("no".to_owned()), ..tree };
        assert_eq!(add_up(&unknown, &[Some(&server), Some(&worker)]).1, None);
        let (without, _) = add_up(&unknown, &[Some(&server), None]);
        assert_eq!(without.last(), Some(&(100, 0).into()));
        assert!(without.iter().all(|point| point.resident_bytes <= 120), "{without:?}");
    }

    #[test]
    fn what_is_shared_follows_what_the_replays_have_not_written_to() {
        let of = |based, replayed| Some(Inherited { based, replayed });
        assert_eq!(move_shared(80, &[None, of(60, 90), of(40, 60)]), 130);
        assert_eq!(move_shared(10, &[of(100, 50)]), 0, "the program wrote to more than is left");
        assert_eq!(move_shared(70, &[None, None]), 70, "not known");
        let mut tree =
            RunTree { members: vec![member(0, 10, 100), member(40, 10, 80)], ..RunTree::default() };
        tree.shared = vec![(45, 60)];
        tree.members[1].inherits = true;
        let server = prediction(&[(0, 100), (80, 100)]);
        let mut worker = prediction(&[(30, 100), (60, 130)]);
        worker.inherited = vec![Inherited { based: 60, replayed: 90 }; 2];
        let (sum, once) = add_up(&tree, &[Some(&server), Some(&worker)]);
        let once = once.expect("it is known what is shared");
        let at = |points: &[MemoryPoint], time: u64| {
            points.iter().rev().find(|point| point.time_ns <= time).map(|point| point.resident_bytes)
        };
        assert_eq!((at(&sum, 50), at(&once, 50)), (Some(200), Some(110)));
        assert_eq!((at(&sum, 75), at(&once, 75)), (Some(230), Some(140)));
    }

    #[test]
    fn a_sample_in_the_tick_of_a_fork_is_taken_for_neither_side_of_it() {
        let ms = |ms: u64| ms * 1_000_000;
        let member = |start_ms: u64| RunTreeMember {
            end_ns: ms(100),
            start_ns: ms(start_ms),
            inherits: start_ms > 0,
            ..member(start_ms, 0, 0)
        };
        let tree = RunTree {
            members: vec![member(0), member(10), member(40)],
            shared: vec![(ms(20), 100), (ms(40) + 360, 100), (ms(60), 200)],
            ..RunTree::default()
        };
        let at_fork = fill_gaps(&tree).into_iter().rev().find(|(time, _)| *time <= ms(41)).expect("a point");
        assert_eq!(at_fork.1, 200, "the second child's share counts from its fork on");
    }
}
