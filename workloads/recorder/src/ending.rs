//! The end of a thread, seen through a pthread key.
//!
//! Destructors of other keys may run after ours, and free: so ours asks to run again, until the last round.
//! Even later calls are still recorded, after the mark.

use core::ffi::c_void;
use core::sync::atomic::Ordering;

use heaplab_raw::Event;

use crate::thread::{BUSY, NOBODY};
use crate::{key, process, record, storage};

/// How often the C library runs the destructors of keys that were set again: PTHREAD_DESTRUCTOR_ITERATIONS.
const ROUNDS: u32 = 4;

/// Sets up the detection of threads' ends: once, before `main`.
pub(crate) fn prepare() {
    key::make(end);
}

unsafe extern "C" fn end(_: *mut c_void) {
    let thread = storage::thread();
    if thread.is(&NOBODY) || thread.is(&BUSY) {
        return;
    }
    let rounds = thread.ending.get().wrapping_add(1);
    thread.ending.set(rounds);
    if rounds < ROUNDS {
        key::watch();
    } else if rounds == ROUNDS {
        record::note(Event::ThreadEnd);
        // The state may have changed by now: an event after a fork.
        let thread = storage::thread();
        if let Some(life) = process::life()
            && thread.ending.get() == ROUNDS
        {
            life.pool.give(thread, life.process.load(Ordering::Relaxed));
        }
    }
}
