//! The command's own file: what it sees of the processes from outside, in order of time.
//!
//! ```text
//! head     magic 8 "HLRSAMP\n", version u32, 0 u32
//! record   kind u8, length u8 of what follows these two, then
//!   1  resident      time u64 us, pid u32, RssAnon u64 bytes
//!   2  thread name   time u64 us, pid u32, tid u32, name
//!   3  thread gone   time u64 us, pid u32, tid u32
//!   4  process gone  time u64 us, pid u32, status u32 as wait(2) gives it
//!   5  fact          pid u32, then `name=value`; pid 0: of the whole recording
//! ```
//!
//! A file that is cut off ends at its last whole record. Times are those of the ticks. Facts become notes
//! of the trace's header; `allocator.name`, `allocator.version` and `allocator.hash` become its allocator.
//!
//! A worked example, a resident sample of 8 KiB at 1.5 ms of process 4211:
//!
//! ```text
//! 01 14  dc 05 00 00 00 00 00 00  73 10 00 00  00 20 00 00 00 00 00 00
//! ```

use crate::{Fault, RAW_VERSION};

/// The fact of the recording, once for each time, that it was paused: the elapsed microseconds.
pub const PAUSED_FACT: &str = "paused_us";
/// The same of when it was continued.
pub const CONTINUED_FACT: &str = "continued_us";

/// The name of the file.
pub const SAMPLES_NAME: &str = "samples";

/// The longest record.
const RECORD_MOST_BYTES: usize = 2 + 255;
const MAGIC: [u8; 8] = *b"HLRSAMP\n";
const HEAD_BYTES: usize = 16;
const RESIDENT: u8 = 1;
const THREAD_NAME: u8 = 2;
const THREAD_GONE: u8 = 3;
const PROCESS_GONE: u8 = 4;
const FACT: u8 = 5;

/// A record of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleRecord<'a> {
    /// Anonymous resident memory of a process.
    Resident {
        /// When, in microseconds since the beginning.
        elapsed_us: u64,
        /// Of which process.
        pid: u32,
        /// Its `RssAnon`.
        resident_bytes: u64,
    },
    /// A thread has this name from here on.
    ThreadName {
        /// When it was seen.
        elapsed_us: u64,
        /// Of which process.
        pid: u32,
        /// The kernel's identifier of the thread.
        tid: u32,
        /// The name; cut to what fits.
        name: &'a [u8],
    },
    /// A thread is no longer there.
    ThreadGone {
        /// When it was missed.
        elapsed_us: u64,
        /// Of which process.
        pid: u32,
        /// The kernel's identifier of the thread.
        tid: u32,
    },
    /// A process is no longer there.
    ProcessGone {
        /// When it was missed.
        elapsed_us: u64,
        /// Which process.
        pid: u32,
        /// Its status as wait(2) gives it.
        status: u32,
    },
    /// Something known of a process, or of the recording.
    Fact {
        /// Of which process; 0: of the recording.
        pid: u32,
        /// `name=value`; cut to what fits.
        text: &'a [u8],
    },
}

/// The bytes that the file begins with.
pub const fn samples_head() -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    let mut at = 0;
    while at < 8 {
        head[at] = MAGIC[at];
        at += 1;
    }
    let version = RAW_VERSION.to_le_bytes();
    while at < 12 {
        head[at] = version[at - 8];
        at += 1;
    }
    head
}

/// Appends a record by `put`, in pieces.
pub fn write_sample(record: &SampleRecord<'_>, put: &mut dyn FnMut(&[u8])) {
    let head = |kind, length: usize, put: &mut dyn FnMut(&[u8])| put(&[kind, length as u8]);
    match *record {
        SampleRecord::Resident { elapsed_us, pid, resident_bytes } => {
            head(RESIDENT, 20, put);
            put(&elapsed_us.to_le_bytes());
            put(&pid.to_le_bytes());
            put(&resident_bytes.to_le_bytes());
        }
        SampleRecord::ThreadName { elapsed_us, pid, tid, name } => {
            let name = name.get(..RECORD_MOST_BYTES - 2 - 16).unwrap_or(name);
            head(THREAD_NAME, 16 + name.len(), put);
            put(&elapsed_us.to_le_bytes());
            put(&pid.to_le_bytes());
            put(&tid.to_le_bytes());
            put(name);
        }
        SampleRecord::ThreadGone { elapsed_us, pid, tid: number }
        | SampleRecord::ProcessGone { elapsed_us, pid, status: number } => {
            let is_thread = matches!(record, SampleRecord::ThreadGone { .. });
            head(if is_thread { THREAD_GONE } else { PROCESS_GONE }, 16, put);
            put(&elapsed_us.to_le_bytes());
            put(&pid.to_le_bytes());
            put(&number.to_le_bytes());
        }
        SampleRecord::Fact { pid, text } => {
            let text = text.get(..RECORD_MOST_BYTES - 2 - 4).unwrap_or(text);
            head(FACT, 4 + text.len(), put);
            put(&pid.to_le_bytes());
            put(text);
        }
    }
}

