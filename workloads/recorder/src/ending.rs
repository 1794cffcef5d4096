//! The end of a thread, seen through a pthread key.
//!
//! Destructors of other keys may run after ours, and free: so ours asks to run again, to the last round. What
//! comes even later is still recorded, behind the mark.

use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

use heaplab_raw::Event;

use crate::thread::{BUSY, NOBODY};
use crate::{process, record, storage};

/// How often the C library runs the destructors of keys that were set again: PTHREAD_DESTRUCTOR_ITERATIONS.
const ROUNDS: u32 = 4;

/// The key, plus one; 0 as long as there is none.
static KEY: AtomicU32 = AtomicU32::new(0);

/// Makes the key: once, before `main`.
pub(crate) fn prepare() {
    let mut key = 0;
    // SAFETY: the destructor lives as long as this library, which is never unloaded: it is preloaded.
    if unsafe { libc::pthread_key_create(&mut key, Some(end)) } == 0 {
        KEY.store(key.wrapping_add(1), Ordering::Release);
    }
}

/// Has the calling thread's end seen. The caller's state is BUSY: for a key above 31 the C library allocates.
pub(crate) fn watch() {
    let key = KEY.load(Ordering::Acquire);
    if key != 0 {
        // SAFETY: the key exists. The value only has to be other than NULL.
        unsafe { libc::pthread_setspecific(key.wrapping_sub(1), core::ptr::dangling::<c_void>()) };
    }
}

unsafe extern "C" fn end(_: *mut c_void) {
    let thread = storage::thread();
    if thread.is(&NOBODY) || thread.is(&BUSY) {
        return;
    }
    let rounds = thread.ending.get().wrapping_add(1);
    thread.ending.set(rounds);
    if rounds < ROUNDS {
        watch();
    } else if rounds == ROUNDS {
        record::note(Event::ThreadEnd);
        // The state may be another one by now: an event behind a fork.
        let thread = storage::thread();
        if let Some(life) = process::life()
            && thread.ending.get() == ROUNDS
        {
            life.pool.give(thread);
        }
    }
}
