//! The file that a program is written to: nameless, so that it disappears when the last process that has it
//! open ends, however it ends.
//!
//! Hardly any page of a long program stays in memory: what is written goes to the disk and is dropped.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use super::draft::{Encoded, Place, WindowDraft};
use super::layout::{FIRST_WINDOW, MAGIC, VERSION};

/// Programs up to this length stay in the page cache from their compilation to their last replay.
pub(super) const CACHED_BYTES: u64 = 128 << 20;
/// How much of a longer program is written to the disk and dropped at a time.
const DROPPED_BYTES: u64 = 32 << 20;
/// How much is written to the file at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// A program's file.
#[derive(Debug)]
pub struct ProgramFile {
    file: File,
    folder: PathBuf,
}

impl ProgramFile {
    /// A new file in `folder`, without a name.
    ///
    /// # Errors
    ///
    /// When the folder cannot be written.
    pub fn create_in(folder: &Path) -> io::Result<ProgramFile> {
        Ok(ProgramFile { file: tempfile::tempfile_in(folder)?, folder: folder.to_path_buf() })
    }

    /// An existing program.
    #[must_use]
    pub fn from_file(file: File, folder: &Path) -> ProgramFile {
        ProgramFile { file, folder: folder.to_path_buf() }
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The folder that it lies in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A path by which other processes of the same user can open it, as long as this process has it open.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd()))
    }
}

/// A program file while it grows.
///
/// When no room is left in the folder, the rest is counted but not written, so that the error can say how
/// much room is needed.
pub(super) struct ProgramWriter<'a> {
    file: &'a File,
    buffer: Vec<u8>,
    /// Bytes before those in the buffer.
    written: u64,
    dropped: u64,
    /// The system's error when there was no more room.
    no_room: Option<io::Error>,
    /// The window written last.
    encoded: Encoded,
    begin: u64,
}

impl ProgramWriter<'_> {
    pub(super) fn new(file: &ProgramFile) -> ProgramWriter<'_> {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        buffer.extend(MAGIC);
        buffer.extend(VERSION.to_ne_bytes());
        buffer.resize(FIRST_WINDOW as usize, 0);
        ProgramWriter {
            file: &file.file,
            buffer,
            written: 0,
            dropped: 0,
            no_room: None,
            encoded: Encoded::default(),
            begin: 0,
        }
    }

    /// Writes a window.
    pub(super) fn write(&mut self, window: &WindowDraft) -> io::Result<()> {
        self.encoded.encode(window);
        self.begin = self.offset();
        self.buffer.extend_from_slice(&self.encoded.bytes);
        if self.buffer.len() >= BUFFER_BYTES { self.flush() } else { Ok(()) }
    }

    fn offset(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.no_room.is_none()
            && let Err(error) = self.file.write_all(&self.buffer)
        {
            if !is_full(&error) {
                return Err(error);
            }
            // What was written is useless, and others may need the room. If it cannot be given back now, it
            // is when the file goes away.
            let _ = self.file.set_len(0);
            self.no_room = Some(error);
        }
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        if self.written > CACHED_BYTES && self.written - self.dropped >= DROPPED_BYTES {
            self.drop_pages()?;
        }
        Ok(())
    }

    fn drop_pages(&mut self) -> io::Result<()> {
        if self.no_room.is_none() {
            self.file.sync_data()?;
            drop_pages(self.file, self.written)?;
        }
        self.dropped = self.written;
        Ok(())
    }

    /// File offset of the touch length of an operation of the window written last; none if its size alone
    /// determines it.
    pub(super) fn touch_offset(&self, place: Place) -> Option<u64> {
        Some(self.begin + self.encoded.touch_offset(place)? as u64)
    }

    /// Changes a touch length in place.
    pub(super) fn patch_touch(&mut self, offset: u64, touch: u32) -> io::Result<()> {
        let bytes = touch.to_ne_bytes();
        if offset >= self.written {
            let at = (offset - self.written) as usize;
            self.buffer[at..at + bytes.len()].copy_from_slice(&bytes);
            return Ok(());
        }
        // NOTE: a window is in the buffer as a whole or not at all.
        if self.no_room.is_some() { Ok(()) } else { self.file.write_all_at(&bytes, offset) }
    }

    /// Writes the end. Returns the file's length, and the error if there was no room for it.
    pub(super) fn finish(mut self) -> io::Result<(u64, Option<io::Error>)> {
        self.buffer.extend([0; 8]);
        self.flush()?;
        if self.written > CACHED_BYTES {
            self.drop_pages()?;
        }
        Ok((self.written, self.no_room))
    }
}

/// Whether the error says that a file cannot grow further.
fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
}

/// Has the file's pages before `end` dropped from memory.
pub(super) fn drop_pages(file: &File, end: u64) -> io::Result<()> {
    Ok(fadvise(file, 0, std::num::NonZeroU64::new(end), Advice::DontNeed)?)
}

/// Has the file's pages from `begin` on read in soon.
pub(super) fn read_ahead(file: &File, begin: u64, bytes: u64) -> io::Result<()> {
    Ok(fadvise(file, begin, std::num::NonZeroU64::new(bytes), Advice::WillNeed)?)
}
