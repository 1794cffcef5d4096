//! Forks: a mark in the forking thread's records, which shows what the child inherits.
//!
//! Each fork has a number. The parent's thread records it just before the fork; the child finds it in the memory that
//! it inherits, and states it in the head of its image once it has one. A child that was not created by the C library's
//! `fork` finds none.

use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use heaplab_raw::{Event, MarkKind};

use crate::{filter, process, record};

/// A fork that is about to happen.
struct Fork {
    /// What the C library knows its thread by, in the child too; 0: the place is free.
    thread: AtomicUsize,
    number: AtomicU32,
}

/// The forks that are about to happen. The C library lets several threads run their handlers at the same time, so the
/// child cannot tell by the last number that was given which one is its own. A fork that finds no place has a child
/// that does not know its number.
static FORKS: [Fork; 64] = [const { Fork { thread: AtomicUsize::new(0), number: AtomicU32::new(0) } }; 64];

/// Sets up the fork handlers: once, before `main`.
pub(crate) fn prepare() {
    // SAFETY: the handlers live as long as this library, which is never unloaded: it is preloaded.
    unsafe { libc::pthread_atfork(Some(begin), Some(end), Some(begin_child)) };
}

/// Runs in the parent, as the last handler before the fork: those that were registered later come first.
unsafe extern "C" fn begin() {
    // A child without an image recorded nothing: its own children inherit the heap as it was at its fork.
    if process::life().is_some() {
        let number = process::number_fork();
        let is_taken = |fork: &&Fork| {
            fork.thread.compare_exchange(0, thread(), Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        if let Some(fork) = FORKS.iter().find(is_taken) {
            fork.number.store(number, Ordering::Relaxed);
        }
        record::note(Event::Mark { kind: MarkKind::Fork, argument: number.cast_signed(), detail: 0 });
    }
}

/// Runs in the parent after the fork, or after it has failed.
unsafe extern "C" fn end() {
    if let Some(fork) = last() {
        fork.thread.store(0, Ordering::Relaxed);
    }
}

/// Runs in the child, as the first handler.
unsafe extern "C" fn begin_child() {
    filter::begin_child();
    process::inherit_fork(last().map_or(0, |fork| fork.number.load(Ordering::Relaxed)));
    // Those of the parent's other threads too.
    FORKS.iter().for_each(|fork| fork.thread.store(0, Ordering::Relaxed));
}

/// The last of the forks that the calling thread is about to make: a signal's handler may fork within a fork.
fn last() -> Option<&'static Fork> {
    let own = FORKS.iter().filter(|fork| fork.thread.load(Ordering::Relaxed) == thread());
    own.max_by_key(|fork| fork.number.load(Ordering::Relaxed))
}

fn thread() -> usize {
    // SAFETY: without preconditions.
    unsafe { libc::pthread_self() as usize }
}
