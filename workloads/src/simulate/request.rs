//! A worker's handling of one request, one call of the allocator at a time.
//!
//! The order of calls is that of a handler that decodes, parses, works and answers: copies of the
//! payload; parsed objects, some of which grow once, with temporary objects between them; the
//! encoded response in a growing buffer; then everything is freed but what the cache keeps and the
//! response, which the event loop frees. Calls are due evenly over the service time; those that
//! are due in one slice are made at its begin, so that workers that are busy at once take turns.

use std::collections::VecDeque;

use heaplab_trace::ThreadId;

use super::cache::Cache;
use super::definition::Definition;
use super::distribution::{Random, SizeTable};
use super::heap::{Block, Heap, Kind};

/// A request as the event loop hands it over.
#[derive(Debug)]
pub(super) struct Request {
    /// The connection that waits for the response.
    pub(super) connection: u32,
    /// The receive buffer: allocated by the loop, freed by the worker.
    pub(super) buffer: Block,
    /// When it was handed over.
    pub(super) queued_ns: u64,
}

/// What the handling of a request draws on.
pub(super) struct Surroundings<'a> {
    pub(super) definition: &'a Definition,
    pub(super) tables: &'a Tables,
    pub(super) heap: &'a mut Heap,
    pub(super) cache: &'a mut Cache,
    pub(super) objects: &'a mut Random,
    pub(super) keeping: &'a mut Random,
}

/// Sizes of the objects that are made by the thousand.
#[derive(Debug)]
pub(super) struct Tables {
    pub(super) startup: SizeTable,
    pub(super) connection: SizeTable,
    pub(super) thread: SizeTable,
    pub(super) container: SizeTable,
    pub(super) string: SizeTable,
    pub(super) temporary: SizeTable,
    /// Temporary objects for each parsed one.
    pub(super) temporaries: f64,
}

impl Tables {
    /// The tables of `definition`, on `heap`.
    ///
    /// PERF: a temporary that lies in a pool takes a place and gives it back at once: it makes no event,
    /// and leaves the pools as they were but where it needed a pool of its own for that moment. Only the
    /// others are drawn: five in six of a Python request's objects are such temporaries.
    pub(super) fn new(definition: &Definition, heap: &Heap) -> Tables {
        let temporary = SizeTable::new(&definition.temporary.size);
        let (temporary, share) = temporary.retain(|size| !heap.pools_serve(size));
        Tables {
            temporaries: definition.temporary.per_object * share,
            startup: SizeTable::new(&definition.startup.size),
            connection: SizeTable::new(&definition.connection.size),
            thread: SizeTable::new(&definition.pool.size),
            container: SizeTable::new(&definition.parsed.container),
            string: SizeTable::new(&definition.parsed.string),
            temporary,
        }
    }
}

/// What comes after a step.
#[derive(Debug)]
pub(super) enum Step {
    /// Another one, in the same slice.
    Within,
    /// Another one, in a slice that begins at this time.
    Next(u64),
    /// None: the response is ready for the event loop.
    Done(Block),
}

/// A request that is being handled.
#[derive(Debug)]
pub(super) struct Job {
    thread: ThreadId,
    started_ns: u64,
    service_ns: u64,
    /// Calls made, and the time from one to the next.
    calls: u64,
    gap_ns: u64,
    /// Length of a slice, and the end of the one that runs.
    slice_ns: u64,
    slice_end_ns: u64,
    stage: Stage,
    payload_bytes: u64,
    buffer: Option<Block>,
    /// Made for the whole of the request: its handler's object, then the copies of the payload.
    held: Vec<Block>,
    parsed: Vec<Block>,
    parsed_left: u64,
    /// The last container, while it is smaller than it will be: its index and its full size.
    growing: Option<(usize, u64)>,
    temporaries_owed: f64,
    temporary: Option<Block>,
    response: Option<Block>,
    response_bytes: u64,
    release: VecDeque<Block>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Copy,
    Parse,
    Encode,
    Release,
    Answer,
}

impl Job {
    /// Begins to handle `request` on `thread` at `now_ns`, to be done after `service_ns`.
    pub(super) fn new(
        definition: &Definition,
        tables: &Tables,
        request: Request,
        thread: ThreadId,
        now_ns: u64,
        service_ns: u64,
    ) -> Job {
        let payload_bytes = request.buffer.size();
        let parsed_left = payload_bytes / definition.parsed.bytes_per_object;
        let response_bytes =
            ((payload_bytes as f64 * definition.response.ratio) as u64).max(definition.response.min_bytes);
        let expected = expected_calls(definition, tables, parsed_left);
        Job {
            thread,
            started_ns: now_ns,
            service_ns,
            calls: 0,
            gap_ns: (service_ns as f64 / expected) as u64,
            slice_ns: definition.service.slice_ns,
            slice_end_ns: 0,
            stage: Stage::Copy,
            payload_bytes,
            buffer: Some(request.buffer),
            held: Vec::new(),
            parsed: Vec::new(),
            parsed_left,
            growing: None,
            temporaries_owed: 0.0,
            temporary: None,
            response: None,
            response_bytes,
            release: VecDeque::new(),
        }
    }

