//! Recording events: the common path, and everything else.
//!
//! An event compares the clock's word with the one that its thread saw last. If both are equal, the thread
//! records, nothing has changed since, and no time has passed that would have to be recorded: the record is
//! stored, and that is all. Everything else is rare and goes through [`attend`].
//!
//! While a call of the allocator runs, and while a record is made, the thread's word is replaced by the depth
//! of the stack, which is never a word of the clock: calls that the allocator or a signal handler makes in
//! between are forwarded and not recorded. If the call never returns, because a handler jumped out of it, a later
//! call sees that its stack is no deeper, or that the address that the first would return to is no longer on the
//! stack, and recording continues. Where neither shows, what seems to be inside that call is
//! [lost](INNER_MOST), and counted.

use core::sync::atomic::{Ordering, compiler_fence};

use heaplab_raw::{Call, Event, Tick, encode};

use crate::thread::{BUSY, NOBODY, Thread};
use crate::{chunk, control, key, large, process, storage};

/// Calls `function`, which is one event, and records it after the call.
#[inline]
pub(crate) fn after<T>(depth: u64, function: impl FnOnce() -> T, event: impl FnOnce(&T) -> Event) -> T {
    let Some(thread) = enter(depth) else { return function() };
    let result = function();
    leave(thread, event(&result));
    result
}

/// Records an event and then calls `function`, which frees the block that the event is about.
#[inline]
pub(crate) fn before<T>(depth: u64, event: Event, function: impl FnOnce() -> T) -> T {
    let Some(thread) = enter(depth) else { return function() };
    put(thread, event);
    let result = function();
    thread.tick.set(thread.written_tick.get());
    result
}

/// Records an event without a call.
pub(crate) fn note(event: Event) {
    before(storage::depth(), event, || ());
}

/// Records, for the large blocks that are live when the process exits, how much of each is resident.
pub(crate) fn tell_live() {
    let Some(thread) = enter(storage::depth()) else { return };
    large::take_all().for_each(|touched| write(thread, touched));
    thread.tick.set(thread.written_tick.get());
}

/// Takes the thread off the common path: until [`leave`], nothing else from it is recorded. None if the call
/// is not an event, or is not recorded.
#[inline(always)]
pub(crate) fn enter(depth: u64) -> Option<&'static Thread> {
    let thread = storage::thread();
    if thread.tick.get() == control::word() {
        thread.tick.set(depth);
        compiler_fence(Ordering::SeqCst);
        return Some(thread);
    }
    attend(depth)
}

/// Records an event of a thread that [entered](enter), and puts it back.
#[cold]
#[inline(never)]
pub(crate) fn leave(thread: &Thread, event: Event) {
    if refresh(thread) {
        put(thread, event);
    }
    compiler_fence(Ordering::SeqCst);
    thread.tick.set(thread.written_tick.get());
}

/// Writes an event, preceded, if it frees a large block, by how much of that was resident.
pub(crate) fn put(thread: &Thread, event: Event) {
    if let Some(touched) = large::take(&event) {
        write(thread, touched);
    }
    write(thread, event);
    large::remember(&event);
}

/// Writes an event; [`enter`] and [`refresh`] have ensured that there is room.
fn write(thread: &Thread, event: Event) {
    if thread.cursor.get() > thread.limit.get() && !refresh(thread) {
        return;
    }
    chunk::store_record(thread, &encode(event, thread.last_address.get()));
    if let Some(address) = event.address() {
        thread.last_address.set(address);
    }
}

/// Handles everything outside the common path: a thread's first event, a new time or state, a full chunk, a
/// fork, a call from within a call, a process that is not recorded. Returns the thread if it may record.
#[cold]
#[inline(never)]
fn attend(depth: u64) -> Option<&'static Thread> {
    let mut thread = storage::thread();
    if thread.is(&BUSY) || process::is_left_alone() {
        return None;
    }
    if thread.is(&NOBODY) || thread.mark.get() != Thread::LIVE {
        thread = begin()?;
    }
    let inside = thread.tick.get();
    if inside != 0 && inside.is_multiple_of(8) && storage::is_within(depth, inside) {
        count_inner(thread);
        return None;
    }
    thread.tick.set(depth);
    compiler_fence(Ordering::SeqCst);
    if refresh(thread) {
        return Some(thread);
    }
    thread.tick.set(0);
    None
}

