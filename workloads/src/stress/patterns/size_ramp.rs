//! size-ramp: batches of rising sizes, freed mostly from the newest on, some by another thread.

use std::collections::VecDeque;

use heaplab_trace::ThreadId;

use super::{THREADS, max, min};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap};
use crate::stress::parameter::{Values, count, share, size};
use crate::stress::random::{MILLION, Random};
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "size-ramp",
    description: "batches of rising sizes, freed newest first but for a part, some of them by the next thread",
    parameters: &[
        THREADS,
        count("batches", "100", (1, 10_000_000), "batches of each thread"),
        count("blocks", "1000", (1, 100_000), "objects of a batch"),
        min("8B"),
        max("1000B"),
        size("step", "8B", (1, 1 << 30), "how much the size rises; after max it starts at min again"),
        count("kept", "4", (0, 1000), "batches of a thread that stay live while the next is made"),
        share(
            "reversed",
            "0.25",
            "share of a batch, its oldest objects, that is freed last and oldest first",
        ),
        share(
            "handed",
            "0.5",
            "share of batches that the next thread frees (0 as in sh6bench, more as in sh8bench)",
        ),
    ],
    begin,
};

#[derive(Debug)]
struct SizeRamp {
    plan: Plan,
    seed: u64,
    count: u64,
    threads: Vec<ThreadId>,
    lanes: Option<Round<Lane>>,
}

#[derive(Debug)]
struct Plan {
    batches: u64,
    blocks: usize,
    /// Sizes of one rise.
    sizes: Vec<u64>,
    kept: usize,
    reversed: usize,
    handed: u64,
}

#[derive(Debug)]
struct Lane {
    index: usize,
    random: Random,
    kept: VecDeque<Vec<Block>>,
    batches_left: u64,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    let (uniform, blocks) = (values.uniform("min", "max")?, values.length("blocks"));
    let rise = (uniform.least..=uniform.most).step_by(values.length("step"));
    let plan = Plan {
        batches: values.get("batches"),
        blocks,
        sizes: rise.take(blocks).collect(),
        kept: values.length("kept"),
        reversed: (blocks as u64 * values.get("reversed") / MILLION) as usize,
        handed: values.get("handed"),
    };
    Ok(Begun::new(SizeRamp { plan, seed, count: values.get("threads"), threads: Vec::new(), lanes: None }))
}

impl Lane {
    fn act(&mut self, plan: &Plan, threads: &[ThreadId], heap: &mut Heap) -> bool {
        let own = threads[self.index];
        if self.batches_left > 0 {
            let sizes = plan.sizes.iter().cycle().take(plan.blocks);
            self.kept.push_back(sizes.map(|size| heap.malloc(own, *size)).collect());
            self.batches_left -= 1;
        }
        if (self.kept.len() > plan.kept || self.batches_left == 0)
            && let Some(mut batch) = self.kept.pop_front()
        {
            let handed = self.random.chance(plan.handed);
            let thread = if handed { threads[(self.index + 1) % threads.len()] } else { own };
            let newest = batch.split_off(plan.reversed.min(batch.len()));
            newest.into_iter().rev().chain(batch).for_each(|block| heap.free(thread, block));
        }
        self.batches_left > 0 || !self.kept.is_empty()
    }
}

impl Play for SizeRamp {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(lanes) = &mut self.lanes else {
            self.threads = heap.start_threads(self.count);
            let lane = |index: usize| Lane {
                index,
                random: Random::new(self.seed, index as u64 + 1),
                kept: VecDeque::new(),
                batches_left: self.plan.batches,
            };
            self.lanes = Some(Round::new((0..self.threads.len()).map(lane).collect()));
            return true;
        };
        let (plan, threads) = (&self.plan, &self.threads);
        let more = lanes.turn(|lane| lane.act(plan, threads, heap));
        if !more {
            self.threads.iter().for_each(|thread| heap.end_thread(*thread));
        }
        more
    }
}
