//! Standard output, by one rule for every command.
//!
//! Where nobody reads it any more (`heaplab list workloads | head -1`) the words are lost and nothing else is: the
//! command goes on, because it may have files to write and a status to give. One that does nothing but write stops
//! instead, and that is no failure. Anything else that keeps it from being written, such as a full disk, is an error.

use std::io::{self, ErrorKind, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a command stopped because nobody reads what it writes.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Standard output, locked.
pub(in crate::cli) struct Stdout {
    lock: StdoutLock<'static>,
    /// Whether the reader's leaving ends the command.
    stops: bool,
}

/// Standard output of a command that goes on when nobody reads it.
pub(in crate::cli) fn stdout() -> Stdout {
    Stdout { lock: io::stdout().lock(), stops: false }
}

/// Standard output of a command that has nothing else to do.
pub(in crate::cli) fn stdout_or_stop() -> Stdout {
    Stdout { lock: io::stdout().lock(), stops: true }
}

/// Whether a command that failed only stopped, because nobody reads its standard output.
pub(in crate::cli) fn has_stopped() -> bool {
    STOPPED.load(Ordering::Relaxed)
}

impl Stdout {
    fn judge<T>(&self, written: io::Result<T>, lost: T) -> io::Result<T> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                if !self.stops {
                    return Ok(lost);
                }
                STOPPED.store(true, Ordering::Relaxed);
                Err(error)
            }
            Err(error) => {
                Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}")))
            }
            written => written,
        }
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.lock.write(bytes);
        self.judge(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.lock.flush();
        self.judge(flushed, ())
    }
}
