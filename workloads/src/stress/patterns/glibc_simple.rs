//! glibc-simple: one size, filled and freed in batches of 25 to 1600.

use heaplab_trace::ThreadId;

use super::thread;
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap, MAIN};
use crate::stress::parameter::{Values, count, size};
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "glibc-simple",
    description: "one small size in batches of 25, 100, 400 and 1600, half freed oldest first and half newest first",
    parameters: &[
        size("size", "64B", (0, 1 << 24), "size of each object"),
        count(
            "allocations",
            "150000",
            (1, 1_000_000_000),
            "allocations for each of the four lengths of a batch",
        ),
        thread(&["main", "other", "main-threaded"], "main"),
    ],
    begin,
};

/// Lengths of a batch, one after another.
const BATCHES: [u64; 4] = [25, 100, 400, 1600];
const OTHER: u64 = 1;
const MAIN_THREADED: u64 = 2;

#[derive(Debug)]
struct GlibcSimple {
    size: u64,
    allocations: u64,
    choice: u64,
    thread: Option<ThreadId>,
    /// The thread besides the initial one, whether it acts or not.
    other: Option<ThreadId>,
    /// The index of the batch length.
    stage: usize,
    done: u64,
}

fn begin(values: &Values, _seed: u64) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(GlibcSimple {
        size: values.get("size"),
        allocations: values.get("allocations"),
        choice: values.get("thread"),
        thread: None,
        other: None,
        stage: 0,
        done: 0,
    }))
}

impl Play for GlibcSimple {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let Some(thread) = self.thread else {
            // In main-threaded it does nothing, but makes the process multithreaded.
            self.other = matches!(self.choice, OTHER | MAIN_THREADED).then(|| heap.start_thread());
            self.thread = self.other.filter(|_| self.choice == OTHER).or(Some(MAIN));
            return true;
        };
        let length = BATCHES[self.stage].min(self.allocations - self.done);
        let mut older: Vec<Block> = (0..length).map(|_| heap.malloc(thread, self.size)).collect();
        let newer = older.split_off(older.len() / 2);
        older.into_iter().chain(newer.into_iter().rev()).for_each(|block| heap.free(thread, block));
        self.done += length;
        if self.done == self.allocations {
            (self.stage, self.done) = (self.stage + 1, 0);
        }
        if self.stage == BATCHES.len()
            && let Some(other) = self.other
        {
            heap.end_thread(other);
        }
        self.stage < BATCHES.len()
    }
}
