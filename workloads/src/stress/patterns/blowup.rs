//! blowup: nested threads that each build and free a large list; does the next reuse its memory?

use std::collections::VecDeque;

use heaplab_trace::ThreadId;

use super::{STEP, max, min};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, count, size};
use crate::stress::random::{Random, Uniform};
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "blowup",
    description: "nested threads, one after another, each build and free 100 MiB: memory of one arena that others never get",
    parameters: &[
        count(
            "threads",
            "10",
            (0, 256),
            "threads, each started by the one before it, in addition to the initial one",
        ),
        size("live", "100MiB", (1, 1 << 36), "bytes of each thread's list"),
        min("0B"),
        max("16KiB"),
        count(
            "pairs",
            "20000",
            (0, 1_000_000_000),
            "objects that are allocated and freed at once, before the list is freed and again after that",
        ),
    ],
    begin,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Build,
    Pairs,
    Free,
    PairsAgain,
}

#[derive(Debug)]
struct Blowup {
    random: Random,
    sizes: Uniform,
    live_bytes: u64,
    pairs: u64,
    threads_left: u64,
    /// The threads so far, the innermost last.
    threads: Vec<ThreadId>,
    stage: Stage,
    pairs_left: u64,
    list: VecDeque<Block>,
    list_bytes: u64,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(Blowup {
        random: Random::new(seed, 0),
        sizes: values.uniform("min", "max")?,
        live_bytes: values.get("live"),
        pairs: values.get("pairs"),
        threads_left: values.get("threads"),
        threads: vec![MAIN],
        stage: Stage::Build,
        pairs_left: 0,
        list: VecDeque::new(),
        list_bytes: 0,
    }))
}

impl Blowup {
    /// One operation; false when the stage is done.
    fn step(&mut self, thread: ThreadId, heap: &mut Heap) -> bool {
        match self.stage {
            Stage::Build => {
                let left = self.live_bytes - self.list_bytes;
                let size = self.sizes.draw(&mut self.random).min(left);
                self.list_bytes += size;
                self.list.push_back(heap.malloc(thread, size));
                self.list_bytes < self.live_bytes
            }
            Stage::Pairs | Stage::PairsAgain => {
                if self.pairs_left > 0 {
                    let block = heap.malloc(thread, self.sizes.draw(&mut self.random));
                    heap.free(thread, block);
                    self.pairs_left -= 1;
                }
                self.pairs_left > 0
            }
            Stage::Free => {
                self.list_bytes = 0;
                self.list.pop_front().into_iter().for_each(|block| heap.free(thread, block));
                !self.list.is_empty()
            }
        }
    }
}

impl Play for Blowup {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(thread) = self.threads.last().copied() else { return false };
        if (0..STEP).all(|_| self.step(thread, heap)) {
            return true;
        }
        self.pairs_left = self.pairs;
        self.stage = match self.stage {
            Stage::Build => Stage::Pairs,
            Stage::Pairs => Stage::Free,
            Stage::Free => Stage::PairsAgain,
            Stage::PairsAgain if self.threads_left > 0 => {
                self.threads_left -= 1;
                self.threads.push(heap.start_thread());
                Stage::Build
            }
            Stage::PairsAgain => {
                self.threads.drain(1..).rev().for_each(|thread| heap.end_thread(thread));
                return false;
            }
        };
        true
    }
}
