//! How a worker answers: once, when it is done, or from the thread that finds that it cannot continue.

use std::io::Write;
use std::sync::Mutex;

use super::job::{Reply, Status};

/// The answer as far as it is known: which allocator serves malloc, and the warnings.
static KNOWN: Mutex<Option<Reply>> = Mutex::new(None);

/// Stores what an answer will contain even if the replay fails.
pub(super) fn note(reply: &Reply) {
    if let Ok(mut known) = KNOWN.lock() {
        *known = Some(reply.clone());
    }
}

/// Answers with a status other than `ok`, and ends the process.
pub(super) fn fail(status: Status, detail: &str) -> ! {
    // NOTE: a second thread that fails waits here until the first one has exited the process.
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut reply = known.take().unwrap_or_default();
    reply.status = status;
    reply.status_detail = Some(detail.to_owned());
    write(&reply);
    // SAFETY: ends the process at once, without the allocator's own exit handlers.
    unsafe { libc::_exit(0) }
}

/// Writes the answer to stdout.
pub(super) fn write(reply: &Reply) {
    let written = serde_json::to_vec(reply).map_err(std::io::Error::from).and_then(|text| {
        let mut stdout = std::io::stdout().lock();
        // NOTE: flushed here, because a worker that fails exits without running its exit handlers.
        stdout.write_all(&text).and_then(|()| stdout.flush())
    });
    if let Err(error) = written {
        eprintln!("heaplab worker: cannot answer: {error}");
    }
}
