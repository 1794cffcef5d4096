//! A program of one thread does one thing at a time, at any load.

use heaplab_trace::Action;

use super::made::{Call, at, model, subject};
use super::requested::requested;

const LARGE: u64 = 1 << 20;
/// Longer than a window: two seconds hold 200.
const REQUEST_NS: u64 = 2_000_000;

/// Requests one after another, each with a large block while it lasts, made by `threads` in turn.
fn requests(threads: u32) -> Vec<Call> {
    let mut calls: Vec<Call> = (1..threads).map(|thread| (0, thread, Action::ThreadStart)).collect();
    for number in 0..400_u64 {
        let (thread, begin) = (number as u32 % threads, number * 5_000_000);
        let first = number * 20;
        calls.push((begin, thread, Action::Malloc { object: first, size: LARGE }));
        for small in 1..20 {
            let time = begin + small * REQUEST_NS / 40;
            calls.push((time, thread, Action::Malloc { object: first + small, size: 100 }));
            calls.push((time + 1, thread, Action::Free { object: first + small }));
        }
        calls.push((begin + REQUEST_NS, thread, Action::Free { object: first }));
    }
    calls
}

/// Mean requested bytes at three times the load, as a multiple of those at the recorded load.
fn growth_at_three(threads: u32) -> f64 {
    let model = model(vec![subject(1.0, true, move || requests(threads))]);
    let [one, three] =
        [1.0, 3.0].map(|load| requested(&mut model.play("m", &at(load), 1).unwrap()).unwrap().mean_bytes);
    three / one
}

#[test]
fn requests_of_one_thread_do_not_overlap() {
    let (serial, parallel) = (growth_at_three(1), growth_at_three(4));
    // Not quite: what outlives its window keeps its own time.
    assert!(serial < 1.5, "{serial}");
    assert!(parallel > 2.7, "{parallel}: those of several threads do");
}
