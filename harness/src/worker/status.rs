//! How a worker ended.

use serde::{Deserialize, Serialize};

/// How a worker ended. Anything but `Ok` is a row of the results all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Measured, and nothing is wrong.
    Ok,
    /// Ended by the harness after its time was over.
    Timeout,
    /// Ended by a signal.
    Crash,
    /// The allocator could not serve a request, or the system ended the worker for its memory.
    Oom,
    /// The combination cannot be measured (for example a background thread at virtual pace).
    Refused,
    /// Another malloc served than the one asked for.
    NotInjected,
    /// This version of the allocator does not know a setting, or did not take it.
    UnknownSetting,
    /// A check pass found an object overwritten, misaligned, or a calloc that was not zero.
    CheckFailed,
    /// A load generator failed.
    LoadFailed,
    /// The allocator needed more of a thread's stack than there is.
    StackOverflow,
    /// Anything else; `status_detail` says what.
    #[default]
    Error,
}
