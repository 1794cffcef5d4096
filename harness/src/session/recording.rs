//! What a trace tells of the process that it was recorded of, or of the load that was modelled.

use std::path::Path;

use heaplab_trace::{Coverage, Header, Record, RecordedAllocator, TraceError, TraceReader};
use heaplab_workloads::simulate::{MAX_PHASES, SIMULATE, THINNED_NOTE, is_phase};

use super::error::SessionError;
use crate::results::RunPhase;

/// What a trace tells beside its events.
#[derive(Default)]
pub(super) struct Recording {
    /// The allocator that served it.
    pub(super) allocator: Option<RecordedAllocator>,
    /// Its anonymous resident memory: time since the first event in ns, and bytes.
    pub(super) memory: Vec<(u64, u64)>,
    /// CPU time that its process used, with those of its children that it waited for.
    pub(super) cpu_ns: Option<u64>,
    first_event_ns: Option<u64>,
    /// The sampling interval, if the trace states it.
    pub(super) looks_every_ns: Option<u64>,
    /// Of how many requests of a load model one is in the trace, if not each is.
    pub(super) thinned: Option<String>,
    /// The phases of a load model.
    pub(super) phases: Vec<RunPhase>,
    is_model: bool,
}

/// What a trace covers. Of one that was cut off the header alone tells.
pub(super) fn read_coverage(path: &Path) -> Result<Coverage, SessionError> {
    let failed = |error: TraceError| SessionError::failed("cannot read a recording")(error);
    let totals = heaplab_trace::summary(path).map_err(failed)?.unwrap_or_default();
    Ok(Coverage::of(TraceReader::open(path).map_err(failed)?.header(), &totals))
}

impl Recording {
    pub(super) fn of(header: &Header) -> Recording {
        let is_model = header.source == SIMULATE;
        let mut notes = header.notes.iter().filter(|note| is_model && note.name == THINNED_NOTE);
        let thinned = notes.next().map(|note| note.value.clone());
        let number =
            |name: &str| header.notes.iter().find(|note| note.name == name)?.value.parse::<u64>().ok();
        let cpu_ns = number("cpu_user_ns").zip(number("cpu_system_ns"));
        Recording {
            allocator: header.allocator.clone(),
            looks_every_ns: header.resident_looks_every_ns(),
            cpu_ns: cpu_ns.and_then(|(user, system)| user.checked_add(system)),
            thinned,
            is_model,
            ..Recording::default()
        }
    }

    /// When its first event was, since the begin of the process's image.
    pub(super) fn first_event_ns(&self) -> Option<u64> {
        self.first_event_ns
    }

    /// Takes down what a record tells. Memory before the first event belongs to no time of the replay.
    pub(super) fn note(&mut self, record: &Record) {
        match record {
            Record::Event(event) => {
                self.first_event_ns.get_or_insert(event.time_ns);
            }
            Record::Resident(sample) => {
                let time = self.first_event_ns.and_then(|first| sample.time_ns.checked_sub(first));
                self.memory.extend(time.map(|time| (time, sample.resident_bytes)));
            }
            // TOML's integers end at 2^63 - 1, and no definition has more phases.
            Record::Mark(mark)
                if self.is_model
                    && is_phase(mark)
                    && mark.time_ns <= i64::MAX as u64
                    && self.phases.len() < MAX_PHASES =>
            {
                self.phases.push(RunPhase { time_ns: mark.time_ns, name: mark.name.clone() });
            }
            Record::Mark(_) | Record::ThreadName { .. } => {}
        }
    }
}
