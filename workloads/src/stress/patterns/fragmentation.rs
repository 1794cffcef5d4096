//! fragmentation: every other object is freed, and the next ones are too large for the gaps.

use heaplab_trace::ThreadId;

use super::{STEP, thread};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, count, number, size};
use crate::stress::random::MILLION;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "fragmentation",
    description: "every other object is freed and larger ones fill the heap up again: gaps that nothing fits into",
    parameters: &[
        size(
            "live",
            "32MiB",
            (1, 1 << 36),
            "live bytes when the heap is full; half of it when every other object is gone",
        ),
        size("size", "128B", (1, 1 << 24), "size of the first objects"),
        number(
            "growth",
            "1.5",
            (MILLION, 16 * MILLION),
            "factor from the size of one round to that of the next",
        ),
        count("rounds", "8", (1, 1000), "how often the heap is filled up and every other object freed"),
        thread(&["main", "other"], "main"),
    ],
    begin,
};

#[derive(Debug)]
struct Fragmentation {
    live_bytes: u64,
    size: u64,
    growth: u64,
    rounds_left: u64,
    other: bool,
    thread: Option<ThreadId>,
    /// What is live, in the order of allocation: while the heap is filled, `filled`; while it is thinned out,
    /// `kept`, then `blocks`.
    filled: Vec<Block>,
    kept: Vec<Block>,
    blocks: std::vec::IntoIter<Block>,
    frees: bool,
}

fn begin(values: &Values, _seed: u64) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(Fragmentation {
        live_bytes: values.get("live"),
        size: values.get("size"),
        growth: values.get("growth"),
        rounds_left: values.get("rounds"),
        other: values.get("thread") == 1,
        thread: None,
        kept: Vec::new(),
        blocks: Vec::new().into_iter(),
        filled: Vec::new(),
        frees: false,
    }))
}

impl Fragmentation {
    /// Frees one of the next two objects, or adds one that still fits; false when nothing is left to do in
    /// this half of the round.
    fn step(&mut self, thread: ThreadId, heap: &mut Heap) -> bool {
        if self.frees {
            let Some(kept) = self.blocks.next() else { return false };
            self.kept.push(kept);
            self.blocks.next().into_iter().for_each(|block| heap.free(thread, block));
            return true;
        }
        let fits = heap.live_bytes().saturating_add(self.size) <= self.live_bytes;
        if fits {
            self.filled.push(heap.malloc(thread, self.size));
        }
        fits
    }
}

impl Play for Fragmentation {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let other = self.other;
        let thread = *self.thread.get_or_insert_with(|| if other { heap.start_thread() } else { MAIN });
        if (0..STEP).all(|_| self.step(thread, heap)) {
            return true;
        }
        if self.frees {
            self.rounds_left -= 1;
            let grown = u128::from(self.size) * u128::from(self.growth) / u128::from(MILLION);
            self.size = u64::try_from(grown).unwrap_or(u64::MAX);
            std::mem::swap(&mut self.filled, &mut self.kept);
        } else {
            self.blocks = std::mem::take(&mut self.filled).into_iter();
        }
        self.frees = !self.frees;
        if self.rounds_left == 0 && thread != MAIN {
            heap.end_thread(thread);
        }
        self.rounds_left > 0
    }
}
