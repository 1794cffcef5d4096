//! Allocation traces: what they hold, and the `.hlt` file that they are kept in.
//!
//! Depends on nothing else of this project. A trace is a stream of [`Record`]s in time order after a
//! [`Header`] and before a [`Summary`]. [`TraceFile`] writes one to a file and [`TraceWriter`] to
//! anything else, [`TraceReader`] reads it as a stream, [`verify`] reads all of it for faults, and
//! [`summary`] and [`summary_of_bytes`] read its totals alone.
//!
//! Layers, bottom up: event, tuning and header (plain data), varint, error, tally (laws and totals), chunk
//! (records as bytes), layout (the fixed parts of a file), writer, file, reader, verify.
#![forbid(unsafe_code)]

mod chunk;
mod coverage;
mod error;
mod event;
mod file;
mod header;
mod layout;
mod reader;
mod tally;
mod tuning;
mod varint;
mod verify;
mod writer;

pub use coverage::{Coverage, Gap};
pub use error::{Fault, Law, RecordFault, TraceError};
pub use event::{
    Action, Call, Event, HugePages, IgnoredReason, Mark, ObjectId, Record, ResidentSample, ThreadId,
};
pub use file::TraceFile;
pub use header::{Header, Note, RecordedAllocator, Summary};
pub use layout::FORMAT_VERSION;
pub use reader::{TraceReader, Truncation, summary, summary_of_bytes};
pub use tally::NAME_MOST_BYTES;
pub use tuning::Tuning;
pub use verify::{Verified, verify};
pub use writer::{SourceCounts, TraceWriter};
