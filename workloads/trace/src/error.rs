//! What can be wrong with a trace: errors that carry the file and the place in it.

use std::io;
use std::path::PathBuf;

/// A trace cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The operating system refused.
    #[error("{}: cannot {doing}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: `open`, `read`, `write`, ...
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory that the trace is to lie in is missing.
    #[error("{}: there is no directory {}: make it first", path.display(), directory.display())]
    NoDirectory {
        /// The trace.
        path: PathBuf,
        /// Where it was to be written.
        directory: PathBuf,
    },
    /// The file does not begin as a trace does.
    #[error("{}: not a heaplab trace (a foreign log must be imported first: heaplab trace import)", path.display())]
    NotATrace {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer version of the format.
    #[error(
        "{}: trace format version {found}, and this heaplab reads up to {known}: read it with a newer heaplab",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that the file states.
        found: u32,
        /// The newest version that is known here.
        known: u32,
    },
    /// The file ends before its first chunk could begin: nothing can be used.
    #[error("{}: cut off at byte {offset}, inside its header: nothing in it can be used", path.display())]
    CutInHeader {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        offset: u64,
    },
    /// A part that is there is wrong.
    #[error("{}: damaged at byte {offset}: {fault}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damaged part (header, chunk, end or trailer) begins.
        offset: u64,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The caller handed over a record that breaks a law of traces.
    #[error("{}: record {record} cannot be written: {law}", path.display())]
    Unlawful {
        /// The file.
        path: PathBuf,
        /// Index of the record, from 0.
        record: u64,
        /// The law that it breaks.
        law: Law,
    },
    /// The header is too long to be written.
    #[error("{}: the header takes {bytes} bytes, and {most} are the most that fit: shorten its notes", path.display())]
    HeaderTooLong {
        /// The file.
        path: PathBuf,
        /// Its length as text.
        bytes: usize,
        /// The longest that is allowed.
        most: u32,
    },
    /// The writer was used on after a write had failed.
    #[error("{}: an earlier write failed, the trace cannot be completed", path.display())]
    Spoiled {
        /// The file.
        path: PathBuf,
    },
    /// The output exists and is no regular file, so that it cannot be replaced.
    #[error("{}: exists and is not a regular file: name another output", path.display())]
    NotReplaceable {
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with a damaged part of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A checksum does not fit.
    #[error("the checksum of {0} does not fit")]
    Checksum(&'static str),
    /// The header's text cannot be understood.
    #[error("the header is not understood: {0}")]
    Header(String),
    /// Neither a chunk nor the end begins here.
    #[error("neither a chunk nor the end of the trace begins here")]
    Marker,
    /// A length is out of bounds.
    #[error("{what} of {found} is out of bounds ({most} at most)")]
    Length {
        /// The quantity.
        what: &'static str,
        /// What the file states.
        found: u64,
        /// What is allowed.
        most: u64,
    },
    /// A part does not continue where the part before it ended.
    #[error("{what} is {found} where {expected} follows from what stands before")]
    Sequence {
        /// The quantity.
        what: &'static str,
        /// What the file states.
        found: u64,
        /// What it must be.
        expected: u64,
    },
    /// The compressed bytes cannot be expanded.
    #[error("the chunk does not decompress: {0}")]
    Decompress(String),
    /// A record is cut off by its chunk's end.
    #[error("record {record} of the chunk: {problem}")]
    Record {
        /// Index of the record in its chunk, from 0.
        record: u64,
        /// What is wrong with it.
        problem: RecordFault,
    },
    /// A total in the summary is not what the records give.
    #[error("the summary states {name} = {found}, and the records give {expected}")]
    Summary {
        /// Field of the summary.
        name: &'static str,
        /// What the file states.
        found: u64,
        /// What its records give.
        expected: u64,
    },
    /// The index does not describe the chunks.
    #[error("entry {0} of the index does not describe its chunk")]
    Index(u64),
    /// Something stands after the trailer.
    #[error("bytes stand after the end of the trace")]
    Trailing,
}

/// What is wrong with one encoded record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The chunk ends inside it.
    #[error("cut off by the end of the chunk")]
    Cut,
    /// A number has more bits than it may.
    #[error("a number does not fit in its type")]
    Number,
    /// Its first byte, or a byte that selects a variant, has no meaning in this version.
    #[error("byte {0:#04x} has no meaning here")]
    Unknown(u8),
    /// It refers to an object that was never allocated.
    #[error("refers to an object that was never allocated")]
    Object,
    /// A name is not UTF-8.
    #[error("a name is not UTF-8")]
    Name,
    /// It breaks a law of traces.
    #[error(transparent)]
    Law(#[from] Law),
}

/// A law that every trace obeys, broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Law {
    /// Objects are numbered in the order of their allocation, without a gap.
    #[error("allocates object {found} where object {expected} is next")]
    ObjectOrder {
        /// The object allocated.
        found: u64,
        /// The one that comes next.
        expected: u64,
    },
    /// Only a live object can be freed, reallocated or worked on.
    #[error("frees, reallocates or works on object {0}, which is not live")]
    NotLive(u64),
    /// Work stays within its object.
    #[error("works on {bytes} bytes of object {object}, which has {size}")]
    Work {
        /// The object.
        object: u64,
        /// The bytes that are worked on.
        bytes: u64,
        /// The bytes that it has.
        size: u64,
    },
    /// Time does not go back.
    #[error("time goes back from {before} to {found} ns")]
    Time {
        /// Time of the record before.
        before: u64,
        /// Time of this one.
        found: u64,
    },
    /// Threads are numbered in the order of their first appearance, without a gap.
    #[error("thread {found} appears where a new thread is number {expected}")]
    ThreadOrder {
        /// The thread that appears.
        found: u32,
        /// The number of a new thread.
        expected: u32,
    },
    /// A thread does nothing after its end.
    #[error("thread {0} does something after its end")]
    ThreadEnded(u32),
    /// A thread starts once, before anything else that it does.
    #[error("thread {0} starts, and was there before")]
    ThreadRestarted(u32),
    /// An alignment is a power of two.
    #[error("alignment {0} is not a power of two")]
    Alignment(u64),
    /// A name has at most 255 bytes.
    #[error("a name has {0} bytes, and 255 are the most")]
    NameLength(u64),
}
