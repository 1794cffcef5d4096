//! One record: bytes gathered in place, and appended to a file in one write.

use core::ffi::c_char;

/// The longest path that the kernel accepts.
pub(crate) const PATH_BYTES: usize = libc::PATH_MAX as usize;
/// Two paths and a few words.
const RECORD_BYTES: usize = 2 * PATH_BYTES + 1024;

/// A record that is being written. What does not fit is omitted, but every field keeps its end.
pub(crate) struct Record {
    bytes: [u8; RECORD_BYTES],
    length: usize,
}

impl Record {
    /// An empty record.
    pub(crate) fn new() -> Record {
        Record { bytes: [0; RECORD_BYTES], length: 0 }
    }

    /// Adds bytes to the current field.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // The last bytes are kept for the ends of fields.
            if self.length < RECORD_BYTES - 8 {
                self.bytes[self.length] = byte;
                self.length += 1;
            }
        }
    }

    /// Adds a number in decimal digits.
    pub(crate) fn push_number(&mut self, number: u64) {
        let mut digits = [0u8; 20];
        let (mut at, mut rest) = (digits.len(), number);
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(&digits[at..]);
    }

    /// Ends the current field.
    pub(crate) fn end_field(&mut self) {
        if self.length < RECORD_BYTES {
            self.bytes[self.length] = 0;
            self.length += 1;
        }
    }

    /// Appends the record to the file of this name, which must exist. If the file is gone, the run has ended
    /// and nobody waits for the record.
    ///
    /// # Safety
    /// `path` ends with NUL.
    pub(crate) unsafe fn append_to(&self, path: *const c_char) {
        // SAFETY: the caller keeps the contract; the buffer holds `length` bytes.
        unsafe {
            let file = libc::open(path, libc::O_WRONLY | libc::O_APPEND | libc::O_CLOEXEC);
            if file >= 0 {
                libc::write(file, self.bytes.as_ptr().cast(), self.length);
                libc::close(file);
            }
        }
    }
}
