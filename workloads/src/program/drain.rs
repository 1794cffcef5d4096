//! What a program does behind the trace's last event: it frees what is left, and then makes small
//! calls for a minute of trace time, so that memory after the load can be compared.
//!
//! Every object is freed by the thread that allocated or reallocated it last, if that still lives,
//! else by the initial thread. The nudge is 600 rounds, 100 ms apart, each by the next of the living
//! threads: 100 pairs of malloc and free, ten blocks at a time, of 16 B to 32 KB. Without any call no
//! allocator returns a page: they look at the clock only when they are called.

use heaplab_trace::ThreadId;

use super::block::Block;
use super::compile::{Compiler, Fault};
use super::layout::{Code, Op, WINDOW_BARRIER, WINDOW_DRAIN, WINDOW_NUDGE, touch_units};

/// Rounds of the nudge.
pub const NUDGE_ROUNDS: u64 = 600;
/// Trace time between two rounds.
pub const NUDGE_INTERVAL_NS: u64 = 100_000_000;
/// Pairs of malloc and free in a round.
const NUDGE_PAIRS: u64 = 100;
/// Their sizes, in turn.
const NUDGE_SIZES: [u64; 10] = [64, 100, 200, 400, 800, 1_500, 3_000, 6_000, 10_000, 16_000];
/// Operations in one window of the drain.
const DRAIN_WINDOW: usize = 5_000;

impl Compiler {
    /// Writes the blocks of drain and nudge. Their times are ns since the trace's end.
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
        // The nudge's slot may be any, because no object is left; there must only be one.
        if self.slots.count() == 0 {
            self.slots.take(&mut Vec::new());
        }
        for round in 0..NUDGE_ROUNDS {
            let thread = alive[(round % alive.len() as u64) as usize];
            let time = (round + 1) * NUDGE_INTERVAL_NS;
            self.write_extra(WINDOW_NUDGE, time, nudge_ops(thread))?;
        }
        Ok(())
    }

    fn write_extra(&mut self, kind: u32, time: u64, ops: Vec<(ThreadId, Op)>) -> Result<(), Fault> {
        let mut block = Block::new(0, time, kind | WINDOW_BARRIER);
        for (thread, op) in ops {
            match block.segments.last_mut().filter(|segment| segment.thread == thread) {
                Some(segment) => segment.ops.push(op),
                None => block.segments.push(super::block::SegmentDraft {
                    thread,
                    ops: vec![op],
                    ..Default::default()
                }),
            }
        }
        Ok(self.writer.write(&block)?)
    }
}

/// One round: pairs of every size in turn.
fn nudge_ops(thread: ThreadId) -> Vec<(ThreadId, Op)> {
    let mut ops = Vec::with_capacity(2 * NUDGE_PAIRS as usize);
    for pair in 0..NUDGE_PAIRS as usize {
        let size = NUDGE_SIZES[pair % NUDGE_SIZES.len()];
        ops.push((thread, Op { touch: touch_units(size), ..Op::new(Code::Malloc, 0, size) }));
        ops.push((thread, Op::new(Code::Free, 0, size)));
    }
    ops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_a_hundred_pairs_of_every_size() {
        let ops = nudge_ops(3);
        assert_eq!(ops.len(), 200);
        for pair in ops.chunks(2) {
            assert_eq!((pair[0].1.code, pair[1].1.code), (Code::Malloc as u8, Code::Free as u8));
            assert_eq!(pair[0].1.size, pair[1].1.size);
        }
        for size in NUDGE_SIZES {
            assert_eq!(ops.iter().filter(|(_, op)| op.size == size).count(), 20);
        }
    }
}
