//! Standard output, with one rule for every command.
//!
//! If nobody reads it any more (`heaplab list workloads | head -1`), the output is lost and nothing else: the command
//! continues, because it may have files to write and a status to return. A command that does nothing but write stops
//! instead, which is not a failure. Any other reason why it cannot be written, such as a full disk, is an error.

use std::io::{self, ErrorKind, StdoutLock, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether a command stopped because nobody reads its output.
static STOPPED: AtomicBool = AtomicBool::new(false);

/// Standard output, locked.
pub(in crate::cli) struct Stdout {
    lock: StdoutLock<'static>,
    /// Whether the command stops when the reader goes away.
    stops: bool,
}

/// Standard output of a command that continues when nobody reads it.
pub(in crate::cli) fn stdout() -> Stdout {
    Stdout { lock: io::stdout().lock(), stops: false }
}

/// Standard output of a command that has nothing else to do.
pub(in crate::cli) fn stdout_or_stop() -> Stdout {
    Stdout { lock: io::stdout().lock(), stops: true }
}

/// Whether a command that failed only stopped because nobody reads its standard output.
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
