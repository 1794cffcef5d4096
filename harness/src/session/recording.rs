//! What a trace says about its recorded process, or about the modelled load.

use std::path::Path;

use heaplab_trace::{Coverage, Header, Record, RecordedAllocator, TraceError, TraceReader};
use heaplab_workloads::model::{BAND_NOTE, EXTRAPOLATION_NOTE, MODEL, OUTSIDE_NOTE};
use heaplab_workloads::simulate::{MAX_PHASES, SIMULATE, THINNED_NOTE, is_phase};
use heaplab_workloads::stream::Requests;

use super::error::SessionError;
use crate::record::{EVENT_COST_NOTE, WAKING_COST_NOTE, WAKINGS_NOTE};
use crate::results::RunPhase;

/// What a trace says besides its events.
#[derive(Default)]
pub(super) struct Recording {
    /// The allocator that served it.
    pub(super) allocator: Option<RecordedAllocator>,
    /// Its anonymous resident memory: time since the first event in ns, and bytes.
    pub(super) memory: Vec<(u64, u64)>,
    /// CPU time that its process used, including the children that it waited for.
    pub(super) cpu_ns: Option<u64>,
    /// What the recorder cost it, in ns: per event, and additionally at the first event after the process
    /// slept; and how often it slept.
    recorder: Option<(f64, f64, u64)>,
    first_event_ns: Option<u64>,
    /// The sampling interval, if the trace states it.
    pub(super) sampling_interval_ns: Option<u64>,
    /// The requests of a load model of a server.
    pub(super) requests: Option<Requests>,
    /// One in how many requests of a load model is in the trace, if not all are.
    pub(super) thinned: Option<String>,
    /// How far a model of recordings goes beyond them, in sentences.
    pub(super) extrapolation: Option<String>,
    /// Half the width of the band around its figures, as a share.
    pub(super) extrapolation_band: Option<String>,
    /// Of a model of recordings: how much of its process's memory is not malloc's.
    pub(super) outside_malloc_bytes: Option<u64>,
    /// The phases of a load model.
    pub(super) phases: Vec<RunPhase>,
    is_model: bool,
}

/// What a trace covers. If it was cut off, only its header says.
pub(super) fn read_coverage(path: &Path) -> Result<Coverage, SessionError> {
    let failed = |error: TraceError| SessionError::failed("cannot read a recording")(error);
    let totals = heaplab_trace::summary(path).map_err(failed)?.unwrap_or_default();
    Ok(Coverage::of(TraceReader::open(path).map_err(failed)?.header(), &totals))
}

impl Recording {
    pub(super) fn of(header: &Header) -> Recording {
        let is_model = header.source == SIMULATE;
        let is_fitted = header.source == MODEL;
        let note =
            |name: &str| header.notes.iter().find(|note| note.name == name).map(|note| note.value.clone());
        let thinned = note(THINNED_NOTE).filter(|_| is_model || is_fitted);
        let number =
            |name: &str| header.notes.iter().find(|note| note.name == name)?.value.parse::<u64>().ok();
        let fraction = |name: &str| {
            let note = header.notes.iter().find(|note| note.name == name)?;
            note.value.parse::<f64>().ok().filter(|ns| ns.is_finite() && *ns >= 0.0)
        };
        let costs = fraction(EVENT_COST_NOTE).zip(fraction(WAKING_COST_NOTE)).zip(number(WAKINGS_NOTE));
        let cpu_ns = number("cpu_user_ns").zip(number("cpu_system_ns"));
        Recording {
            allocator: header.allocator.clone(),
            sampling_interval_ns: header.resident_sampling_interval_ns(),
            cpu_ns: cpu_ns.and_then(|(user, system)| user.checked_add(system)),
            recorder: costs.map(|((event, waking), wakings)| (event, waking, wakings)),
            thinned,
            extrapolation: note(EXTRAPOLATION_NOTE).filter(|_| is_fitted),
            extrapolation_band: note(BAND_NOTE).filter(|_| is_fitted),
            outside_malloc_bytes: number(OUTSIDE_NOTE).filter(|_| is_fitted),
            is_model,
            ..Recording::default()
        }
    }

    /// The time of its first event, since the start of the process's image.
    pub(super) fn first_event_ns(&self) -> Option<u64> {
        self.first_event_ns
    }

    /// The recorder's share of the CPU time, for that many events; none if its cost is not known, or if a
    /// load is modelled. A process that sleeps more often than it calls pays only at its calls.
    pub(super) fn recorder_cpu_ns(&self, events: u64) -> Option<u64> {
        let (event_ns, waking_ns, wakings) = self.recorder.filter(|_| !self.is_model)?;
        let share_ns = event_ns * events as f64 + waking_ns * wakings.min(events) as f64;
        self.cpu_ns.map(|cpu_ns| (share_ns as u64).min(cpu_ns))
    }

    /// Notes what a record says. Memory before the first event belongs to no time of the replay.
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

#[cfg(test)]
mod tests {
    use heaplab_trace::Note;

    use super::*;

    fn recording(source: &str, notes: &[(&str, &str)]) -> Recording {
        let notes = notes.iter().map(|(name, value)| Note { name: (*name).into(), value: (*value).into() });
        Recording::of(&Header { source: source.into(), notes: notes.collect(), ..Header::default() })
    }

    const CPU: [(&str, &str); 2] = [("cpu_user_ns", "2000000"), ("cpu_system_ns", "500000")];
    const COST: [(&str, &str); 3] =
        [(EVENT_COST_NOTE, "4.50"), (WAKING_COST_NOTE, "900.00"), (WAKINGS_NOTE, "200")];

    #[test]
    fn the_recorders_share_is_known_by_its_cost_at_events_and_wakings() {
        let known = recording("heaplab-recorder", &[&CPU[..], &COST].concat());
        assert_eq!(known.cpu_ns, Some(2_500_000));
        assert_eq!(known.recorder_cpu_ns(100_000), Some(450_000 + 180_000));
        assert_eq!(known.recorder_cpu_ns(10), Some(45 + 9_000), "it slept without calling");
        assert_eq!(known.recorder_cpu_ns(1 << 40), Some(2_500_000), "no more than all");
    }

    #[test]
    fn a_share_that_is_not_known_is_none() {
        assert_eq!(recording("heaplab-recorder", &CPU).recorder_cpu_ns(100), None);
        assert_eq!(recording("heaplab-recorder", &COST).recorder_cpu_ns(100), None);
        let spoilt = [&CPU[..], &COST[1..], &[(EVENT_COST_NOTE, "-1")]].concat();
        assert_eq!(recording("heaplab-recorder", &spoilt).recorder_cpu_ns(100), None);
        let model = [&CPU[..], &COST].concat();
        assert_eq!(recording(SIMULATE, &model).recorder_cpu_ns(100), None);
    }
}
