//! What recordings hold besides calls: names of threads.

use heaplab_trace::{Action, Record};

use super::made::{Call, Recording, event, fitted, subject_of};
use super::{Model, Question};
use crate::stream::RecordStream;

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
    let fitted = fitted(vec![subject_of(1.0, recording)]);
    let model = Model::new(fitted.facts().clone(), fitted.fitted().to_vec()).unwrap();
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
