//! The lock: it excludes, and nobody sleeps forever.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::sync;

#[path = "../../harness/src/worker/lock.rs"]
mod lock;

use lock::Lock;

struct Guarded {
    lock: Lock,
    count: UnsafeCell<u32>,
}

// SAFETY: the count is reached while the lock is held; loom says if not.
unsafe impl Sync for Guarded {}
// SAFETY: as above.
unsafe impl Send for Guarded {}

/// Three threads that each take the lock, one of them twice.
pub(crate) fn excludes() {
    let guarded = Arc::new(Guarded { lock: Lock::new(), count: UnsafeCell::new(0) });
    let add = |guarded: &Guarded| {
        let _guard = guarded.lock.hold();
        // SAFETY: the lock is held.
        guarded.count.with_mut(|count| unsafe { *count += 1 });
    };
    add(&guarded);
    let threads: Vec<_> = (0..2)
        .map(|_| {
            let guarded = Arc::clone(&guarded);
            thread::spawn(move || add(&guarded))
        })
        .collect();
    add(&guarded);
    for thread in threads {
        thread.join().expect("it ends");
    }
    let _guard = guarded.lock.hold();
    // SAFETY: the lock is held.
    guarded.count.with(|count| assert_eq!(unsafe { *count }, 4));
}
