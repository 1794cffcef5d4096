//! Reading a trace: a `.hlt` stream in, records out.
//!
//! One chunk is held at a time. Every length is checked before anything is allocated for it, and
//! what is read grows with what is really there, so that a hostile file can neither exhaust memory
//! nor make the reader panic. A file that was cut off gives its whole chunks and then says so; a
//! part that is there and wrong is an error.

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::chunk::{self, State};
use crate::error::{Fault, Law, RecordFault, TraceError};
use crate::layout::{self, ChunkHead, EndHead, IndexEntry};
use crate::{Header, Record, Summary};

/// Stands in messages for the path of a trace that is read from no file.
const IN_MEMORY: &str = "<trace>";

/// Where a trace was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// Where its whole part ends, in bytes: everything after was lost or is of no use.
    pub offset: u64,
    /// Bytes that the file has.
    pub file_bytes: u64,
    /// Whole chunks before the cut.
    pub chunks: u64,
    /// Events in them.
    pub events: u64,
}

/// Reads a trace as a stream of records.
///
/// An error ends the stream: after it there are no more records.
///
/// ```no_run
/// use heaplab_trace::{Record, TraceReader};
///
/// let mut reader = TraceReader::open("program.hlt".as_ref())?;
/// while let Some(record) = reader.read_record()? {
///     if let Record::Event(event) = record {
///         println!("{} {:?}", event.time_ns, event.action);
///     }
/// }
/// if let Some(cut) = reader.truncated() {
///     eprintln!("cut off at byte {}: {} events read", cut.offset, cut.events);
/// }
/// # Ok::<(), heaplab_trace::TraceError>(())
/// ```
pub struct TraceReader<R> {
    input: R,
    path: PathBuf,
    header: Header,
    /// Bytes taken from `input`.
    offset: u64,
    /// Where the part that is being read begins.
    part_offset: u64,
    head: ChunkHead,
    state: State,
    raw: Vec<u8>,
    at: usize,
    records_left: u32,
    events_in_chunk: u32,
    /// Events in the chunks before this one.
    events: u64,
    buffer: Vec<u8>,
    decompressor: zstd::bulk::Decompressor<'static>,
    // 24 bytes for some 65,000 events: held to be compared with the file's index.
    index: Vec<IndexEntry>,
    end: Option<End>,
    /// How many fields the summary at the end has; later versions have more.
    summary_fields: usize,
}

enum End {
    Whole(Box<Summary>),
    Cut(Truncation),
    Failed,
}

impl TraceReader<BufReader<File>> {
    /// Opens the trace at `path` and reads its header.
    pub fn open(path: &Path) -> Result<Self, TraceError> {
        let file = File::open(path).map_err(|source| fail(path, "open", source))?;
        TraceReader::with_path(BufReader::with_capacity(1 << 16, file), path)
    }
}

impl<R: Read> TraceReader<R> {
    /// Reads the header of the trace on `input`.
    pub fn new(input: R) -> Result<Self, TraceError> {
        TraceReader::with_path(input, Path::new(IN_MEMORY))
    }

    fn with_path(input: R, path: &Path) -> Result<Self, TraceError> {
        let decompressor = zstd::bulk::Decompressor::new().map_err(|source| fail(path, "expand", source))?;
        let mut reader = TraceReader {
            input,
            path: path.to_path_buf(),
            header: Header::default(),
            offset: 0,
            part_offset: 0,
            head: ChunkHead::default(),
            state: State::default(),
            raw: Vec::new(),
            at: 0,
            records_left: 0,
            events_in_chunk: 0,
            events: 0,
            buffer: Vec::new(),
            decompressor,
            index: Vec::new(),
            end: None,
            summary_fields: 0,
        };
        reader.header = reader.read_header()?;
        Ok(reader)
    }

    /// What the trace says of itself.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Where the trace was cut off; none if it is whole, and none before its last record was read.
    pub fn truncated(&self) -> Option<Truncation> {
        match self.end {
            Some(End::Cut(truncation)) => Some(truncation),
            _ => None,
        }
    }

    /// How many fields the summary at the end states, in their order.
    pub(crate) fn summary_fields(&self) -> usize {
        self.summary_fields
    }

    /// The summary at the end; none if the trace was cut off, and none before its last record was read.
    pub fn summary(&self) -> Option<Summary> {
        match &self.end {
            Some(End::Whole(summary)) => Some(**summary),
            _ => None,
        }
    }

