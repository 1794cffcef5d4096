//! alloc-test: sizes and lifetimes of a C++ program, both far from uniform.

use heaplab_trace::ThreadId;

use super::{RUN, THREADS};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap};
use crate::stress::parameter::{Values, count};
use crate::stress::random::{MILLION, Random};
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "alloc-test",
    description: "small sizes halving in frequency, slots used 80 to 20: lifetimes over many orders of magnitude",
    parameters: &[
        THREADS,
        count("items", "262144", (1, 1 << 24), "slots of all threads together, half of them filled at first"),
        count("exponent", "10", (4, 30), "the largest size is 2 to this power, in bytes"),
        count("steps", "200000", (0, 1_000_000_000), "steps of each thread: a slot is filled, or emptied"),
        count(
            "repeats",
            "0",
            (0, 1_000_000),
            "how often each byte is read and written before an object is freed",
        ),
        RUN,
    ],
    begin,
};

/// Probability of each level in millionths: six trials with probability 0.2. Level i covers a part of the
/// slots as large as the probability of level 6 - i.
const LEVELS: [u64; 7] = [262_144, 393_216, 245_760, 81_920, 15_360, 1_536, 64];

#[derive(Debug)]
struct AllocTest {
    seed: u64,
    threads: u64,
    slots: usize,
    steps: u64,
    exponent: u32,
    repeats: u64,
    run: usize,
    lanes: Option<Round<Lane>>,
}

#[derive(Debug)]
struct Lane {
    thread: ThreadId,
    random: Random,
    slots: Vec<Option<Block>>,
    steps_left: u64,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    let threads = values.get("threads");
    Ok(Begun::new(AllocTest {
        seed,
        threads,
        slots: (values.get("items") / threads).max(1) as usize,
        steps: values.get("steps"),
        exponent: values.get("exponent") as u32,
        repeats: values.get("repeats"),
        run: values.length("run"),
        lanes: None,
    }))
}

/// A size: with probability 1/2 from 5 to 8 bytes, 1/4 from 9 to 16, and so on to 2^`exponent`.
fn draw_size(random: &mut Random, exponent: u32) -> u64 {
    let group = random.below(1 << (exponent - 3)) + 1;
    let power = 1u64 << (group.trailing_zeros() + 2);
    power + 1 + random.below(power)
}

/// An index below `slots`: a level by its probability, then uniform within the level.
fn draw_slot(random: &mut Random, slots: usize) -> usize {
    let mut drawn = random.below(MILLION);
    let (mut level, mut before) = (0, 0);
    while level < LEVELS.len() - 1 && drawn >= LEVELS[level] {
        drawn -= LEVELS[level];
        before += LEVELS[LEVELS.len() - 1 - level];
        level += 1;
    }
    let place = |millionths: u64| (slots as u64 * millionths / MILLION) as usize;
    let first = place(before);
    let width = place(before + LEVELS[LEVELS.len() - 1 - level]).saturating_sub(first).max(1);
    (first + random.index(width)).min(slots - 1)
}

impl Lane {
    /// First fills slots, then steps, then empties them; `run` operations at a time. False at the end.
    fn act(&mut self, plan: &Plan, heap: &mut Heap) -> bool {
        if self.slots.len() < plan.slots {
            for _ in 0..plan.run.min(plan.slots - self.slots.len()) {
                let fills = self.random.chance(MILLION / 2);
                let size = draw_size(&mut self.random, plan.exponent);
                self.slots.push(fills.then(|| heap.malloc(self.thread, size)));
            }
            return true;
        }
        if self.steps_left > 0 {
            for _ in 0..self.steps_left.min(plan.run as u64) {
                self.step(plan, heap);
            }
            return true;
        }
        let mut filled = self.slots.iter_mut().filter_map(Option::take).take(plan.run).peekable();
        let any = filled.peek().is_some();
        filled.for_each(|block| heap.free(self.thread, block));
        if !any {
            heap.end_thread(self.thread);
        }
        any
    }

    fn step(&mut self, plan: &Plan, heap: &mut Heap) {
        let slot = draw_slot(&mut self.random, plan.slots);
        match self.slots[slot].take() {
            Some(block) => {
                heap.work(self.thread, &block, plan.repeats);
                heap.free(self.thread, block);
            }
            None => {
                let size = draw_size(&mut self.random, plan.exponent);
                self.slots[slot] = Some(heap.malloc(self.thread, size));
            }
        }
        self.steps_left -= 1;
    }
}

/// What all lanes share.
struct Plan {
    slots: usize,
    exponent: u32,
    repeats: u64,
    run: usize,
}

impl Play for AllocTest {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let plan = Plan { slots: self.slots, exponent: self.exponent, repeats: self.repeats, run: self.run };
        let Some(lanes) = &mut self.lanes else {
            let lane = |thread: ThreadId| Lane {
                thread,
                random: Random::new(self.seed, u64::from(thread)),
                slots: Vec::new(),
                steps_left: self.steps,
            };
            self.lanes = Some(Round::new(heap.start_threads(self.threads).into_iter().map(lane).collect()));
            return true;
        };
        lanes.turn(|lane| lane.act(&plan, heap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: usize = 400_000;

    #[test]
    fn sizes_halve_in_frequency_and_have_the_known_mean() {
        let mut random = Random::new(1, 0);
        let sizes: Vec<u64> = (0..DRAWS).map(|_| draw_size(&mut random, 10)).collect();
        let share = |low, high| {
            sizes.iter().filter(|size| (low..=high).contains(*size)).count() as f64 / DRAWS as f64
        };
        assert!((share(5, 8) - 0.5).abs() < 0.005 && (share(9, 16) - 0.25).abs() < 0.005);
        assert_eq!((sizes.iter().min(), sizes.iter().max()), (Some(&5), Some(&1024)));
        let mean = sizes.iter().sum::<u64>() as f64 / DRAWS as f64;
        assert!((mean - 30.0).abs() < 3.0, "{mean}");
    }

    #[test]
    fn a_quarter_of_the_steps_hit_a_handful_of_slots() {
        let mut random = Random::new(1, 0);
        let slots = 1_000_000;
        let drawn: Vec<usize> = (0..DRAWS).map(|_| draw_slot(&mut random, slots)).collect();
        let below = |bound| drawn.iter().filter(|slot| **slot < bound).count() as f64 / DRAWS as f64;
        assert!((below(64) - 0.262144).abs() < 0.005);
        assert!((below(1_600) - 0.65536).abs() < 0.005);
        assert!((1.0 - below(1_000_000 - 262_144) - 0.000064).abs() < 0.0001);
        for slots in [1, 2, 7, 100] {
            assert!((0..1000).all(|_| draw_slot(&mut random, slots) < slots));
        }
    }
}
