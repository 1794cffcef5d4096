//! Threads of a generated trace. Those of one role take turns from window to window; those that come and go
//! are new each time their window is played.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use heaplab_trace::{Action, Event, Record, ThreadId};
use rustc_hash::FxHashMap;

use super::draw::Draw;
use super::parts::Outline;

/// Who is who while a part is played, and for its survivors afterwards.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn {
    /// For each thread that stays, the thread that takes its place.
    order: Vec<u32>,
    /// The part's own threads that come and go.
    passing: FxHashMap<u32, ThreadId>,
    part: u32,
}

impl Turn {
    /// The place that a thread of the recording takes.
    pub(super) fn place(&self, thread: u32) -> Option<u32> {
        self.order.get(thread as usize).copied()
    }
}

/// The place that does what a thread of the recording did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) thread: u32,
    pub(super) place: u32,
}

/// Who is who for an object that outlives its part: as in the part, but for the thread that allocated it.
#[derive(Debug, Clone)]
pub(super) struct Seats {
    pub(super) turn: Arc<Turn>,
    pub(super) own: Option<Seat>,
}

impl Seats {
    /// The place of a thread, if it is not that of the part.
    fn place(&self, thread: u32) -> Option<u32> {
        self.own.filter(|seat| seat.thread == thread).map(|seat| seat.place)
    }
}

/// All threads of the trace.
#[derive(Debug)]
pub(super) struct Crew {
    /// How many threads of the recording stay.
    recorded: usize,
    staying: Vec<Option<ThreadId>>,
    names: Vec<String>,
    /// For each place, the thread of the recording that it has its name from.
    named_as: Vec<u32>,
    roles: Vec<Vec<u32>>,
    /// For each role, the places of its threads, and of those that were added.
    places: Vec<Vec<u32>>,
    /// The part that each passing thread begins in.
    passing_parts: Vec<u32>,
    has_ended: Vec<bool>,
    /// Passing threads that are alive: the newest has the largest number.
    alive: BTreeSet<ThreadId>,
}

impl Crew {
    pub(super) fn new(outline: &Outline) -> Crew {
        let most = outline.threads.iter().map(|thread| thread.role).max().unwrap_or(0);
        let mut roles = vec![Vec::new(); (most as usize + 1).min(outline.threads.len())];
        for (number, thread) in outline.threads.iter().enumerate() {
            // A file may state any role: a role beyond the number of threads is taken as the last one.
            let role = (thread.role as usize).min(roles.len() - 1);
            roles[role].push(number as u32);
        }
        Crew {
            recorded: outline.threads.len(),
            staying: vec![None; outline.threads.len()],
            named_as: (0..outline.threads.len() as u32).collect(),
            names: outline.threads.iter().map(|thread| thread.name.clone()).collect(),
            places: roles.clone(),
            roles,
            passing_parts: outline.passing.clone(),
            has_ended: Vec::new(),
            alive: BTreeSet::new(),
        }
    }

    /// Adds threads to a pool until it has this many. They start when they first work.
    pub(super) fn grow(&mut self, role: u32, threads: u32) {
        let Some(places) = self.places.get_mut(role as usize) else { return };
        let Some(&first) = places.first() else { return };
        while places.len() < threads as usize {
            places.push(self.staying.len() as u32);
            self.staying.push(None);
            self.named_as.push(first);
        }
    }

    /// The places of a pool's threads.
    pub(super) fn places(&self, role: u32) -> &[u32] {
        self.places.get(role as usize).map_or(&[], Vec::as_slice)
    }

    /// Every thread does what it did in the recording.
    pub(super) fn as_recorded(&self, part: u32) -> Turn {
        Turn { order: (0..self.recorded as u32).collect(), passing: FxHashMap::default(), part }
    }

    /// Threads of one role swap places, among themselves and with those that were added.
    pub(super) fn rotate(&self, part: u32, draw: &mut Draw) -> Turn {
        let mut turn = self.as_recorded(part);
        for (role, places) in self.roles.iter().zip(&self.places).skip(1).filter(|(role, _)| role.len() > 1) {
            let mut shuffled = places.clone();
            draw.shuffle(&mut shuffled);
            for (from, to) in role.iter().zip(shuffled) {
                turn.order[*from as usize] = to;
            }
        }
        turn
    }

    /// The trace's thread for a thread of the recording, at `place` if that is given, otherwise at its place in the turn.
    /// If it does not exist yet, it starts: its records are appended to `out`.
    #[inline]
    pub(super) fn resolve(
        &mut self,
        turn: &mut Turn,
        place: Option<u32>,
        thread: u32,
        time_ns: u64,
        out: &mut VecDeque<Record>,
    ) -> ThreadId {
        let passing = (thread as usize).checked_sub(self.recorded);
        let is_new = passing.is_some_and(|passing| {
            self.passing_parts[passing] == turn.part && !turn.passing.contains_key(&thread)
        });
        if is_new {
            let new = self.start(time_ns, "", out);
            turn.passing.insert(thread, new);
            self.alive.insert(new);
            return new;
        }
        self.known(turn, place, thread, time_ns, out)
    }

    /// The same after the part: threads that come and go begin in it or not at all.
    #[inline]
    pub(super) fn find(
        &mut self,
        seats: &Seats,
        thread: u32,
        time_ns: u64,
        out: &mut VecDeque<Record>,
    ) -> ThreadId {
        self.known(&seats.turn, seats.place(thread), thread, time_ns, out)
    }

    #[inline]
    fn known(
        &mut self,
        turn: &Turn,
        place: Option<u32>,
        thread: u32,
        time_ns: u64,
        out: &mut VecDeque<Record>,
    ) -> ThreadId {
        if (thread as usize) < self.recorded {
            let place = place.unwrap_or(turn.order[thread as usize]) as usize;
            return match self.staying[place] {
                Some(known) if !self.has_ended[known as usize] => known,
                Some(_) => self.stand_in(),
                None => {
                    let name = self.names[self.named_as[place] as usize].clone();
                    let new = self.start(time_ns, &name, out);
                    self.staying[place] = Some(new);
                    new
                }
            };
        }
        match turn.passing.get(&thread) {
            Some(known) if !self.has_ended[*known as usize] => *known,
            _ => self.stand_in(),
        }
    }

    /// The thread that ends, if it exists and has not ended.
    pub(super) fn end(&mut self, turn: &Turn, place: Option<u32>, thread: u32) -> Option<ThreadId> {
        let known = match (thread as usize).checked_sub(self.recorded) {
            None => self.staying[place.unwrap_or(turn.order[thread as usize]) as usize]?,
            Some(_) => *turn.passing.get(&thread)?,
        };
        // The initial thread ends with the process.
        if known == 0 || std::mem::replace(&mut self.has_ended[known as usize], true) {
            return None;
        }
        self.alive.remove(&known);
        Some(known)
    }

    /// The stand-in for a thread that does not exist: the newest thread that comes and goes, or the initial
    /// one.
    fn stand_in(&self) -> ThreadId {
        self.alive.last().copied().unwrap_or(0)
    }

    fn start(&mut self, time_ns: u64, name: &str, out: &mut VecDeque<Record>) -> ThreadId {
        let thread = self.has_ended.len() as ThreadId;
        self.has_ended.push(false);
        out.push_back(Record::Event(Event { time_ns, thread, action: Action::ThreadStart }));
        if !name.is_empty() {
            out.push_back(Record::ThreadName { thread, name: name.to_owned() });
        }
        thread
    }
}
