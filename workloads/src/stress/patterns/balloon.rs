//! balloon: a heap that grows and shrinks, again and again; does its memory shrink too?

use std::collections::VecDeque;

use heaplab_trace::ThreadId;

use super::{STEP, max, min, thread};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, choice, count, refuse, size};
use crate::stress::random::{Random, Uniform};
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "balloon",
    description: "one thread grows its heap to 192 MiB and shrinks it to 16 MiB, again and again: what is given back",
    parameters: &[
        count("cycles", "8", (1, 1_000_000), "how often it grows and shrinks"),
        size("high", "192MiB", (1, 1 << 36), "live bytes when it is full"),
        size("low", "16MiB", (0, 1 << 36), "live bytes when it has shrunk"),
        min("16B"),
        max("8KiB"),
        choice("order", &["random", "oldest", "newest"], "random", "which objects are freed first"),
        thread(&["main", "other"], "main"),
    ],
    begin,
};

#[derive(Debug)]
struct Balloon {
    random: Random,
    sizes: Uniform,
    high_bytes: u64,
    low_bytes: u64,
    order: u64,
    other: bool,
    thread: Option<ThreadId>,
    cycles_left: u64,
    shrinks: bool,
    blocks: VecDeque<Block>,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    let (low_bytes, high_bytes) = (values.get("low"), values.get("high"));
    if low_bytes >= high_bytes {
        let allowed = format!("below high, which is {}", values.text("high"));
        return Err(refuse("low", values.text("low"), allowed));
    }
    Ok(Begun::new(Balloon {
        random: Random::new(seed, 0),
        sizes: values.uniform("min", "max")?,
        high_bytes,
        low_bytes,
        order: values.get("order"),
        other: values.get("thread") == 1,
        thread: None,
        cycles_left: values.get("cycles"),
        shrinks: false,
        blocks: VecDeque::new(),
    }))
}

impl Balloon {
    /// The object to free next.
    fn take(&mut self) -> Option<Block> {
        match self.order {
            0 if !self.blocks.is_empty() => {
                let index = self.random.index(self.blocks.len());
                self.blocks.swap_remove_back(index)
            }
            1 => self.blocks.pop_front(),
            _ => self.blocks.pop_back(),
        }
    }

    /// Grows by an object that still fits, or shrinks by one; false when it is full or has finished
    /// shrinking.
    fn step(&mut self, thread: ThreadId, heap: &mut Heap) -> bool {
        if self.shrinks {
            let Some(block) = self.take() else { return false };
            heap.free(thread, block);
            return heap.live_bytes() > self.low_bytes;
        }
        let size = self.sizes.draw(&mut self.random);
        if heap.live_bytes() + size > self.high_bytes {
            return false;
        }
        self.blocks.push_back(heap.malloc(thread, size));
        true
    }
}

impl Play for Balloon {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let other = self.other;
        let thread = *self.thread.get_or_insert_with(|| if other { heap.start_thread() } else { MAIN });
        if (0..STEP).all(|_| self.step(thread, heap)) {
            return true;
        }
        self.cycles_left -= u64::from(self.shrinks);
        self.shrinks = !self.shrinks;
        if self.cycles_left == 0 && thread != MAIN {
            heap.end_thread(thread);
        }
        self.cycles_left > 0
    }
}
