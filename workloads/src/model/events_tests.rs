//! A cache that is bounded by count follows the number of events, at any load.

use std::path::PathBuf;

use heaplab_trace::{Action, Event, Header, Record};

use super::fit::{Options, fit};
use super::requested::requested;
use super::{Model, Question, Subject};
use crate::stream::{RecordStream, StreamError};

/// Each recording is two seconds long.
const SECONDS: u64 = 2;
/// Requests a second at load 1.
const RATE: u64 = 2_000;
/// At load 1 the cache is not full at the end; at load 3 it is full after half of the time.
const CACHED: u64 = 6_000;
const BYTES: u64 = 1_000;

/// Requests on four threads; each leaves a block in the cache, which drops its oldest one when it is full.
struct Requests {
    header: Header,
    records: std::vec::IntoIter<Record>,
}

impl Requests {
    fn at(load: u64) -> Requests {
        let mut records = Vec::new();
        let count = RATE * load * SECONDS;
        let gap_ns = 1_000_000_000 / (RATE * load);
        for number in 0..count {
            let thread = (number % 4) as u32;
            let mut push = |offset, action| {
                records.push(Record::Event(Event { time_ns: number * gap_ns + offset, thread, action }));
            };
            let size = BYTES / 2 + number * 7919 % BYTES;
            push(0, Action::Malloc { object: 2 * number, size });
            push(1, Action::Malloc { object: 2 * number + 1, size: 64 });
            push(2, Action::Free { object: 2 * number + 1 });
            if let Some(oldest) = number.checked_sub(CACHED) {
                push(3, Action::Free { object: 2 * oldest });
            }
        }
        let header = Header { has_times: true, has_threads: true, ..Header::default() };
        Requests { header, records: records.into_iter() }
    }
}

impl RecordStream for Requests {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        Ok(self.records.next())
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        Some(SECONDS * 1_000_000_000)
    }
}

fn subject(load: u64) -> Subject<'static> {
    let open = move || Ok(Box::new(Requests::at(load)) as Box<dyn RecordStream + Send>);
    Subject { path: PathBuf::from("requests"), load: load as f64, open: Box::new(open) }
}

#[test]
fn another_load_fills_a_cache_sooner_and_no_further() {
    let options = Options {
        load_unit: "times".to_owned(),
        size: 1.0,
        is_anonymous: false,
        life: None,
        startup: None,
        queue: None,
    };
    let fitted = fit(vec![subject(1), subject(3)], &options).unwrap();
    let model = Model::new(fitted.facts().clone(), fitted.fitted().to_vec()).unwrap();
    for load in [2, 6, 9] {
        let question = Question { load: Some(load as f64), ..Question::default() };
        let found = requested(&mut model.play("requests", &question, 1).unwrap()).unwrap();
        let real = requested(&mut Requests::at(load)).unwrap();
        let off = [
            found.peak_bytes as f64 / real.peak_bytes as f64 - 1.0,
            found.mean_bytes / real.mean_bytes - 1.0,
        ];
        assert!(off.iter().all(|off| off.abs() < 0.1), "load {load}: {off:?}");
        let verdict = model.judge(&question, 1.0);
        assert!(off.iter().all(|off| off.abs() < verdict.band), "load {load}: {off:?}, {verdict:?}");
    }
}

#[test]
fn one_recording_does_the_same_if_it_is_told_that_lives_are_counted_in_events() {
    let options = Options {
        load_unit: "times".to_owned(),
        size: 1.0,
        is_anonymous: false,
        life: Some(0.0),
        startup: None,
        queue: None,
    };
    let fitted = fit(vec![subject(3)], &options).unwrap();
    let model = Model::new(fitted.facts().clone(), fitted.fitted().to_vec()).unwrap();
    let question = Question { load: Some(9.0), ..Question::default() };
    let found = requested(&mut model.play("requests", &question, 1).unwrap()).unwrap();
    let real = requested(&mut Requests::at(9)).unwrap();
    let off = found.mean_bytes / real.mean_bytes - 1.0;
    assert!(off.abs() < 0.1, "{off}");
}
