//! Programs made for the purpose, whose memory at any load is known: what the model and its band say about them.

use std::collections::VecDeque;

use heaplab_trace::Action;

use super::made::{Call, Recording, at, fitted, model, subject};
use super::parts::{Lives, Part};
use super::requested::requested;
use super::{Model, Question, Verdict, format};
use crate::stream::RecordStream;

/// Peak and mean of requested bytes.
fn found(stream: &mut dyn RecordStream) -> [f64; 2] {
    let found = requested(stream).unwrap();
    [found.peak_bytes as f64, found.mean_bytes]
}

fn played(model: &Model, question: &Question) -> [f64; 2] {
    found(&mut model.play("known", question, 1).unwrap())
}

/// Whether the truth lies in the band around what the model says.
fn is_within(verdict: &Verdict, said: f64, truth: f64) -> bool {
    (truth / said - 1.0).abs() <= verdict.band
}

/// For two seconds, 20 requests of 50 KB in flight at load 1, each for 5 ms, and in the end they are finished.
fn in_flight(load: f64, threads: u32) -> Vec<Call> {
    const LENGTH_NS: u64 = 2_000_000_000;
    let mut raw: Vec<(u64, u64, bool)> = Vec::new();
    for number in 0..(8_000.0 * load) as u64 {
        let begin = (number as f64 * LENGTH_NS as f64 / (8_000.0 * load)) as u64;
        raw.extend([(begin, number, true), (begin + 5_000_000, number, false)]);
    }
    raw.sort_unstable();
    let starts = (1..threads).map(|thread| (0, thread, Action::ThreadStart));
    let calls = raw.into_iter().map(|(time_ns, number, begins)| {
        let action = match begins {
            true => Action::Malloc { object: number, size: 50_000 },
            false => Action::Free { object: number },
        };
        (time_ns, (number % u64::from(threads)) as u32, action)
    });
    starts.chain(calls).collect()
}

#[test]
fn requests_in_flight_grow_with_the_load_and_hardly_with_a_hundredth_of_it() {
    let model = model(vec![subject(1.0, true, || in_flight(1.0, 4))]);
    for load in [1.01, 2.0, 3.0] {
        let real = found(&mut Recording::of(in_flight(load, 4), true));
        let said = played(&model, &at(load));
        for (said, real) in said.into_iter().zip(real) {
            assert!((said / real - 1.0).abs() < 0.12, "load {load}: {said}, really {real}");
        }
    }
    // The lanes are whole numbers; the band says so.
    let half_more = played(&model, &at(1.5));
    let real = found(&mut Recording::of(in_flight(1.5, 4), true));
    let verdict = model.judge(&at(1.5), 1.0);
    assert!(is_within(&verdict, half_more[0], real[0]), "{half_more:?}, really {real:?}, {verdict:?}");
}

#[test]
fn one_thread_may_have_requests_in_flight_and_the_band_says_so() {
    let model = model(vec![subject(1.0, true, || in_flight(1.0, 1))]);
    for load in [1.01, 1.5, 3.0] {
        let real = found(&mut Recording::of(in_flight(load, 1), true));
        let said = played(&model, &at(load));
        let verdict = model.judge(&at(load), 1.0);
        for (said, real) in said.into_iter().zip(real) {
            assert!(is_within(&verdict, said, real), "load {load}: {said}, really {real}, {verdict:?}");
        }
    }
}

#[test]
fn two_loads_show_that_one_thread_has_requests_in_flight() {
    let loads = [1.0, 3.0].map(|load| subject(load, true, move || in_flight(load, 1)));
    let model = model(loads.into());
    let real = found(&mut Recording::of(in_flight(6.0, 1), true));
    for (said, real) in played(&model, &at(6.0)).into_iter().zip(real) {
        assert!((said / real - 1.0).abs() < 0.12, "{said}, really {real}");
    }
}

#[test]
fn what_is_in_flight_at_the_end_is_finished() {
    let model = model(vec![subject(1.0, true, || in_flight(1.0, 4))]);
    let real = found(&mut Recording::of(in_flight(1.0, 4), true));
    let said = played(&model, &at(1.0));
    assert!((said[0] / real[0] - 1.0).abs() < 0.12, "{said:?}, really {real:?}");
    assert!(model.judge(&at(1.0), 1.0).passes());
}

#[test]
fn a_log_without_threads_is_not_of_one_thread() {
    let model = model(vec![subject(1.0, false, || in_flight(1.0, 1))]);
    let real = found(&mut Recording::of(in_flight(3.0, 1), true));
    let said = played(&model, &at(3.0));
    assert!((said[1] / real[1] - 1.0).abs() < 0.12, "{said:?}, really {real:?}");
}

