//! glibc-thread: each thread replaces objects at random in a working set of 1024, most of them small.

use heaplab_trace::ThreadId;

use super::{RUN, THREADS, max, min};
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap};
use crate::stress::parameter::{Values, count};
use crate::stress::random::{Random, Uniform};
use crate::stress::round::Round;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "glibc-thread",
    description: "threads replace objects at random in a small working set; sizes fall with their inverse square",
    parameters: &[
        THREADS,
        count("slots", "1024", (1, 1_000_000), "objects of each thread"),
        count("operations", "150000", (0, 1_000_000_000), "replacements of each thread"),
        min("4B"),
        max("32768B"),
        RUN,
    ],
    begin,
};

/// How many sizes are drawn beforehand.
const TABLE: usize = 8000;

#[derive(Debug)]
struct GlibcThread {
    seed: u64,
    threads: u64,
    slots: usize,
    operations: u64,
    run: u64,
    sizes: Vec<u64>,
    lanes: Option<Round<Lane>>,
}

#[derive(Debug)]
struct Lane {
    thread: ThreadId,
    random: Random,
    slots: Vec<Block>,
    operations_left: u64,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    let (uniform, mut random) = (values.uniform("min", "max")?, Random::new(seed, 0));
    Ok(Begun::new(GlibcThread {
        seed,
        threads: values.get("threads"),
        slots: values.length("slots"),
        operations: values.get("operations"),
        run: values.get("run"),
        sizes: (0..TABLE).map(|_| draw_size(&mut random, uniform)).collect(),
        lanes: None,
    }))
}

/// A size whose density falls with its square: 1 / size is uniform. This uses only divisions, which are exact
/// everywhere.
fn draw_size(random: &mut Random, uniform: Uniform) -> u64 {
    let (least, most) = (uniform.least.max(1) as f64, uniform.most as f64 + 1.0);
    let share = random.below(1 << 53) as f64 / (1u64 << 53) as f64;
    let size = 1.0 / (1.0 / least - share * (1.0 / least - 1.0 / most));
    (size as u64).clamp(uniform.least, uniform.most)
}

impl Play for GlibcThread {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(lanes) = &mut self.lanes else {
            let lane = |thread: ThreadId| Lane {
                thread,
                random: Random::new(self.seed, u64::from(thread)),
                slots: Vec::new(),
                operations_left: self.operations,
            };
            self.lanes = Some(Round::new(heap.start_threads(self.threads).into_iter().map(lane).collect()));
            return true;
        };
        let (sizes, slots, run) = (&self.sizes, self.slots, self.run);
        lanes.turn(|lane| {
            for _ in 0..run {
                let size = sizes[lane.random.index(TABLE)];
                if lane.slots.len() < slots {
                    lane.slots.push(heap.malloc(lane.thread, size));
                } else if lane.operations_left > 0 {
                    let slot = lane.random.index(slots);
                    heap.replace(lane.thread, &mut lane.slots[slot], size);
                    lane.operations_left -= 1;
                } else {
                    return lane.end(heap);
                }
            }
            true
        })
    }
}

impl Lane {
    /// Frees everything that the thread has, and ends it.
    fn end(&mut self, heap: &mut Heap) -> bool {
        self.slots.drain(..).for_each(|block| heap.free(self.thread, block));
        heap.end_thread(self.thread);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_sizes_are_below_twice_the_smallest() {
        let (mut random, uniform) = (Random::new(1, 0), Uniform { least: 4, most: 32768 });
        let sizes: Vec<u64> = (0..100_000).map(|_| draw_size(&mut random, uniform)).collect();
        let below = |bound| sizes.iter().filter(|size| **size < bound).count() as f64 / 1e5;
        assert!((below(8) - 0.5).abs() < 0.01 && (below(40) - 0.9).abs() < 0.01);
        assert!(sizes.iter().all(|size| (4..=32768).contains(size)) && below(4000) < 1.0);
    }
}
