//! larson: a server whose threads hand their objects on to their successors.

use heaplab_trace::ThreadId;

use super::{RUN, STEP, THREADS, max, min};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, count};
use crate::stress::random::{Random, Uniform};
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "larson",
    description: "random replacement in slots that each thread inherits from the one before it",
    parameters: &[
        THREADS,
        count("slots", "2500", (1, 1_000_000), "objects of each thread"),
        min("8B"),
        max("1000B"),
        count("generations", "10", (1, 100_000), "threads that own the same slots, one after another"),
        count(
            "operations",
            "20000",
            (1, 1_000_000_000),
            "replacements of a thread before it hands its slots on",
        ),
        RUN,
    ],
    begin,
};

/// Replacements by the initial thread for each slot, before the threads start.
const SETUP_REPLACEMENTS: u64 = 4;

#[derive(Debug)]
struct Larson {
    random: Random,
    seed: u64,
    sizes: Uniform,
    threads: u64,
    slots: u64,
    generations: u64,
    operations: u64,
    run: u64,
    /// All slots, until the threads take them.
    setup: Vec<Block>,
    replaced: u64,
    lanes: Option<Round<Lane>>,
}

#[derive(Debug)]
struct Lane {
    thread: ThreadId,
    random: Random,
    slots: Vec<Block>,
    generations_left: u64,
    operations_left: u64,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(Larson {
        random: Random::new(seed, 0),
        seed,
        sizes: values.uniform("min", "max")?,
        threads: values.get("threads"),
        slots: values.get("slots"),
        generations: values.get("generations"),
        operations: values.get("operations"),
        run: values.get("run"),
        setup: Vec::new(),
        replaced: 0,
        lanes: None,
    }))
}

impl Larson {
    /// A step of the initial thread; true when the slots are ready.
    fn set_up(&mut self, heap: &mut Heap) -> bool {
        let total = self.threads * self.slots;
        for _ in 0..STEP {
            if (self.setup.len() as u64) < total {
                self.setup.push(heap.malloc(MAIN, self.sizes.draw(&mut self.random)));
            } else if self.replaced < total * SETUP_REPLACEMENTS {
                let slot = self.random.index(self.setup.len());
                heap.replace(MAIN, &mut self.setup[slot], self.sizes.draw(&mut self.random));
                self.replaced += 1;
            } else {
                return true;
            }
        }
        false
    }

    fn start(&mut self, heap: &mut Heap) -> Round<Lane> {
        self.random.shuffle(&mut self.setup);
        let lanes = heap.start_threads(self.threads).into_iter().map(|thread| Lane {
            thread,
            random: Random::new(self.seed, u64::from(thread)),
            slots: self.setup.split_off(self.setup.len() - self.slots as usize),
            generations_left: self.generations,
            operations_left: self.operations,
        });
        Round::new(lanes.collect())
    }
}

impl Play for Larson {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(lanes) = &mut self.lanes else {
            if self.set_up(heap) {
                self.lanes = Some(self.start(heap));
            }
            return true;
        };
        let (sizes, run, operations) = (self.sizes, self.run, self.operations);
        lanes.turn(|lane| {
            for _ in 0..run.min(lane.operations_left) {
                let slot = lane.random.index(lane.slots.len());
                heap.replace(lane.thread, &mut lane.slots[slot], sizes.draw(&mut lane.random));
                lane.operations_left -= 1;
            }
            if lane.operations_left > 0 {
                return true;
            }
            lane.generations_left -= 1;
            lane.operations_left = operations;
            let ended = lane.thread;
            if lane.generations_left > 0 {
                lane.thread = heap.start_thread();
            }
            heap.end_thread(ended);
            lane.generations_left > 0
        })
    }
}