/// 8 MB from start-up, and a queue of 400 blocks of 5 KB.
fn mostly_startup() -> Vec<Call> {
    let mut calls: Vec<Call> = (1..4).map(|thread| (0, thread, Action::ThreadStart)).collect();
    calls.extend((0..800).map(|object| (object, 0, Action::Malloc { object, size: 10_000 })));
    let mut queue = VecDeque::new();
    for number in 0..8_000 {
        let (time_ns, thread, object) = (20_000_000 + number * 250_000, (number % 4) as u32, 800 + number);
        calls.push((time_ns, thread, Action::Malloc { object, size: 5_000 }));
        queue.push_back(object);
        if queue.len() > 400
            && let Some(object) = queue.pop_front()
        {
            calls.push((time_ns, thread, Action::Free { object }));
        }
    }
    calls
}

#[test]
fn what_the_user_did_not_say_stays_in_the_band() {
    let model = model(vec![subject(1.0, true, mostly_startup)]);
    let band = |life: Option<f64>, startup: Option<f64>| {
        model.judge(&Question { life, startup, ..at(3.0) }, 1.0).band
    };
    let [nothing, life, both] = [band(None, None), band(Some(1.0), None), band(Some(1.0), Some(0.0))];
    assert!(both < life && life <= nothing, "{nothing} {life} {both}");
}

#[test]
fn copies_of_survivors_are_freed_too() {
    let model = model(vec![subject(1.0, true, mostly_startup)]);
    let peak = |lengths: u64| {
        let duration_ns = Some(2_020_000_000 * lengths);
        played(&model, &Question { life: Some(0.0), duration_ns, ..at(0.5) })[0]
    };
    assert!(peak(10) < 1.3 * peak(1), "{} and {}", peak(10), peak(1));
}

#[test]
fn a_longer_time_is_known_less_well() {
    let model = model(vec![subject(1.0, true, mostly_startup)]);
    let bands = [1.0, 10.0, 36_000.0].map(|lengths| model.judge(&Question::default(), lengths).band);
    assert!(bands.is_sorted() && bands[2] > bands[0], "{bands:?}");
}

#[test]
fn a_table_that_grows_by_realloc_has_not_settled() {
    let model = model(vec![subject(1.0, true, || {
        let mut calls: Vec<Call> = (1..4).map(|thread| (0, thread, Action::ThreadStart)).collect();
        let mut size = 1_000;
        calls.push((0, 0, Action::Malloc { object: 0, size }));
        for number in 1..8_000 {
            let (time_ns, thread) = (20_000_000 + number * 250_000, (number % 4) as u32);
            calls.push((time_ns, thread, Action::Malloc { object: number, size: 64 }));
            calls.push((time_ns, thread, Action::Free { object: number }));
            if number % 400 == 0 {
                size += 100_000;
                calls.push((time_ns, 0, Action::Realloc { object: 0, size }));
            }
        }
        calls
    })]);
    let verdict = model.judge(&Question::default(), 3.0);
    assert!(!verdict.passes(), "{verdict:?}");
}

#[test]
fn loads_too_far_apart_to_check_each_other_are_not_taken_to_agree() {
    let queue = |every_ns: u64| {
        move || {
            let mut calls: Vec<Call> = (1..4).map(|thread| (0, thread, Action::ThreadStart)).collect();
            let mut queue = VecDeque::new();
            for object in 0..2_000_000_000 / every_ns {
                let (time_ns, thread) = (object * every_ns, (object % 4) as u32);
                calls.push((time_ns, thread, Action::Malloc { object, size: 5_000 }));
                queue.push_back(object);
                // Three quarters of them wait for a third of a second.
                let kept = if every_ns < 100_000 { 4_000 } else { 400 };
                if queue.len() > kept
                    && let Some(object) = queue.pop_front()
                {
                    calls.push((time_ns, thread, Action::Free { object }));
                }
            }
            calls
        }
    };
    let model = model(vec![subject(1.0, true, queue(200_000)), subject(20.0, true, queue(10_000))]);
    let verdict = model.judge(&at(40.0), 1.0);
    assert!(!verdict.passes(), "{verdict:?}");
}

#[test]
fn a_short_file_cannot_hold_many_lives_or_windows() {
    let fitted = fitted(vec![subject(1.0, true, mostly_startup)]);
    let written = |parts: &[super::Fitted]| {
        let mut bytes = Vec::new();
        format::write(&mut bytes, fitted.facts(), parts).unwrap();
        format::read(&mut bytes.as_slice()).map(|_| ()).map_err(|fault| format!("{fault:?}"))
    };
    assert_eq!(written(fitted.fitted()), Ok(()));
    let mut lives = fitted.fitted().to_vec();
    lives[0].lives[3] = Lives { seen: vec![(0, false); 100_000] };
    assert!(written(&lives).unwrap_err().contains("lives"));
    let mut windows = fitted.fitted().to_vec();
    windows[0].windows = vec![Part::default(); 100_000];
    assert!(written(&windows).unwrap_err().contains("windows"));
}
