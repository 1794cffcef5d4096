//! How a worker gives up: with an answer, at once, from whichever thread found out.

use std::sync::Mutex;

use super::Status;
use super::job::Reply;

/// The answer as far as it is known: who serves malloc, and which warnings there were.
static KNOWN: Mutex<Option<Reply>> = Mutex::new(None);

/// Notes what an answer will say even if the replay fails.
pub(super) fn know(reply: &Reply) {
    if let Ok(mut known) = KNOWN.lock() {
        *known = Some(reply.clone());
    }
}

/// Answers with a status other than `ok`, and ends the process.
pub(super) fn stop(status: Status, detail: &str) -> ! {
    // NOTE: a second thread that fails waits here until the first one has ended the process.
    let mut known = KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut reply = known.take().unwrap_or_default();
    reply.status = status;
    reply.status_detail = Some(detail.to_owned());
    super::write_reply(&reply);
    // SAFETY: ends the process at once, without the allocator's own exit handlers.
    unsafe { libc::_exit(0) }
}
