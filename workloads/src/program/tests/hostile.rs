//! Programs that no compiler wrote: an error that says what is wrong, whatever the bytes.

use std::io::Write;

use super::super::group::{GROUP, encode_group};
use super::super::layout::{FIRST_WINDOW, WINDOW_FORKED};
use super::super::operation::touch_units;
use super::*;

/// A program of these windows, and what it claims to be.
struct Made {
    info: ProgramInfo,
    bytes: Vec<u8>,
}

/// A small program of two threads that meet, by the compiler.
fn compiled(order: Order) -> Made {
    let malloc = |object| Action::Malloc { object, size: 100 + object };
    let events = [
        at(0, 0, malloc(0)),
        at(1, 1, malloc(1)),
        at(2, 1, Action::Realloc { object: 0, size: 9_000 }),
        at(3, 0, Action::Free { object: 1 }),
        at(4, 1, Action::Work { object: 0, bytes: 50, repeats: 2 }),
        at(5, 0, malloc(2)),
        at(6, 1, Action::ThreadEnd),
        at(7, 0, Action::Free { object: 0 }),
    ];
    let file = ProgramFile::create_in(&std::env::temp_dir()).unwrap();
    let header = Header { has_times: true, ..Header::default() };
    let mut stream = Records { header, records: events.iter().copied().map(Record::Event) };
    let info = compile(&mut stream, &file, order, narrow(), &mut |_| {}).unwrap();
    let mut bytes = std::fs::read(file.path()).unwrap();
    // Without the nudge, which is most of a small program.
    let mut at = FIRST_WINDOW as usize;
    while let Some(head) = Window::from_bytes(&bytes[at..])
        && head.flags & WINDOW_NUDGE == 0
    {
        at += head.bytes as usize;
    }
    bytes.truncate(at);
    bytes.extend([0; 8]);
    Made { info, bytes }
}

/// The error for the program; none if it is valid.
fn complaint(made: &Made) -> Option<String> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&made.bytes).unwrap();
    let verified = ProgramReader::open(file).and_then(|mut reader| verify(&mut reader, &made.info));
    verified.err().map(|error| error.to_string())
}

/// The first window with operations of two threads, replaced.
fn with_window(order: Order, segments: &[(u32, bool, &[Op])]) -> Made {
    let mut made = compiled(order);
    let first = FIRST_WINDOW as usize;
    let old = Window::from_bytes(&made.bytes[first..]).unwrap();
    let mut rows = Vec::new();
    let mut count = 0;
    for (thread, ends_thread, ops) in segments {
        let (mut bytes, mut requested, mut peak) = (Vec::new(), 0i64, 0i64);
        for op in *ops {
            let (taken, given) = op.requested_change();
            requested += given as i64 - taken as i64;
            peak = peak.max(requested);
            op.encode(&mut bytes);
        }
        let segment = Segment {
            thread: *thread,
            ends_thread: *ends_thread,
            bytes: bytes.len() as u64,
            requested_change: requested,
            requested_peak: peak as u64,
        };
        segment.encode(&mut rows);
        rows.extend(bytes);
        count += ops.len() as u32;
    }
    let bytes = (HEAD_BYTES + rows.len()) as u64;
    let head = Window { bytes, segments: segments.len() as u32, ops: count, ..old };
    let mut window = head.to_bytes().to_vec();
    window.extend(rows);
    // The windows after it, drain and all, would not find what they free.
    made.bytes.truncate(first);
    made.bytes.extend(window);
    made.bytes.extend([0; 8]);
    made.info.windows = 1;
    made
}

fn malloc(slot: u32, size: u64) -> Op {
    Op { touch: touch_units(size), ..Op::new(Code::Malloc, slot, size) }
}

fn free(slot: u32, size: u64) -> Op {
    Op::new(Code::Free, slot, size)
}

