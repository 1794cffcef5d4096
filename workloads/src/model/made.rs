//! Recordings and models of programs that a test makes.

use std::path::PathBuf;

use heaplab_trace::{Action, Event, Header, Record};

use super::fit::{FittedModel, Options, fit};
use super::{Model, Question, Subject};
use crate::stream::{RecordStream, StreamError};

/// An event before it is a record: time in ns, thread, what happens.
pub(super) type Call = (u64, u32, Action);

/// The record of a call.
pub(super) fn event((time_ns, thread, action): Call) -> Record {
    Record::Event(Event { time_ns, thread, action })
}

/// A recording of calls, in order of time.
pub(super) struct Recording {
    header: Header,
    records: std::vec::IntoIter<Record>,
    last_ns: u64,
}

impl Recording {
    pub(super) fn of(calls: Vec<Call>, has_threads: bool) -> Recording {
        Recording::of_records(calls.into_iter().map(event).collect(), has_threads)
    }

    /// The same of any records.
    pub(super) fn of_records(records: Vec<Record>, has_threads: bool) -> Recording {
        let last_ns = records.iter().rev().find_map(|record| match record {
            Record::Event(event) => Some(event.time_ns),
            _ => None,
        });
        let header = Header { has_times: true, has_threads, ..Header::default() };
        Recording { header, records: records.into_iter(), last_ns: last_ns.unwrap_or(0) }
    }
}

impl RecordStream for Recording {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        Ok(self.records.next())
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        Some(self.last_ns)
    }
}

/// A recording at a load.
pub(super) fn subject(
    load: f64,
    has_threads: bool,
    calls: impl Fn() -> Vec<Call> + Sync + 'static,
) -> Subject<'static> {
    subject_of(load, move || Recording::of(calls(), has_threads))
}

/// The same of any recording.
pub(super) fn subject_of(load: f64, recording: impl Fn() -> Recording + Sync + 'static) -> Subject<'static> {
    let open = move || Ok(Box::new(recording()) as Box<dyn RecordStream + Send>);
    Subject { path: PathBuf::from("known.hlt"), load, open: Box::new(open) }
}

/// A model whose user said nothing.
pub(super) fn fitted(subjects: Vec<Subject<'_>>) -> FittedModel {
    let load_unit = "times".to_owned();
    let options =
        Options { load_unit, size: 1.0, is_anonymous: false, life: None, startup: None, queue: None };
    fit(subjects, &options).unwrap()
}

pub(super) fn model(subjects: Vec<Subject<'_>>) -> Model {
    let fitted = fitted(subjects);
    Model::new(fitted.facts().clone(), fitted.fitted().to_vec()).unwrap()
}

/// A load, and nothing else.
pub(super) fn at(load: f64) -> Question {
    Question { load: Some(load), ..Question::default() }
}
