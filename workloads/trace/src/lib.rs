//! Allocation traces: what they hold, and the `.hlt` file that they are kept in.
//!
//! Depends on nothing else of this project. A trace is a stream of [`Record`]s in time order behind a
//! [`Header`] and before a [`Summary`].
#![forbid(unsafe_code)]

mod event;
mod header;

pub use event::{Action, Call, Event, IgnoredReason, Mark, ObjectId, Record, ResidentSample, ThreadId};
pub use header::{Header, Note, RecordedAllocator, Summary};