/// More calls than an allocator makes from within one: the others are the program's.
const INNER_MOST: u32 = 1000;

/// Counts a call from within a call, which is not recorded.
fn count_inner(thread: &Thread) {
    if thread.inner_at.replace(thread.cursor.get()) != thread.cursor.get() {
        thread.inner.set(0);
    }
    let inner = thread.inner.get().saturating_add(1);
    thread.inner.set(inner);
    if inner > INNER_MOST
        && let Some(image) = process::image()
    {
        image.add_lost(1);
    }
}

/// Ends an allocation that does not return, because it throws an exception; nothing if the call at that depth is not
/// being recorded.
///
/// NOTE: a C function, which the compiler knows not to unwind: it is called while something else does.
#[cold]
#[inline(never)]
pub(crate) extern "C" fn leave_thrown(depth: u64, size: u64, is_aligned: bool) {
    let thread = storage::thread();
    if thread.tick.get() == depth {
        let call = if is_aligned { Call::Aligned } else { Call::Malloc };
        leave(thread, Event::Failed { call, size });
    }
}

/// Starts the process's image, and its first thread, without an event.
pub(crate) fn begin_process() {
    if let Some(thread) = enter(storage::depth()) {
        thread.tick.set(thread.written_tick.get());
    }
}

/// Gives a thread its state, at its first event or after a fork.
fn begin() -> Option<&'static Thread> {
    // SAFETY: errno's address is valid in every thread.
    let errno = unsafe { *libc::__errno_location() };
    storage::set_thread(&BUSY);
    let thread = if process::is_recorded() { take_state().or_else(lose) } else { None };
    if thread.is_some() {
        key::watch();
    }
    storage::set_thread(thread.unwrap_or(&NOBODY));
    // SAFETY: as above. The loader and the C library were asked, and may have set it.
    unsafe { *libc::__errno_location() = errno };
    let thread = thread?;
    if crate::system::thread() == process::life()?.process.load(Ordering::Relaxed) {
        mark_begin(thread);
    }
    Some(thread)
}

/// The event of a thread for which there is no state is lost.
fn lose<T>() -> Option<T> {
    if Tick(control::word()).is_recording()
        && let Some(image) = process::image()
    {
        image.add_lost(1);
    }
    None
}

/// A state for a new thread of this process, which is recorded. The caller's own is BUSY.
pub(crate) fn take_state() -> Option<&'static Thread> {
    let life = process::life()?;
    life.pool.take(life.process.load(Ordering::Relaxed))
}

/// Records the start of the thread, if anything is recorded now.
pub(crate) fn mark_begin(thread: &Thread) {
    thread.tick.set(storage::depth());
    if refresh(thread) {
        put(thread, Event::ThreadBegin);
    }
    thread.tick.set(0);
}

/// Brings the thread up to date: records the time, and takes room if there is none. False if nothing can be
/// recorded now. The caller is responsible for the thread's word.
fn refresh(thread: &Thread) -> bool {
    let word = control::word();
    if !Tick(word).is_recording() {
        return false;
    }
    if !has_room(thread) && !chunk::take(thread, word) {
        return false;
    }
    if thread.written_tick.get() != word {
        let tick = encode(Event::Tick { elapsed_us: Tick(word).elapsed_us() }, 0);
        chunk::store_record(thread, &tick);
        thread.written_tick.set(word);
    }
    has_room(thread) || chunk::take(thread, word)
}

fn has_room(thread: &Thread) -> bool {
    // In a new state both are NULL, or what an exited thread left.
    thread.sequence.get() > 0 && thread.cursor.get() <= thread.limit.get()
}