    /// Chunks begun so far.
    pub fn chunks(&self) -> u64 {
        self.index.len() as u64
    }

    /// Bytes taken from the input so far: what a progress bar shows.
    pub fn bytes_read(&self) -> u64 {
        self.offset
    }

    /// The next record; none at the end.
    #[inline]
    pub fn read_record(&mut self) -> Result<Option<Record>, TraceError> {
        if self.records_left == 0 && !self.begin_chunk()? {
            return Ok(None);
        }
        match self.decode_record() {
            Ok(record) => Ok(Some(record)),
            Err(problem) => Err(self.record_fault(problem)),
        }
    }

    #[inline]
    fn decode_record(&mut self) -> Result<Record, RecordFault> {
        let record = chunk::decode(&self.raw, &mut self.at, &mut self.state)?;
        self.records_left -= 1;
        if let Record::Event(event) = &record {
            self.events_in_chunk += u32::from(event.action.is_event());
        }
        if self.records_left == 0 && self.at != self.raw.len() {
            return Err(RecordFault::Unknown(self.raw[self.at]));
        }
        Ok(record)
    }

    /// Makes the next chunk the open one; false at the end.
    fn begin_chunk(&mut self) -> Result<bool, TraceError> {
        if self.end.is_some() {
            return Ok(false);
        }
        let begun = self.close_chunk().and_then(|()| self.read_part());
        if begun.is_err() {
            self.end = Some(End::Failed);
        }
        begun
    }

    /// Checks what can be known only after a chunk's last record.
    fn close_chunk(&mut self) -> Result<(), TraceError> {
        if self.head.events != self.events_in_chunk {
            let (found, expected) = (self.head.events.into(), self.events_in_chunk.into());
            return Err(self.chunk_fault(Fault::Sequence {
                what: "the chunk's event count",
                found,
                expected,
            }));
        }
        self.events += u64::from(self.events_in_chunk);
        self.events_in_chunk = 0;
        self.head.events = 0;
        Ok(())
    }

    /// Reads a chunk and opens it, or the end; false if there is no chunk.
    fn read_part(&mut self) -> Result<bool, TraceError> {
        self.part_offset = self.offset;
        if !self.fill(4)? {
            return self.cut();
        }
        if self.buffer == layout::END_MARKER {
            return self.read_end();
        }
        if self.buffer != layout::CHUNK_MARKER {
            // The first bytes of a part may be all that is left of the file: they are then a cut, above.
            return Err(self.chunk_fault(Fault::Marker));
        }
        if !self.fill_more(layout::CHUNK_HEAD_BYTES - 4)? {
            return self.cut();
        }
        let head = ChunkHead::from_bytes(&self.buffer).map_err(|fault| self.chunk_fault(fault))?;
        self.check_sequence(&head)?;
        if !self.fill(head.compressed_bytes as usize)? {
            return self.cut();
        }
        if crc32fast::hash(&self.buffer) != head.payload_checksum {
            return Err(self.chunk_fault(Fault::Checksum("the chunk's payload")));
        }
        self.expand(&head)?;
        self.open_chunk(head);
        Ok(true)
    }

    fn check_sequence(&self, head: &ChunkHead) -> Result<(), TraceError> {
        let continuations = [
            ("the chunk's first event", head.first_event, self.events),
            ("the chunk's first object", head.first_object, self.state.next_object),
            ("the chunk's thread count", head.threads.into(), self.state.threads.into()),
        ];
        for (what, found, expected) in continuations {
            if found != expected {
                return Err(self.chunk_fault(Fault::Sequence { what, found, expected }));
            }
        }
        if head.first_time_ns < self.state.time_ns {
            let law = Law::Time { before: self.state.time_ns, found: head.first_time_ns };
            return Err(self.chunk_fault(Fault::Record { record: 0, problem: RecordFault::Law(law) }));
        }
        Ok(())
    }

    fn expand(&mut self, head: &ChunkHead) -> Result<(), TraceError> {
        let raw_bytes = head.raw_bytes as usize;
        self.raw.clear();
        // At most 64 MiB, which the head was checked for; zstd writes no further than the capacity.
        self.raw.reserve_exact(raw_bytes);
        if let Err(error) = self.decompressor.decompress_to_buffer(&self.buffer, &mut self.raw) {
            return Err(self.chunk_fault(Fault::Decompress(error.to_string())));
        }
        if self.raw.len() != raw_bytes {
            let (found, expected) = (self.raw.len() as u64, raw_bytes as u64);
            return Err(self.chunk_fault(Fault::Sequence {
                what: "the chunk's content length",
                found,
                expected,
            }));
        }
        Ok(())
    }

