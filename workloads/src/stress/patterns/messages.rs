//! messages: one producer, several consumers; a message is a thousand nodes with a payload.

use std::collections::VecDeque;

use heaplab_trace::ThreadId;

use super::RUN;
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap};
use crate::stress::parameter::{Values, count, size};
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "messages",
    description: "one producer builds messages of many nodes, consumers read and free them: a pipeline between threads",
    parameters: &[
        count("consumers", "3", (1, 256), "threads that free messages, in turn"),
        count("messages", "512", (1, 100_000_000), "messages"),
        count("nodes", "1024", (1, 100_000), "objects of a message"),
        size("size", "256B", (0, 1 << 24), "size of each"),
        count("depth", "16", (1, 100_000), "messages that wait while another is built and one is freed"),
        count(
            "repeats",
            "0",
            (0, 1_000_000),
            "how often a consumer reads and writes each byte before it frees a node",
        ),
        RUN,
    ],
    begin,
};

#[derive(Debug)]
struct Messages {
    /// The producer, then the consumers.
    threads: Vec<ThreadId>,
    consumers: u64,
    messages: u64,
    nodes: u64,
    size: u64,
    depth: usize,
    repeats: u64,
    run: u64,
    /// Messages started, and nodes in the last one.
    begun: u64,
    built: Vec<Block>,
    queue: VecDeque<Vec<Block>>,
    /// Messages taken, and what is left of the last one.
    taken: u64,
    left: Vec<Block>,
}

fn begin(values: &Values, _seed: u64) -> Result<Begun, DefinitionError> {
    Ok(Begun::new(Messages {
        threads: Vec::new(),
        consumers: values.get("consumers"),
        messages: values.get("messages"),
        nodes: values.get("nodes"),
        size: values.get("size"),
        depth: values.length("depth"),
        repeats: values.get("repeats"),
        run: values.get("run"),
        begun: 0,
        built: Vec::new(),
        queue: VecDeque::new(),
        taken: 0,
        left: Vec::new(),
    }))
}

impl Messages {
    /// The producer's run.
    fn produce(&mut self, heap: &mut Heap) {
        if self.built.is_empty() {
            if self.begun == self.messages {
                return;
            }
            self.begun += 1;
        }
        for _ in 0..self.run.min(self.nodes - self.built.len() as u64) {
            self.built.push(heap.malloc(self.threads[0], self.size));
        }
        if self.built.len() as u64 == self.nodes {
            self.queue.push_back(std::mem::take(&mut self.built));
        }
    }

    /// A consumer's run, once enough messages wait.
    fn consume(&mut self, heap: &mut Heap) {
        let last = self.begun == self.messages && self.built.is_empty();
        if self.left.is_empty() && (self.queue.len() > self.depth || last) {
            self.left = self.queue.pop_front().unwrap_or_default();
            self.left.reverse();
            self.taken += 1;
        }
        if self.left.is_empty() {
            return;
        }
        let thread = self.threads[1 + ((self.taken - 1) % self.consumers) as usize];
        for _ in 0..self.run {
            let Some(block) = self.left.pop() else { return };
            heap.work(thread, &block, self.repeats);
            heap.free(thread, block);
        }
    }
}

impl Play for Messages {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        if self.threads.is_empty() {
            self.threads = heap.start_threads(1 + self.consumers);
            return true;
        }
        self.produce(heap);
        self.consume(heap);
        if self.taken < self.messages || !self.left.is_empty() {
            return true;
        }
        self.threads.iter().for_each(|thread| heap.end_thread(*thread));
        false
    }
}
