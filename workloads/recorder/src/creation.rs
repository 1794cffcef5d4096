//! The start of a thread: `pthread_create` and `thrd_create`.
//!
//! A created thread starts in a function of ours, which sets its state and then calls the program's start
//! function. Allocations that the C library makes for the thread, inside the call, are marked: a replay
//! creates threads itself.

use core::ffi::{c_int, c_void};

use heaplab_raw::Event;

use crate::thread::{BUSY, Start, Thread};
use crate::{key, next, process, record, storage};

/// `pthread_create(3)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn pthread_create(
    thread: *mut c_void,
    attributes: *const c_void,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    let Some(create) = next::PTHREAD_CREATE.find() else { return libc::EAGAIN };
    record::note(Event::CreateEnter);
    let result = match reserve() {
        Some(state) => {
            state.start.set(Some(start));
            state.argument.set(argument);
            let place = (&raw const *state).cast_mut().cast();
            // SAFETY: the caller keeps the contract. The state belongs to the new thread.
            let result = unsafe { create(thread, attributes, begin, place) };
            if result != 0
                && let Some(life) = process::life()
            {
                life.pool.give_unused(state);
            }
            result
        }
        // SAFETY: the caller keeps the contract.
        None => unsafe { create(thread, attributes, start, argument) },
    };
    record::note(Event::CreateLeave);
    result
}

/// C11's `thrd_create`. Its threads are recorded from their first event on.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn thrd_create(
    thread: *mut c_void,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    const THRD_ERROR: c_int = 2;
    let Some(create) = next::THRD_CREATE.find_rare() else { return THRD_ERROR };
    record::note(Event::CreateEnter);
    // SAFETY: the caller keeps the contract.
    let result = unsafe { create(thread, start, argument) };
    record::note(Event::CreateLeave);
    result
}

/// A state for the thread that is about to be created.
fn reserve() -> Option<&'static Thread> {
    // A thread without a state is not recorded, and neither are those that it creates before its first event.
    let own = storage::thread();
    if own.mark.get() != Thread::LIVE {
        return None;
    }
    storage::set_thread(&BUSY);
    let state = record::take_state();
    storage::set_thread(own);
    state
}

/// Where a created thread starts. NOTE: `pthread_exit` and cancellation unwind through this: nothing here
/// must need to be dropped after the call.
unsafe extern "C-unwind" fn begin(place: *mut c_void) -> *mut c_void {
    // SAFETY: the state that `pthread_create` reserved for this thread.
    let state: &'static Thread = unsafe { &*place.cast::<Thread>() };
    let (start, argument) = (state.start.get(), state.argument.get());
    storage::set_thread(&BUSY);
    key::watch();
    storage::set_thread(state);
    record::mark_begin(state);
    match start {
        // SAFETY: the program's function, with its argument.
        Some(start) => unsafe { start(argument) },
        None => core::ptr::null_mut(),
    }
}