    fn open_chunk(&mut self, head: ChunkHead) {
        self.index.push(IndexEntry {
            offset: self.part_offset,
            first_event: head.first_event,
            first_time_ns: head.first_time_ns,
        });
        self.state.time_ns = head.first_time_ns;
        self.state.thread = 0;
        self.at = 0;
        self.records_left = head.records;
        self.head = head;
    }

    fn read_end(&mut self) -> Result<bool, TraceError> {
        if !self.fill_more(layout::END_HEAD_BYTES - 4)? {
            return self.cut();
        }
        let head = EndHead::from_bytes(&self.buffer).map_err(|fault| self.end_fault(fault))?;
        if head.index_entries as usize != self.index.len() {
            let (found, expected) = (head.index_entries.into(), self.index.len() as u64);
            return Err(self.end_fault(Fault::Sequence { what: "the index's length", found, expected }));
        }
        if !self.fill(head.summary_bytes as usize)? {
            return self.cut();
        }
        if crc32fast::hash(&self.buffer) != head.summary_checksum {
            return Err(self.end_fault(Fault::Checksum("the summary")));
        }
        let summary = layout::summary_from_bytes(&self.buffer);
        self.summary_fields = self.buffer.len() / 8;
        if !self.fill(self.index.len() * layout::INDEX_ENTRY_BYTES)? {
            return self.cut();
        }
        self.check_index(&head)?;
        if !self.fill(layout::TRAILER_BYTES)? {
            return self.cut();
        }
        if layout::trailer_from_bytes(&self.buffer) != Some(self.part_offset) {
            return Err(self.end_fault(Fault::Checksum("the trailer")));
        }
        if self.fill(1)? {
            return Err(self.end_fault(Fault::Trailing));
        }
        self.end = Some(End::Whole(Box::new(summary)));
        Ok(false)
    }

    fn check_index(&self, head: &EndHead) -> Result<(), TraceError> {
        if crc32fast::hash(&self.buffer) != head.index_checksum {
            return Err(self.end_fault(Fault::Checksum("the index")));
        }
        let stated = self.buffer.chunks_exact(layout::INDEX_ENTRY_BYTES);
        for (number, (stated, seen)) in stated.zip(&self.index).enumerate() {
            if stated != seen.to_bytes() {
                return Err(self.end_fault(Fault::Index(number as u64)));
            }
        }
        Ok(())
    }

    fn read_header(&mut self) -> Result<Header, TraceError> {
        let whole = self.fill(layout::HEAD_BYTES)?;
        let magic_bytes = self.buffer.len().min(layout::MAGIC.len());
        if magic_bytes == 0 || self.buffer[..magic_bytes] != layout::MAGIC[..magic_bytes] {
            return Err(TraceError::NotATrace { path: self.path.clone() });
        }
        if !whole {
            return Err(self.cut_in_header());
        }
        let found = layout::u32_at(&self.buffer, 8);
        if found > layout::FORMAT_VERSION {
            return Err(TraceError::Version {
                path: self.path.clone(),
                found,
                known: layout::FORMAT_VERSION,
            });
        }
        let length = layout::u32_at(&self.buffer, 12);
        if length > layout::HEADER_MOST_BYTES || found == 0 {
            let most = layout::HEADER_MOST_BYTES.into();
            return Err(self.end_fault(Fault::Length {
                what: "the header's length",
                found: length.into(),
                most,
            }));
        }
        if !self.fill_more(length as usize + 4)? {
            return Err(self.cut_in_header());
        }
        layout::check_seal(&self.buffer, "the header").map_err(|fault| self.end_fault(fault))?;
        let text = &self.buffer[layout::HEAD_BYTES..self.buffer.len() - 4];
        let understood = std::str::from_utf8(text).map_err(|error| error.to_string());
        understood
            .and_then(|text| toml::from_str(text).map_err(|error| error.to_string()))
            .map_err(|text| self.end_fault(Fault::Header(text)))
    }

