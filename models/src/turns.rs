//! The count that threads wait on: a slot's generation, handed from thread to thread, and a thread's offers.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::sync::{self, AtomicU32};

#[path = "../../harness/src/worker/turn.rs"]
mod turn;

/// What is handed over, and the count that says whose turn it is.
struct Handed {
    turn: AtomicU32,
    content: UnsafeCell<u32>,
}

// SAFETY: only the thread whose turn it is accesses the content; loom reports otherwise.
unsafe impl Sync for Handed {}
// SAFETY: as above.
unsafe impl Send for Handed {}

impl Handed {
    fn new() -> Arc<Handed> {
        let handed = Arc::new(Handed { turn: AtomicU32::new(0), content: UnsafeCell::new(0) });
        handed.turn.load(sync::Ordering::Relaxed);
        handed
    }

    /// Waits for a turn, as a thread waits for a generation.
    fn wait(&self, wanted: u32) {
        let ready = |count: u32| count == wanted;
        if !turn::is_ready(&self.turn, ready) {
            turn::wait_until(&self.turn, ready, || {});
        }
    }

    /// Does the work of the turn, and hands over.
    fn take(&self, turn: u32) {
        // SAFETY: it is this thread's turn.
        self.content.with_mut(|content| unsafe {
            assert_eq!(*content, turn);
            *content += 1;
        });
        if turn::set(&self.turn, turn + 1) {
            sync::wake_all(&self.turn);
        }
    }
}

/// Three threads have one slot's object one after another: two of them may sleep on it at once.
pub(crate) fn generations() {
    let handed = Handed::new();
    let threads: Vec<_> = (1..3)
        .map(|own| {
            let handed = Arc::clone(&handed);
            thread::spawn(move || {
                handed.wait(own);
                handed.take(own);
            })
        })
        .collect();
    handed.take(0);
    for thread in threads {
        thread.join().expect("it ends");
    }
    handed.content.with(|content| {
        // SAFETY: the others are gone.
        assert_eq!(unsafe { *content }, 3);
    });
}

/// One thread offers twice, the other waits for more than it has taken, twice: no offer is missed.
pub(crate) fn offers() {
    let handed = Handed::new();
    let taker = {
        let handed = Arc::clone(&handed);
        thread::spawn(move || {
            for taken in 0..2 {
                let ready = |count: u32| count != taken;
                if !turn::is_ready(&handed.turn, ready) {
                    turn::wait_until(&handed.turn, ready, || {});
                }
            }
        })
    };
    for offer in 1..3 {
        if turn::set(&handed.turn, offer) {
            sync::wake_all(&handed.turn);
        }
    }
    taker.join().expect("it ends");
}
