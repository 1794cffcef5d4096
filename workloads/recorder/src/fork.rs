//! Forks: a mark in the forking thread's records, which shows what the child inherits.
//!
//! Each fork has a number. The parent's thread records it just before the fork; the child finds it in the memory that
//! it inherits, and states it in the head of its image once it has one. A child that was not created by the C library's
//! `fork` finds none.

use heaplab_raw::{Event, MarkKind};

use crate::{filter, process, record};

/// Sets up the fork handlers: once, before `main`.
pub(crate) fn prepare() {
    // SAFETY: the handlers live as long as this library, which is never unloaded: it is preloaded.
    unsafe { libc::pthread_atfork(Some(begin), None, Some(begin_child)) };
}

/// Runs in the parent, as the last handler before the fork: those that were registered later come first.
unsafe extern "C" fn begin() {
    // A child without an image recorded nothing: its own children inherit the heap as it was at its fork.
    if process::life().is_some() {
        let number = process::number_fork();
        record::note(Event::Mark { kind: MarkKind::Fork, argument: number.cast_signed(), detail: 0 });
    }
}

/// Runs in the child, as the first handler.
unsafe extern "C" fn begin_child() {
    filter::begin_child();
    process::inherit_fork();
}
