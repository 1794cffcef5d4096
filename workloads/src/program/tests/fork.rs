//! A process that was forked: what its parent did before, and the fork's own time.

use heaplab_trace::{Action, Mark, Record, ResidentSample};

use super::super::layout::{WINDOW_FORKED, WINDOW_SAMPLED};
use super::{Order, at, compile_records, narrow, trace_blocks};

#[test]
fn what_was_before_a_fork_counts_in_no_figure() {
    let malloc = |time, object| Record::Event(at(time, 0, Action::Malloc { object, size: 100 }));
    let free = |time, object| Record::Event(at(time, 0, Action::Free { object }));
    let forked = Record::Mark(Mark { time_ns: 120, name: Mark::FORKED.into() });
    let records =
        [malloc(100, 0), malloc(100, 1), malloc(100, 2), free(110, 0), forked, free(130, 1), malloc(140, 3)];
    for order in [Order::Strict, Order::Causal] {
        let (info, blocks) = compile_records(records.iter().cloned(), order, narrow()).unwrap();
        let (main, _) = trace_blocks(blocks);
        let told: Vec<_> =
            main.iter().map(|block| (block.head.first_time, block.head.flags & WINDOW_FORKED != 0)).collect();
        assert_eq!(told.iter().filter(|(_, forked)| *forked).collect::<Vec<_>>(), [&(20, true)], "{order}");
        assert_eq!((info.counted_from_ns, info.duration_ns, info.events), (20, 40, 2), "{order}");
        // 200 bytes for 10 ns, and 100 for 10.
        assert_eq!((info.requested_peak_bytes, info.requested_mean_bytes), (200, 150), "{order}");
        let peak = &main[info.peak_window as usize].head;
        assert!(peak.flags & WINDOW_FORKED != 0, "{order}: the fork's own window");
    }
}

#[test]
fn a_fork_has_its_own_time_even_if_the_child_is_idle_at_first_or_does_nothing() {
    let malloc = |time, object| Record::Event(at(time, 0, Action::Malloc { object, size: 100 }));
    let forked = Record::Mark(Mark { time_ns: 1_120, name: Mark::FORKED.into() });
    let resident = |time_ns| Record::Resident(ResidentSample { time_ns, resident_bytes: 4096 });
    let gap = narrow().gap_ns;
    let records = [malloc(1_000, 0), forked, resident(1_130), resident(1_150), malloc(1_160 + gap, 1)];
    for count in [records.len(), 4, 2] {
        for order in [Order::Strict, Order::Causal] {
            let records = records.iter().take(count).cloned();
            let (info, blocks) = compile_records(records, order, narrow()).unwrap();
            let (main, _) = trace_blocks(blocks);
            let times: Vec<_> = main.iter().map(|block| block.head.first_time).collect();
            assert_eq!(times, [&[0, 120][..], &[160 + gap][..count / 5]].concat(), "{order}, {count}");
            assert!(main[1].head.flags & WINDOW_FORKED != 0, "{order}, {count}");
            assert_eq!(info.counted_from_ns, 120, "{order}, {count}");
            // The child's first sample before its first event: nothing has changed since the fork.
            let sampled = order == Order::Strict && count > 2;
            assert_eq!(main[1].head.flags & WINDOW_SAMPLED != 0, sampled, "{order}, {count}");
            assert_eq!(main[1].head.last_time, if sampled { 130 } else { 120 }, "{order}, {count}");
        }
    }
}
