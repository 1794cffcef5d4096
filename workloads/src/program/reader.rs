//! Reads a program front to back, several whole windows at a time, into the caller's memory.
//!
//! For a long program, what was read is dropped from the page cache and what comes next is prefetched.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

use super::file::{CACHED_BYTES, drop_pages, read_ahead};
use super::layout::{FIRST_WINDOW, MAGIC, VERSION};
use super::operation::MOST_OP_BYTES;
use super::window::{HEAD_BYTES, Window};

/// Bytes that a buffer must have beyond the windows that it holds: decoding the last operation reads beyond
/// it.
pub const SLACK_BYTES: usize = MOST_OP_BYTES;
/// The length of the end marker.
const END_BYTES: usize = 8;
/// How much is prefetched, and dropped, at a time.
const AHEAD_BYTES: u64 = 8 << 20;

/// A reader of a program, and its position.
#[derive(Debug)]
pub struct ProgramReader {
    file: File,
    /// File offset of the next window.
    offset: u64,
    length: u64,
    /// When `offset` reaches this, the pages before it are dropped, and pages after it are prefetched.
    turned: u64,
}

impl ProgramReader {
    /// A reader at the first window.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or is not a program of this version.
    pub fn open(file: File) -> io::Result<ProgramReader> {
        let mut head = [0; FIRST_WINDOW as usize];
        let length = file.metadata()?.len();
        let is_whole = length >= FIRST_WINDOW;
        if is_whole {
            file.read_exact_at(&mut head, 0)?;
        }
        if !is_whole || head[..8] != MAGIC || head[8..12] != VERSION.to_ne_bytes() {
            return Err(damaged("it is not a program of this version"));
        }
        Ok(ProgramReader { file, offset: FIRST_WINDOW, length, turned: FIRST_WINDOW })
    }

    /// Goes back to the first window.
    pub fn rewind(&mut self) {
        (self.offset, self.turned) = (FIRST_WINDOW, FIRST_WINDOW);
    }

    /// Reads as many whole windows as `buffer` holds, and returns their bytes; 0 at the end. A window longer
    /// than the buffer is not read: the result is then larger than the buffer, and is the size needed.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or whose windows are not as it states.
    pub fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len().saturating_sub(SLACK_BYTES);
        let wanted = (self.length - self.offset).min(room as u64) as usize;
        self.file.read_exact_at(&mut buffer[..wanted], self.offset)?;
        let mut filled = 0;
        loop {
            let rest = &buffer[filled..wanted];
            let at = self.offset + filled as u64;
            let is_end = self.length - at == END_BYTES as u64;
            if is_end && rest == [0; END_BYTES] {
                break;
            }
            if self.length - at < HEAD_BYTES as u64 && (!is_end || rest.len() == END_BYTES) {
                return Err(damaged("it is cut off"));
            }
            let Some(head) = Window::from_bytes(rest) else {
                if filled > 0 {
                    break;
                }
                return Ok(room.max(HEAD_BYTES) + SLACK_BYTES + 1);
            };
            if head.bytes < HEAD_BYTES as u64 || head.bytes > self.length - at {
                return Err(damaged("a window is longer than the program"));
            }
            if head.bytes > rest.len() as u64 {
                if filled > 0 {
                    break;
                }
                let bytes = usize::try_from(head.bytes).map_err(|_| damaged("a window is too long"))?;
                return Ok(bytes + SLACK_BYTES);
            }
            filled += head.bytes as usize;
        }
        self.offset += filled as u64;
        if self.length > CACHED_BYTES && self.offset >= self.turned {
            drop_pages(&self.file, self.offset)?;
            self.turned = self.offset + AHEAD_BYTES;
            read_ahead(&self.file, self.offset, 2 * AHEAD_BYTES)?;
        }
        Ok(filled)
    }
}

/// The error for a file that no compiler wrote.
pub(super) fn damaged(what: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what.into())
}
