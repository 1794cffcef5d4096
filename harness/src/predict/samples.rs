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

/// Resident bytes of each ok memory sample at the recorded times. A replay has a checkpoint where the recorded process
/// was sampled; otherwise (causal order, or more samples than are useful), a checkpoint is valid until the next.
pub(super) fn replays_at(run: &Run, recorded: &Recorded) -> Result<HashMap<usize, Replay>, ResultsError> {
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
            let recorded = &recorded[&run.samples[place].workload];
            replay.take(recorded, point.time_ns, (point.resident_bytes, point.inherited_bytes));
        }
    })?;
    // A sample without points does not mean no memory.
    replays.retain(|_, replay| replay.has_points);
    let finish = |(place, mut replay): (usize, Replay)| {
        replay.reach(&recorded[&run.samples[place].workload], u64::MAX);
        (place, replay)
    };
    Ok(replays.into_iter().map(finish).collect())
}

/// One replay while it moves through the recorded times.
#[derive(Default)]
pub(super) struct Replay {
    /// Its memory at each recorded time.
    pub(super) bytes: Vec<u64>,
    /// The part of it that it shared with its parent; empty if not known, as for a process that was not forked.
    pub(super) inherited: Vec<u64>,
    /// Its memory at its first checkpoint: the allocator's initial memory.
    pub(super) first_bytes: u64,
    last: (u64, Option<u64>),
    has_points: bool,
}

impl Replay {
    /// Takes a checkpoint at `time`. The first at that time is the one for the sample; the others are later.
    fn take(&mut self, recorded: &[MemoryPoint], time: u64, found: (u64, Option<u64>)) {
        self.reach(recorded, time);
        if !self.has_points {
            self.first_bytes = found.0;
        }
        self.has_points = true;
        self.last = found;
        self.reach(recorded, time.saturating_add(1));
    }

    /// Stores the last figure for every recorded time before `time`.
    fn reach(&mut self, recorded: &[MemoryPoint], time: u64) {
        while recorded.get(self.bytes.len()).is_some_and(|point| point.time_ns < time) {
            self.push();
        }
        while time == u64::MAX && self.bytes.len() < recorded.len() {
            self.push();
        }
    }

    fn push(&mut self) {
        let (bytes, inherited) = self.last;
        self.bytes.push(bytes);
        self.inherited.extend(inherited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_holds_until_the_next() {
        let recorded = [(0, 1), (5, 1), (10, 1), (99, 1)].map(MemoryPoint::from);
        let mut replay = Replay::default();
        for (time, bytes) in [(0, 7), (5, 8), (5, 88), (7, 9)] {
            replay.take(&recorded, time, (bytes, (time > 0).then_some(1)));
        }
        replay.reach(&recorded, u64::MAX);
        assert_eq!((replay.bytes, replay.first_bytes), (vec![7, 8, 9, 9], 7));
        assert_eq!(replay.inherited.len(), 3, "not known at the first");
    }
}
