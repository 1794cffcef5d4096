//! How far operations write to their blocks.

use super::*;

const MIB: u64 = 1 << 20;

fn malloc(object: u64, size: u64) -> Action {
    Action::Malloc { object, size }
}

fn calloc(object: u64, size: u64) -> Action {
    Action::Calloc { object, size }
}

fn realloc(object: u64, size: u64) -> Action {
    Action::Realloc { object, size }
}

fn touched(object: u64, bytes: u64) -> Action {
    Action::Touched { object, bytes }
}

fn work(object: u64, bytes: u64) -> Action {
    Action::Work { object, bytes, repeats: 1 }
}

fn free(object: u64) -> Action {
    Action::Free { object }
}

/// How far each allocating operation touches its block, in bytes, in the order of the actions; the same in
/// every order, and wherever the operation is when the length becomes known: in its window, held back, or in
/// the file.
fn touches(actions: &[(u32, Action)]) -> Vec<u64> {
    let compiled = [0, 20_000_000].into_iter().flat_map(|step_ns| {
        [Order::Causal, Order::Strict].map(|order| {
            let times = (0..).map(|step| step * step_ns);
            let events: Vec<Event> =
                actions.iter().zip(times).map(|(&(thread, action), time)| at(time, thread, action)).collect();
            let (info, blocks) = compile_events(&events, order, narrow()).unwrap();
            let events = actions.iter().filter(|(_, action)| action.is_event()).count() as u64;
            assert_eq!(info.events, events, "a record of a touch is not an event");
            let (main, _) = trace_blocks(blocks);
            let mut ops: Vec<Op> = main
                .iter()
                .flat_map(|block| &block.segments)
                .flat_map(|(_, ops)| ops.clone())
                .filter(|op| op.code.allocates())
                .collect();
            // Segments of one window are in the order of the threads' first operations, not in that of the
            // trace.
            ops.sort_by_key(|op| (op.slot, op.code == Code::Realloc, op.old_size));
            ops.iter().map(|op| u64::from(op.touch) * 64).collect::<Vec<u64>>()
        })
    });
    let compiled: Vec<Vec<u64>> = compiled.collect();
    assert!(compiled.iter().all(|touches| *touches == compiled[0]), "{compiled:?}");
    compiled[0].clone()
}

#[test]
fn a_block_is_touched_as_far_as_is_known() {
    let known = [(0, malloc(0, 16 * MIB)), (0, touched(0, MIB)), (0, free(0))];
    assert_eq!(touches(&known), [MIB]);
    let more_than_all = [(0, malloc(0, MIB)), (0, touched(0, MIB + 4096)), (0, free(0))];
    assert_eq!(touches(&more_than_all), [MIB]);
    let nothing = [(0, malloc(0, MIB)), (0, touched(0, 0)), (0, free(0))];
    assert_eq!(touches(&nothing), [0]);
}

#[test]
fn a_block_of_which_nothing_is_known_is_touched_whole() {
    assert_eq!(touches(&[(0, malloc(0, MIB)), (0, free(0))]), [MIB]);
    assert_eq!(touches(&[(0, malloc(0, MIB))]), [MIB], "live at the end");
    let next = [(0, malloc(0, MIB)), (0, touched(0, 4096)), (0, free(0)), (0, malloc(1, 2 * MIB))];
    assert_eq!(touches(&next[..3]), [4096]);
    assert!(touches(&next).contains(&(2 * MIB)), "the next object in the slot is a different one");
}

#[test]
fn another_thread_may_free_it() {
    let events = [
        (0, Action::ThreadStart),
        (1, Action::ThreadStart),
        (0, malloc(0, 16 * MIB)),
        (1, touched(0, MIB)),
        (1, free(0)),
    ];
    assert_eq!(touches(&events), [MIB]);
}

