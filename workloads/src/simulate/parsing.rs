//! The part of a request's handling that makes objects: some thousands, with temporary objects between them.
//!
//! Objects from malloc are made one by one, in the order in which they are drawn. Those in an interpreter's
//! pools cause no event: they are counted, and placed together before a collection could tell the difference.

use heaplab_trace::ThreadId;

use super::block::Block;
use super::heap::Kind;
use super::objects::{Drawn, Run};
use super::surroundings::Surroundings;

/// The most pool objects that are placed together: about as many as an arena holds.
///
/// PERF: the more are placed at once, the more go into one pool. They live until the request is answered, so
/// placing them later, but before that, takes the same arenas.
const RUN_MOST: u32 = 4096;

/// A request while it is parsed.
#[derive(Debug)]
pub(super) struct Parser {
    /// Objects that are still to be made.
    left: u64,
    /// Objects that have been drawn but not placed yet.
    run: Run,
    parsed: Vec<Block>,
    /// The last object, while it is smaller than it will be: its index and its full size.
    growing: Option<(usize, u64)>,
    temporaries_owed: f64,
}

impl Parser {
    /// A parser that makes `objects`, by way of `run` into `parsed`; both are empty.
    pub(super) fn new(objects: u64, run: Run, parsed: Vec<Block>) -> Parser {
        Parser { left: objects, run, parsed, growing: None, temporaries_owed: 0.0 }
    }

    /// Gives its lists back, at the end.
    pub(super) fn take_lists(&mut self) -> (Run, Vec<Block>) {
        (std::mem::take(&mut self.run), std::mem::take(&mut self.parsed))
    }

    /// Whether all objects are made.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.growing.is_none()
    }

    /// What was made.
    pub(super) fn parsed(&mut self) -> &mut Vec<Block> {
        &mut self.parsed
    }

    /// Makes objects by `thread` until it has made `budget` calls (one object may exceed it) or `most`
    /// records wait. Returns the number of calls, including objects in pools.
    pub(super) fn parse(
        &mut self,
        thread: ThreadId,
        budget: u64,
        most: usize,
        around: &mut Surroundings<'_>,
    ) -> u64 {
        let mut calls = 0;
        while self.left > 0 && calls < budget && around.heap.pending() < most {
            // An object that grows does so after the next object.
            let together = if self.growing.is_some() { 1 } else { RUN_MOST - self.run.objects() };
            let count = self.left.min(budget - calls).min(together.into()) as u32;
            let room = around.heap.container_room();
            let (drawn, containers, left_over) =
                self.run.draw(&around.tables.objects, around.objects, count, room);
            around.heap.count_containers(containers);
            let made = u64::from(drawn) + u64::from(left_over.is_some());
            self.left -= made;
            calls += made;
            let growing = self.growing.take();
            if let Some(object) = left_over {
                self.make(thread, object, around);
            }
            calls += self.grow(thread, growing, around);
            calls += self.make_temporaries(thread, made, around);
            if self.run.objects() >= RUN_MOST {
                self.run.place(thread, around.heap, &mut self.parsed);
            }
        }
        if self.left == 0 {
            self.run.place(thread, around.heap, &mut self.parsed);
            let growing = self.growing.take();
            calls += self.grow(thread, growing, around);
        }
        calls
    }

    /// Makes an object that is malloc's, or one whose allocation a collection precedes.
    fn make(&mut self, thread: ThreadId, object: Drawn, around: &mut Surroundings<'_>) {
        let container = object.kind == Kind::Container;
        let due = if container { around.heap.count_container() } else { None };
        if let Some(generation) = due {
            self.run.place(thread, around.heap, &mut self.parsed);
            around.heap.collect(thread, generation);
        }
        if object.is_small
            && let Some(class) = around.heap.class(object.size)
        {
            // An object that grows within the pools leaves its first place as it was: only the second counts.
            self.run.add(object.kind, class);
            return;
        }
        let mut size = object.size;
        if container && size > 1 && around.objects.chance(around.definition.parsed.grown) {
            size /= 2;
            self.growing = Some((self.parsed.len(), object.size));
        }
        self.parsed.push(around.heap.adopt(thread, size, object.kind));
    }

    /// Grows the object in `growing` to its full size; returns the number of calls.
    fn grow(
        &mut self,
        thread: ThreadId,
        growing: Option<(usize, u64)>,
        around: &mut Surroundings<'_>,
    ) -> u64 {
        let Some((index, size)) = growing else { return 0 };
        around.heap.realloc(thread, &mut self.parsed[index], size);
        1
    }

    /// Makes and frees the temporary objects that come with `objects`; returns the number of calls.
    fn make_temporaries(&mut self, thread: ThreadId, objects: u64, around: &mut Surroundings<'_>) -> u64 {
        self.temporaries_owed += around.tables.temporaries * objects as f64;
        let mut calls = 0;
        while self.temporaries_owed >= 1.0 {
            self.temporaries_owed -= 1.0;
            let size = around.tables.temporary.draw(around.objects);
            let temporary = around.heap.malloc(thread, size);
            around.heap.free(thread, temporary);
            calls += 2;
        }
        calls
    }
}
