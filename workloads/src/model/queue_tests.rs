//! A pool of threads that take one request at a time: at a higher load requests wait, and what they hold piles up.

use std::collections::VecDeque;
use std::path::PathBuf;

use heaplab_trace::{Action, Event, Header, Record};

use super::draw::Draw;
use super::fit::{Options, fit};
use super::requested::requested;
use super::{Model, Question, Subject};
use crate::stream::{RecordStream, StreamError};

const THREADS: u32 = 4;
const LENGTH_NS: u64 = 20_000_000_000;
/// Of a request: what it brings, and what its thread needs while it works on it.
const INPUT: u64 = 20_000;
const WORK: u64 = 100_000;
/// How long a thread works on a request, on average. At load 1 the threads are busy for 30 % of the time.
const SERVICE_NS: f64 = 6_000_000.0;
const APART_NS: f64 = 5_000_000.0;

/// A server: the initial thread takes requests as they come, and the pool works on them in that order.
struct Server {
    header: Header,
    records: std::vec::IntoIter<Record>,
}

impl Server {
    fn at(load: f64, seed: u64) -> Server {
        Server::of(load, seed, THREADS)
    }

    fn of(load: f64, seed: u64, threads: u32) -> Server {
        let mut draw = Draw::new(seed, 0);
        let mut calls: Vec<(u64, u32, Action)> =
            (1..=threads).map(|thread| (0, thread, Action::ThreadStart)).collect();
        let mut free_ns = VecDeque::from(vec![(0, 1); 1]);
        free_ns.extend((2..=threads).map(|thread| (0_u64, thread)));
        let (mut now, mut object) = (0.0, 0);
        loop {
            now += APART_NS / load * draw.exponential();
            let arrival = now as u64;
            if arrival >= LENGTH_NS {
                break;
            }
            let first = (0..free_ns.len()).min_by_key(|&at| free_ns[at]).unwrap();
            let (free, thread) = free_ns[first];
            let begin = free.max(arrival + 10_000);
            let end = begin + (SERVICE_NS * (0.5 + draw.unit())) as u64;
            free_ns[first] = (end + 10_000, thread);
            let (input, work) = (object, object + 1);
            object += 2;
            calls.push((arrival, 0, Action::Malloc { object: input, size: INPUT }));
            calls.push((begin, thread, Action::Malloc { object: work, size: WORK }));
            calls.push((end, thread, Action::Free { object: work }));
            calls.push((end, thread, Action::Free { object: input }));
        }
        calls.sort_by_key(|call| call.0);
        let event = |(time_ns, thread, action)| Record::Event(Event { time_ns, thread, action });
        // What is not done by then is cut off.
        let records: Vec<Record> = calls.into_iter().filter(|call| call.0 <= LENGTH_NS).map(event).collect();
        let header = Header { has_times: true, has_threads: true, ..Header::default() };
        Server { header, records: records.into_iter() }
    }
}

impl RecordStream for Server {
    fn header(&self) -> &Header {
        &self.header
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        Ok(self.records.next())
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        Some(LENGTH_NS)
    }
}

fn model() -> Model {
    model_of(&[(1.0, THREADS)])
}

/// A model of recordings with these loads and numbers of threads.
fn model_of(recordings: &[(f64, u32)]) -> Model {
    let subject = |&(load, threads): &(f64, u32)| {
        let open =
            Box::new(move || Ok(Box::new(Server::of(load, 1, threads)) as Box<dyn RecordStream + Send>));
        Subject { path: PathBuf::from("server.hlt"), load, open }
    };
    let options = Options {
        load_unit: "times".to_owned(),
        size: 1.0,
        is_anonymous: false,
        life: None,
        startup: None,
        queue: None,
    };
    let fitted = fit(recordings.iter().map(subject).collect(), &options).unwrap();
    Model::new(fitted.facts().clone(), fitted.fitted().to_vec()).unwrap()
}

fn at(load: f64) -> Question {
    Question { load: Some(load), ..Question::default() }
}

/// Peak and mean of requested bytes: what the model says, and those of the server.
fn compare(model: &Model, load: f64) -> [(f64, f64); 2] {
    let said = requested(&mut model.play("server", &at(load), 1).unwrap()).unwrap();
    let real = requested(&mut Server::at(load, 2)).unwrap();
    [(said.peak_bytes as f64, real.peak_bytes as f64), (said.mean_bytes, real.mean_bytes)]
}

#[test]
fn requests_wait_where_all_threads_of_a_pool_are_busy() {
    let model = model();
    // Three times the load keeps the threads busy for 90 % of the time.
    for (load, allowed) in [(1.0, 0.1), (2.0, 0.1), (2.8, 0.2)] {
        let [(said_peak, real_peak), (said, real)] = compare(&model, load);
        assert!((said / real - 1.0).abs() < allowed, "load {load}: mean {said}, really {real}");
        assert!(
            (said_peak / real_peak - 1.0).abs() < 3.0 * allowed,
            "load {load}: peak {said_peak}, really {real_peak}"
        );
        assert!(model.judge(&at(load), 1.0).reasons.iter().all(|reason| !reason.contains("busy")));
    }
}

#[test]
fn without_a_queue_a_pool_works_on_more_requests_than_it_has_threads() {
    let model = model();
    let peak = |queue: Option<bool>| {
        let question = Question { queue, ..at(2.8) };
        requested(&mut model.play("server", &question, 1).unwrap()).unwrap().peak_bytes
    };
    assert_eq!(peak(None), peak(Some(true)), "the recording shows it");
    assert_ne!(peak(None), peak(Some(false)));
}

#[test]
fn a_load_that_the_pool_cannot_keep_up_with_piles_up_and_is_marked() {
    let model = model();
    let [(said_peak, real_peak), (said, real)] = compare(&model, 5.0);
    assert!(real_peak > 20.0 * f64::from(THREADS) * WORK as f64, "{real_peak}: most of it waits");
    assert!((said / real - 1.0).abs() < 0.2, "mean {said}, really {real}");
    assert!((said_peak / real_peak - 1.0).abs() < 0.2, "peak {said_peak}, really {real_peak}");
    let reasons = model.judge(&at(5.0), 1.0).reasons;
    assert!(reasons.iter().any(|reason| reason.contains("cannot keep up")), "{reasons:?}");
}

#[test]
fn a_pool_that_grows_with_the_load_goes_on_growing() {
    let model = model_of(&[(1.0, 2), (3.0, 6)]);
    let mut played = model.play("server", &at(9.0), 1).unwrap();
    let mut threads = std::collections::BTreeSet::new();
    while let Some(record) = played.next().unwrap() {
        if let Record::Event(event) = record {
            threads.insert(event.thread);
        }
    }
    assert_eq!(threads.len(), 1 + 18, "the initial thread, and two for each unit of load");
}
