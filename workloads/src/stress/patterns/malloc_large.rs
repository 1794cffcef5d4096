//! malloc-large: a few buffers of many megabytes, replaced at random.

use super::{max, min};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, count};
use crate::stress::random::{Random, Uniform};
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "malloc-large",
    description: "buffers of 5 to 25 MiB, replaced at random: mapping thresholds, huge pages, the cost of page faults",
    parameters: &[
        count("buffers", "20", (1, 100_000), "buffers that are live"),
        count("replacements", "500", (0, 100_000_000), "how often one of them is replaced"),
        min("5MiB"),
        max("25MiB"),
    ],
    begin,
};

#[derive(Debug)]
struct MallocLarge {
    random: Random,
    sizes: Uniform,
    buffers: usize,
    left: u64,
    live: Vec<Block>,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(MallocLarge {
        random: Random::new(seed, 0),
        sizes: values.uniform("min", "max")?,
        buffers: values.length("buffers"),
        left: values.get("replacements"),
        live: Vec::new(),
    }))
}

impl Play for MallocLarge {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let size = self.sizes.draw(&mut self.random);
        if self.live.len() < self.buffers {
            self.live.push(heap.malloc(MAIN, size));
            return true;
        }
        if self.left > 0 {
            let buffer = self.random.index(self.buffers);
            heap.replace(MAIN, &mut self.live[buffer], size);
            self.left -= 1;
            return true;
        }
        self.live.drain(..).for_each(|block| heap.free(MAIN, block));
        false
    }
}
