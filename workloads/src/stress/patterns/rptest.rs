//! rptest: scattered frees and allocations of up to 16 KB, and batches that go to the next thread.

use heaplab_trace::ThreadId;

use super::{THREADS, max, min};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, choice, count};
use crate::stress::random::{MILLION, Random, Uniform};
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "rptest",
    description: "scattered frees and allocations up to 16 KB, some aligned, and batches that the next thread frees",
    parameters: &[
        THREADS,
        count("generations", "2", (1, 10_000), "how often all threads are restarted"),
        count("loops", "500", (1, 10_000_000), "loops of a thread"),
        count("blocks", "1000", (1, 1_000_000), "slots of a thread"),
        count("operations", "100", (1, 10_000), "operations of a loop, of which 30 to 99 percent are done"),
        count("cross", "2", (1, 10_000_000), "every this many loops, a batch goes to the next thread"),
        min("8B"),
        max("16000B"),
        choice(
            "sizes",
            &["even", "linear", "falling"],
            "linear",
            "how sizes are spread: the last two favour small ones",
        ),
    ],
    begin,
};

/// How many sizes are drawn beforehand.
const TABLE: usize = 2000;
/// Larger than any number of slots, and prime: multiples of it visit every slot.
const STRIDE: usize = 1_000_003;
/// Below this size, every third allocation is aligned to 8 bytes and every third to 16.
const ALIGNED_BELOW: u64 = 4096;

#[derive(Debug)]
struct Rptest {
    plan: Plan,
    seed: u64,
    threads: u64,
    generations_left: u64,
    lanes: Option<Round<Lane>>,
    /// Batches on their way to each lane.
    foreign: Vec<Vec<Block>>,
}

#[derive(Debug)]
struct Plan {
    sizes: Vec<u64>,
    blocks: usize,
    operations: u64,
    loops: u64,
    cross: u64,
}

#[derive(Debug)]
struct Lane {
    index: usize,
    thread: ThreadId,
    random: Random,
    slots: Vec<Option<Block>>,
    loops: u64,
    /// Allocations so far, by which sizes and alignments cycle.
    allocations: usize,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    let (uniform, spread) = (values.uniform("min", "max")?, values.get("sizes"));
    let mut random = Random::new(seed, 0);
    let plan = Plan {
        sizes: (0..TABLE).map(|_| draw_size(&mut random, uniform, spread)).collect(),
        blocks: values.length("blocks"),
        operations: values.get("operations"),
        loops: values.get("loops"),
        cross: values.get("cross"),
    };
    let threads = values.get("threads");
    Ok(Begun::new(Rptest {
        plan,
        seed,
        threads,
        generations_left: values.get("generations"),
        lanes: None,
        foreign: (0..threads).map(|_| Vec::new()).collect(),
    }))
}

/// An even draw, weighted by |a + b - 1| (linear) or by a b (falling) for two more draws a and b.
fn draw_size(random: &mut Random, uniform: Uniform, spread: u64) -> u64 {
    let (a, b) = (random.below(MILLION), random.below(MILLION));
    let weight = match spread {
        0 => MILLION,
        1 => (a + b).abs_diff(MILLION),
        _ => a * b / MILLION,
    };
    uniform.least + (uniform.draw(random) - uniform.least) * weight / MILLION
}

impl Lane {
    fn allocate(&mut self, plan: &Plan, heap: &mut Heap) -> Block {
        let (size, turn) = (plan.sizes[self.allocations % TABLE], self.allocations % 3);
        self.allocations += 1;
        match turn {
            1 if size < ALIGNED_BELOW => heap.aligned_alloc(self.thread, 8, size),
            2 if size < ALIGNED_BELOW => heap.aligned_alloc(self.thread, 16, size),
            _ => heap.malloc(self.thread, size),
        }
    }

    /// One loop; false after the last, when everything of the lane's is freed.
    fn act(&mut self, plan: &Plan, foreign: &mut [Vec<Block>], heap: &mut Heap) -> bool {
        let percent = 30 + self.random.below(70);
        let start = self.random.index(plan.blocks);
        for place in
            (0..plan.operations * 4 * percent / 500).map(|i| (start + i as usize * STRIDE) % plan.blocks)
        {
            if let Some(block) = self.slots[place].take() {
                heap.free(self.thread, block);
            }
        }
        for block in foreign[self.index].drain(..) {
            heap.free(self.thread, block);
        }
        let start = self.random.index(plan.blocks);
        for place in (0..plan.operations * percent / 100).map(|i| (start + i as usize * STRIDE) % plan.blocks)
        {
            if let Some(block) = self.slots[place].take() {
                heap.free(self.thread, block);
            }
            self.slots[place] = Some(self.allocate(plan, heap));
        }
        self.loops += 1;
        if self.loops.is_multiple_of(plan.cross) {
            let next = (self.index + 1) % foreign.len();
            for _ in 0..plan.operations {
                let block = self.allocate(plan, heap);
                foreign[next].push(block);
            }
        }
        if self.loops < plan.loops {
            return true;
        }
        let left = self.slots.drain(..).flatten().chain(foreign[self.index].drain(..));
        left.for_each(|block| heap.free(self.thread, block));
        heap.end_thread(self.thread);
        false
    }
}

impl Play for Rptest {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(lanes) = &mut self.lanes else {
            let lane = |(index, thread): (usize, ThreadId)| Lane {
                index,
                thread,
                random: Random::new(self.seed, u64::from(thread)),
                slots: (0..self.plan.blocks).map(|_| None).collect(),
                loops: 0,
                allocations: index * (TABLE / 4),
            };
            let threads = heap.start_threads(self.threads).into_iter().enumerate();
            self.lanes = Some(Round::new(threads.map(lane).collect()));
            return true;
        };
        let (plan, foreign) = (&self.plan, &mut self.foreign);
        if lanes.turn(|lane| lane.act(plan, foreign, heap)) {
            return true;
        }
        // The initial thread frees what arrived for a thread after its end.
        self.foreign.iter_mut().flat_map(|list| list.drain(..)).for_each(|block| heap.free(MAIN, block));
        self.lanes = None;
        self.generations_left -= 1;
        self.generations_left > 0
    }
}
