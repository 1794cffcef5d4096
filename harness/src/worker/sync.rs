//! The building blocks of the lock-free parts of a replay: atomics, and sleeping and waking with the kernel's futex.
//! A model checker replaces them by its own (`models/`).
//!
//! None of std's waiting is used in a worker: std's time-outs read the clock that the worker supplies.

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How often a waiter polls before it sleeps.
///
/// PERF: with more threads than cores, the awaited thread is often not running, and every poll keeps it from
/// running.
pub(super) const POLLS: u32 = 40;

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
