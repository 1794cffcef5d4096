//! loom's atomics, which can be made as std's can (in a constant, and by default), and the kernel's futex
//! under loom: a queue of the threads that sleep on each word. Like the kernel, it checks the word and queues
//! the thread in one step.
//!
//! NOTE: loom's own atomic is made at the first use, which must happen before it is shared.
//!
//! NOTE: loom decides which orders to try by the last access to each atomic alone. A thread that loads and
//! then stores hides an earlier load by another thread: the store is never tried ahead of that load. So each
//! access first adds zero to a companion that nobody reads: then every two accesses to one atomic are tried
//! in both orders. It is relaxed, and orders nothing else.

use std::cell::OnceCell;
use std::sync::Arc as Kept;

pub(crate) use loom::sync::atomic::Ordering;
use loom::sync::{Condvar, Mutex};

/// A waiter polls once before it sleeps: more polls add nothing.
pub(crate) const POLLS: u32 = 1;

pub(crate) fn spin_loop() {}

macro_rules! atomic {
    ($name:ident, $of:ty) => {
        #[derive(Default)]
        pub struct $name {
            first: $of,
            inner: OnceCell<(loom::sync::atomic::$name, loom::sync::atomic::AtomicUsize)>,
        }

        // SAFETY: loom runs one thread at a time, and the cell is filled before it is shared.
        unsafe impl Sync for $name {}
        // SAFETY: as above.
        unsafe impl Send for $name {}

        #[allow(dead_code)] // not every file uses every operation
        impl $name {
            pub(crate) const fn new(first: $of) -> $name {
                $name { first, inner: OnceCell::new() }
            }

            fn inner(&self) -> &loom::sync::atomic::$name {
                let (inner, companion) = self.inner.get_or_init(|| {
                    (loom::sync::atomic::$name::new(self.first), loom::sync::atomic::AtomicUsize::new(0))
                });
                companion.fetch_add(0, Ordering::Relaxed);
                inner
            }

            pub(crate) fn load(&self, order: Ordering) -> $of {
                self.inner().load(order)
            }

            pub(crate) fn store(&self, value: $of, order: Ordering) {
                self.inner().store(value, order);
            }

            pub(crate) fn swap(&self, value: $of, order: Ordering) -> $of {
                self.inner().swap(value, order)
            }

            pub(crate) fn fetch_add(&self, value: $of, order: Ordering) -> $of {
                self.inner().fetch_add(value, order)
            }

            pub(crate) fn fetch_sub(&self, value: $of, order: Ordering) -> $of {
                self.inner().fetch_sub(value, order)
            }

            pub(crate) fn fetch_max(&self, value: $of, order: Ordering) -> $of {
                self.inner().fetch_max(value, order)
            }

            pub(crate) fn fetch_or(&self, value: $of, order: Ordering) -> $of {
                self.inner().fetch_or(value, order)
            }

            pub(crate) fn compare_exchange_weak(
                &self,
                current: $of,
                new: $of,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$of, $of> {
                self.inner().compare_exchange_weak(current, new, success, failure)
            }

            pub(crate) fn compare_exchange(
                &self,
                current: $of,
                new: $of,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$of, $of> {
                self.inner().compare_exchange(current, new, success, failure)
            }
        }
    };
}

atomic!(AtomicU32, u32);
atomic!(AtomicU64, u64);

struct Sleeper {
    word: usize,
    awake: Kept<(Mutex<bool>, Condvar)>,
}

loom::lazy_static! {
    static ref QUEUE: Mutex<Vec<Sleeper>> = Mutex::new(Vec::new());
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word).addr()
}

/// Sleeps while `word` holds `value`.
pub(crate) fn wait(word: &AtomicU32, value: u32) {
    let awake = Kept::new((Mutex::new(false), Condvar::new()));
    {
        let mut queue = QUEUE.lock().expect("no thread panics");
        if word.load(Ordering::Acquire) != value {
            return;
        }
        queue.push(Sleeper { word: address(word), awake: Kept::clone(&awake) });
    }
    let mut is_awake = awake.0.lock().expect("no thread panics");
    while !*is_awake {
        is_awake = awake.1.wait(is_awake).expect("no thread panics");
    }
}

/// Wakes one thread that sleeps on `word`.
pub(crate) fn wake_one(word: &AtomicU32) {
    wake(word, 1);
}

/// Wakes every thread that sleeps on `word`.
#[allow(dead_code)] // the lock wakes one
pub(crate) fn wake_all(word: &AtomicU32) {
    wake(word, usize::MAX);
}

fn wake(word: &AtomicU32, threads: usize) {
    let mut queue = QUEUE.lock().expect("no thread panics");
    let mut left = threads;
    queue.retain(|sleeper| {
        if sleeper.word != address(word) || left == 0 {
            return true;
        }
        left -= 1;
        *sleeper.awake.0.lock().expect("no thread panics") = true;
        sleeper.awake.1.notify_one();
        false
    });
}
