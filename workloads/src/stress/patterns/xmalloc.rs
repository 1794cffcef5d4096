//! xmalloc: every object is freed by a different thread from the one that allocated it.

use heaplab_trace::ThreadId;

use super::RUN;
use crate::simulate::DefinitionError;
use crate::stress::heap::{Block, Heap};
use crate::stress::parameter::{Values, choice, count, size};
use crate::stress::random::Random;
use crate::stress::{Begun, Pattern, Play};

pub(crate) const PATTERN: Pattern = Pattern {
    name: "xmalloc",
    description: "producers allocate batches, consumers free them: every free is remote, through a bounded queue",
    parameters: &[
        count("producers", "2", (1, 128), "threads that allocate"),
        count("consumers", "2", (1, 128), "threads that free"),
        count("batches", "120", (1, 10_000_000), "batches of all producers together"),
        count("batch", "4096", (1, 100_000), "objects of a batch, in addition to the batch's own"),
        count(
            "depth",
            "8",
            (1, 10_000),
            "batches that wait in the queue before one is taken; the newest is taken first",
        ),
        choice(
            "sizes",
            &["fixed", "mixed"],
            "fixed",
            "one size, or seventeen from 8 to 2048 bytes, each equally often",
        ),
        size("size", "64B", (0, 1 << 30), "the size where sizes is fixed"),
        RUN,
    ],
    begin,
};

/// The sizes of `mixed`.
const MIXED: [u64; 17] = [8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048];

/// Objects, and the one that lists them.
#[derive(Debug)]
struct Batch {
    list: Block,
    objects: Vec<Block>,
}

#[derive(Debug)]
struct Member {
    thread: Option<ThreadId>,
    produces: bool,
    random: Random,
    batch: Option<Batch>,
}

#[derive(Debug)]
struct Xmalloc {
    members: Vec<Member>,
    next: usize,
    /// The newest last.
    queue: Vec<Batch>,
    producers: usize,
    depth: usize,
    batch: usize,
    batches_left: u64,
    /// None: mixed.
    size: Option<u64>,
    run: u64,
}

fn begin(values: &Values, seed: u64) -> Result<Begun, DefinitionError> {
    let (producers, consumers) = (values.length("producers"), values.length("consumers"));
    let member = |index: usize| Member {
        thread: None,
        produces: index < producers,
        random: Random::new(seed, index as u64),
        batch: None,
    };
    Ok(Begun::new(Xmalloc {
        members: (0..producers + consumers).map(member).collect(),
        next: 0,
        queue: Vec::new(),
        producers,
        depth: values.length("depth"),
        batch: values.length("batch"),
        batches_left: values.get("batches"),
        size: (values.get("sizes") == 0).then(|| values.get("size")),
        run: values.get("run"),
    }))
}

impl Xmalloc {
    fn produce(&mut self, index: usize, thread: ThreadId, heap: &mut Heap) {
        let room = self.queue.len() < self.depth + self.producers;
        let member = &mut self.members[index];
        if member.batch.is_none() && self.batches_left > 0 && room {
            self.batches_left -= 1;
            let list = heap.malloc(thread, 16 + 8 * self.batch as u64);
            member.batch = Some(Batch { list, objects: Vec::with_capacity(self.batch) });
        }
        let Some(batch) = &mut member.batch else { return };
        for _ in 0..self.run.min((self.batch - batch.objects.len()) as u64) {
            let size = self.size.unwrap_or_else(|| MIXED[member.random.index(MIXED.len())]);
            batch.objects.push(heap.malloc(thread, size));
        }
        if batch.objects.len() == self.batch {
            self.queue.extend(member.batch.take());
        }
    }

    fn consume(&mut self, index: usize, thread: ThreadId, heap: &mut Heap) {
        let produced = self.all_produced();
        let member = &mut self.members[index];
        if member.batch.is_none() && (self.queue.len() >= self.depth || produced) {
            member.batch = self.queue.pop();
        }
        let Some(batch) = &mut member.batch else { return };
        for _ in 0..self.run {
            let Some(block) = batch.objects.pop() else { break };
            heap.free(thread, block);
        }
        if batch.objects.is_empty()
            && let Some(batch) = member.batch.take()
        {
            heap.free(thread, batch.list);
        }
    }

    fn all_produced(&self) -> bool {
        self.batches_left == 0 && self.members[..self.producers].iter().all(|member| member.batch.is_none())
    }
}

impl Play for Xmalloc {
    fn turn(&mut self, heap: &mut Heap) -> bool {
        let index = self.next;
        self.next = (index + 1) % self.members.len();
        let thread = *self.members[index].thread.get_or_insert_with(|| heap.start_thread());
        match self.members[index].produces {
            true => self.produce(index, thread, heap),
            false => self.consume(index, thread, heap),
        }
        let idle = self.members.iter().all(|member| member.batch.is_none() && member.thread.is_some());
        if self.batches_left > 0 || !self.queue.is_empty() || !idle {
            return true;
        }
        for thread in self.members.iter().filter_map(|member| member.thread) {
            heap.end_thread(thread);
        }
        false
    }
}
