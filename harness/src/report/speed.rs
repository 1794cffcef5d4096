//! Speed: the figures that measure it, and the harness's own part of them.
//!
//! A replay's busy time contains the allocator's calls, the first touches of what they return, and the replay's own
//! loop. `floor` does the least that an allocator can: the time of its calls outside the kernel represents the loop.
//! (Its page faults do not: an allocator can save memory.) That is valid if `floor` is far below every allocator. If it
//! is not, its own cost is a considerable part of its time, and subtracting it would overstate differences; busy times
//! are then compared as they are, which understates them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use heaplab_allocators::registry::FLOOR;

use crate::results::metrics::{
    ALLOCATOR_PER_EVENT, BUSY_PER_EVENT, EVENTS_PER_BUSY_SECOND, EVENTS_PER_SECOND, MOST_FLOOR_SHARE,
    WALL_PER_EVENT, harness_per_event,
};
use crate::results::{Pass, Run, Sample, Status};
use crate::stats::{NetRatio, Shared, median, net_ratio};

/// Values by block.
pub(super) type Values = BTreeMap<u32, f64>;

/// The metrics of a run's speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Speed {
    /// Time per event, by which variants are ordered.
    pub(super) time: &'static str,
    /// The metric whose ratio to the baseline gets the verdict.
    pub(super) compared: &'static str,
    /// Events per second of that time.
    pub(super) rate: &'static str,
    /// What the time is called in tables.
    pub(super) name: &'static str,
    /// What an event's figure measures, in a sentence.
    pub(super) each: &'static str,
}

impl Speed {
    const NET: Speed = Speed {
        time: BUSY_PER_EVENT,
        compared: ALLOCATOR_PER_EVENT,
        rate: EVENTS_PER_BUSY_SECOND,
        name: "busy/event",
        each: " of busy time per event",
    };
    /// Without `floor`, or if it is not light enough: the harness's share is in every figure.
    const BUSY: Speed = Speed { compared: BUSY_PER_EVENT, ..Speed::NET };
    /// For a run that does not know busy time.
    const WALL: Speed = Speed {
        time: WALL_PER_EVENT,
        compared: WALL_PER_EVENT,
        rate: EVENTS_PER_SECOND,
        name: "time/event",
        each: " per event",
    };

    /// The speed metric of a run: the best that its samples have.
    pub(super) fn of(run: &Run) -> Speed {
        let busy = || timed(run).filter(|sample| sample.busy_ns.is_some());
        match busy().next() {
            None => Speed::WALL,
            Some(_) if floor_share(run).is_some_and(|(share, _)| share <= MOST_FLOOR_SHARE) => Speed::NET,
            Some(_) => Speed::BUSY,
        }
    }

    /// Whether it is busy time and not elapsed time.
    pub(super) fn is_busy(self) -> bool {
        self.time == BUSY_PER_EVENT
    }

    /// What the compared metric is called in tables.
    pub(super) fn compared_name(self) -> String {
        format!("{}{}", self.name, if self.is_net() { " without the harness" } else { "" })
    }

    /// Whether the harness's share is known, and excluded from comparisons.
    pub(super) fn is_net(self) -> bool {
        self == Speed::NET
    }
}

pub(super) fn timed(run: &Run) -> impl Iterator<Item = &Sample> + Clone {
    run.samples.iter().filter(|sample| sample.pass == Pass::Throughput && sample.status == Status::Ok)
}

/// Whether a sample measures the harness: `floor` without a setting.
fn is_harness(sample: &Sample) -> bool {
    sample.variant == FLOOR
}

/// The largest fraction of the fastest other variant's busy time that `floor` takes, by medians over blocks, and the
/// workload with that fraction; none if `floor` was not measured.
pub(super) fn floor_share(run: &Run) -> Option<(f64, &str)> {
    let mut busy: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for sample in timed(run) {
        if let Some(busy_ns) = sample.busy_ns {
            busy.entry((&sample.workload, &sample.variant)).or_default().push(busy_ns as f64);
        }
    }
    let medians: BTreeMap<(&str, &str), f64> =
        busy.into_iter().filter_map(|(key, values)| Some((key, median(&values)?))).collect();
    let shares = medians.iter().filter(|((_, variant), _)| *variant == FLOOR).filter_map(|(key, floor)| {
        let others = medians.iter().filter(|(other, _)| other.0 == key.0 && other.1 != FLOOR);
        let fastest = others.map(|(_, &busy)| busy).min_by(f64::total_cmp)?;
        Some((floor / fastest, key.0))
    });
    shares.max_by(|one, other| one.0.total_cmp(&other.0))
}

/// The most that the harness's share of an event can be, in ns, by workload and block.
pub(super) fn find_harness(run: &Run) -> HashMap<String, Values> {
    let of_floor = timed(run).filter(|sample| is_harness(sample));
    let named: BTreeSet<&str> = of_floor.clone().map(|sample| sample.workload.as_str()).collect();
    let share = |workload: &str| {
        let samples = of_floor.clone().filter(|sample| sample.workload == workload);
        (workload.to_owned(), harness_per_event(samples))
    };
    named.into_iter().map(share).collect()
}

/// One workload of a comparison: busy time of the variant and of the baseline, and the harness's share, by block.
pub(super) struct Sides<'a> {
    pub(super) variant: &'a Values,
    pub(super) base: &'a Values,
    pub(super) harness: &'a Values,
}

/// The ratio of the allocators' own times, within the blocks that have all samples of every workload.
pub(super) fn compare_net(workloads: &[Sides<'_>], seed: u64) -> Option<NetRatio> {
    let at = |sides: &Sides<'_>, block: &u32| {
        let value = |values: &Values| values.get(block).copied();
        Some(Shared {
            variant: value(sides.variant)?,
            base: value(sides.base)?,
            harness: value(sides.harness)?,
        })
    };
    let blocks = workloads.first()?.variant.keys();
    let whole = |block: &&u32| workloads.iter().all(|sides| at(sides, block).is_some());
    let blocks: Vec<&u32> = blocks.filter(whole).collect();
    let of = |sides: &Sides<'_>| blocks.iter().filter_map(|block| at(sides, block)).collect();
    net_ratio(&workloads.iter().map(of).collect::<Vec<Vec<Shared>>>(), seed)
}