/// Reads the record at `*at` of the whole file's bytes and moves `*at` past it; `*at` begins at 0. None at
/// the end; `Fault::Cut` where the last record is not whole. A kind that is not known is passed over.
pub fn read_sample<'a>(file: &'a [u8], at: &mut usize) -> Result<Option<SampleRecord<'a>>, Fault> {
    if *at == 0 {
        check_head(file)?;
        *at = HEAD_BYTES;
    }
    loop {
        let rest = file.get(*at..).unwrap_or(&[]);
        let [kind, length, content @ ..] = rest else {
            return if rest.is_empty() { Ok(None) } else { Err(Fault::Cut) };
        };
        let content = content.get(..usize::from(*length)).ok_or(Fault::Cut)?;
        let found = parse(*kind, content)?;
        *at += 2 + content.len();
        if found.is_some() {
            return Ok(found);
        }
    }
}

fn check_head(file: &[u8]) -> Result<(), Fault> {
    if !file.starts_with(&MAGIC) {
        return Err(Fault::Magic { of: "the mark of a file of samples" });
    }
    let (found, _) = take_u32(file.get(8..).unwrap_or(&[]))?;
    if found != RAW_VERSION {
        return Err(Fault::Version { of: "the file of samples", found });
    }
    if file.len() < HEAD_BYTES { Err(Fault::Cut) } else { Ok(()) }
}

fn parse(kind: u8, content: &[u8]) -> Result<Option<SampleRecord<'_>>, Fault> {
    if kind == FACT {
        let (pid, text) = take_u32(content)?;
        return Ok(Some(SampleRecord::Fact { pid, text }));
    }
    if !(RESIDENT..=PROCESS_GONE).contains(&kind) {
        return Ok(None);
    }
    let (elapsed_us, rest) = take_u64(content)?;
    let (pid, rest) = take_u32(rest)?;
    if kind == RESIDENT {
        let (resident_bytes, _) = take_u64(rest)?;
        return Ok(Some(SampleRecord::Resident { elapsed_us, pid, resident_bytes }));
    }
    let (number, rest) = take_u32(rest)?;
    Ok(Some(match kind {
        THREAD_NAME => SampleRecord::ThreadName { elapsed_us, pid, tid: number, name: rest },
        THREAD_GONE => SampleRecord::ThreadGone { elapsed_us, pid, tid: number },
        _ => SampleRecord::ProcessGone { elapsed_us, pid, status: number },
    }))
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), Fault> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Fault::Cut)?;
    Ok((u32::from_le_bytes(*number), rest))
}

fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), Fault> {
    let (number, rest) = bytes.split_first_chunk().ok_or(Fault::Cut)?;
    Ok((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn write(records: &[SampleRecord<'_>]) -> Vec<u8> {
        let mut file = samples_head().to_vec();
        for record in records {
            write_sample(record, &mut |bytes| file.extend(bytes));
        }
        file
    }

    fn records() -> [SampleRecord<'static>; 5] {
        [
            SampleRecord::Resident { elapsed_us: 1500, pid: 4211, resident_bytes: 8192 },
            SampleRecord::ThreadName { elapsed_us: 2, pid: 3, tid: 4, name: b"pool-1" },
            SampleRecord::ThreadGone { elapsed_us: 5, pid: 6, tid: 7 },
            SampleRecord::ProcessGone { elapsed_us: 8, pid: 9, status: 256 },
            SampleRecord::Fact { pid: 0, text: b"thp=madvise" },
        ]
    }

    #[test]
    fn the_example_is_as_drawn() {
        let file = write(&records()[..1]);
        let drawn = [1, 0x14, 0xdc, 5, 0, 0, 0, 0, 0, 0, 0x73, 0x10, 0, 0, 0, 0x20, 0, 0, 0, 0, 0, 0];
        assert_eq!(file[HEAD_BYTES..], drawn);
    }

    #[test]
    fn records_come_back_and_an_unknown_kind_is_passed_over() {
        let mut file = write(&records());
        file.extend([99, 2, 0xff, 0xff]);
        write_sample(&records()[0], &mut |bytes| file.extend(bytes));
        let mut at = 0;
        for record in records().iter().chain(&records()[..1]) {
            assert_eq!(read_sample(&file, &mut at), Ok(Some(*record)));
        }
        assert_eq!(read_sample(&file, &mut at), Ok(None));
    }

    #[test]
    fn a_long_text_is_cut() {
        let long = [b'x'; 999];
        let file = write(&[SampleRecord::Fact { pid: 1, text: &long }]);
        let found = read_sample(&file, &mut 0);
        assert_eq!(found, Ok(Some(SampleRecord::Fact { pid: 1, text: &long[..251] })));
    }

    proptest! {
        #[test]
        fn a_cut_ends_at_a_whole_record(length in 0..140usize) {
            let file = write(&records());
            let cut = &file[..length.min(file.len())];
            let mut at = 0;
            let mut count = 0;
            while let Ok(Some(record)) = read_sample(cut, &mut at) {
                prop_assert_eq!(record, records()[count]);
                count += 1;
            }
        }

        #[test]
        fn any_bytes_are_answered(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = samples_head().to_vec();
            file.extend(tail);
            let mut at = 0;
            while let Ok(Some(_)) = read_sample(&file, &mut at) {}
            prop_assert!(at <= file.len());
        }
    }
}