#[test]
fn a_large_calloc_is_touched_as_far_as_is_known_else_in_its_first_page() {
    assert_eq!(touches(&[(0, calloc(0, 100))]), [128]);
    assert_eq!(touches(&[(0, calloc(0, MIB))]), [4096]);
    assert_eq!(touches(&[(0, calloc(0, 16 * MIB)), (0, touched(0, 3 * MIB)), (0, free(0))]), [3 * MIB]);
    assert_eq!(touches(&[(0, calloc(0, 16 * MIB)), (0, touched(0, 0)), (0, free(0))]), [0]);
}

#[test]
fn a_block_that_shrinks_next_is_touched_no_further() {
    let receive = [(0, malloc(0, 128 << 10)), (0, realloc(0, 1024))];
    assert_eq!(touches(&receive), [1024, 1024], "the realloc has nothing new to touch");
    let grows = [(0, malloc(0, 128 << 10)), (0, realloc(0, 256 << 10))];
    assert_eq!(touches(&grows), [128 << 10, 256 << 10]);
    let known = [(0, malloc(0, 16 * MIB)), (0, touched(0, MIB)), (0, realloc(0, 8 * MIB))];
    assert_eq!(touches(&known)[0], MIB, "a smaller size that is larger than what was touched says nothing");
    let calloc = [(0, calloc(0, 16 * MIB)), (0, realloc(0, 8 * MIB))];
    assert_eq!(touches(&calloc)[0], 4096);
}

#[test]
fn what_a_grown_block_was_written_to_beyond_before_lies_in_its_new_part() {
    // 1 of 4 MiB, then 3 of 8: two more are written to, after the fourth.
    let grown = [
        (0, malloc(0, 4 * MIB)),
        (0, touched(0, MIB)),
        (0, realloc(0, 8 * MIB)),
        (0, touched(0, 3 * MIB)),
        (0, free(0)),
    ];
    assert_eq!(touches(&grown), [MIB, 6 * MIB]);
    // Once more: 7 of 16 MiB, of which the realloc keeps 8.
    let again = [&grown[..4], &[(0, realloc(0, 16 * MIB)), (0, touched(0, 7 * MIB)), (0, free(0))]].concat();
    assert_eq!(touches(&again), [MIB, 6 * MIB, 12 * MIB]);
    let unknown = [&grown[..3], &[(0, free(0))]].concat();
    assert_eq!(touches(&unknown), [MIB, 8 * MIB], "nothing is known about the new part");
    let first_unknown =
        [(0, malloc(0, MIB)), (0, realloc(0, 4 * MIB)), (0, touched(0, 2 * MIB)), (0, free(0))];
    assert_eq!(touches(&first_unknown), [MIB, 2 * MIB], "the whole old part was assumed to be written to");
}

#[test]
fn work_in_between_leaves_the_touch_to_the_operation_that_allocated() {
    let worked = [(0, malloc(0, 16 * MIB)), (0, work(0, 4096)), (0, touched(0, MIB)), (0, free(0))];
    assert_eq!(touches(&worked), [MIB]);
    let shrunk = [(0, malloc(0, 128 << 10)), (0, work(0, 64)), (0, realloc(0, 1024))];
    assert_eq!(touches(&shrunk), [1024, 1024]);
    let grown = [
        (0, malloc(0, 4 * MIB)),
        (0, work(0, 64)),
        (0, touched(0, MIB)),
        (0, realloc(0, 8 * MIB)),
        (0, work(0, 4096)),
        (0, work(0, 4096)),
        (0, touched(0, 3 * MIB)),
        (0, free(0)),
    ];
    assert_eq!(touches(&grown), [MIB, 6 * MIB]);
    let by_another = [
        (0, Action::ThreadStart),
        (1, Action::ThreadStart),
        (0, malloc(0, 16 * MIB)),
        (1, work(0, 4096)),
        (0, touched(0, MIB)),
        (0, free(0)),
    ];
    assert_eq!(touches(&by_another), [MIB]);
}

#[test]
fn what_is_said_of_no_object_is_an_error() {
    let Err(error) = compile_events(&[at(0, 0, touched(0, 1))], Order::Strict, narrow()) else {
        panic!("an error");
    };
    assert!(error.to_string().contains("not live"), "{error}");
}
