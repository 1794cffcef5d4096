//! Calls of `malloc_trim` and `mallopt`: where they are placed, and what they leave unchanged.

use heaplab_trace::Tuning;

use super::*;

fn mark(time_ns: u64, said: Tuning) -> Record {
    Record::Mark(Mark { time_ns, name: said.mark() })
}

const TRIM: Tuning = Tuning::MallocTrim { pad: 4096 };
const THRESHOLD: Tuning = Tuning::Mallopt { parameter: -3, value: 1 << 25 };

fn op(said: Tuning) -> Op {
    match said {
        Tuning::MallocTrim { pad } => Op::new(Code::MallocTrim, 0, pad),
        Tuning::Mallopt { parameter, value } => {
            let old_size = u64::from(value.cast_unsigned());
            Op { old_size, ..Op::new(Code::Mallopt, 0, u64::from(parameter.cast_unsigned())) }
        }
    }
}

/// First and last time of a window, and its operations by their threads.
type Told = (u64, u64, Vec<(u32, Vec<Op>)>);

fn told(blocks: &[Block]) -> Vec<Told> {
    let segments =
        |block: &Block| block.segments.iter().map(|(segment, ops)| (segment.thread, ops.clone())).collect();
    blocks.iter().map(|block| (block.head.first_time, block.head.last_time, segments(block))).collect()
}

#[test]
fn a_call_has_a_window_of_its_own_at_its_own_time() {
    let malloc = |time, thread, object| {
        let action = Action::Malloc { object, size: 100 };
        (
            Record::Event(at(time, thread, action)),
            Op { touch: 2, ..Op::new(Code::Malloc, object as u32, 100) },
        )
    };
    let (first, second) = (malloc(100, 0, 0), malloc(101, 1, 1));
    let third = malloc(600, 0, 2);
    // Before the first event; within a window; while nothing happens; at once after another; after the last event.
    let records = [
        mark(90, THRESHOLD),
        first.0,
        second.0,
        mark(500, TRIM),
        mark(500, THRESHOLD),
        third.0,
        Record::Event(at(600, 1, Action::ThreadEnd)),
        mark(700, TRIM),
    ];
    for order in [Order::Strict, Order::Causal] {
        let (info, blocks) = compile_records(records.iter().cloned(), order, narrow()).unwrap();
        let (main, _) = trace_blocks(blocks);
        let expected = [
            (0, 0, vec![(0, vec![op(THRESHOLD)])]),
            (0, 1, vec![(0, vec![first.1]), (1, vec![second.1])]),
            (400, 400, vec![(1, vec![op(TRIM)])]),
            (400, 400, vec![(1, vec![op(THRESHOLD)])]),
            (400, 500, vec![(0, vec![third.1]), (1, vec![])]),
            (600, 600, vec![(0, vec![op(TRIM)])]),
        ];
        assert_eq!(told(&main), expected, "{order}");
        assert!(main.iter().all(|block| block.head.flags == WINDOW_BARRIER), "{order}");
        assert_eq!(main.iter().map(|block| block.head.events).collect::<Vec<_>>(), [0, 2, 0, 0, 2, 0]);
        assert_eq!((info.events, info.threads, info.duration_ns, info.windows), (4, 2, 500, 6), "{order}");
        assert_eq!((info.requested_peak_bytes, info.peak_window), (300, 4), "{order}");
    }
}

#[test]
fn a_look_behind_a_call_is_behind_its_window() {
    let look = |time_ns| Record::Resident(ResidentSample { time_ns, resident_bytes: 1 });
    let malloc = |time, object| Record::Event(at(time, 0, Action::Malloc { object, size: 100 }));
    let records = [malloc(0, 0), look(5), mark(6, TRIM), look(9), malloc(10, 1)];
    let (_, blocks) = compile_records(records.into_iter(), Order::Strict, narrow()).unwrap();
    let (main, _) = trace_blocks(blocks);
    let told: Vec<_> = main
        .iter()
        .map(|block| (block.segments[0].1[0].code, block.head.last_time, block.head.flags & WINDOW_SAMPLED))
        .collect();
    let malloc = Code::Malloc;
    let sampled = WINDOW_SAMPLED;
    assert_eq!(told, [(malloc, 5, sampled), (Code::MallocTrim, 9, sampled), (malloc, 10, 0)]);
}

#[test]
fn only_known_parameters_are_replayed() {
    let marks = (-20..20).chain([i32::MIN, i32::MAX]);
    let marks = marks.map(|parameter| mark(0, Tuning::Mallopt { parameter, value: -1 }));
    let marks = marks.chain([Record::Mark(Mark { time_ns: 0, name: "mallopt(-3,1)".into() })]);
    let (info, blocks) = compile_records(marks, Order::Causal, narrow()).unwrap();
    let (main, _) = trace_blocks(blocks);
    let parameters: Vec<i32> = main.iter().map(|block| block.segments[0].1[0].size as u32 as i32).collect();
    assert_eq!(parameters, [-8, -7, -6, -4, -3, -2, -1, 1]);
    assert_eq!((info.events, info.threads, info.thread_table), (0, 0, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_before_a_call_is_done_and_nothing_behind_it_has_begun(
        events in history(),
        places in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        luck in prop::collection::vec(0usize..64, 1..50),
    ) {
        let mut places: Vec<usize> = places.iter().map(|place| place.index(events.len() + 1)).collect();
        places.sort_unstable();
        // The pad says how many operations are before the call.
        let mut records = Vec::new();
        let (mut calls, mut time) = (0, 0);
        for at in 0..=events.len() {
            let here = places.iter().filter(|place| **place == at);
            records.extend(here.map(|_| mark(time, Tuning::MallocTrim { pad: calls })));
            if let Some(event) = events.get(at) {
                records.push(Record::Event(*event));
                calls += u64::from(is_call(event));
                time = event.time_ns;
            }
        }
        for order in [Order::Causal, Order::Strict] {
            let (info, blocks) = compile_records(records.iter().cloned(), order, narrow()).unwrap();
            let (main, _) = trace_blocks(blocks);
            prop_assert_eq!(info.windows, main.len() as u64);
            // Every call checks itself; strict order is one of the orders that causal order allows.
            let model = replay_causal(&main, if order == Order::Causal { &luck } else { &[0] });
            prop_assert_eq!((model.trims, model.executed), (places.len(), calls));
            prop_assert_eq!(model.slots.len() as u64, info.live_at_end);
        }
    }
}
