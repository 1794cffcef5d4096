//! Long traces of few windows: as much is alive in them as without thinning, whatever grows.

use heaplab_trace::Action;

use super::draw::Draw;
use super::made::{Call, Recording, model, subject};
use super::requested::requested_since;
use super::{Model, Question};
use crate::stream::RecordStream;

const SECOND: u64 = 1_000_000_000;
/// The length of each recording.
const RECORDED: u64 = 4;

/// Requests for some seconds, every millisecond: each leaves an object in place of a call if `left` says so, with its size
/// and its life.
fn requests(seconds: u64, mut left: impl FnMut(u64) -> Option<(u64, u64)>) -> Vec<Call> {
    let mut calls = Vec::new();
    for number in 0..seconds * 1_000 {
        let (time_ns, object) = (number * 1_000_000, 2 * number);
        calls.push((time_ns, 0, Action::Malloc { object, size: 100 }));
        calls.push((time_ns + 500_000, 0, Action::Free { object }));
        let Some((size, life_ns)) = left(number) else { continue };
        calls.push((time_ns + 1, 0, Action::Malloc { object: object + 1, size }));
        let freed_ns = time_ns.saturating_add(life_ns);
        if freed_ns < seconds * SECOND {
            calls.push((freed_ns, 0, Action::Free { object: object + 1 }));
        }
    }
    calls.sort_by_key(|call| call.0);
    calls
}

/// Requested bytes after the recorded time, peak and mean, without thinning and with.
fn beyond(model: &Model, seconds: u64, thinned: u64) -> [[f64; 2]; 2] {
    [1, thinned].map(|thinned| {
        let question = Question { duration_ns: Some(seconds * SECOND), thinned, ..Question::default() };
        let mut played = model.play("long", &question, 1).unwrap();
        let found = requested_since(&mut played, 2 * RECORDED * SECOND).unwrap();
        [found.peak_bytes as f64, found.mean_bytes]
    })
}

fn assert_alike([whole, thinned]: [[f64; 2]; 2], most_off: f64) {
    let off = [0, 1].map(|at| thinned[at] / whole[at] - 1.0);
    assert!(off.iter().all(|off| off.abs() < most_off), "{off:?}: {whole:?}, thinned {thinned:?}");
}

#[test]
fn a_leak_goes_on_in_a_thinned_trace() {
    let leak = |seconds| requests(seconds, |number| (number % 10 == 0).then_some((3_000, u64::MAX)));
    let model = model(vec![subject(1.0, true, move || leak(RECORDED))]);
    for (seconds, thinned) in [(40, 10), (80, 50)] {
        assert_alike(beyond(&model, seconds, thinned), 0.03);
    }
    let truth = requested_since(&mut Recording::of(leak(40), true), 0).unwrap().peak_bytes as f64;
    let [_, [peak, _]] = beyond(&model, 40, 10);
    assert!((peak / truth - 1.0).abs() < 0.03, "{peak} of {truth}");
}

#[test]
fn what_outlives_the_recording_settles_as_soon_in_a_thinned_trace() {
    let long_lives = || {
        let mut draw = Draw::new(5, 0);
        requests(RECORDED, move |number| {
            (number % 5 == 0).then(|| (2_000, (12.0 * draw.exponential() * SECOND as f64) as u64))
        })
    };
    let model = model(vec![subject(1.0, true, long_lives)]);
    assert_alike(beyond(&model, 120, 20), 0.1);
}

#[test]
fn a_few_objects_of_a_size_that_stay_do_not_multiply_the_others() {
    let mostly_short = || {
        let life = |number: u64| if number.is_multiple_of(100) { u64::MAX } else { SECOND / 10 };
        requests(RECORDED, move |number| Some((1_000, life(number))))
    };
    let model = model(vec![subject(1.0, true, mostly_short)]);
    assert_alike(beyond(&model, 100, 25), 0.1);
    let count = |thinned| {
        let question = Question { duration_ns: Some(100 * SECOND), thinned, ..Question::default() };
        let mut played = model.play("long", &question, 1).unwrap();
        std::iter::from_fn(|| played.next().unwrap()).count()
    };
    let (whole, thinned) = (count(1), count(25));
    assert!(thinned * 5 < whole, "{thinned} of {whole}");
}

#[test]
fn what_is_reallocated_after_its_window_grows_as_soon_in_a_thinned_trace() {
    let grown = || {
        let mut calls = requests(RECORDED, |_| None);
        for number in 0..RECORDED * 100 {
            let (time_ns, object) = (number * 10_000_000, 1_000_000 + number);
            calls.push((time_ns, 0, Action::Malloc { object, size: 10 }));
            if time_ns + SECOND / 2 < RECORDED * SECOND {
                calls.push((time_ns + SECOND / 2, 0, Action::Realloc { object, size: 5_000 }));
            }
        }
        calls.sort_by_key(|call| call.0);
        calls
    };
    let model = model(vec![subject(1.0, true, grown)]);
    // Twice through the second half of the recording, of which the last windows do not show what is reallocated.
    assert_alike(beyond(&model, 84, 20), 0.1);
}
