//! cache-scratch and cache-thrash: do objects of two threads lie on one cache line?

use heaplab_trace::ThreadId;

use super::THREADS;
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Parameter, Values, count, size};
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const SCRATCH: Pattern = Pattern {
    name: "cache-scratch",
    description: "passive false sharing: threads work on small objects, after freeing neighbours that they were given",
    parameters: PARAMETERS,
    begin: |values, _| begin(values, true),
};

pub(crate) const THRASH: Pattern = Pattern {
    name: "cache-thrash",
    description: "active false sharing: threads allocate small objects at the same time and work on them",
    parameters: PARAMETERS,
    begin: |values, _| begin(values, false),
};

const PARAMETERS: &[Parameter] = &[
    THREADS,
    count("iterations", "40000", (1, 1_000_000_000), "objects of each thread, one after another"),
    size("size", "8B", (1, 1 << 20), "size of each object"),
    count("repeats", "50", (0, 1_000_000_000), "how often a thread reads and writes each byte of an object"),
    count("run", "25", (1, 10_000), "objects of a thread before the next thread's turn comes"),
];

#[derive(Debug)]
struct Cache {
    threads: u64,
    /// Whether the initial thread gives each thread an object.
    gives: bool,
    iterations: u64,
    size: u64,
    repeats: u64,
    run: u64,
    lanes: Option<Round<Lane>>,
}

#[derive(Debug)]
struct Lane {
    thread: ThreadId,
    given: Option<Block>,
    left: u64,
}

fn begin(values: &Values, gives: bool) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(Cache {
        threads: values.get("threads"),
        gives,
        iterations: values.get("iterations"),
        size: values.get("size"),
        repeats: values.get("repeats"),
        run: values.get("run"),
        lanes: None,
    }))
}

impl Cache {
    fn start(&self, heap: &mut Heap) -> Round<Lane> {
        let given: Vec<Option<Block>> =
            (0..self.threads).map(|_| self.gives.then(|| heap.malloc(MAIN, self.size))).collect();
        let threads = heap.start_threads(self.threads);
        let lanes = threads.into_iter().zip(given);
        Round::new(lanes.map(|(thread, given)| Lane { thread, given, left: self.iterations }).collect())
    }
}

impl Play for Cache {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let (size, repeats, run) = (self.size, self.repeats, self.run);
        let Some(lanes) = &mut self.lanes else {
            self.lanes = Some(self.start(heap));
            return true;
        };
        lanes.turn(|lane| {
            if let Some(given) = lane.given.take() {
                heap.free(lane.thread, given);
            }
            for _ in 0..run.min(lane.left) {
                let block = heap.malloc(lane.thread, size);
                heap.work(lane.thread, &block, repeats);
                heap.free(lane.thread, block);
                lane.left -= 1;
            }
            if lane.left == 0 {
                heap.end_thread(lane.thread);
            }
            lane.left > 0
        })
    }
}
