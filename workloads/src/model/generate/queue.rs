//! Requests that wait because all threads of their pool are busy.
//!
//! Where several windows play at a time, a pool still has as many threads as the program gives it. A burst that begins
//! while all of them are busy waits for the first that is done, and everything in it happens so much later; so does what
//! other threads do to its objects afterwards.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rustc_hash::FxHashMap;

use super::super::bursts::Burst;
use super::super::crew::Crew;
use super::super::parts::{NO_OBJECT, Step};

/// How many threads a pool has at a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::model) struct Staff {
    pub(in crate::model) role: u32,
    pub(in crate::model) threads: u32,
    /// How many of them would be busy on average, which may be more than there are.
    pub(in crate::model) busy: f64,
    /// Whether each finishes a request before it begins another one: only then do requests wait.
    pub(in crate::model) takes_one: Option<bool>,
    /// How much of a recorded burst's time one takes at this load.
    pub(in crate::model) share: f64,
}

/// The threads of all pools.
#[derive(Debug)]
pub(super) struct Queue {
    /// The role of each recorded thread that belongs to a pool.
    pools: Vec<Option<u32>>,
    staff: FxHashMap<u32, Workers>,
}

#[derive(Debug)]
struct Workers {
    share: f64,
    threads: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    place: u32,
    /// Whether it was not recorded: it starts when the others are busy.
    is_added: bool,
    busy_until_ns: u64,
}

impl Queue {
    pub(super) fn new(pools: &[Option<u32>], staff: &[Staff], crew: &mut Crew) -> Queue {
        let mut workers = |one: &Staff| {
            let worker = |place| Worker { place, is_added: place as usize >= pools.len(), busy_until_ns: 0 };
            let threads = crew.pool(one.role, one.threads).into_iter().map(worker).collect();
            Workers { share: one.share, threads }
        };
        let staff = staff.iter().filter(|one| one.takes_one == Some(true));
        Queue { pools: pools.to_vec(), staff: staff.map(|one| (one.role, workers(one))).collect() }
    }

    fn role(&self, thread: u32) -> Option<u32> {
        self.pools.get(thread as usize).copied().flatten()
    }

    /// The place that takes a burst, and when it begins: at once if a thread is free, and by the one in whose place
    /// `wanted` is if that is.
    fn take(&mut self, role: u32, wanted: Option<u32>, now_ns: u64, busy_ns: u64) -> Option<(u32, u64)> {
        let workers = self.staff.get_mut(&role)?;
        let first = workers.threads.iter_mut().min_by_key(|worker| {
            let begin_ns = worker.busy_until_ns.max(now_ns);
            (begin_ns, Some(worker.place) != wanted, worker.is_added, worker.busy_until_ns)
        })?;
        let begin_ns = first.busy_until_ns.max(now_ns);
        first.busy_until_ns = begin_ns.saturating_add((busy_ns as f64 * workers.share) as u64);
        Some((first.place, begin_ns))
    }
}

/// A step that waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting {
    pub(super) due_ns: u64,
    number: u64,
    pub(super) step: u32,
    /// The place of its thread.
    pub(super) place: Option<u32>,
}

/// What waits in a window that is being played.
#[derive(Debug, Default)]
pub(super) struct Delays {
    next_burst: usize,
    /// Of each recorded thread: how late its burst is, and the place that has it.
    of_threads: FxHashMap<u32, (u64, u32)>,
    /// How late what happens to an object is.
    of_objects: Vec<u64>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    number: u64,
}

impl Delays {
    pub(super) fn new(objects: u32) -> Delays {
        Delays { of_objects: vec![0; objects as usize], ..Delays::default() }
    }

    /// How late an object of the part is.
    pub(super) fn of_object(&self, object: u32) -> u64 {
        self.of_objects.get(object as usize).copied().unwrap_or(0)
    }

    /// When the first of what waits is due.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse(first)| first.due_ns)
    }

    /// The first of what waits.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        self.waiting.pop().map(|Reverse(first)| first)
    }

    /// Takes the step that comes next. It is returned if it need not wait.
    pub(super) fn take(
        &mut self,
        queue: &mut Queue,
        bursts: &[Burst],
        (at, step): (u32, &Step),
        wanted: Option<u32>,
        now_ns: u64,
    ) -> Option<Waiting> {
        let role = queue.role(step.thread);
        if let Some(burst) = bursts.get(self.next_burst).filter(|burst| burst.first == at) {
            self.next_burst += 1;
            let taken = role.and_then(|role| queue.take(role, wanted, now_ns, burst.busy_ns));
            if let Some((place, begin_ns)) = taken {
                self.of_threads.insert(step.thread, (begin_ns - now_ns, place));
            }
        }
        let of_thread = role.and_then(|_| self.of_threads.get(&step.thread)).copied();
        let mut delay_ns = of_thread.map_or(0, |(delay_ns, _)| delay_ns);
        if step.object != NO_OBJECT {
            let of_object = &mut self.of_objects[step.object as usize];
            delay_ns = delay_ns.max(*of_object);
            *of_object = delay_ns;
        }
        self.number += 1;
        let (due_ns, number) = (now_ns.saturating_add(delay_ns), self.number);
        let waiting = Waiting { due_ns, number, step: at, place: of_thread.map(|(_, place)| place) };
        if delay_ns == 0 {
            return Some(waiting);
        }
        self.waiting.push(Reverse(waiting));
        None
    }
}