#[test]
fn a_window_that_is_right_passes() {
    for order in [Order::Causal, Order::Strict] {
        assert_eq!(complaint(&compiled(order)), None);
        let right = with_window(order, &[(0, false, &[malloc(0, 10), free(0, 10)])]);
        assert_eq!(complaint(&right), None, "{order}");
    }
}

#[test]
fn a_group_is_verified_as_its_operations_are() {
    let group = |ops: [Op; 4]| {
        let mut made = with_window(Order::Causal, &[(0, false, &ops)]);
        let first = FIRST_WINDOW as usize;
        let head = Window::from_bytes(&made.bytes[first..]).unwrap();
        let mut bytes = Vec::new();
        assert!(encode_group(&ops, &mut bytes));
        let (mut segment, mut rows) =
            (Segment::decode(&made.bytes[first..], HEAD_BYTES).unwrap().0, Vec::new());
        segment.bytes = bytes.len() as u64;
        segment.encode(&mut rows);
        rows.extend(bytes);
        let mut window = Window { bytes: (HEAD_BYTES + rows.len()) as u64, ..head }.to_bytes().to_vec();
        window.extend(rows);
        made.bytes.truncate(first);
        made.bytes.extend(window);
        made.bytes.extend([0; 8]);
        made
    };
    let right = [malloc(0, 10), malloc(1, 20), free(0, 10), free(1, 20)];
    assert_eq!(complaint(&group(right)), None);
    let twice = complaint(&group([malloc(0, 10), malloc(1, 20), free(0, 10), free(0, 10)]));
    assert!(twice.unwrap().contains("finds no object"));
    let outside = complaint(&group([malloc(0, 10), malloc(1 << 23, 20), free(0, 10), free(1 << 23, 20)]));
    assert!(outside.unwrap().contains("not in the table"));
    // Its pattern says that the last free is a malloc: it reads beyond the segment.
    let mut longer = group(right);
    let at = longer.bytes.iter().position(|byte| *byte == GROUP | 0b0011).unwrap();
    longer.bytes[at] = GROUP | 0b1011;
    assert!(complaint(&longer).unwrap().contains("a group of operations is longer than its segment"));
}

#[test]
fn what_would_go_wrong_in_a_replay_is_named() {
    let slots = compiled(Order::Causal).info.slots;
    let waits = Op { flags: OP_WAITS, generation: 7, ..free(0, 10) };
    let realloc = Op { old_size: 11, ..Op::new(Code::Realloc, 0, 20) };
    let work = Op { old_size: 1, ..Op::new(Code::Work, 0, 11) };
    let one = |ops: &[Op]| with_window(Order::Causal, &[(0, false, ops)]);
    let two =
        |first: &[Op], second: &[Op]| with_window(Order::Causal, &[(0, false, first), (1, false, second)]);
    for (made, word) in [
        (one(&[malloc(0, 10), free(0, 10), free(0, 10)]), "no object in its slot"),
        (one(&[malloc(0, 10), malloc(0, 10)]), "an object in its slot"),
        (one(&[malloc(slots, 10)]), "slot is not in the table"),
        (one(&[malloc(0, 10), realloc]), "another size before"),
        (one(&[malloc(0, 10), work]), "beyond its object"),
        (one(&[malloc(0, 10), waits]), "waits for another"),
        (one(&[Op { flags: OP_WAITS, ..Op::new(Code::FreeNull, 0, 0) }]), "without an object waits"),
        (two(&[malloc(0, 10)], &[free(0, 10)]), "neither waits"),
        (with_window(Order::Causal, &[(9, false, &[malloc(0, 10)])]), "thread is not in the table"),
        (
            with_window(Order::Causal, &[(1, true, &[malloc(0, 10)]), (1, false, &[free(0, 10)])]),
            "after its end",
        ),
        (
            with_window(Order::Causal, &[(1, false, &[malloc(0, 10)]), (1, false, &[free(0, 10)])]),
            "two segments",
        ),
        (with_window(Order::Strict, &[(0, false, &[malloc(0, 10), waits])]), "waits in strict order"),
        (with_window(Order::Causal, &[]), "no segment"),
    ] {
        let complaint = complaint(&made).unwrap_or_else(|| panic!("{word}: nothing is wrong"));
        assert!(complaint.contains(word), "{complaint} instead of {word}");
    }
}

