//! A trace that is made up for benchmarks: a phone's user interface by its shape, with hundreds of threads
//! that take turns after some twenty events, objects of mostly small sizes, and a tenth of the frees by
//! another thread than the allocation.
//!
//! The seed decides everything: the same shape is the same trace on every machine. The number of live
//! objects does not follow the number of events, so that traces of two lengths need the same memory.

use heaplab_trace::{Action, Event, Header, ObjectId, Record, ThreadId};
use heaplab_workloads::stream::{RecordStream, StreamError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a made-up trace looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Events of the trace.
    pub(crate) events: u64,
    /// Its threads.
    pub(crate) threads: u32,
    /// Objects that are live once it is under way.
    pub(crate) live_objects: usize,
    /// Of a hundred frees, those by another thread than the allocation.
    pub(crate) crossing_percent: u32,
}

/// Events that a thread makes before the next one has its turn, on average.
const RUN_EVENTS: u32 = 21;
/// A free takes one of this many objects that its thread allocated last, most of the time.
const RECENT: usize = 24;

/// The trace, made while it is pulled.
pub(crate) struct Generated {
    header: Header,
    shape: Shape,
    random: ChaCha8Rng,
    made: u64,
    objects: u64,
    /// Live objects of each thread seen so far.
    live: Vec<Vec<ObjectId>>,
    live_count: usize,
    ended: Vec<bool>,
    current: ThreadId,
    left_in_run: u32,
}

impl Generated {
    pub(crate) fn new(shape: Shape) -> Generated {
        let header = Header {
            source: "generated".to_owned(),
            has_threads: true,
            has_alignment: true,
            ..Header::default()
        };
        Generated {
            header,
            shape,
            random: ChaCha8Rng::seed_from_u64(1),
            made: 0,
            objects: 0,
            live: vec![Vec::new()],
            live_count: 0,
            ended: vec![false],
            current: 0,
            left_in_run: RUN_EVENTS,
        }
    }

    /// The next event; none after the last one.
    pub(crate) fn next_event(&mut self) -> Option<Event> {
        if self.made == self.shape.events {
            return None;
        }
        let (thread, action) = if self.left_in_run == 0 { self.switch() } else { self.step() };
        let time_ns = self.made;
        self.made += 1;
        Some(Event { time_ns, thread, action })
    }

    /// Another thread has its turn. Some threads end first: theirs is the event then.
    fn switch(&mut self) -> (ThreadId, Action) {
        let (leaving, unseen) = (self.current, self.shape.threads - self.live.len() as u32);
        self.left_in_run = self.random.random_range(1..2 * RUN_EVENTS);
        let runs_left = (self.shape.events - self.made) / u64::from(RUN_EVENTS);
        // New threads are spread over the first half of the trace.
        let start = u64::from(unseen) * 2 >= self.random.random_range(0..runs_left.max(1));
        if unseen > 0 && start {
            self.current = self.live.len() as ThreadId;
            self.live.push(Vec::new());
            self.ended.push(false);
        } else {
            self.current = self.pick_thread();
        }
        // One in a few hundred turns is a thread's last.
        if leaving != 0 && leaving != self.current && self.random.random_range(0..400) == 0 {
            self.ended[leaving as usize] = true;
            return (leaving, Action::ThreadEnd);
        }
        self.step()
    }

    /// A thread that has not ended; the first ones are busier than the later ones.
    fn pick_thread(&mut self) -> ThreadId {
        let count = self.live.len();
        let draws = [(); 3].map(|()| self.random.random_range(0..count));
        let thread = draws[0].min(draws[1]).min(draws[2]);
        if self.ended[thread] { 0 } else { thread as ThreadId }
    }

    fn step(&mut self) -> (ThreadId, Action) {
        self.left_in_run = self.left_in_run.saturating_sub(1);
        let thread = self.current;
        let chance = self.random.random_range(0..100u32);
        if chance < 2 {
            return (thread, Action::FreeNull);
        }
        if chance < 6
            && let Some(&object) = self.live[thread as usize].last()
        {
            return (thread, Action::Realloc { object, size: self.size() });
        }
        if self.live_count == 0 || (chance < 57 && self.live_count < self.shape.live_objects) {
            return (thread, self.allocate(thread, chance));
        }
        (thread, Action::Free { object: self.take(thread) })
    }

    fn allocate(&mut self, thread: ThreadId, chance: u32) -> Action {
        let (object, size) = (self.objects, self.size());
        self.objects += 1;
        self.live[thread as usize].push(object);
        self.live_count += 1;
        if chance == 56 { Action::Calloc { object, size } } else { Action::Malloc { object, size } }
    }

    /// Mostly 16 to 512 bytes, at times up to 256 KiB.
    fn size(&mut self) -> u64 {
        let log2 = match self.random.random_range(0..1000u32) {
            0..900 => self.random.random_range(4..9),
            900..995 => self.random.random_range(9..14),
            _ => self.random.random_range(14..18),
        };
        self.random.random_range(1 << log2..2 << log2)
    }

    /// The object that `thread` frees: its own, or another's. At least one object is live.
    fn take(&mut self, thread: ThreadId) -> ObjectId {
        let crosses = self.random.random_range(0..100) < self.shape.crossing_percent;
        let mut owner = thread as usize;
        if crosses || self.live[owner].is_empty() {
            owner = self.random.random_range(0..self.live.len());
            while self.live[owner].is_empty() {
                owner = (owner + 1) % self.live.len();
            }
        }
        self.live_count -= 1;
        let objects = &mut self.live[owner];
        let recent = if self.random.random_range(0..10) == 0 { objects.len() } else { RECENT };
        let back = self.random.random_range(0..recent.min(objects.len()));
        objects.swap_remove(objects.len() - 1 - back)
    }
}

impl RecordStream for Generated {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        Ok(self.next_event().map(Record::Event))
    }
}
