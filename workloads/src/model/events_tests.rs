//! A cache that is bounded by count follows the number of events, at any load.

use heaplab_trace::Action;

use super::Question;
use super::made::{Call, Recording, at, model, subject};
use super::requested::requested;

/// Each recording is two seconds long.
const SECONDS: u64 = 2;
/// Requests a second at load 1.
const RATE: u64 = 2_000;
/// At load 1 the cache is not full at the end; at load 3 it is full after half of the time.
const CACHED: u64 = 6_000;
const BYTES: u64 = 1_000;

/// Requests on four threads; each leaves a block in the cache, which drops its oldest one when it is full.
fn requests(load: u64) -> Vec<Call> {
    let mut calls = Vec::new();
    let gap_ns = 1_000_000_000 / (RATE * load);
    for number in 0..RATE * load * SECONDS {
        let thread = (number % 4) as u32;
        let mut push = |offset, action| calls.push((number * gap_ns + offset, thread, action));
        let size = BYTES / 2 + number * 7919 % BYTES;
        push(0, Action::Malloc { object: 2 * number, size });
        push(1, Action::Malloc { object: 2 * number + 1, size: 64 });
        push(2, Action::Free { object: 2 * number + 1 });
        if let Some(oldest) = number.checked_sub(CACHED) {
            push(3, Action::Free { object: 2 * oldest });
        }
    }
    calls
}

#[test]
fn another_load_fills_a_cache_sooner_and_no_further() {
    let model = model([1, 3].map(|load| subject(load as f64, true, move || requests(load))).into());
    for load in [2, 6, 9] {
        let question = at(load as f64);
        let found = requested(&mut model.play("requests", &question, 1).unwrap()).unwrap();
        let real = requested(&mut Recording::of(requests(load), true)).unwrap();
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
    let model = model(vec![subject(3.0, true, || requests(3))]);
    let question = Question { life: Some(0.0), ..at(9.0) };
    let found = requested(&mut model.play("requests", &question, 1).unwrap()).unwrap();
    let real = requested(&mut Recording::of(requests(9), true)).unwrap();
    let off = found.mean_bytes / real.mean_bytes - 1.0;
    assert!(off.abs() < 0.1, "{off}");
}
