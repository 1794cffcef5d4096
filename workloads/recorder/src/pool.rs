//! The states of a process's threads: taken when a thread starts, reused when its owner is gone.
//!
//! A thread's state outlives the thread by a little, because destructors that run after ours still free. So
//! the state of an exiting thread waits in a queue, and the next thread takes the oldest one whose owner the
//! kernel no longer knows, with the rest of its chunk: a program of a thousand short threads stays small.

use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use crate::system;
use crate::thread::Thread;

/// Bytes of the first mapping for states: for 8,192 threads, which use 128 each.
const FIRST_BYTES: usize = 1 << 20;
/// Bytes of later mappings, and of the first if the process may use only few addresses.
const MORE_BYTES: usize = 64 << 10;

/// The states that were mapped first, and their bytes: a forked child finds them wiped, and reuses them.
static FIRST: AtomicUsize = AtomicUsize::new(0);
static FIRST_LENGTH: AtomicUsize = AtomicUsize::new(0);

/// The states. All zeros is an empty, unlocked pool, with which a forked child starts.
pub(crate) struct Pool {
    lock: AtomicU32,
    lists: UnsafeCell<Lists>,
}

struct Lists {
    /// States that were never used.
    fresh: *const Thread,
    fresh_end: *const Thread,
    /// States of threads that announced their end, the oldest first, and the last of them.
    ended: *const Thread,
    last_ended: *const Thread,
    /// States that were taken for a thread that was never created.
    unused: *const Thread,
}

/// Maps memory that a fork wipes.
fn map(bytes: usize) -> Result<usize, i32> {
    let place = system::map_private(bytes)?;
    system::advise(place, bytes, libc::MADV_WIPEONFORK)?;
    Ok(place)
}

impl Pool {
    /// Maps the first states, while that is still possible.
    pub(crate) fn prepare(&self) -> Result<(), i32> {
        let (place, bytes) = match map(FIRST_BYTES) {
            Ok(place) => (place, FIRST_BYTES),
            Err(_) => (map(MORE_BYTES)?, MORE_BYTES),
        };
        FIRST_LENGTH.store(bytes, Ordering::Relaxed);
        FIRST.store(place, Ordering::Release);
        Ok(())
    }

    /// A state for a new thread; none if the kernel refuses memory. The caller's own state is BUSY, so that a
    /// signal handler cannot re-enter this function.
    pub(crate) fn take(&self, process: u32) -> Option<&'static Thread> {
        let found = self.with_lists(|lists| {
            lists.take_unused().or_else(|| lists.take_ended(process)).or_else(|| lists.take_fresh())
        });
        // SAFETY: what the lists hold are states in memory that is never unmapped.
        let thread = unsafe { found?.as_ref()? };
        thread.renew();
        Some(thread)
    }

    /// The thread of this state will exit soon. The state of a process's first thread is not reused: the kernel knows
    /// that thread for as long as the process has any other.
    pub(crate) fn give(&self, thread: &'static Thread, process: u32) {
        thread.number.set(system::thread());
        if thread.number.get() == process {
            return;
        }
        thread.next.set(ptr::null());
        self.with_lists(|lists| {
            lists.append_ended(thread);
        });
    }

    /// The thread of this state was never created.
    pub(crate) fn give_unused(&self, thread: &'static Thread) {
        self.with_lists(|lists| {
            thread.next.set(lists.unused);
            lists.unused = thread;
        });
    }

    fn with_lists<T>(&self, work: impl FnOnce(&mut Lists) -> T) -> T {
        while self.lock.compare_exchange_weak(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
            system::give_way();
        }
        // SAFETY: the lock is held, and `work` is one of this module's closures, which do not come back.
        let result = work(unsafe { &mut *self.lists.get() });
        self.lock.store(0, Ordering::Release);
        result
    }
}

impl Lists {
    fn take_unused(&mut self) -> Option<*const Thread> {
        // SAFETY: what the lists hold are states in memory that is never unmapped.
        let first = unsafe { self.unused.as_ref()? };
        self.unused = first.next.get();
        Some(first)
    }

    /// The oldest state whose owner is gone. One that takes long to end, in its late destructors, goes to the end of
    /// the queue: those after it do not wait for it.
    fn take_ended(&mut self, process: u32) -> Option<*const Thread> {
        for _ in 0..2 {
            // SAFETY: as above.
            let first = unsafe { self.ended.as_ref()? };
            self.ended = first.next.get();
            if system::has_ended(process, first.number.get()) {
                return Some(first);
            }
            first.next.set(ptr::null());
            self.append_ended(first);
        }
        None
    }

    fn append_ended(&mut self, thread: &Thread) {
        // SAFETY: as above.
        match unsafe { self.last_ended.as_ref() } {
            Some(last) if !self.ended.is_null() => last.next.set(thread),
            _ => self.ended = thread,
        }
        self.last_ended = thread;
    }

    fn take_fresh(&mut self) -> Option<*const Thread> {
        if self.fresh == self.fresh_end {
            // The first states are taken once in each process: afterwards this is no longer NULL.
            let first = FIRST.load(Ordering::Acquire);
            let (place, bytes) = if self.fresh.is_null() && first != 0 {
                (first, FIRST_LENGTH.load(Ordering::Relaxed))
            } else {
                (map(MORE_BYTES).ok()?, MORE_BYTES)
            };
            self.fresh = place as *const Thread;
            self.fresh_end = self.fresh.wrapping_add(bytes / size_of::<Thread>());
        }
        let first = self.fresh;
        self.fresh = first.wrapping_add(1);
        Some(first)
    }
}
