//! Where a replayed thread waits: for an operation of another thread, or for its next segment.
//!
//! Every wait is for something earlier in the trace's total order, and the earliest thing that is not done
//! waits for nothing, so waits cannot form a cycle. A waiter polls a few times and then sleeps on its own
//! futex; only the thread that completes what it waits for wakes it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::clock;
use super::state::{Local, State};
use super::sync;
use super::turn::{is_ready, set, wait_until};

/// Wakes the threads that sleep on `word`.
///
/// NOTE: all of them. Two threads can sleep on one slot, the second for what the first will do; woken
/// alone, the second would sleep again and the first would never be woken.
fn wake(state: &State, word: &AtomicU32) {
    sync::wake_all(word);
    state.counts.wakeups.fetch_add(1, Ordering::Relaxed);
}

/// Waits for the operation before the one that has `generation`, on the object in `slot`.
#[inline(always)]
pub(super) fn wait_for_generation(state: &State, slot: u32, generation: u32, local: &mut Local) {
    let word = &state.slots.generations[slot as usize];
    let wanted = generation & (u32::MAX >> 1);
    if !is_ready(word, |count| count == wanted) {
        wait_in_turn(state, word, wanted, local);
    }
}

#[cold]
#[inline(never)]
fn wait_in_turn(state: &State, word: &AtomicU32, wanted: u32, local: &mut Local) {
    local.stopwatch.wait(|measures| {
        let mut asleep_ns = None;
        wait_until(word, |count| count == wanted, || asleep_ns = measures.then(clock::real_ns));
        asleep_ns
    });
    state.counts.waits.fetch_add(1, Ordering::Relaxed);
}

/// Publishes that the operation that has `generation` on the object in `slot` is done, for the thread that waits for
/// it, or will.
#[inline(always)]
pub(super) fn publish_generation(state: &State, slot: u32, generation: u32, local: &mut Local) {
    let word = &state.slots.generations[slot as usize];
    if set(word, generation.wrapping_add(1)) {
        wake_in_turn(state, word, local);
    }
}

#[cold]
#[inline(never)]
fn wake_in_turn(state: &State, word: &AtomicU32, local: &mut Local) {
    local.stopwatch.leave_out(|| wake(state, word));
}

/// Waits until more than `taken` segments have been offered.
pub(super) fn wait_for_offer(state: &State, offered: &AtomicU32, taken: u32) {
    let ready = |count: u32| count != taken & (u32::MAX >> 1);
    if !is_ready(offered, ready) {
        wait_until(offered, ready, || {});
        state.counts.window_stalls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Publishes that one more segment has been offered. Only one thread at a time may call this.
pub(super) fn add_offer(state: &State, offered: &AtomicU32) {
    let count = offered.load(Ordering::Relaxed) >> 1;
    if set(offered, count.wrapping_add(1)) {
        wake(state, offered);
    }
}
