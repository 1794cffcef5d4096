//! The fixed parts of a `.hlt` file: head, chunk heads, end and trailer. Bytes only, no I/O.
//!
//! All numbers are little endian. Each part has its own checksum (CRC-32 as in zlib), so that a
//! wrong length is told from a file that was cut off.
//!
//! ```text
//! head     magic            8   89 48 4c 54 0d 0a 1a 0a   (89 "HLT" CR LF 1a LF: shows what text mode breaks)
//!          version          4   1
//!          header length    4   n, at most 1 MiB
//!          header           n   TOML, see `Header`
//!          checksum         4   of everything before it
//!
//! chunk    marker           4   "CHNK"
//!          raw bytes        4   length once expanded, at most 64 MiB
//!          compressed bytes 4
//!          records          4   at least 1
//!          events           4   of them
//!          first event      8   index of the chunk's first event in the trace
//!          first time       8   ns, of the chunk's first record
//!          first object     8   the id that the chunk's first allocation brings
//!          threads          4   threads seen before the chunk
//!          payload checksum 4   of the compressed bytes
//!          head checksum    4   of the 52 bytes before it
//!          payload              one zstd frame; its content is drawn in `chunk.rs`
//!
//! end      marker           4   "HEND"
//!          summary length   4   8 a field
//!          summary checksum 4
//!          index entries    4   as many as there are chunks
//!          index checksum   4
//!          head checksum    4   of the 20 bytes before it
//!          summary              8 bytes a field, in the order of `Summary`; fields are appended, never removed:
//!                               a reader takes a missing one as 0 and passes over one that it does not know
//!          index                24 bytes a chunk: offset, first event, first time
//!
//! trailer  end's offset     8
//!          checksum         4   of the 8 bytes before it
//!          magic            8   "HLT-END" LF
//! ```
//!
//! A worked example, the trailer of a file whose end begins at byte 300 (12c in hexadecimal):
//!
//! ```text
//! 2c 01 00 00 00 00 00 00   c4 a3 8c 6d   48 4c 54 2d 45 4e 44 0a
//! ```

use crate::error::Fault;
use crate::header::Summary;

/// The newest version of the format, and the one that is written.
pub const FORMAT_VERSION: u32 = 1;

pub(crate) const MAGIC: [u8; 8] = *b"\x89HLT\r\n\x1a\n";
pub(crate) const HEAD_BYTES: usize = 16;
pub(crate) const HEADER_MOST_BYTES: u32 = 1 << 20;
pub(crate) const CHUNK_MARKER: [u8; 4] = *b"CHNK";
pub(crate) const CHUNK_HEAD_BYTES: usize = 56;
pub(crate) const CHUNK_MOST_RAW_BYTES: u32 = 64 << 20;
pub(crate) const END_MARKER: [u8; 4] = *b"HEND";
pub(crate) const END_HEAD_BYTES: usize = 24;
pub(crate) const SUMMARY_MOST_BYTES: u32 = 64 << 10;
pub(crate) const INDEX_ENTRY_BYTES: usize = 24;
pub(crate) const TRAILER_BYTES: usize = 20;
const TRAILER_MAGIC: [u8; 8] = *b"HLT-END\n";

/// The head of a chunk, its marker and checksums aside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ChunkHead {
    pub(crate) raw_bytes: u32,
    pub(crate) compressed_bytes: u32,
    pub(crate) records: u32,
    pub(crate) events: u32,
    pub(crate) first_event: u64,
    pub(crate) first_time_ns: u64,
    pub(crate) first_object: u64,
    pub(crate) threads: u32,
    pub(crate) payload_checksum: u32,
}

