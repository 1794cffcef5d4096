//! A count that one thread sets and others wait for: the word that every wait of a replay is on.
//!
//! The thread that sets it wakes all that sleep on it, and no thread sleeps on a count that was already set.

use super::sync::{self, AtomicU32, Ordering, POLLS, spin_loop};

/// Lowest bit of a word that is waited on: a thread sleeps on it.
const ASLEEP: u32 = 1;
/// Whether `ready` is true of the count in `word`: its value without the lowest bit, halved.
#[inline]
pub(super) fn is_ready(word: &AtomicU32, ready: impl Fn(u32) -> bool) -> bool {
    ready(word.load(Ordering::Acquire) >> 1)
}

/// Polls a few times, and then sleeps until `ready` is true of the count in `word`. `about_to_sleep` is called once
/// before it first sleeps.
pub(super) fn wait_until(word: &AtomicU32, ready: impl Fn(u32) -> bool, mut about_to_sleep: impl FnMut()) {
    let mut value = 0;
    for _ in 0..POLLS {
        spin_loop();
        value = word.load(Ordering::Acquire);
        if ready(value >> 1) {
            return;
        }
    }
    about_to_sleep();
    loop {
        if ready(value >> 1) {
            return;
        }
        let asleep = value | ASLEEP;
        match word.compare_exchange(value, asleep, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => {
                sync::wait(word, asleep);
                value = word.load(Ordering::Acquire);
            }
            Err(changed) => value = changed,
        }
    }
}

/// Sets the count in `word`. Returns whether a thread sleeps on it, which the caller must wake.
#[inline]
pub(super) fn set(word: &AtomicU32, count: u32) -> bool {
    word.swap(count << 1, Ordering::AcqRel) & ASLEEP != 0
}
