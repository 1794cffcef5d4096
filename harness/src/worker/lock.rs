//! A lock made of the kernel's futex, for what happens rarely.

use super::sync::{AtomicU32, Ordering, wait, wake_one};

const OPEN: u32 = 0;
const HELD: u32 = 1;
const CONTENDED: u32 = 2;

/// It never spins long and never allocates.
pub(super) struct Lock(AtomicU32);

/// Opens its lock when dropped.
pub(super) struct Guard<'a>(&'a Lock);

impl Lock {
    pub(super) const fn new() -> Lock {
        Lock(AtomicU32::new(OPEN))
    }

    pub(super) fn hold(&self) -> Guard<'_> {
        if self.0.compare_exchange(OPEN, HELD, Ordering::Acquire, Ordering::Relaxed).is_err() {
            while self.0.swap(CONTENDED, Ordering::Acquire) != OPEN {
                wait(&self.0, CONTENDED);
            }
        }
        Guard(self)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if self.0.0.swap(OPEN, Ordering::Release) == CONTENDED {
            wake_one(&self.0.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_excludes() {
        let lock = Lock::new();
        let count = std::cell::Cell::new(0u32);
        struct Shared<'a>(&'a std::cell::Cell<u32>);
        // SAFETY: the cell is used only while the lock is held.
        unsafe impl Sync for Shared<'_> {}
        let shared = Shared(&count);
        let (lock, shared) = (&lock, &shared);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(move || {
                    for _ in 0..10_000 {
                        let _guard = lock.hold();
                        let cell = shared.0;
                        cell.set(cell.get() + 1);
                    }
                });
            }
        });
        assert_eq!(count.get(), 40_000);
    }
}
