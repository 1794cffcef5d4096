//! Where a replayed thread waits: for an operation of another thread, or for its next segment.
//!
//! Every wait is for something earlier in the trace's total order, and the earliest thing that is not
//! done waits for nothing: so no waits can form a ring. A waiter looks a few times and then sleeps on a
//! futex of its own; who brings what it waits for wakes it, and nobody else.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, Ordering};

use heaplab_workloads::program::layout::Op;

use super::engine::Engine;
use super::futex;

/// Lowest bit of a word that is waited on: somebody sleeps.
const ASLEEP: u32 = 1;
/// How often a waiter looks before it sleeps.
///
/// PERF: with more threads than cores the one that is waited for is often not running, and every look
/// keeps it from doing so.
const LOOKS: u32 = 40;

/// Sleeps until `ready` is true of the count in `word` (its value without the lowest bit, halved).
/// Returns whether it had to wait.
#[inline]
fn wait_until(word: &AtomicU32, ready: impl Fn(u32) -> bool) -> bool {
    let mut value = word.load(Ordering::Acquire);
    if ready(value >> 1) {
        return false;
    }
    for _ in 0..LOOKS {
        spin_loop();
        value = word.load(Ordering::Acquire);
        if ready(value >> 1) {
            return true;
        }
    }
    loop {
        if ready(value >> 1) {
            return true;
        }
        let asleep = value | ASLEEP;
        match word.compare_exchange(value, asleep, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => {
                futex::wait(word, asleep);
                value = word.load(Ordering::Acquire);
            }
            Err(changed) => value = changed,
        }
    }
}

/// Sets the count in `word` and wakes who sleeps on it. Returns whether somebody did.
///
/// NOTE: all of them. Two threads can sleep on one slot, the second for what the first will do; woken
/// alone, the second would sleep again and the first would never be woken.
#[inline]
fn set(word: &AtomicU32, count: u32) -> bool {
    let asleep = word.swap(count << 1, Ordering::AcqRel) & ASLEEP != 0;
    if asleep {
        futex::wake_all(word);
    }
    asleep
}

/// Waits for the operation on the same object before `op`.
#[inline(never)]
pub(super) fn wait_for_generation(engine: &Engine, op: &Op) {
    let word = &engine.slots.generations[op.slot as usize];
    let wanted = op.generation & (u32::MAX >> 1);
    if wait_until(word, |count| count == wanted) {
        engine.counts.waits.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says that `op` is done to the thread that waits for it, or will.
#[inline(never)]
pub(super) fn publish_generation(engine: &Engine, op: &Op) {
    if set(&engine.slots.generations[op.slot as usize], op.generation.wrapping_add(1)) {
        engine.counts.wakeups.fetch_add(1, Ordering::Relaxed);
    }
}

/// Waits until more than `taken` segments were offered.
pub(super) fn wait_for_offer(engine: &Engine, offered: &AtomicU32, taken: u32) {
    if wait_until(offered, |count| count != taken & (u32::MAX >> 1)) {
        engine.counts.window_stalls.fetch_add(1, Ordering::Relaxed);
    }
}

/// Says that one more segment was offered. Only one thread at a time may call this.
pub(super) fn add_offer(engine: &Engine, offered: &AtomicU32) {
    let count = offered.load(Ordering::Relaxed) >> 1;
    if set(offered, count.wrapping_add(1)) {
        engine.counts.wakeups.fetch_add(1, Ordering::Relaxed);
    }
}
