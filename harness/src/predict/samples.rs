//! A run's samples: a figure of each, and the memory of a replay at the recorded times.

use std::collections::HashMap;

use crate::results::{MemoryPoint, Pass, Recorded, ResultsError, Run, Sample, Status};

fn cpu_ns(sample: &Sample) -> Option<u64> {
    sample.cpu_user_ns?.checked_add(sample.cpu_system_ns?)
}

/// CPU time of a real program's whole life, as in a recording; in an older run, only until heaplab stopped
/// it.
pub(super) fn whole_cpu_ns(sample: &Sample) -> Option<u64> {
    sample.whole_cpu_ns.or_else(|| cpu_ns(sample))
}

/// CPU time of a replay's calls and first touches, without its waiting, which the program did not do. In a run without
/// busy time, all of its CPU time.
pub(super) fn replayed_cpu_ns(sample: &Sample) -> Option<u64> {
    sample.busy_ns.or_else(|| cpu_ns(sample))
}

/// A figure from every ok sample of a variant.
pub(super) fn values(run: &Run, variant: &str, pass: Pass, figure: fn(&Sample) -> Option<u64>) -> Vec<f64> {
    let samples = run
        .samples
        .iter()
        .filter(|sample| sample.status == Status::Ok && sample.pass == pass && sample.variant == variant);
    samples.filter_map(figure).map(|value| value as f64).collect()
}

/// The memory of each ok memory sample of a workload that has `recorded` memory.
pub(super) fn read_replays(run: &Run, recorded: &Recorded) -> Result<HashMap<usize, Replay>, ResultsError> {
    let mut replays: HashMap<usize, Replay> = HashMap::new();
    for (place, sample) in run.samples.iter().enumerate() {
        if sample.pass == Pass::Memory
            && sample.status == Status::Ok
            && recorded.contains_key(&sample.workload)
        {
            replays.insert(place, Replay::default());
        }
    }
    run.each_timeline_point(|place, point| {
        if let Some(replay) = replays.get_mut(&place) {
            let (bytes, inherited) = (point.resident_bytes, point.inherited_bytes);
            replay.checkpoints.push(Checkpoint { time_ns: point.time_ns, bytes, inherited });
        }
    })?;
    // A sample without points does not mean no memory.
    replays.retain(|_, replay| !replay.checkpoints.is_empty());
    Ok(replays)
}

/// The memory of one replay.
#[derive(Default)]
pub(super) struct Replay {
    checkpoints: Vec<Checkpoint>,
}

#[derive(Clone, Copy, Default)]
struct Checkpoint {
    time_ns: u64,
    bytes: u64,
    inherited: Option<u64>,
}

/// The memory of a replay at the recorded times.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    pub(super) bytes: Vec<u64>,
    /// The part of it that it shared with its parent; empty if not known, as for a process that was not forked.
    pub(super) inherited: Vec<u64>,
}

impl Replay {
    /// Its memory at its first checkpoint: the allocator's initial memory.
    pub(super) fn first_bytes(&self) -> u64 {
        self.checkpoints.first().map_or(0, |checkpoint| checkpoint.bytes)
    }

    /// Its memory at the recorded times. A replay has a checkpoint where the recorded process was sampled; otherwise
    /// (causal order, or more samples than have one) a checkpoint is valid until the next. Of several at one time, the
    /// first is the one for the sample; the others are later.
    pub(super) fn at(&self, recorded: &[MemoryPoint]) -> Replayed {
        let mut replayed = Replayed::default();
        let mut checkpoints = self.checkpoints.iter().peekable();
        let mut last = Checkpoint::default();
        for point in recorded {
            while let Some(passed) = checkpoints.next_if(|next| next.time_ns < point.time_ns) {
                last = *passed;
            }
            let now = checkpoints.peek().filter(|next| next.time_ns == point.time_ns);
            let now = now.map_or(last, |now| **now);
            replayed.bytes.push(now.bytes);
            replayed.inherited.extend(now.inherited);
        }
        replayed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_holds_until_the_next() {
        let recorded = [(0, 1), (5, 1), (10, 1), (99, 1)].map(MemoryPoint::from);
        let of = |(time_ns, bytes): (u64, u64)| {
            let inherited = (time_ns > 0).then_some(1);
            Checkpoint { time_ns, bytes, inherited }
        };
        let replay = Replay { checkpoints: [(0, 7), (5, 8), (5, 88), (7, 9)].map(of).to_vec() };
        let replayed = replay.at(&recorded);
        assert_eq!((replayed.bytes, replay.first_bytes()), (vec![7, 8, 9, 9], 7));
        assert_eq!(replayed.inherited.len(), 3, "not known at the first");
        let between = replay.at(&[(6, 1), (6, 2)].map(MemoryPoint::from));
        assert_eq!(between.bytes, [88, 88], "the last one at that time is valid from then on");
    }
}
