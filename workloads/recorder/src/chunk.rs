//! The chunks that a thread writes to: parts of the process's file, which is mapped ahead.
//!
//! What is stored there is in the page cache and outlives the process, however that ends; it does not count in
//! RssAnon. A thread that has filled its first chunk has two buffers: when one is full, it signals that to the
//! command, which copies the buffer to the file of copies and empties it, and continues in the other meanwhile. If the
//! command is late, the thread copies the full buffer itself, and reuses it. If it cannot, because it has dropped its
//! rights or has no descriptor left, it continues in a new chunk. Until the copy is complete, the buffer is valid; the
//! reader takes the first of two that are equal.
//!
//! PERF: a fresh page of a file costs 3.5 us when it is mapped and written to, and 1.1 us when 16 of them are
//! copied by one call. Copying was 3 to 4 % of the CPU time of a program that allocates without pause.
//!
//! The file of copies is opened by its path and closed again each time, because programs close descriptors that they
//! do not know.

use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use heaplab_raw::{
    CHUNK_HEAD_BYTES, CHUNK_HEAD_WORDS, ChunkHead, Encoded, FIRST_CHUNK_BYTES, FullBuffer, PAGE_BYTES, Place,
    RECORD_ROOM_BYTES, Tick,
};

use crate::thread::Thread;
use crate::{control, process, region, system};

/// A chunk of this length is a buffer: the thread keeps it. It fits into a second-level cache.
const BUFFER_BYTES: usize = 64 << 10;
/// Two buffers, one after the other.
const PAIR_BYTES: usize = 2 * BUFFER_BYTES;

/// Gives the thread room to write, at the time of `word`. False if there is none: the event is lost.
#[cold]
pub(crate) fn take(thread: &Thread, word: u64) -> bool {
    if thread.number.get() == 0 {
        thread.number.set(system::thread());
    }
    let taken = if thread.sequence.get() == 0 {
        take_rest(thread).map_or_else(|| take_first(thread), Ok)
    } else {
        take_next(thread).map(|buffer| (buffer, BUFFER_BYTES))
    };
    match taken {
        Ok((chunk, bytes)) => {
            if thread.sequence.get() == 0 {
                thread.ordinal.set(process::image().map_or(0, |image| image.take_thread()));
            }
            begin(thread, word, chunk, bytes);
            true
        }
        Err(errno) => {
            if region::is_final(errno) {
                process::fail(errno);
            }
            if let Some(image) = process::image() {
                image.add_lost(1);
            }
            false
        }
    }
}

/// The rest of an exited thread's chunk, from the next page on.
fn take_rest(thread: &Thread) -> Option<(*mut u8, usize)> {
    let (chunk, cursor, end) = (thread.chunk.get(), thread.cursor.get(), thread.chunk_end.get());
    if chunk.is_null() {
        return None;
    }
    let used_bytes = (cursor as usize).wrapping_sub(chunk as usize).next_multiple_of(PAGE_BYTES);
    let rest = chunk.wrapping_add(used_bytes);
    let rest_bytes = (end as usize).wrapping_sub(rest as usize);
    if rest >= end || read_head(chunk).is_none() {
        return None;
    }
    let head = ChunkHead { bytes: used_bytes as u32, ..read_head(chunk)? };
    write_head(chunk, &head);
    Some((rest, rest_bytes))
}

/// A new thread's first chunk. Its state may be that of an exited thread, with everything that belonged to
/// it.
fn take_first(thread: &Thread) -> Result<(*mut u8, usize), i32> {
    let chunk = carve(FIRST_CHUNK_BYTES)?;
    leave_pair(thread);
    Ok((chunk, FIRST_CHUNK_BYTES))
}

/// Length of the thread's chunk.
fn length(thread: &Thread) -> usize {
    (thread.chunk_end.get() as usize).wrapping_sub(thread.chunk.get() as usize)
}

/// A zeroed buffer, for a thread whose chunk is full.
fn take_next(thread: &Thread) -> Result<*mut u8, i32> {
    if let Some(buffer) = take_pair(thread).or_else(|| hand_over(thread)) {
        return Ok(buffer);
    }
    if length(thread) == BUFFER_BYTES && copy_out(thread).is_ok() {
        return Ok(thread.chunk.get());
    }
    let buffer = carve(BUFFER_BYTES)?;
    leave_pair(thread);
    Ok(buffer)
}

/// The first of two buffers for a thread that has none, if the command copies buffers for that many threads.
fn take_pair(thread: &Thread) -> Option<*mut u8> {
    if thread.place.get() == 0 && length(thread) < BUFFER_BYTES {
        thread.place.set(process::image()?.take_place().map_or(0, Place::number));
    }
    if thread.place.get() == 0 || !thread.pair.get().is_null() {
        return None;
    }
    let pair = carve(PAIR_BYTES).ok()?;
    // PERF: a page costs less this way than with a separate fault. Kernels before 5.14 do not support it.
    let _ = system::advise(pair as usize, PAIR_BYTES, libc::MADV_POPULATE_WRITE);
    thread.pair.set(pair);
    Some(pair)
}

