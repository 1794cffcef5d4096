//! What recordings hold besides calls: names of threads, and the fork of a child.

use heaplab_trace::{Action, Mark, Record};

use super::made::{Call, Recording, event, fitted, model, subject_of};
use super::requested::requested;
use super::{EXTRAPOLATION_NOTE, Question};
use crate::stream::RecordStream;

const SECOND: u64 = 1_000_000_000;

/// Two seconds of requests on two threads, from `since_ns` on: each holds 1,000 bytes for half of its time.
fn requests(since_ns: u64) -> impl Iterator<Item = Call> {
    (0..4_000u64).flat_map(move |number| {
        let (time_ns, object) = (since_ns + number * 500_000, 100 + number);
        let thread = (number % 2) as u32;
        [
            (time_ns, thread, Action::Malloc { object, size: 1_000 }),
            (time_ns + 250_000, thread, Action::Free { object }),
        ]
    })
}

/// The records of what a model of a recording plays.
fn played(recording: impl Fn() -> Recording + Sync + 'static) -> Vec<Record> {
    let model = model(vec![subject_of(1.0, recording)]);
    let mut stream = model.play("recorded", &Question::default(), 1).unwrap();
    std::iter::from_fn(|| stream.next().unwrap()).collect()
}

#[test]
fn threads_that_are_named_before_their_first_event_keep_their_names() {
    let named = || {
        let name = |thread: u32, name: &str| Record::ThreadName { thread, name: name.to_owned() };
        // The third does nothing.
        let names = [name(0, "server"), name(1, "worker"), name(2, "idle")];
        Recording::of_records(names.into_iter().chain(requests(0).map(event)).collect(), true)
    };
    let names: Vec<(u32, String)> = played(named)
        .into_iter()
        .filter_map(|record| match record {
            Record::ThreadName { thread, name } => Some((thread, name)),
            _ => None,
        })
        .collect();
    assert_eq!(names, [(0, "server".to_owned()), (1, "worker".to_owned())]);
}

/// The recording of a child that was forked after four seconds, of a parent with 200,000 bytes and a busy thread of
/// its own. The child has 6,400,000 bytes more, and serves requests for two seconds.
fn forked() -> Recording {
    let inherited = (0..4_000u64).flat_map(|number| {
        let (time_ns, object) = (number * 1_000_000, 1_000_000 + number);
        [(time_ns, 1, Action::Malloc { object, size: 50 }), (time_ns + 500_000, 1, Action::Free { object })]
    });
    let held = event((0, 0, Action::Malloc { object: 0, size: 200_000 }));
    let fork = Record::Mark(Mark { time_ns: 4 * SECOND, name: Mark::FORKED.to_owned() });
    let own = event((4 * SECOND, 0, Action::Malloc { object: 1, size: 6_400_000 }));
    let records = [held].into_iter().chain(inherited.map(event)).chain([fork, own]);
    Recording::of_records(records.chain(requests(4 * SECOND).map(event)).collect(), true)
}

#[test]
fn a_forked_childs_model_is_of_the_child() {
    let is_near = |found: f64, truth: f64| (found / truth - 1.0).abs() < 0.01;
    let fitted = fitted(vec![subject_of(1.0, forked)]);
    let outline = &fitted.facts().recordings[0];
    assert_eq!((outline.forked_ns, outline.events), (4 * SECOND, 16_002));
    assert!((4 * SECOND..5 * SECOND).contains(&outline.startup_ns), "{outline:?}");
    assert!(outline.window_ns <= SECOND / 100, "{outline:?}");
    assert!((7_000..8_000).contains(&outline.windows_events), "{outline:?}");
    assert_eq!(outline.requested_peak_bytes, 6_601_000);
    assert!(is_near(outline.requested_mean_bytes as f64, 6_600_500.0), "{outline:?}");
    let model = model(vec![subject_of(1.0, forked)]);
    let found = requested(&mut model.play("child", &Question::default(), 1).unwrap()).unwrap();
    assert!(
        is_near(found.peak_bytes as f64, 6_601_000.0) && is_near(found.mean_bytes, 6_600_500.0),
        "{found:?}"
    );
    let marks: Vec<Mark> = played(forked)
        .into_iter()
        .filter_map(|record| match record {
            Record::Mark(mark) => Some(mark),
            _ => None,
        })
        .collect();
    assert_eq!(marks, [Mark { time_ns: 4 * SECOND, name: Mark::FORKED.to_owned() }]);
}

#[test]
fn a_childs_length_is_counted_from_its_fork() {
    let model = model(vec![subject_of(1.0, forked)]);
    let question = Question { duration_ns: Some(24 * SECOND), ..Question::default() };
    let played = model.play("child", &question, 1).unwrap();
    let mut notes = played.header().notes.iter();
    let said = &notes.find(|note| note.name == EXTRAPOLATION_NOTE).unwrap().value;
    assert!(said.contains(" 10.00 times its length"), "{said}");
}
