//! Addresses that no order explains: two threads wait for each other's frees.

use heaplab_raw::Event;
use heaplab_trace::Action;
use proptest::prelude::*;

use super::{Place, actions, malloc, writer};

const ADDRESS: u64 = 0x1000;

fn free(address: u64) -> Event {
    Event::Free { address }
}

#[test]
fn a_block_that_a_thread_left_in_dispute_ends_before_the_thread() {
    let [first, second] = [0x2000, 0x3000];
    let mut writer = writer();
    let [main, one, other] = [100, 101, 102].map(|tid| writer.add_thread(tid));
    writer.push(main, 1_000, Event::ThreadBegin);
    for address in [ADDRESS, first, second] {
        writer.push(main, 1_000, malloc(address, 16));
    }
    for thread in [one, other] {
        writer.push(thread, 1_000, Event::ThreadBegin);
    }
    let steps = [malloc(ADDRESS, 1), free(first), malloc(ADDRESS, 2), free(second)];
    for event in steps.into_iter().chain([Event::FreeNull; 7]).chain([Event::ThreadEnd]) {
        writer.push(one, 2_000, event);
    }
    for event in [malloc(first, 3), malloc(second, 4), free(ADDRESS), Event::ThreadEnd] {
        writer.push(other, 2_000, event);
    }
    // The writer refuses what a thread does after its end.
    let (report, records) = Place::new(&writer).import();
    assert!(report.summary.order_guessed > 0, "{:?}", report.summary);
    let actions = actions(&records);
    let missed = actions.iter().position(|(.., action)| matches!(action, Action::FreeMissed { .. }));
    let thread = actions[missed.expect("one of three blocks at an address is freed")].1;
    let end = actions.iter().position(|(_, by, action)| *by == thread && *action == Action::ThreadEnd);
    assert!(missed < end, "{actions:?}");
}

#[test]
fn a_thread_that_begins_a_second_time_goes_on() {
    let mut writer = writer();
    let main = writer.add_thread(100);
    for event in [malloc(ADDRESS, 1), Event::ThreadBegin, free(ADDRESS), Event::ThreadBegin] {
        writer.push(main, 1_000, event);
    }
    let (report, records) = Place::new(&writer).import();
    assert_eq!((report.summary.events, report.summary.thread_starts), (2, 0), "{records:?}");
    assert!(
        report.problems.iter().any(|told| told.starts_with("2 records of a thread")),
        "{:?}",
        report.problems
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    (0u64..3, 0u32..4).prop_map(|(at, kind)| {
        let address = ADDRESS + (at << 12);
        match kind {
            0 | 1 => malloc(address, at + 1),
            2 => free(address),
            _ => Event::ReallocEnd { address, size: 7 },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Calls that no allocator would answer so, and threads that all end in the tick.
    #[test]
    fn any_calls_of_a_tick_make_a_lawful_trace(
        threads in prop::collection::vec(prop::collection::vec(any_event(), 0..12), 1..5)
    ) {
        let mut writer = writer();
        for (tid, events) in (100..).zip(threads) {
            let thread = writer.add_thread(tid);
            for event in std::iter::once(Event::ThreadBegin).chain(events).chain([Event::ThreadEnd]) {
                writer.push(thread, 1_000, event);
            }
        }
        // The writer of the trace refuses what breaks a law.
        Place::new(&writer).import();
    }
}
