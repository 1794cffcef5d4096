//! What the recorder writes while a program runs, and the command beside it: bytes only, no I/O.
//!
//! A recording in progress is a directory. The command that records makes it, every recorded process
//! maps files of it shared, and nothing is ever flushed: what a process has stored is in the page cache,
//! and outlives the process, whatever ends it.
//!
//! ```text
//! NAME.raw/
//!   control           one page: the clock and the state, written by the command, read at every event
//!   PID-ORDINAL.raw   an image: what one process does between two execs; many threads, one file. Children that it
//!                     forks, and theirs, have images of their own in the same file
//!   PID-ORDINAL.copies  full buffers of that file, copied
//!   samples           what the command sees from outside: resident memory, names of threads
//!
//! an image's file     | head page 4 KiB | chunk | chunk | head page of a forked image | chunk | ...
//!                     lengths: multiples of 4 KiB
//! a file of copies    | chunk | chunk | ...
//! a chunk             | head 64 bytes | records of one thread | zeros |
//! ```
//!
//! The parts: `control` (the page that command and processes share), `image` (the first page of an image), `region` (its file, as it is carved), `name` (of files),
//! `full_buffer` (full buffers, told there), `chunk` (the head of a chunk), `event` (what is recorded), `encode` and `decode` (as bytes), `samples`
//! (the command's file). All numbers are little endian. Pages are given as words, so that they can be
//! shared: `&[AtomicU64]` where both sides write, plain words where one writes once.
//!
//! It is linked into other people's programs: no allocation, no standard library, nothing that panics.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod chunk;
mod control;
mod decode;
mod encode;
mod event;
mod fault;
mod full_buffer;
mod image;
mod name;
mod region;
mod samples;
mod sync;

pub use chunk::{CHUNK_BYTES, CHUNK_HEAD_BYTES, CHUNK_HEAD_WORDS, ChunkHead, FIRST_CHUNK_BYTES, checksum};
pub use control::{CONTROL_NAME, Control, State, Tick};
pub use decode::{Decoded, Decoder, decode};
pub use encode::{
    Encoded, RECORD_MOST_BYTES, RECORD_ROOM_BYTES, encode, encode_allocation, encode_free,
    encode_realloc_begin, encode_realloc_end,
};
pub use event::{Allocation, Call, Event, LARGE_BYTES, MarkKind};
pub use fault::Fault;
pub use full_buffer::{FullBuffer, Place};
pub use image::{Image, ImageHead, ImageId, ImageState, Text};
pub use name::{copies_name, image_name, parse_image_name};
pub use samples::{
    CONTINUED_FACT, PAUSED_FACT, SAMPLES_NAME, SampleRecord, read_sample, samples_head, write_sample,
};

/// Bytes of a page: the control page, an image's head, and the unit of a chunk's length.
pub const PAGE_BYTES: usize = 4096;

/// Words of a page.
pub const PAGE_WORDS: usize = PAGE_BYTES / 8;

/// Version of everything in the directory; it goes up with any change that an older reader would misread.
pub const RAW_VERSION: u32 = 7;
