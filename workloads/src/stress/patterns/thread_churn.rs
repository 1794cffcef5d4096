//! thread-churn: thousands of threads that live for a few calls; what does each leave?

use heaplab_trace::ThreadId;

use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, count, size};
use crate::stress::random::Random;
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "thread-churn",
    description: "short-lived threads that swap a few small objects into shared slots: what an ended thread leaves behind",
    parameters: &[
        count("rounds", "500", (1, 100_000), "how often the threads are started, used and ended"),
        count("threads", "10", (1, 256), "threads of a round"),
        count(
            "calls",
            "32",
            (1, 10_000),
            "objects of each thread, swapped into shared slots; the former ones are freed",
        ),
        count("slots", "1000", (1, 1_000_000), "shared slots"),
        size("size", "128B", (0, 1 << 24), "size of each object, zeroed by calloc"),
    ],
    begin,
};

#[derive(Debug)]
struct ThreadChurn {
    random: Random,
    rounds_left: u64,
    threads: u64,
    calls: u64,
    size: u64,
    slots: Vec<Option<Block>>,
    round: Option<Round<ThreadId>>,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(ThreadChurn {
        random: Random::new(seed, 0),
        rounds_left: values.get("rounds"),
        threads: values.get("threads"),
        calls: values.get("calls"),
        size: values.get("size"),
        slots: (0..values.get("slots")).map(|_| None).collect(),
        round: None,
    }))
}

impl Play for ThreadChurn {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(round) = &mut self.round else {
            self.round = Some(Round::new(heap.start_threads(self.threads)));
            return true;
        };
        let (random, slots) = (&mut self.random, &mut self.slots);
        let more = round.turn(|thread| {
            for _ in 0..self.calls {
                let block = heap.calloc(*thread, self.size);
                let slot = random.index(slots.len());
                if let Some(former) = slots[slot].replace(block) {
                    heap.free(*thread, former);
                }
            }
            heap.end_thread(*thread);
            false
        });
        if more {
            return true;
        }
        self.round = None;
        self.rounds_left -= 1;
        if self.rounds_left == 0 {
            self.slots.iter_mut().filter_map(Option::take).for_each(|block| heap.free(MAIN, block));
        }
        self.rounds_left > 0
    }
}