    fn cut(&mut self) -> Result<bool, TraceError> {
        self.end = Some(End::Cut(Truncation {
            offset: self.part_offset,
            file_bytes: self.offset,
            chunks: self.chunks(),
            events: self.events,
        }));
        Ok(false)
    }

    /// Reads `length` bytes into the buffer; false, with what there was, if the input ends before.
    fn fill(&mut self, length: usize) -> Result<bool, TraceError> {
        self.buffer.clear();
        self.fill_more(length)
    }

    /// As [`fill`](Self::fill), after what the buffer holds.
    fn fill_more(&mut self, length: usize) -> Result<bool, TraceError> {
        // `read_to_end` grows the buffer with what arrives, not with what was promised.
        let read = self.input.by_ref().take(length as u64).read_to_end(&mut self.buffer);
        let read = read.map_err(|source| fail(&self.path, "read", source))?;
        self.offset += read as u64;
        Ok(read == length)
    }

    fn cut_in_header(&self) -> TraceError {
        TraceError::CutInHeader { path: self.path.clone(), offset: self.offset }
    }

    fn record_fault(&mut self, problem: RecordFault) -> TraceError {
        self.records_left = 0;
        self.end = Some(End::Failed);
        self.chunk_fault(Fault::Record { record: self.record_in_chunk(), problem })
    }

    /// Index in its chunk of the record that was read last.
    pub(crate) fn record_in_chunk(&self) -> u64 {
        u64::from(self.head.records.saturating_sub(self.records_left).saturating_sub(1))
    }

    /// An error in the chunk that is open, or that is being opened.
    pub(crate) fn chunk_fault(&self, fault: Fault) -> TraceError {
        TraceError::Damaged { path: self.path.clone(), offset: self.part_offset, fault }
    }

    /// An error in the header or in the end.
    pub(crate) fn end_fault(&self, fault: Fault) -> TraceError {
        self.chunk_fault(fault)
    }
}

impl<R: Read> Iterator for TraceReader<R> {
    type Item = Result<Record, TraceError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.read_record().transpose()
    }
}

/// The summary of the trace at `path`, without reading its chunks; none if the file was cut off.
pub fn summary(path: &Path) -> Result<Option<Summary>, TraceError> {
    // The header tells a trace from anything else, and its version.
    TraceReader::open(path)?;
    let file = File::open(path).map_err(|source| fail(path, "open", source))?;
    find_summary(file, path)
}

/// [`summary`] of a trace that lies in memory.
pub fn summary_of_bytes(trace: &[u8]) -> Result<Option<Summary>, TraceError> {
    TraceReader::new(trace)?;
    find_summary(Cursor::new(trace), Path::new(IN_MEMORY))
}

fn find_summary(mut file: impl Read + Seek, path: &Path) -> Result<Option<Summary>, TraceError> {
    let read = |source| fail(path, "read", source);
    let file_bytes = file.seek(SeekFrom::End(0)).map_err(read)?;
    let Some(trailer_offset) = file_bytes.checked_sub(layout::TRAILER_BYTES as u64) else { return Ok(None) };
    let trailer = read_at(&mut file, trailer_offset, layout::TRAILER_BYTES).map_err(read)?;
    let Some(end_offset) = layout::trailer_from_bytes(&trailer) else { return Ok(None) };
    let damaged = |fault| TraceError::Damaged { path: path.to_path_buf(), offset: end_offset, fault };
    let head = read_at(&mut file, end_offset, layout::END_HEAD_BYTES).map_err(read)?;
    if head.len() < layout::END_HEAD_BYTES || head[..4] != layout::END_MARKER {
        return Err(damaged(Fault::Marker));
    }
    let head = EndHead::from_bytes(&head).map_err(damaged)?;
    let summary_offset = end_offset + layout::END_HEAD_BYTES as u64;
    let bytes = read_at(&mut file, summary_offset, head.summary_bytes as usize).map_err(read)?;
    if crc32fast::hash(&bytes) != head.summary_checksum {
        return Err(damaged(Fault::Checksum("the summary")));
    }
    Ok(Some(layout::summary_from_bytes(&bytes)))
}

/// Up to `length` bytes at `offset`; fewer where the file ends.
fn read_at(file: &mut (impl Read + Seek), offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn fail(path: &Path, doing: &'static str, source: std::io::Error) -> TraceError {
    TraceError::Io { path: path.to_path_buf(), doing, source }
}
