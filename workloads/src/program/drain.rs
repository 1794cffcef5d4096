//! What a program does after the trace's last event: it frees what is left, and then makes small
//! calls for a minute of trace time, so that memory after the load can be compared.
//!
//! Every object is freed by the thread that last allocated, reallocated or worked on it, if that is still
//! alive, or else by the initial thread. The nudge is 600 rounds, 100 ms apart, each 100 mallocs of 64 B to 16 KB, 150 of
//! 600 B, and their frees: without any call no allocator returns a page, because they read the clock only on
//! their slow paths.
//!
//! A round must reach those paths whatever the load left in the caches, or chance decides what is given back.
//! jemalloc reads the clock at about one in 1,000 of its slow operations. One live block at a time was tried
//! first, but its thread cache served that without any slow operation. The 100 blocks of ten sizes alone made
//! it read the clock 0 to 6 times in a minute, and the same recording settled at 1.2 MiB or at 18.9. The 150
//! blocks are more than a thread cache holds of their size (64), and more than fit on one of mimalloc's pages
//! (64 KiB): each round flushes the former, and empties and takes the latter. So jemalloc reads the clock
//! about once a second.
//!
//! The initial thread makes all these calls, as the event loop of an idle server does while its pool sleeps;
//! when each thread made them in turn, they filled the caches of idle threads and added up to 0.4 MB per
//! thread.

use heaplab_trace::ThreadId;

use super::compiler::Compiler;
use super::draft::{SegmentDraft, WindowDraft};
use super::error::Fault;
use super::layout::{WINDOW_BARRIER, WINDOW_DRAIN, WINDOW_NUDGE};
use super::operation::{Code, Op, touch_units};

/// Rounds of the nudge.
pub const NUDGE_ROUNDS: u64 = 600;
/// Trace time between two rounds.
pub const NUDGE_INTERVAL_NS: u64 = 100_000_000;
/// Pairs of malloc and free in a round: first those of many sizes, then those of one size.
const NUDGE_PAIRS: u32 = NUDGE_MIXED + NUDGE_SAME;
/// Blocks of many sizes in a round.
const NUDGE_MIXED: u32 = 100;
/// Blocks of one size in a round.
const NUDGE_SAME: u32 = 150;
/// That size.
const NUDGE_SAME_BYTES: u64 = 600;
/// The many sizes, used in turn.
const NUDGE_SIZES: [u64; 10] = [64, 100, 200, 400, 800, 1_500, 3_000, 6_000, 10_000, 16_000];
/// Operations in one window of the drain.
const DRAIN_WINDOW: usize = 5_000;

impl Compiler<'_> {
    /// Writes the windows of drain and nudge. Their times are in ns since the trace's end.
    pub(super) fn write_drain(&mut self) -> Result<(), Fault> {
        let alive = self.threads_at_end();
        let owner = |thread: ThreadId| if alive.binary_search(&thread).is_ok() { thread } else { 0 };
        let mut left: Vec<(ThreadId, u64, u32, u64)> = self
            .live
            .drain()
            .map(|(object, live)| (owner(live.thread), object, live.slot, live.size))
            .collect();
        left.sort_unstable();
        for window in left.chunks(DRAIN_WINDOW) {
            let ops =
                window.iter().map(|(thread, _, slot, size)| (*thread, Op::new(Code::Free, *slot, *size)));
            self.write_extra(WINDOW_DRAIN, 0, ops.collect())?;
        }
        // The nudge may use any slots, because no object is left; there must only be enough of them.
        while self.slots.count() < NUDGE_PAIRS && self.slots.take(&mut Vec::new()).is_some() {}
        for round in 0..NUDGE_ROUNDS {
            let time = (round + 1) * NUDGE_INTERVAL_NS;
            self.write_extra(WINDOW_NUDGE, time, nudge_ops())?;
        }
        Ok(())
    }

    fn write_extra(&mut self, kind: u32, time: u64, ops: Vec<(ThreadId, Op)>) -> Result<(), Fault> {
        let mut drafted = WindowDraft::new(0, time, kind | WINDOW_BARRIER);
        for (thread, op) in ops {
            match drafted.segments.last_mut().filter(|segment| segment.thread == thread) {
                Some(segment) => segment.ops.push(op),
                None => drafted.segments.push(SegmentDraft { thread, ops: vec![op], ..Default::default() }),
            }
        }
        Ok(self.writer.write(&drafted)?)
    }
}

/// One round: blocks of every size in turn, then those of one size, all live at once and freed in the order
/// of allocation.
fn nudge_ops() -> Vec<(ThreadId, Op)> {
    let size = |slot: u32| match slot < NUDGE_MIXED {
        true => NUDGE_SIZES[slot as usize % NUDGE_SIZES.len()],
        false => NUDGE_SAME_BYTES,
    };
    let malloc = |slot| Op { touch: touch_units(size(slot)), ..Op::new(Code::Malloc, slot, size(slot)) };
    let free = |slot| Op::new(Code::Free, slot, size(slot));
    (0..NUDGE_PAIRS).map(malloc).chain((0..NUDGE_PAIRS).map(free)).map(|op| (0, op)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_ten_pairs_of_every_size_and_more_of_one_than_a_cache_holds() {
        let ops = nudge_ops();
        assert_eq!(ops.len(), 500);
        let (mallocs, frees) = ops.split_at(250);
        for (malloc, free) in mallocs.iter().zip(frees) {
            assert_eq!((malloc.1.code, free.1.code), (Code::Malloc, Code::Free));
            assert_eq!((malloc.1.size, malloc.1.slot), (free.1.size, free.1.slot));
        }
        for size in NUDGE_SIZES {
            assert_eq!(mallocs.iter().filter(|(_, op)| op.size == size).count(), 10);
        }
        assert_eq!(mallocs.iter().filter(|(_, op)| op.size == 600).count(), 150);
    }
}
