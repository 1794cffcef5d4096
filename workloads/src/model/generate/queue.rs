//! Requests that wait because all threads of their pool are busy.
//!
//! Where several windows play at a time, a pool still has as many threads as the program gives it. A burst that begins
//! while all of them are busy waits for the first that is done, and everything in it happens so much later; so does what
//! other threads do to its objects afterwards.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use rustc_hash::FxHashMap;

use super::super::bursts::Burst;
use super::super::crew::{Crew, Seat};
use super::super::parts::{NO_OBJECT, Step};

/// How many threads a pool has at a load.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::model) struct Staff {
    pub(in crate::model) role: u32,
    pub(in crate::model) threads: u32,
    /// How many of them would be busy on average, which may be more than there are.
    pub(in crate::model) busy: f64,
    /// Whether each finishes a request before it begins another one. Threads of a pool do, unless they were seen to begin
    /// others, or the user says so.
    pub(in crate::model) takes_one: Option<bool>,
    /// For how much of a recorded burst's time one keeps its thread at this load.
    pub(in crate::model) busy_share: f64,
}

impl Staff {
    /// Whether a request waits while all of them are busy.
    pub(super) fn may_wait(&self) -> bool {
        self.takes_one != Some(false)
    }
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
    busy_share: f64,
    places: Vec<u32>,
    numbers: FxHashMap<u32, usize>,
    /// Until when each was or is busy.
    until_ns: Vec<u64>,
    /// Those that are free, since when they are, and those that are not.
    free: BTreeSet<(u64, usize)>,
    busy: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Workers {
    fn new(busy_share: f64, places: Vec<u32>) -> Workers {
        let numbers = places.iter().enumerate().map(|(number, place)| (*place, number)).collect();
        let free = (0..places.len()).map(|number| (0, number)).collect();
        let until_ns = vec![0; places.len()];
        Workers { busy_share, places, numbers, until_ns, free, busy: BinaryHeap::new() }
    }

    fn take(&mut self, wanted: Option<u32>, now_ns: u64, busy_ns: u64) -> Option<(u32, u64)> {
        while let Some(&Reverse((until_ns, number))) = self.busy.peek()
            && until_ns <= now_ns
        {
            self.busy.pop();
            self.free.insert((until_ns, number));
        }
        let wanted =
            wanted.and_then(|place| self.numbers.get(&place)).map(|&number| (self.until_ns[number], number));
        let taken = wanted.filter(|wanted| self.free.remove(wanted)).or_else(|| self.free.pop_first());
        let (until_ns, number) = taken.or_else(|| self.busy.pop().map(|Reverse(first)| first))?;
        let begin_ns = until_ns.max(now_ns);
        self.until_ns[number] = begin_ns.saturating_add((busy_ns as f64 * self.busy_share) as u64);
        self.busy.push(Reverse((self.until_ns[number], number)));
        Some((self.places[number], begin_ns))
    }
}

impl Queue {
    pub(super) fn new(pools: &[Option<u32>], staff: &[Staff], crew: &Crew) -> Queue {
        let workers = |one: &Staff| Workers::new(one.busy_share, crew.places(one.role).to_vec());
        let staff = staff.iter().filter(|one| one.may_wait());
        Queue { pools: pools.to_vec(), staff: staff.map(|one| (one.role, workers(one))).collect() }
    }

    fn role(&self, thread: u32) -> Option<u32> {
        self.pools.get(thread as usize).copied().flatten()
    }

    /// The place that takes a burst, and when it begins: at once if a thread is free, and by the one in the place
    /// `wanted` if that is. Time never goes back from call to call.
    fn take(&mut self, role: u32, wanted: Option<u32>, now_ns: u64, busy_ns: u64) -> Option<(u32, u64)> {
        self.staff.get_mut(&role)?.take(wanted, now_ns, busy_ns)
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

#[derive(Debug, Clone, Copy, Default)]
struct OfObject {
    /// How late what happens to it is, and how many of its steps wait.
    delay_ns: u64,
    waiting: u32,
    /// Which place allocated it. The same place does whatever else that thread did to it.
    seat: Option<Seat>,
}

/// What waits in a window that is being played.
#[derive(Debug, Default)]
pub(super) struct Delays {
    next_burst: usize,
    /// Of each recorded thread: how late its burst is, and the place that has it.
    of_threads: FxHashMap<u32, (u64, u32)>,
    of_objects: Vec<OfObject>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    number: u64,
}

impl Delays {
    pub(super) fn new(objects: u32) -> Delays {
        Delays { of_objects: vec![OfObject::default(); objects as usize], ..Delays::default() }
    }

    /// How late what happens to an object of the part is.
    pub(super) fn of_object(&self, object: u32) -> u64 {
        self.of_objects[object as usize].delay_ns
    }

    /// Whether something that happens to an object of the part still waits.
    pub(super) fn waits(&self, object: u32) -> bool {
        self.of_objects[object as usize].waiting > 0
    }

    /// Which place allocated an object of the part, if its thread belongs to a pool.
    pub(super) fn seat(&self, object: u32) -> Option<Seat> {
        self.of_objects[object as usize].seat
    }

    /// When the first of what waits is due.
    pub(super) fn due_ns(&self) -> Option<u64> {
        self.waiting.peek().map(|Reverse(first)| first.due_ns)
    }

    /// The first of what waits, which waits no longer. `steps` are the part's.
    pub(super) fn pop(&mut self, steps: &[Step]) -> Option<Waiting> {
        let Reverse(first) = self.waiting.pop()?;
        let object = steps[first.step as usize].object;
        if object != NO_OBJECT {
            self.of_objects[object as usize].waiting -= 1;
        }
        Some(first)
    }

    /// Takes the step that comes next. It is returned if it need not wait. What would be due after `last_ns` is never due.
    pub(super) fn take(
        &mut self,
        queue: &mut Queue,
        bursts: &[Burst],
        (at, step): (u32, &Step),
        wanted: Option<u32>,
        (now_ns, last_ns): (u64, u64),
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
        let mut place = of_thread.map(|(_, place)| place);
        if step.object != NO_OBJECT {
            let of_object = &mut self.of_objects[step.object as usize];
            delay_ns = delay_ns.max(of_object.delay_ns);
            of_object.delay_ns = delay_ns;
            of_object.waiting += u32::from(delay_ns > 0);
            if step.kind.allocates() {
                of_object.seat = place.map(|place| Seat { thread: step.thread, place });
            } else if let Some(seat) = of_object.seat.filter(|seat| seat.thread == step.thread) {
                place = Some(seat.place);
            }
        }
        self.number += 1;
        let (due_ns, number) = (now_ns.saturating_add(delay_ns), self.number);
        let waiting = Waiting { due_ns, number, step: at, place };
        if delay_ns == 0 {
            return Some(waiting);
        }
        if due_ns <= last_ns {
            self.waiting.push(Reverse(waiting));
        }
        None
    }
}
