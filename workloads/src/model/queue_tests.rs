//! A pool of threads that take one request at a time: at a higher load requests wait, and what they hold piles up.

use heaplab_trace::{Action, Record};

use super::draw::Draw;
use super::made::{Call, Recording, at, model, subject};
use super::requested::requested;
use super::{Model, Question};
use crate::stream::RecordStream;

const THREADS: u32 = 4;
const LENGTH_NS: u64 = 20_000_000_000;
/// Of a request: what it brings, and what its thread needs while it works on it.
const INPUT: u64 = 20_000;
const WORK: u64 = 100_000;
/// How long a thread works on a request, on average. At load 1 the threads are busy for 30 % of the time.
const SERVICE_NS: f64 = 6_000_000.0;
const APART_NS: f64 = 5_000_000.0;

/// A server: the initial thread takes requests as they come, and a pool of `threads` works on them in that order.
fn server(load: f64, seed: u64, threads: u32) -> Vec<Call> {
    let mut draw = Draw::new(seed, 0);
    let mut calls: Vec<Call> = (1..=threads).map(|thread| (0, thread, Action::ThreadStart)).collect();
    let mut free_ns: Vec<(u64, u32)> = (1..=threads).map(|thread| (0, thread)).collect();
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
    // What is not done by then is cut off.
    calls.retain(|call| call.0 <= LENGTH_NS);
    calls
}

/// A model of recordings with these loads and numbers of threads.
fn model_of(recordings: &[(f64, u32)]) -> Model {
    let subject = |&(load, threads): &(f64, u32)| subject(load, true, move || server(load, 1, threads));
    model(recordings.iter().map(subject).collect())
}

/// Peak and mean of requested bytes: what the model says, and those of the server.
fn compare(model: &Model, load: f64) -> [(f64, f64); 2] {
    let said = requested(&mut model.play("server", &at(load), 1).unwrap()).unwrap();
    let real = requested(&mut Recording::of(server(load, 2, THREADS), true)).unwrap();
    [(said.peak_bytes as f64, real.peak_bytes as f64), (said.mean_bytes, real.mean_bytes)]
}

#[test]
fn requests_wait_where_all_threads_of_a_pool_are_busy() {
    let model = model_of(&[(1.0, THREADS)]);
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
fn a_recording_shows_that_requests_wait_whether_its_pool_is_busy_or_not() {
    // For 30 % of the time, and for 75 %, when most requests follow each other at once.
    for recorded in [1.0, 2.5] {
        let model = model_of(&[(recorded, THREADS)]);
        let peak = |queue: Option<bool>| {
            let question = Question { queue, ..at(2.8) };
            requested(&mut model.play("server", &question, 1).unwrap()).unwrap().peak_bytes
        };
        assert_eq!(peak(None), peak(Some(true)), "recorded at {recorded}");
        assert_ne!(
            peak(None),
            peak(Some(false)),
            "recorded at {recorded}: more than its threads work at once"
        );
    }
}

#[test]
fn a_thread_of_a_pool_that_is_hardly_busy_works_on_one_request_at_a_time() {
    // Each thread is busy for 0.2 % of the time: too few requests come for it to be seen that they do not overlap.
    let model = model_of(&[(0.4, 200)]);
    let mut played = model.play("server", &at(3.6), 1).unwrap();
    let mut working = std::collections::BTreeMap::new();
    while let Some(record) = played.next().unwrap() {
        let Record::Event(event) = record else { continue };
        match event.action {
            Action::Malloc { object, size: WORK } => {
                let known = working.insert(event.thread, object);
                assert_eq!(known, None, "thread {} at {} ns", event.thread, event.time_ns);
            }
            Action::Free { object } if working.get(&event.thread) == Some(&object) => {
                working.remove(&event.thread);
            }
            _ => {}
        }
    }
}

#[test]
fn what_a_thread_keeps_for_many_requests_stays_its_own() {
    const KEPT: u64 = 777;
    // Longer than a window: what is freed within one keeps its thread busy.
    const REQUESTS: usize = 20;
    let kept = || {
        let mut calls = Vec::new();
        let mut keeps = vec![std::collections::VecDeque::new(); THREADS as usize + 1];
        for call in server(1.0, 1, THREADS) {
            let (time_ns, thread, action) = call;
            calls.push(call);
            let Action::Malloc { object, size: WORK } = action else { continue };
            let new = (1 << 40) + object;
            let keeps = &mut keeps[thread as usize];
            keeps.push_back(new);
            if keeps.len() > REQUESTS
                && let Some(old) = keeps.pop_front()
            {
                calls.push((time_ns, thread, Action::Free { object: old }));
            }
            calls.push((time_ns, thread, Action::Malloc { object: new, size: KEPT }));
        }
        calls
    };
    let model = model(vec![subject(1.0, true, kept)]);
    let mut played = model.play("server", &at(2.8), 1).unwrap();
    let (mut owners, mut freed) = (std::collections::BTreeMap::new(), 0);
    while let Some(record) = played.next().unwrap() {
        let Record::Event(event) = record else { continue };
        match event.action {
            Action::Malloc { object, size: KEPT } => {
                owners.insert(object, event.thread);
            }
            Action::Free { object } => {
                if let Some(owner) = owners.remove(&object) {
                    assert_eq!(owner, event.thread, "object {object} at {} ns", event.time_ns);
                    freed += 1;
                }
            }
            _ => {}
        }
    }
    assert!(freed > 5_000, "{freed}");
}

#[test]
fn a_load_that_the_pool_cannot_keep_up_with_piles_up_and_is_marked() {
    let model = model_of(&[(1.0, THREADS)]);
    let [(said_peak, real_peak), (said, real)] = compare(&model, 5.0);
    assert!(real_peak > 20.0 * f64::from(THREADS) * WORK as f64, "{real_peak}: most of it waits");
    assert!((said / real - 1.0).abs() < 0.2, "mean {said}, really {real}");
    assert!((said_peak / real_peak - 1.0).abs() < 0.2, "peak {said_peak}, really {real_peak}");
    // What still waits at the end, or was to live for less time than recorded, does nothing after it.
    let question = Question { life: Some(0.5), ..at(5.0) };
    let mut played = model.play("server", &question, 1).unwrap();
    let last_ns = played.expected_last_time_ns().unwrap();
    while let Some(record) = played.next().unwrap() {
        assert!(
            !matches!(record, Record::Event(event) if event.time_ns > last_ns),
            "{record:?} after {last_ns}"
        );
    }
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