impl ChunkHead {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(CHUNK_HEAD_BYTES);
        out.extend(CHUNK_MARKER);
        for number in [self.raw_bytes, self.compressed_bytes, self.records, self.events] {
            out.extend(number.to_le_bytes());
        }
        for number in [self.first_event, self.first_time_ns, self.first_object] {
            out.extend(number.to_le_bytes());
        }
        out.extend(self.threads.to_le_bytes());
        out.extend(self.payload_checksum.to_le_bytes());
        seal(&mut out);
        out
    }

    /// Reads a head whose marker was found; `bytes` has its full length.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<ChunkHead, Fault> {
        check_seal(bytes, "the chunk's head")?;
        let head = ChunkHead {
            raw_bytes: u32_at(bytes, 4),
            compressed_bytes: u32_at(bytes, 8),
            records: u32_at(bytes, 12),
            events: u32_at(bytes, 16),
            first_event: u64_at(bytes, 20),
            first_time_ns: u64_at(bytes, 28),
            first_object: u64_at(bytes, 36),
            threads: u32_at(bytes, 44),
            payload_checksum: u32_at(bytes, 48),
        };
        let bounds = [
            ("the chunk's expanded length", head.raw_bytes, CHUNK_MOST_RAW_BYTES),
            // What zstd may need at worst is a little more than the input.
            ("the chunk's compressed length", head.compressed_bytes, CHUNK_MOST_RAW_BYTES + (1 << 20)),
            ("the chunk's record count", head.records, head.raw_bytes),
            ("the chunk's event count", head.events, head.records),
        ];
        for (what, found, most) in bounds {
            if found > most {
                return Err(Fault::Length { what, found: u64::from(found), most: u64::from(most) });
            }
        }
        if head.records == 0 {
            return Err(Fault::Sequence { what: "the chunk's record count", found: 0, expected: 1 });
        }
        Ok(head)
    }
}

/// The head of the end, its marker and own checksum aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndHead {
    pub(crate) summary_bytes: u32,
    pub(crate) summary_checksum: u32,
    pub(crate) index_entries: u32,
    pub(crate) index_checksum: u32,
}

impl EndHead {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(END_HEAD_BYTES);
        out.extend(END_MARKER);
        for number in [self.summary_bytes, self.summary_checksum, self.index_entries, self.index_checksum] {
            out.extend(number.to_le_bytes());
        }
        seal(&mut out);
        out
    }

    /// Reads a head whose marker was found; `bytes` has its full length.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<EndHead, Fault> {
        check_seal(bytes, "the end's head")?;
        let head = EndHead {
            summary_bytes: u32_at(bytes, 4),
            summary_checksum: u32_at(bytes, 8),
            index_entries: u32_at(bytes, 12),
            index_checksum: u32_at(bytes, 16),
        };
        if head.summary_bytes > SUMMARY_MOST_BYTES || !head.summary_bytes.is_multiple_of(8) {
            let found = u64::from(head.summary_bytes);
            return Err(Fault::Length {
                what: "the summary's length",
                found,
                most: u64::from(SUMMARY_MOST_BYTES),
            });
        }
        Ok(head)
    }
}

/// Where a chunk is: an entry of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    pub(crate) offset: u64,
    pub(crate) first_event: u64,
    pub(crate) first_time_ns: u64,
}

impl IndexEntry {
    pub(crate) fn to_bytes(self) -> [u8; INDEX_ENTRY_BYTES] {
        let mut out = [0; INDEX_ENTRY_BYTES];
        out[..8].copy_from_slice(&self.offset.to_le_bytes());
        out[8..16].copy_from_slice(&self.first_event.to_le_bytes());
        out[16..].copy_from_slice(&self.first_time_ns.to_le_bytes());
        out
    }
}

pub(crate) fn trailer_to_bytes(end_offset: u64) -> Vec<u8> {
    let mut out = end_offset.to_le_bytes().to_vec();
    seal(&mut out);
    out.extend(TRAILER_MAGIC);
    out
}

/// The end's offset that a trailer states; none if these bytes are no trailer.
pub(crate) fn trailer_from_bytes(bytes: &[u8]) -> Option<u64> {
    if bytes.len() != TRAILER_BYTES || bytes[12..] != TRAILER_MAGIC || check_seal(&bytes[..12], "").is_err() {
        return None;
    }
    Some(u64_at(bytes, 0))
}

/// Appends the checksum of what `out` holds.
pub(crate) fn seal(out: &mut Vec<u8>) {
    let checksum = crc32fast::hash(out);
    out.extend(checksum.to_le_bytes());
}