/// The one of the thread's two buffers that its chunk is, or is the rest of, after an exited thread.
fn buffer(thread: &Thread) -> Option<*mut u8> {
    let pair = thread.pair.get();
    let at = (thread.chunk.get() as usize).wrapping_sub(pair as usize);
    (!pair.is_null() && at < PAIR_BYTES).then(|| pair.wrapping_add(at & BUFFER_BYTES))
}

/// Remembers that the buffer that the thread leaves was not handed over.
fn leave_pair(thread: &Thread) {
    if let Some(buffer) = buffer(thread) {
        thread.waiting.set(buffer);
    }
}

/// Hands the full one of the thread's two buffers to the command, and returns the other one. None if the command
/// still has the other one, or there are none.
fn hand_over(thread: &Thread) -> Option<*mut u8> {
    let (image, place) = process::image().zip(Place::from_number(thread.place.get()))?;
    let pair = thread.pair.get();
    let full = buffer(thread).unwrap_or(thread.waiting.get());
    if full.is_null() || !image.is_free(place) || control::page()?.failure().is_some() {
        return None;
    }
    let at = (full as usize).wrapping_sub(pair as usize);
    thread.waiting.set(ptr::null_mut());
    image.hand_over(place, FullBuffer { offset: region::offset_of(full), bytes: BUFFER_BYTES as u64 });
    Some(pair.wrapping_add(BUFFER_BYTES ^ at))
}

/// Copies the thread's buffer, which is full, to the file of copies, and empties it.
fn copy_out(thread: &Thread) -> Result<(), i32> {
    let page = control::page().ok_or(libc::ENOENT)?;
    if let Some(errno) = page.failure() {
        return Err(errno);
    }
    let (chunk, bytes) = (thread.chunk.get(), length(thread));
    // SAFETY: the thread's own chunk.
    unsafe { region::copy(chunk, bytes, process::copies_path())? };
    page.add_taken(bytes as u64);
    // After this store the copy is the chunk.
    // SAFETY: the thread's own chunk, which begins with a head.
    unsafe { chunk.cast::<u64>().write_volatile(0) };
    compiler_fence(Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { chunk.write_bytes(0, bytes) };
    Ok(())
}

/// A new part of the file.
fn carve(bytes: usize) -> Result<*mut u8, i32> {
    let page = control::page().ok_or(libc::ENOENT)?;
    if let Some(errno) = page.failure() {
        return Err(errno);
    }
    let carved = region::carve(bytes, process::image_path())?;
    page.add_taken(bytes as u64);
    Ok(carved)
}

/// Lets the thread write to the `bytes` at `chunk`, which are zero.
fn begin(thread: &Thread, word: u64, chunk: *mut u8, bytes: usize) {
    let head = ChunkHead {
        image: process::image_id(),
        bytes: bytes as u32,
        thread: thread.ordinal.get(),
        tid: thread.number.get(),
        sequence: thread.sequence.get(),
        tick: Tick(word),
        last_address: thread.last_address.get(),
    };
    write_head(chunk, &head);
    thread.chunk.set(chunk);
    thread.chunk_end.set(chunk.wrapping_add(bytes));
    thread.cursor.set(chunk.wrapping_add(CHUNK_HEAD_BYTES));
    thread.limit.set(chunk.wrapping_add(bytes.wrapping_sub(RECORD_ROOM_BYTES)));
    thread.sequence.set(thread.sequence.get().wrapping_add(1));
    thread.written_tick.set(word);
}

fn read_head(chunk: *mut u8) -> Option<ChunkHead> {
    // SAFETY: a chunk of the thread's own, which has a head.
    ChunkHead::from_words(&unsafe { chunk.cast::<[u64; CHUNK_HEAD_WORDS]>().read() }).ok()
}

/// Stores a head, its checksum last.
fn write_head(chunk: *mut u8, head: &ChunkHead) {
    let words = head.to_words();
    let place = chunk.cast::<u64>();
    for (at, word) in words.iter().enumerate() {
        compiler_fence(Ordering::Release);
        // SAFETY: a chunk has room for a head, and begins at a page.
        unsafe { place.wrapping_add(at).write_volatile(*word) };
    }
}

/// Stores a record where the thread writes; the caller has ensured that there is room.
#[inline(always)]
pub(crate) fn store(thread: &Thread, word: u64, bytes: usize) {
    let cursor = thread.cursor.get();
    // SAFETY: the cursor is at most the limit, after which there is room for any record.
    unsafe { cursor.cast::<u64>().write_unaligned(word) };
    thread.cursor.set(cursor.wrapping_add(bytes));
}

/// Like [`store`], for any record: the first word last, so that a record is complete as soon as it appears.
pub(crate) fn store_record(thread: &Thread, record: &Encoded) {
    if record.bytes > 8 {
        let second = thread.cursor.get().wrapping_add(8);
        // SAFETY: as above.
        unsafe { ptr::write_unaligned(second.cast::<u64>(), record.second) };
        compiler_fence(Ordering::Release);
    }
    store(thread, record.first, record.bytes);
}
