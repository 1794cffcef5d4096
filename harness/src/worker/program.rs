//! The program as a worker reads it: verified once, then read sequentially, a few windows at a time.
//!
//! Three buffers take turns. At most two windows are in flight, and the head of the next has been read: they
//! are in at most three consecutive fillings. The buffers are small, so that the stream of operations does
//! not occupy the caches that the allocator under test depends on, and they are resident before the replay
//! starts: no page of the program faults in the timed part. The thread that moves on to the next window reads
//! it, outside busy time.

use std::fs::File;
use std::io;
use std::path::Path;

use heaplab_workloads::program::operation::MOST_OP_BYTES;
use heaplab_workloads::program::window::{HEAD_BYTES, Segment, Window};
use heaplab_workloads::program::{ProgramInfo, ProgramReader, SLACK_BYTES, verify};

use super::mapping::map_shared;

const BUFFERS: usize = 3;
/// The least length of a buffer.
///
/// PERF: a window of 5,000 events takes 30 KB. Much larger buffers would fill the second-level cache.
const BUFFER_BYTES: usize = 64 << 10;

/// A program that is being read.
pub(super) struct Program {
    reader: ProgramReader,
    buffers: [*mut u8; BUFFERS],
    buffer_bytes: usize,
    /// The buffer that was filled last, how far, and where its next window starts.
    current: usize,
    filled: usize,
    at: usize,
}

// SAFETY: the buffers are a program's own, and it is used by one thread at a time.
unsafe impl Send for Program {}

impl Program {
    /// Opens the file, and proves that it can be replayed.
    pub(super) fn open(path: &Path, info: &ProgramInfo) -> io::Result<Program> {
        let mut reader = ProgramReader::open(File::open(path)?)?;
        let buffer_bytes = verify(&mut reader, info)?.buffer_bytes.max(BUFFER_BYTES);
        let pages = map_shared(buffer_bytes * BUFFERS);
        if pages.is_null() {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new mapping of that many bytes; writing makes its pages.
        unsafe { pages.write_bytes(0, buffer_bytes * BUFFERS) };
        let buffers = std::array::from_fn(|index| pages.wrapping_add(index * buffer_bytes));
        Ok(Program { reader, buffers, buffer_bytes, current: 0, filled: 0, at: 0 })
    }

    /// The head of the next window; none at the end.
    pub(super) fn peek(&mut self) -> io::Result<Option<Window>> {
        if self.at == self.filled {
            self.current = (self.current + 1) % BUFFERS;
            // SAFETY: the buffer has that many bytes, and no window in flight lies in it: at most two are,
            // and they are no older than the two fillings before this one.
            let buffer =
                unsafe { std::slice::from_raw_parts_mut(self.buffers[self.current], self.buffer_bytes) };
            self.filled = self.reader.fill(buffer)?;
            self.at = 0;
            if self.filled > self.buffer_bytes - SLACK_BYTES {
                return Err(io::Error::other("a window grew since it was verified"));
            }
        }
        if self.filled == 0 {
            return Ok(None);
        }
        // SAFETY: as above; whole windows lie there.
        let bytes = unsafe { std::slice::from_raw_parts(self.buffers[self.current], self.filled) };
        Ok(Window::from_bytes(&bytes[self.at..]))
    }

    /// The segments of the next window, whose head was just read.
    pub(super) fn take(&mut self, head: &Window) -> Segments {
        let window = self.buffers[self.current].wrapping_add(self.at);
        self.at += head.bytes as usize;
        Segments { window, bytes: head.bytes as usize, at: HEAD_BYTES, left: head.segments }
    }
}

/// The remaining segments of a window in flight.
#[derive(Clone, Copy)]
pub(super) struct Segments {
    window: *const u8,
    bytes: usize,
    at: usize,
    left: u32,
}

impl Segments {
    /// Of no window.
    pub(super) const NONE: Segments = Segments { window: std::ptr::null(), bytes: 0, at: 0, left: 0 };

    /// The next one and its operations.
    ///
    /// # Safety
    ///
    /// The window must still be in flight.
    pub(super) unsafe fn next(&mut self) -> Option<(Segment, Ops)> {
        if self.left == 0 {
            return None;
        }
        // SAFETY: by the caller's contract the whole window is there.
        let bytes = unsafe { std::slice::from_raw_parts(self.window, self.bytes) };
        let (segment, begin) = Segment::decode(bytes, self.at)?;
        self.at = begin + segment.bytes as usize;
        self.left -= 1;
        let begin = self.window.wrapping_add(begin);
        Some((segment, Ops { begin, end: begin.wrapping_add(segment.bytes as usize) }))
    }
}

/// The operations of a segment: verified, and contiguous from start to end.
#[derive(Clone, Copy)]
pub(super) struct Ops {
    pub(super) begin: *const u8,
    pub(super) end: *const u8,
}

impl Ops {
    /// The bytes that the first operation starts with; there are enough after the last one too.
    ///
    /// # Safety
    ///
    /// There must be one, and its window must be in flight.
    #[inline(always)]
    pub(super) unsafe fn first<'a>(self) -> &'a [u8; MOST_OP_BYTES] {
        // SAFETY: operations are followed by others or by the buffer's slack.
        unsafe { &*self.begin.cast() }
    }
}
