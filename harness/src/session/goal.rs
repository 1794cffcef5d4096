//! `--until`: which samples to take next, when the measurements decide how many there are.
//!
//! The first `--reps` blocks are as in any run. After them come further blocks of every workload and pass
//! with intervals still wider than asked for, until none is or the time is over. Only the width of the
//! intervals is considered, never whether a difference shows: stopping when a result pleases would produce
//! results by chance.
//!
//! The intervals are those on which verdicts rest. For speed, where `floor` is light enough, they are of busy
//! time without the harness's share, and wider than those of raw busy time.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use heaplab_allocators::registry::{DEFAULT_BASELINE, FLOOR};

use super::error::{SessionError, usage};
use super::replays::Replays;
use crate::design::{Pass, Step, show_percent};
use crate::results::metrics::{MOST_FLOOR_SHARE, harness_per_event, headline};
use crate::results::{Sample, SampleKey, Status};
use crate::stats::{
    Interval, MIN_BLOCKS, NetRatio, Shared, median, median_interval, net_ratio, paired_ratio,
};

/// More blocks than anyone waits for.
const MOST_BLOCKS: u32 = 100_000;

/// How narrow intervals must become, and how long that may take.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Goal {
    /// Both ends of every interval must be within this fraction of its middle.
    within: f64,
    /// No block starts later than this after the first.
    max_time: Option<Duration>,
}

impl Goal {
    /// The goal of a run; none where only the number of blocks decides.
    pub(super) fn of(replays: &Replays) -> Result<Option<Goal>, SessionError> {
        let Some(within) = replays.replay.until else { return Ok(None) };
        if within <= 0.0 {
            return Err(usage(
                "--until 0%: no interval is that narrow; give a percentage above 0, such as 2%",
            ));
        }
        if !replays.options.passes.iter().any(|pass| matches!(pass, Pass::Throughput | Pass::Memory)) {
            return Err(usage("--until needs the throughput or the memory pass, and neither is asked for"));
        }
        Ok(Some(Goal { within, max_time: replays.replay.max_time_ns.map(Duration::from_nanos) }))
    }
}

/// What one variant showed on one workload in one pass.
#[derive(Debug, Clone, Default)]
struct Shown {
    values: BTreeMap<u32, f64>,
    failed: bool,
}

/// One workload and pass, of which a block holds every variant.
type Group = (usize, Pass);

/// A run on its way to its goal.
pub(super) struct Pursuit<'a> {
    replays: &'a Replays,
    goal: &'a Goal,
    baseline: Option<usize>,
    begun: Instant,
    done: BTreeSet<SampleKey>,
    shown: RefCell<BTreeMap<(Group, usize), Shown>>,
    /// What floor showed about each workload's speed.
    of_floor: RefCell<BTreeMap<usize, Vec<Sample>>>,
    /// Groups of the blocks so far, and whether the time ended before the goal.
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Step>,
    next_block: u32,
    group: Option<(u32, Group)>,
    out_of_time: bool,
}