    /// Makes one call, and says when the next one is due.
    pub(super) fn step(&mut self, now_ns: u64, around: &mut Surroundings<'_>) -> Step {
        if now_ns >= self.slice_end_ns {
            self.slice_end_ns = now_ns.saturating_add(self.slice_ns);
        }
        match self.stage {
            Stage::Copy => self.copy(around),
            Stage::Parse => self.parse(around),
            Stage::Encode => self.encode(now_ns, around),
            Stage::Release => self.release(around),
            Stage::Answer => {
                if let Some(response) = self.response.take() {
                    return Step::Done(response);
                }
            }
        }
        self.calls += 1;
        if self.stage == Stage::Answer {
            // The service time holds to the ns: the response leaves then, however many calls there were.
            return Step::Next(self.started_ns.saturating_add(self.service_ns).max(now_ns));
        }
        let due_ns = self.calls.saturating_mul(self.gap_ns).min(self.service_ns);
        match self.started_ns.saturating_add(due_ns) {
            due_ns if due_ns < self.slice_end_ns => Step::Within,
            due_ns => Step::Next(due_ns),
        }
    }

    fn copy(&mut self, around: &mut Surroundings<'_>) {
        let (size, kind) = match self.held.is_empty() {
            true => (around.tables.container.draw(around.objects), Kind::Container),
            false => (self.payload_bytes, Kind::Leaf),
        };
        self.held.push(around.heap.object(self.thread, size, kind));
        if self.held.len() as u64 > u64::from(around.definition.parsed.copies) {
            self.stage = if self.parsed_left > 0 { Stage::Parse } else { Stage::Encode };
        }
    }

    /// A temporary is freed before all else; then the last container gets its full size once there is
    /// something behind it; then comes the next object.
    fn parse(&mut self, around: &mut Surroundings<'_>) {
        let thread = self.thread;
        if let Some(temporary) = self.temporary.take() {
            around.heap.free(thread, temporary);
        } else if self.temporaries_owed >= 1.0 {
            self.temporaries_owed -= 1.0;
            let size = around.tables.temporary.draw(around.objects);
            self.temporary = Some(around.heap.malloc(thread, size));
        } else if let Some((index, size)) =
            self.growing.take_if(|(index, _)| *index + 1 < self.parsed.len() || self.parsed_left == 0)
        {
            around.heap.realloc(thread, &mut self.parsed[index], size);
        } else if self.parsed_left > 0 {
            self.parsed_left -= 1;
            self.temporaries_owed += around.tables.temporaries;
            self.parse_object(around);
        }
        let pending = self.temporary.is_some() || self.temporaries_owed >= 1.0 || self.growing.is_some();
        if self.parsed_left == 0 && !pending {
            self.stage = Stage::Encode;
        }
    }

    fn parse_object(&mut self, around: &mut Surroundings<'_>) {
        let plan = &around.definition.parsed;
        let (mut size, kind);
        if around.objects.chance(plan.containers) {
            (size, kind) = (around.tables.container.draw(around.objects), Kind::Container);
            if size > 1 && around.objects.chance(plan.grown) {
                self.growing = Some((self.parsed.len(), size));
                size /= 2;
            }
        } else {
            (size, kind) = (around.tables.string.draw(around.objects), Kind::Leaf);
        }
        self.parsed.push(around.heap.object(self.thread, size, kind));
    }

    /// The response grows as the receive buffer does, and is cut to its length.
    fn encode(&mut self, now_ns: u64, around: &mut Surroundings<'_>) {
        let plan = &around.definition.receive;
        let target = self.response_bytes;
        match &mut self.response {
            None => {
                let size = plan.buffer_bytes.min(target);
                self.response = Some(around.heap.malloc(self.thread, size));
            }
            Some(response) if response.size() < target => {
                let size = grown(response.size(), plan.growth);
                around.heap.realloc(self.thread, response, size);
            }
            Some(response) => around.heap.realloc(self.thread, response, target),
        }
        if self.response.as_ref().is_some_and(|response| response.size() == target) {
            self.choose_release(now_ns, around);
            self.stage = Stage::Release;
        }
    }

    /// Decides what the cache keeps, and puts everything else in the order in which it is freed.
    fn choose_release(&mut self, now_ns: u64, around: &mut Surroundings<'_>) {
        let plan = &around.definition.cache;
        if around.keeping.chance(plan.hits) {
            around.cache.hit(around.keeping);
        }
        if !around.keeping.chance(plan.requests) {
            self.release.extend(self.parsed.drain(..));
        } else {
            let mut kept = Vec::new();
            for object in self.parsed.drain(..) {
                if around.keeping.chance(plan.objects) {
                    kept.push(object);
                } else {
                    self.release.push_back(object);
                }
            }
            // The first that is held is the handler's own object: only a copy is kept.
            if self.held.len() > 1 {
                kept.extend(self.held.pop());
            }
            around.cache.insert(kept, now_ns, around.keeping, &mut self.release);
        }
        self.release.extend(self.held.drain(..).rev());
        self.release.extend(self.buffer.take());
    }

    fn release(&mut self, around: &mut Surroundings<'_>) {
        if let Some(block) = self.release.pop_front() {
            around.heap.free(self.thread, block);
        }
        if self.release.is_empty() {
            around.heap.end_request(self.thread);
            self.stage = Stage::Answer;
        }
    }
}

/// The next size of a growing buffer.
pub(super) fn grown(bytes: u64, growth: f64) -> u64 {
    ((bytes as f64 * growth) as u64).max(bytes + 1)
}

/// About how many calls a request with `objects` parsed objects makes; what its cache evicts comes on top.
fn expected_calls(definition: &Definition, tables: &Tables, objects: u64) -> f64 {
    let plan = &definition.parsed;
    let per_object = 2.0 + 2.0 * tables.temporaries + plan.containers * plan.grown;
    // Twice a copy and the handler's object, the receive buffer, the response with some growth.
    2.0 * (f64::from(plan.copies) + 1.0) + objects as f64 * per_object + 8.0
}
