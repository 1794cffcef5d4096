//! A program of one thread does one thing at a time, at any load.

use std::path::PathBuf;

use heaplab_trace::{Action, Event, Header, Record};

use super::fit::{Options, fit};
use super::requested::requested;
use super::{Model, Question, Subject};
use crate::stream::{RecordStream, StreamError};

const LARGE: u64 = 1 << 20;
/// Longer than a window: two seconds hold 200.
const REQUEST_NS: u64 = 2_000_000;

/// Requests one after another, each with a large block while it lasts, made by `threads` in turn.
struct Requests {
    header: Header,
    records: std::vec::IntoIter<Record>,
}

impl Requests {
    fn of(threads: u32) -> Requests {
        let mut records = Vec::new();
        let mut push =
            |time_ns, thread, action| records.push(Record::Event(Event { time_ns, thread, action }));
        for thread in 1..threads {
            push(0, thread, Action::ThreadStart);
        }
        for number in 0..400_u64 {
            let (thread, begin) = (number as u32 % threads, number * 5_000_000);
            let first = number * 20;
            push(begin, thread, Action::Malloc { object: first, size: LARGE });
            for small in 1..20 {
                let time = begin + small * REQUEST_NS / 40;
                push(time, thread, Action::Malloc { object: first + small, size: 100 });
                push(time + 1, thread, Action::Free { object: first + small });
            }
            push(begin + REQUEST_NS, thread, Action::Free { object: first });
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
        Some(399 * 5_000_000 + REQUEST_NS)
    }
}

/// Mean requested bytes at three times the load, as a multiple of those at the recorded load.
fn growth_at_three(threads: u32) -> f64 {
    let open = Box::new(move || Ok(Box::new(Requests::of(threads)) as Box<dyn RecordStream + Send>));
    let subject = Subject { path: PathBuf::from("requests.hlt"), load: 1.0, open };
    let options = Options {
        load_unit: "times".to_owned(),
        size: 1.0,
        is_anonymous: false,
        life: None,
        startup: None,
        queue: None,
    };
    let fitted = fit(vec![subject], &options).unwrap();
    let model = Model::new(fitted.facts().clone(), fitted.fitted().to_vec()).unwrap();
    let [one, three] = [1.0, 3.0].map(|load| {
        let question = Question { load: Some(load), ..Question::default() };
        requested(&mut model.play("m", &question, 1).unwrap()).unwrap().mean_bytes
    });
    three / one
}

#[test]
fn requests_of_one_thread_do_not_overlap() {
    let (serial, parallel) = (growth_at_three(1), growth_at_three(4));
    // Not quite: what outlives its window keeps its own time.
    assert!(serial < 1.5, "{serial}");
    assert!(parallel > 2.7, "{parallel}: those of several threads do");
}
