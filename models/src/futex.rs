//! The kernel's futex under loom: a queue of those who sleep on each word. As the kernel does, it looks at the word
//! and queues the thread in one step.

use std::sync::Arc as Kept;

use loom::sync::{Condvar, Mutex};

use crate::atomic::{AtomicU32, Ordering};

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