/// A program of windows that allocate and free a block, with these flags.
fn with_flags(order: Order, flags: &[u32]) -> Made {
    let mut made = with_window(order, &[(0, false, &[malloc(0, 10), free(0, 10)])]);
    let one = made.bytes.split_off(FIRST_WINDOW as usize);
    let (head, rest) = (Window::from_bytes(&one).unwrap(), &one[HEAD_BYTES..one.len() - 8]);
    for flags in flags {
        made.bytes.extend(Window { flags: *flags, ..head }.to_bytes());
        made.bytes.extend(rest);
    }
    made.bytes.extend([0; 8]);
    let of_trace = flags.iter().filter(|flags| *flags & (WINDOW_DRAIN | WINDOW_NUDGE) == 0);
    made.info.windows = of_trace.count() as u64;
    made
}

#[test]
fn windows_are_of_the_trace_and_then_of_the_drain_and_then_of_the_nudge() {
    const DRAIN: u32 = WINDOW_DRAIN | WINDOW_BARRIER;
    const NUDGE: u32 = WINDOW_NUDGE | WINDOW_BARRIER;
    for order in [Order::Causal, Order::Strict] {
        let fork = WINDOW_FORKED | WINDOW_BARRIER;
        for right in [&[0, fork, 0, DRAIN, DRAIN, NUDGE, NUDGE][..], &[0, NUDGE], &[fork], &[0, DRAIN]] {
            assert_eq!(complaint(&with_flags(order, right)), None, "{order}: {right:?}");
        }
        for (flags, word) in [
            (&[0, WINDOW_FORKED, 0][..], "a fork does not wait"),
            (&[WINDOW_FORKED], "a fork does not wait"),
            (&[0, DRAIN | WINDOW_FORKED], "a fork comes after the end"),
            (&[0, DRAIN, NUDGE | WINDOW_FORKED], "a fork comes after the end"),
            (&[0, DRAIN | NUDGE], "to the drain and to the nudge"),
            (&[0, DRAIN | NUDGE | WINDOW_FORKED], "to the drain and to the nudge"),
            (&[0, NUDGE, DRAIN], "the drain comes after the nudge"),
            (&[0, DRAIN, 0], "the trace comes after its end"),
            (&[0, NUDGE, 0], "the trace comes after its end"),
            (&[0, NUDGE, fork], "the trace comes after its end"),
        ] {
            let complaint = complaint(&with_flags(order, flags)).unwrap_or_default();
            assert!(complaint.contains(word), "{order}: {complaint:?} instead of {word:?}");
        }
    }
}

#[test]
fn an_unknown_code_is_no_free_of_null() {
    let mut made = with_window(Order::Causal, &[(0, false, &[Op::new(Code::FreeNull, 0, 0)])]);
    let at = made.bytes.len() - 8 - 4;
    assert_eq!(made.bytes[at], Code::FreeNull as u8);
    for code in 10..16 {
        made.bytes[at] = code;
        assert!(complaint(&made).is_some_and(|what| what.contains("unknown code")), "{code}");
    }
}

proptest! {
    #[test]
    fn a_program_that_is_cut_off_is_an_error(cut in any::<prop::sample::Index>()) {
        let mut made = compiled(Order::Causal);
        made.bytes.truncate(cut.index(made.bytes.len()));
        prop_assert!(complaint(&made).is_some());
    }

    #[test]
    fn any_byte_may_be_any_other(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        strict in any::<bool>(),
    ) {
        let mut made = compiled(if strict { Order::Strict } else { Order::Causal });
        for (place, byte) in changes {
            let at = place.index(made.bytes.len());
            made.bytes[at] = byte;
        }
        // It is valid or it is an error: what matters is that there is no panic.
        let _ = complaint(&made);
    }
}
