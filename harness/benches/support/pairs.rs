//! A trace of one thread that leaves nothing to measure but the replay's loop and the allocator's shortest path.

use heaplab_trace::{Action, Event, Header, Record};
use heaplab_workloads::stream::{RecordStream, StreamError};

/// A block of 64 bytes, allocated and freed again and again.
pub(crate) struct Pairs {
    header: Header,
    events: u64,
    made: u64,
}

impl Pairs {
    pub(crate) fn new(events: u64) -> Pairs {
        Pairs { header: Header::default(), events, made: 0 }
    }
}

impl RecordStream for Pairs {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        if self.made == self.events {
            return Ok(None);
        }
        let object = self.made / 2;
        let action = if self.made.is_multiple_of(2) {
            Action::Malloc { object, size: 64 }
        } else {
            Action::Free { object }
        };
        let time_ns = self.made;
        self.made += 1;
        Ok(Some(Record::Event(Event { time_ns, thread: 0, action })))
    }
}