impl<'a> Pursuit<'a> {
    /// Starts with the samples that a run already holds and need not take again.
    pub(super) fn new(replays: &'a Replays, goal: &'a Goal, done: &[Sample]) -> Pursuit<'a> {
        let named = replays.options.baseline.as_deref().unwrap_or(DEFAULT_BASELINE);
        let pursuit = Pursuit {
            replays,
            goal,
            baseline: replays.variants.iter().position(|variant| variant.label == named),
            begun: Instant::now(),
            done: done.iter().map(Sample::key).collect(),
            shown: RefCell::default(),
            of_floor: RefCell::default(),
            state: RefCell::default(),
        };
        done.iter().for_each(|sample| pursuit.add(sample));
        pursuit
    }

    /// Takes note of a sample.
    pub(super) fn add(&self, sample: &Sample) {
        let replays = self.replays;
        let workload = replays.design.workloads.iter().position(|name| *name == sample.workload);
        let variant = replays.variants.iter().position(|variant| variant.label == sample.variant);
        if let (Some(workload), Some(variant)) = (workload, variant) {
            let mut shown = self.shown.borrow_mut();
            let of = shown.entry(((workload, sample.pass), variant)).or_default();
            match sample.status {
                Status::Ok => of.values.extend(headline(sample).map(|value| (sample.block, value))),
                _ => of.failed = true,
            }
            let is_floor = replays.variants[variant].label == FLOOR;
            if is_floor && sample.pass == Pass::Throughput && sample.status == Status::Ok {
                self.of_floor.borrow_mut().entry(workload).or_default().push(sample.clone());
            }
        }
    }

    /// The next sample to take; none when the goal is reached or the time is over.
    pub(super) fn next_step(&self) -> Option<Step> {
        let mut state = self.state.borrow_mut();
        loop {
            if let Some(&step) = state.waiting.front() {
                let group = (step.block, (step.workload, step.pass));
                // A block that has started is finished: a ratio needs every variant of it.
                let begins = state.group != Some(group);
                if begins && self.goal.max_time.is_some_and(|most| self.begun.elapsed() >= most) {
                    state.out_of_time = true;
                    return None;
                }
                state.group = Some(group);
                return state.waiting.pop_front();
            }
            if state.next_block >= MOST_BLOCKS {
                return None;
            }
            let wide = self.wide_groups();
            if state.next_block >= self.replays.options.reps && wide.is_empty() {
                return None;
            }
            let block = self.steps_of_block(state.next_block, &wide);
            state.waiting.extend(block);
            state.next_block += 1;
        }
    }

    fn steps_of_block(&self, block: u32, wide: &BTreeSet<Group>) -> Vec<Step> {
        let replays = self.replays;
        let wanted = |step: &Step| {
            let asked = block < replays.options.reps || wide.contains(&(step.workload, step.pass));
            asked && !self.done.contains(&replays.key(step))
        };
        replays.design.steps_of_block(block).filter(wanted).collect()
    }

    /// Groups with an interval that is wider than asked for.
    fn wide_groups(&self) -> BTreeSet<Group> {
        let groups = (0..self.replays.workloads.len())
            .flat_map(|workload| self.replays.options.passes.iter().map(move |&pass| (workload, pass)));
        groups.filter(|group| self.widest(*group).is_some_and(|(_, wide)| wide > self.goal.within)).collect()
    }

    /// The widest interval of a group's variants, and its variant: the interval of the ratio to the baseline,
    /// or, where there is none, of the median. A variant with a failed sample is not waited for; the baseline's other
    /// samples still make ratios, as in the report.
    fn widest(&self, group: Group) -> Option<(usize, f64)> {
        if !matches!(group.1, Pass::Throughput | Pass::Memory) {
            return None;
        }
        let shown = self.shown.borrow();
        let sound = |variant: usize| shown.get(&(group, variant)).filter(|shown| !shown.failed);
        let base = self.baseline.and_then(|base| Some((base, shown.get(&(group, base))?)));
        let ranked = (0..self.replays.variants.len())
            .filter(|&at| self.replays.variants[at].allocator != FLOOR)
            .filter(|&at| !shown.get(&(group, at)).is_some_and(|shown| shown.failed));
        let ranked: Vec<usize> = ranked.collect();
        let of_ratio = base.filter(|(base, _)| ranked.iter().any(|at| at != base));
        let harness = self.harness(group);
        let widths = ranked.into_iter().filter_map(|at| {
            let values = sound(at).map(|shown| &shown.values);
            let interval = match of_ratio {
                Some((base, _)) if base == at => return None,
                Some((_, base)) => values.and_then(|values| match &harness {
                    Some(harness) => net_interval(values, &base.values, harness, self.replays.options.seed),
                    None => ratio_interval(values, &base.values),
                }),
                None => values.and_then(median_of),
            };
            Some((at, interval.map_or(f64::INFINITY, |interval| interval.half_width())))
        });
        widths.max_by(|one, other| one.1.total_cmp(&other.1))
    }

    /// The harness's share of a group's blocks, where verdicts exclude it: in the throughput pass, if `floor`
    /// takes only a small part of the fastest variant's busy time on every workload.
    fn harness(&self, group: Group) -> Option<BTreeMap<u32, f64>> {
        let of_floor = self.of_floor.borrow();
        if group.1 != Pass::Throughput || of_floor.is_empty() {
            return None;
        }
        let shown = self.shown.borrow();
        let middle = |workload: usize, variant: usize| {
            let shown = shown.get(&((workload, Pass::Throughput), variant))?;
            median(&shown.values.values().copied().collect::<Vec<f64>>())
        };
        let variants = &self.replays.variants;
        let is_light = |&workload: &usize| {
            let of = |is_floor: bool| {
                let chosen = (0..variants.len()).filter(|&at| (variants[at].label == FLOOR) == is_floor);
                chosen.filter_map(|at| middle(workload, at)).min_by(f64::total_cmp)
            };
            of(true).zip(of(false)).is_none_or(|(floor, fastest)| floor <= fastest * MOST_FLOOR_SHARE)
        };
        if !of_floor.keys().all(is_light) {
            return None;
        }
        Some(harness_per_event(of_floor.get(&group.0)?.iter()))
    }

    /// How it ended, in a sentence for each group that is still wide.
    pub(super) fn describe(&self) -> Vec<String> {
        let percent = show_percent(self.goal.within);
        let sentence = |group: &Group| {
            let (variant, wide) = self.widest(*group)?;
            let width = match wide {
                wide if wide.is_finite() => format!("within {:.1} %", wide * 100.0),
                _ => format!("unknown below {MIN_BLOCKS} blocks"),
            };
            Some(format!(
                "{}, {}: not within {percent}: the widest interval, that of {}, is {width}",
                self.replays.design.workloads[group.0], group.1, self.replays.variants[variant].label
            ))
        };
        let wide: Vec<String> = self.wide_groups().iter().filter_map(sentence).collect();
        let state = self.state.borrow();
        match (wide.is_empty(), state.out_of_time) {
            (true, _) => vec![format!("every interval is within {percent} after {} blocks", self.blocks())],
            (false, true) => {
                let time = self.goal.max_time.unwrap_or_default();
                let first = format!("the time of {} is over", humantime::format_duration(time));
                [first].into_iter().chain(wide).collect()
            }
            (false, false) => wide,
        }
    }

    /// Blocks that have at least one sample.
    pub(super) fn blocks(&self) -> u32 {
        let shown = self.shown.borrow();
        let last =
            shown.values().filter_map(|shown| shown.values.last_key_value()).map(|(block, _)| block + 1);
        last.max().unwrap_or(0)
    }
}

