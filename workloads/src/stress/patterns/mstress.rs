//! mstress: objects of all sizes and lifetimes, exchanged between threads through a shared array.

use heaplab_trace::ThreadId;

use super::{RUN, THREADS};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, count};
use crate::stress::random::{MILLION, Random};
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "mstress",
    description: "short-lived and retained objects of many sizes, exchanged through a shared array; threads come and go",
    parameters: &[
        THREADS,
        count(
            "scale",
            "25",
            (1, 10_000),
            "hundreds of short-lived objects of the first thread in an iteration; thread t makes t mod 8 + 1 times as many",
        ),
        count("iterations", "12", (1, 100_000), "how often all threads are restarted"),
        count("transfer", "1000", (1, 1_000_000), "slots of the shared array"),
        RUN,
    ],
    begin,
};

/// Bytes of a word.
const WORD: u64 = 8;
/// Chance that a step frees a short-lived object, and that it exchanges one, in millionths.
const FREES: u64 = 660_000;
const EXCHANGES: u64 = 250_000;

#[derive(Debug)]
struct Mstress {
    seed: u64,
    threads: u64,
    scale: u64,
    run: u64,
    iterations_left: u64,
    random: Random,
    transfer: Vec<Option<Block>>,
    lanes: Option<Round<Lane>>,
}

#[derive(Debug)]
struct Lane {
    thread: ThreadId,
    random: Random,
    data: Vec<Block>,
    retained: Vec<Block>,
    data_left: u64,
    retained_left: u64,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(Mstress {
        seed,
        threads: values.get("threads"),
        scale: values.get("scale"),
        run: values.get("run"),
        iterations_left: values.get("iterations"),
        random: Random::new(seed, 0),
        transfer: (0..values.get("transfer")).map(|_| None).collect(),
        lanes: None,
    }))
}

/// 1 to 2^`doublings` words; one in a hundred is 100 times as large, one in a thousand 1,000 times, one in
/// ten thousand 10,000 times.
fn draw_size(random: &mut Random, doublings: u64) -> u64 {
    let words = 1u64 << random.below(doublings + 1);
    let rare = match random.below(10_000) {
        0 => 10_000,
        1..=10 => 1_000,
        11..=110 => 100,
        _ => 1,
    };
    words * rare * WORD
}

impl Lane {
    fn act(&mut self, run: u64, transfer: &mut [Option<Block>], heap: &mut Heap) -> bool {
        for _ in 0..run {
            if self.data_left + self.retained_left == 0 {
                return self.free_some(run, heap);
            }
            self.step(transfer, heap);
        }
        true
    }

    fn step(&mut self, transfer: &mut [Option<Block>], heap: &mut Heap) {
        let data = self.data_left > 0 && (self.retained_left == 0 || self.random.chance(MILLION / 2));
        if data {
            self.data_left -= 1;
            self.data.push(heap.malloc(self.thread, draw_size(&mut self.random, 4)));
        } else {
            self.retained_left -= 1;
            self.retained.push(heap.malloc(self.thread, draw_size(&mut self.random, 6)));
        }
        if self.random.chance(FREES) && !self.data.is_empty() {
            let index = self.random.index(self.data.len());
            heap.free(self.thread, self.data.swap_remove(index));
        }
        if self.random.chance(EXCHANGES) && !self.data.is_empty() {
            let index = self.random.index(self.data.len());
            let given = self.data.swap_remove(index);
            let slot = self.random.index(transfer.len());
            self.data.extend(transfer[slot].replace(given));
        }
    }

    /// Frees a run of what is left; false when nothing is left and the thread has ended.
    fn free_some(&mut self, run: u64, heap: &mut Heap) -> bool {
        for _ in 0..run {
            let Some(block) = self.data.pop().or_else(|| self.retained.pop()) else {
                heap.end_thread(self.thread);
                return false;
            };
            heap.free(self.thread, block);
        }
        true
    }
}

impl Play for Mstress {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(lanes) = &mut self.lanes else {
            let lane = |(index, thread): (u64, ThreadId)| {
                let data_left = 100 * self.scale * (index % 8 + 1);
                let random = Random::new(self.seed, u64::from(thread));
                let (data, retained) = (Vec::new(), Vec::new());
                Lane { thread, random, data, retained, data_left, retained_left: data_left / 2 }
            };
            let threads = (0..).zip(heap.start_threads(self.threads));
            self.lanes = Some(Round::new(threads.map(lane).collect()));
            return true;
        };
        let (run, transfer) = (self.run, &mut self.transfer);
        if lanes.turn(|lane| lane.act(run, transfer, heap)) {
            return true;
        }
        self.lanes = None;
        self.iterations_left -= 1;
        let last = self.iterations_left == 0;
        for slot in &mut self.transfer {
            if (last || self.random.chance(MILLION / 2))
                && let Some(block) = slot.take()
            {
                heap.free(MAIN, block);
            }
        }
        !last
    }
}