/// Checks the checksum in the last four of `bytes`.
pub(crate) fn check_seal(bytes: &[u8], of: &'static str) -> Result<(), Fault> {
    let (content, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32fast::hash(content) != u32_at(checksum, 0) {
        return Err(Fault::Checksum(of));
    }
    Ok(())
}

/// The number at `at`; the caller has checked the length.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// The number at `at`; the caller has checked the length.
pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Writes the fields down once, so that their order in the file, their names in messages and the
/// structure cannot part ways.
macro_rules! summary_fields {
    ($($field:ident),+ $(,)?) => {
        pub(crate) const SUMMARY_NAMES: &[&str] = &[$(stringify!($field)),+];

        pub(crate) fn summary_to_numbers(summary: &Summary) -> Vec<u64> {
            // No `..`: a new field that is not listed below does not compile.
            let Summary { $($field),+ } = *summary;
            vec![$($field),+]
        }

        pub(crate) fn summary_from_bytes(bytes: &[u8]) -> Summary {
            let mut numbers = bytes.chunks_exact(8).map(|number| u64_at(number, 0));
            Summary { $($field: numbers.next().unwrap_or(0)),+ }
        }
    };
}

// Appended, never reordered: this order is the file's.
summary_fields!(
    events,
    threads,
    malloc,
    calloc,
    aligned_alloc,
    realloc,
    realloc_null,
    free,
    free_null,
    thread_starts,
    thread_ends,
    failed,
    unseen_frees,
    cross_thread,
    objects,
    live_at_end,
    live_at_end_bytes,
    requested_peak_bytes,
    first_time_ns,
    last_time_ns,
    resident_samples,
    times_raised,
    frees_hoisted,
    frees_missed,
    lost,
    unseen_reallocs,
    order_guessed,
    touched,
    touched_bytes,
    touched_of_bytes,
    resident_mean_bytes,
    explained_mean_bytes,
    resident_peak_bytes,
    explained_at_peak_bytes,
);

pub(crate) fn summary_to_bytes(summary: &Summary) -> Vec<u8> {
    summary_to_numbers(summary).into_iter().flat_map(u64::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trailer_is_as_drawn() {
        let bytes = trailer_to_bytes(300);
        let drawn = "2c 01 00 00 00 00 00 00 c4 a3 8c 6d 48 4c 54 2d 45 4e 44 0a";
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex.join(" "), drawn);
        assert_eq!(trailer_from_bytes(&bytes), Some(300));
    }

    #[test]
    fn heads_have_their_stated_length_and_come_back() {
        let head = ChunkHead {
            raw_bytes: 9,
            compressed_bytes: 8,
            records: 3,
            events: 2,
            threads: 1,
            ..ChunkHead::default()
        };
        assert_eq!(head.to_bytes().len(), CHUNK_HEAD_BYTES);
        assert_eq!(ChunkHead::from_bytes(&head.to_bytes()), Ok(head));
        let end = EndHead { summary_bytes: 8, summary_checksum: 2, index_entries: 3, index_checksum: 4 };
        assert_eq!(end.to_bytes().len(), END_HEAD_BYTES);
        assert_eq!(EndHead::from_bytes(&end.to_bytes()), Ok(end));
    }

    #[test]
    fn a_hostile_length_is_refused_though_its_checksum_fits() {
        let head = ChunkHead { raw_bytes: u32::MAX, records: 1, ..ChunkHead::default() };
        assert!(matches!(ChunkHead::from_bytes(&head.to_bytes()), Err(Fault::Length { .. })));
    }

    #[test]
    fn a_summary_of_fewer_or_more_fields_is_read() {
        let summary = Summary { events: 7, unseen_reallocs: 3, ..Summary::default() };
        let mut bytes = summary_to_bytes(&summary);
        assert_eq!(bytes.len(), 8 * SUMMARY_NAMES.len());
        bytes.extend([0xff; 8]);
        assert_eq!(summary_from_bytes(&bytes), summary);
        assert_eq!(summary_from_bytes(&bytes[..8]), Summary { events: 7, ..Summary::default() });
    }
}
