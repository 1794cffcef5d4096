//! What the lock-free parts of a replay are made of: atomics, and sleeping and waking by the kernel's futex. A model
//! checker puts its own in their place (`models/`).
//!
//! None of std's waiting is used in a worker: std's time-outs read the clock that the worker supplies.

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How often a waiter looks before it sleeps.
///
/// PERF: with more threads than cores the one that is waited for is often not running, and every look
/// keeps it from doing so.
pub(super) const LOOKS: u32 = 40;

/// Sleeps while `word` holds `value`; returns on a wake-up, and sometimes without one.
pub(super) fn wait(word: &AtomicU32, value: u32) {
    // SAFETY: the word lives as long as the borrow; without a time-out the call takes no other pointer.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            value,
            std::ptr::null::<libc::timespec>(),
        );
    }
}

/// Wakes one thread that sleeps on `word`.
pub(super) fn wake_one(word: &AtomicU32) {
    wake(word, 1);
}

/// Wakes every thread that sleeps on `word`.
pub(super) fn wake_all(word: &AtomicU32) {
    wake(word, i32::MAX);
}

fn wake(word: &AtomicU32, threads: i32) {
    // SAFETY: the kernel uses the address as a name only.
    unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, threads);
    }
}
