//! A trace several times over, by the same threads: what the second round and the third cost is without the threads' starts.

use std::collections::BTreeMap;

use heaplab_trace::{Action, Event, Header, ObjectId, Record, ThreadId};
use heaplab_workloads::stream::{RecordStream, StreamError};

/// A trace's calls, so many times. What is live at the end of a round is freed, each object by the thread that had it last.
pub(crate) struct Rounds {
    header: Header,
    events: Vec<Event>,
    /// More than any object's number.
    objects: ObjectId,
    left: u64,
    round: u64,
    at: usize,
    live: BTreeMap<ObjectId, ThreadId>,
    time_ns: u64,
}

impl Rounds {
    /// Reads the whole trace into memory; its threads neither start nor end in it.
    pub(crate) fn new(mut stream: Box<dyn RecordStream>, rounds: u64) -> Result<Rounds, StreamError> {
        let (mut events, mut objects) = (Vec::new(), 0);
        while let Some(record) = stream.next()? {
            let Record::Event(event) = record else { continue };
            if !matches!(event.action, Action::ThreadStart | Action::ThreadEnd) {
                objects = objects.max(object_of(event.action).map_or(0, |(object, _)| object + 1));
                events.push(event);
            }
        }
        let header = stream.header().clone();
        let (left, live) = (rounds, BTreeMap::new());
        Ok(Rounds { header, events, objects, left, round: 0, at: 0, live, time_ns: 0 })
    }

    fn next_event(&mut self) -> Option<(ThreadId, Action)> {
        if self.at == self.events.len() {
            if let Some((object, thread)) = self.live.pop_first() {
                return Some((thread, Action::Free { object }));
            }
            (self.at, self.round, self.left) = (0, self.round + 1, self.left.saturating_sub(1));
        }
        if self.left == 0 {
            return None;
        }
        let event = *self.events.get(self.at)?;
        self.at += 1;
        let action = renumber(event.action, self.round * self.objects);
        match object_of(action) {
            Some((object, true)) => self.live.insert(object, event.thread),
            Some((object, false)) => self.live.remove(&object),
            None => None,
        };
        Some((event.thread, action))
    }
}

impl RecordStream for Rounds {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        let Some((thread, action)) = self.next_event() else { return Ok(None) };
        self.time_ns += 1;
        Ok(Some(Record::Event(Event { time_ns: self.time_ns, thread, action })))
    }
}

/// The object of a call, and whether it is live afterwards.
fn object_of(action: Action) -> Option<(ObjectId, bool)> {
    match action {
        Action::Malloc { object, .. }
        | Action::Calloc { object, .. }
        | Action::AlignedAlloc { object, .. }
        | Action::ReallocNull { object, .. }
        | Action::Realloc { object, .. } => Some((object, true)),
        Action::Free { object } | Action::ReallocFree { object } | Action::FreeMissed { object } => {
            Some((object, false))
        }
        _ => None,
    }
}

fn renumber(mut action: Action, by: u64) -> Action {
    match &mut action {
        Action::Malloc { object, .. }
        | Action::Calloc { object, .. }
        | Action::AlignedAlloc { object, .. }
        | Action::ReallocNull { object, .. }
        | Action::Realloc { object, .. }
        | Action::Free { object }
        | Action::ReallocFree { object }
        | Action::FreeMissed { object }
        | Action::Work { object, .. }
        | Action::Touched { object, .. } => *object += by,
        _ => {}
    }
    action
}
