//! A worker's handling of one request, one call of the allocator at a time.
//!
//! The order of calls is that of a handler that decodes, parses, works and answers: copies of the payload;
//! parsed objects, some of which grow once, with temporary objects between them; the encoded response in a
//! growing buffer; then everything is freed except what the cache keeps and the response, which the event
//! loop frees. Calls are due evenly over the service time; those due in one slice are made at its start, so
//! that workers that are busy at the same time take turns.

use std::collections::VecDeque;

use heaplab_trace::ThreadId;

use super::block::Block;
use super::definition::Definition;
use super::heap::Kind;
use super::parsing::Parser;
use super::surroundings::{Spare, Surroundings, Tables};

/// A request as the event loop hands it over.
#[derive(Debug)]
pub(super) struct Request {
    /// The connection waiting for the response.
    pub(super) connection: u32,
    /// The receive buffer: allocated by the loop, freed by the worker.
    pub(super) buffer: Block,
    /// When it was handed over.
    pub(super) queued_ns: u64,
}

/// What comes after a turn.
#[derive(Debug)]
pub(super) enum Turn {
    /// The rest of the slice; it stopped because enough records wait.
    Stopped,
    /// Another slice, which starts at this time.
    Next(u64),
    /// Nothing: the response is ready for the event loop.
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
    /// Length of a slice, and the end of the current one.
    slice_ns: u64,
    slice_end_ns: u64,
    stage: Stage,
    payload_bytes: u64,
    buffer: Option<Block>,
    /// Made for the whole request: its handler's object, then the copies of the payload.
    held: Vec<Block>,
    parser: Parser,
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
    /// Starts to handle `request` on `thread` at `now_ns`, to finish after `service_ns`.
    pub(super) fn new(
        definition: &Definition,
        tables: &Tables,
        request: Request,
        thread: ThreadId,
        now_ns: u64,
        service_ns: u64,
        spare: Spare,
    ) -> Job {
        let payload_bytes = request.buffer.size();
        let objects = payload_bytes / definition.parsed.bytes_per_object;
        let response_bytes =
            ((payload_bytes as f64 * definition.response.ratio) as u64).max(definition.response.min_bytes);
        let expected = expected_calls(definition, tables, objects);
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
            parser: Parser::new(objects, spare.run, spare.parsed),
            response: None,
            response_bytes,
            release: spare.release.into(),
        }
    }

    /// Makes the calls that are due in a slice, from where it stopped, if it did, until `most` records wait.
    pub(super) fn run(&mut self, now_ns: u64, most: usize, around: &mut Surroundings<'_>) -> Turn {
        if now_ns >= self.slice_end_ns {
            self.slice_end_ns = now_ns.saturating_add(self.slice_ns);
        }
        if let Some(response) = self.response.take_if(|_| self.stage == Stage::Answer) {
            return Turn::Done(response);
        }
        // The service time is exact to the ns: the response leaves then, however many calls there were.
        let end_ns = self.started_ns.saturating_add(self.service_ns).max(now_ns);
        while self.stage != Stage::Answer {
            let budget = self.calls_due().saturating_sub(self.calls);
            if budget == 0 {
                let due_ns = self.calls.saturating_mul(self.gap_ns).min(self.service_ns);
                return Turn::Next(self.started_ns.saturating_add(due_ns));
            }
            if around.heap.pending() >= most {
                return Turn::Stopped;
            }
            self.calls += match self.stage {
                Stage::Copy => self.copy(around),
                Stage::Parse => self.parse(budget, most, around),
                Stage::Encode => self.encode(now_ns, around),
                Stage::Release => self.release(budget, most, around),
                Stage::Answer => 0,
            };
        }
        Turn::Next(end_ns)
    }

    /// Calls that are due before the slice ends, from the first on.
    fn calls_due(&self) -> u64 {
        let time_ns = self.slice_end_ns - self.started_ns;
        if self.service_ns < time_ns || self.gap_ns == 0 { u64::MAX } else { time_ns.div_ceil(self.gap_ns) }
    }

    fn copy(&mut self, around: &mut Surroundings<'_>) -> u64 {
        let (size, kind) = match self.held.is_empty() {
            true => (around.tables.handler.draw(around.objects), Kind::Container),
            false => (self.payload_bytes, Kind::Leaf),
        };
        self.held.push(around.heap.object(self.thread, size, kind));
        if self.held.len() as u64 > u64::from(around.definition.parsed.copies) {
            self.stage = if self.parser.is_done() { Stage::Encode } else { Stage::Parse };
        }
        1
    }

    fn parse(&mut self, budget: u64, most: usize, around: &mut Surroundings<'_>) -> u64 {
        let calls = self.parser.parse(self.thread, budget, most, around);
        if self.parser.is_done() {
            self.stage = Stage::Encode;
        }
        calls
    }

    /// The response grows as the receive buffer does, and is cut to its length.
    fn encode(&mut self, now_ns: u64, around: &mut Surroundings<'_>) -> u64 {
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
        1
    }

    /// Decides what the cache keeps, and puts everything else in the order in which it is freed.
    fn choose_release(&mut self, now_ns: u64, around: &mut Surroundings<'_>) {
        let plan = &around.definition.cache;
        if around.keeping.chance(plan.hits) {
            around.cache.hit(around.keeping);
        }
        let mut parsed = std::mem::take(self.parser.parsed());
        let mut release = Vec::from(std::mem::take(&mut self.release));
        if !around.keeping.chance(plan.requests) {
            std::mem::swap(&mut parsed, &mut release);
        } else {
            let mut kept = Vec::with_capacity(parsed.len() + 1);
            for objects in parsed.drain(..) {
                around.cache.choose(objects, around.keeping, &mut kept, &mut release);
            }
            // The first that is held is the handler's own object: only a copy is kept.
            if self.held.len() > 1 {
                kept.extend(self.held.pop());
            }
            around.cache.insert(kept, now_ns, around.keeping, &mut release);
        }
        (*self.parser.parsed(), self.release) = (parsed, release.into());
        self.release.extend(self.held.drain(..).rev());
        self.release.extend(self.buffer.take());
    }

    fn release(&mut self, budget: u64, most: usize, around: &mut Surroundings<'_>) -> u64 {
        let mut calls = 0;
        while calls < budget && around.heap.pending() < most {
            let Some(block) = self.release.pop_front() else { break };
            calls += u64::from(block.count());
            around.heap.free(self.thread, block);
        }
        if self.release.is_empty() {
            around.heap.end_request(self.thread);
            let (run, parsed) = self.parser.take_lists();
            around.spares.push(Spare { run, parsed, release: std::mem::take(&mut self.release).into() });
            self.stage = Stage::Answer;
        }
        calls
    }
}

/// The next size of a growing buffer.
pub(super) fn grown(bytes: u64, growth: f64) -> u64 {
    ((bytes as f64 * growth) as u64).max(bytes + 1)
}

/// About how many calls a request with `objects` parsed objects makes, including those that pools serve; what
/// its cache evicts comes on top.
fn expected_calls(definition: &Definition, tables: &Tables, objects: u64) -> f64 {
    let plan = &definition.parsed;
    let per_object = 2.0 + 2.0 * tables.temporaries + plan.grown * tables.objects.large_containers;
    // Twice a copy and the handler's object, the receive buffer, the response with some growth.
    2.0 * (f64::from(plan.copies) + 1.0) + objects as f64 * per_object + 8.0
}