fn ratio_interval(values: &BTreeMap<u32, f64>, base: &BTreeMap<u32, f64>) -> Option<Interval> {
    let pairs: Vec<(f64, f64)> =
        values.iter().filter_map(|(block, &value)| Some((value, *base.get(block)?))).collect();
    match paired_ratio(&pairs) {
        Some(ratio) => ratio.interval,
        // There is no ratio to zero: only the spread of the values themselves is left.
        None => median_of(values),
    }
}

/// The interval of the ratio of times without the harness's share; none where nothing is left of them.
fn net_interval(
    values: &BTreeMap<u32, f64>,
    base: &BTreeMap<u32, f64>,
    harness: &BTreeMap<u32, f64>,
    seed: u64,
) -> Option<Interval> {
    let shared = |(block, &variant): (&u32, &f64)| {
        Some(Shared { variant, base: *base.get(block)?, harness: *harness.get(block)? })
    };
    match net_ratio(&[values.iter().filter_map(shared).collect()], seed)? {
        NetRatio::Known(ratio) => ratio.interval,
        NetRatio::Drowned => None,
    }
}

fn median_of(values: &BTreeMap<u32, f64>) -> Option<Interval> {
    median_interval(&values.values().copied().collect::<Vec<f64>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_without_the_harness_is_the_wider_one() {
        // A harness of 60 in times around 100: noise is relative to what is left, which is less than half.
        let noise = [0.3, -0.8, 0.1, 0.9, -0.4, 0.6, -0.2, -0.9, 0.7, -0.1];
        let blocks = |middle: f64, most: f64| -> BTreeMap<u32, f64> {
            (0..).zip(noise).map(|(block, noise)| (block, middle + most * noise)).collect()
        };
        let (variant, base, harness) = (blocks(100.0, 2.0), blocks(100.0, 0.0), blocks(60.0, 0.0));
        let whole = ratio_interval(&variant, &base).unwrap().half_width();
        let net = net_interval(&variant, &base, &harness, 1).unwrap().half_width();
        assert!(net > whole * 1.5, "{net} {whole}");
        assert!(net_interval(&harness, &harness, &harness, 1).is_none(), "nothing is left");
        assert!(net_interval(&variant, &base, &BTreeMap::new(), 1).is_none(), "floor has no block");
    }
}
