//! Writing a trace: records in, a `.hlt` stream out.
//!
//! Every record is checked against the laws of traces before it is encoded, so that no reader meets an
//! unlawful trace by a fault of ours. Memory: one chunk, the live objects, the index.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::chunk::{self, State};
use crate::error::TraceError;
use crate::layout::{self, ChunkHead, EndHead, IndexEntry};
use crate::tally::Tally;
use crate::{Header, Record, Summary};

/// A chunk ends at this many records...
// PERF: chunks of 16 Ki records made files 1 to 7 % larger; larger chunks lose more when a file is cut off.
const CHUNK_RECORDS: u32 = 64 << 10;
/// ...or at this many bytes, whichever is first.
const CHUNK_RAW_BYTES: usize = 1 << 20;
// PERF: level 3 made files 4 to 7 % smaller, and an import 4 to 26 % slower.
const ZSTD_LEVEL: i32 = 1;

/// Totals that only the source of a trace can know, because they tell of its repairs and losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceCounts {
    /// See [`Summary::times_raised`].
    pub times_raised: u64,
    /// See [`Summary::frees_hoisted`].
    pub frees_hoisted: u64,
    /// See [`Summary::unseen_reallocs`].
    pub unseen_reallocs: u64,
    /// See [`Summary::lost`].
    pub lost: u64,
    /// See [`Summary::order_guessed`].
    pub order_guessed: u64,
}

impl SourceCounts {
    /// These counts of a summary.
    pub(crate) fn of(summary: &Summary) -> SourceCounts {
        SourceCounts {
            times_raised: summary.times_raised,
            frees_hoisted: summary.frees_hoisted,
            unseen_reallocs: summary.unseen_reallocs,
            lost: summary.lost,
            order_guessed: summary.order_guessed,
        }
    }

    /// The summary with these counts in it.
    pub(crate) fn put_into(self, summary: Summary) -> Summary {
        let SourceCounts { times_raised, frees_hoisted, unseen_reallocs, lost, order_guessed } = self;
        Summary { times_raised, frees_hoisted, unseen_reallocs, lost, order_guessed, ..summary }
    }
}

/// Writes a trace to anything that takes bytes.
///
/// For a file use [`TraceFile`](crate::TraceFile), which also makes it appear only when complete.
///
/// ```
/// use heaplab_trace::{Action, Event, Header, Record, TraceReader, TraceWriter};
///
/// let mut bytes = Vec::new();
/// let mut writer = TraceWriter::new(&mut bytes, &Header { source: "example".into(), ..Header::default() })?;
/// let actions = [Action::Malloc { object: 0, size: 48 }, Action::Free { object: 0 }];
/// for (index, action) in actions.into_iter().enumerate() {
///     writer.push(&Record::Event(Event { time_ns: index as u64, thread: 0, action }))?;
/// }
/// let summary = writer.finish()?;
/// assert_eq!((summary.malloc, summary.free, summary.live_at_end), (1, 1, 0));
///
/// let mut reader = TraceReader::new(bytes.as_slice())?;
/// assert_eq!(reader.header().source, "example");
/// let mut events = 0;
/// while let Some(record) = reader.read_record()? {
///     events += u64::from(matches!(record, Record::Event(_)));
/// }
/// assert_eq!(events, 2);
/// assert_eq!(reader.truncated(), None);
/// # Ok::<(), heaplab_trace::TraceError>(())
/// ```
pub struct TraceWriter<W: Write> {
    output: W,
    path: PathBuf,
    offset: u64,
    tally: Tally,
    state: State,
    /// The open chunk's head; its lengths and checksums are set when it is closed.
    head: ChunkHead,
    raw: Vec<u8>,
    compressor: zstd::bulk::Compressor<'static>,
    index: Vec<IndexEntry>,
    source_counts: SourceCounts,
    spoiled: bool,
}

impl<W: Write> TraceWriter<W> {
    /// Begins a trace on `output` with `header`.
    pub fn new(output: W, header: &Header) -> Result<TraceWriter<W>, TraceError> {
        TraceWriter::with_path(output, header, Path::new("<trace>"))
    }

    /// As [`new`](TraceWriter::new), with the name that errors give to the output.
    pub(crate) fn with_path(output: W, header: &Header, path: &Path) -> Result<TraceWriter<W>, TraceError> {
        let path = path.to_path_buf();
        let compressor = match zstd::bulk::Compressor::new(ZSTD_LEVEL) {
            Ok(compressor) => compressor,
            Err(source) => return Err(TraceError::Io { path, doing: "compress", source }),
        };
        let mut writer = TraceWriter {
            output,
            path,
            offset: 0,
            tally: Tally::default(),
            state: State::default(),
            head: ChunkHead::default(),
            raw: Vec::new(),
            compressor,
            index: Vec::new(),
            source_counts: SourceCounts::default(),
            spoiled: false,
        };
        let head = writer.encode_header(header)?;
        writer.write(&head)?;
        Ok(writer)
    }

    /// Appends `record`. One that breaks a law of traces is refused, and the trace is as it was.
    pub fn push(&mut self, record: &Record) -> Result<(), TraceError> {
        if self.spoiled {
            return Err(TraceError::Spoiled { path: self.path.clone() });
        }
        if self.head.records == 0 {
            self.begin_chunk(record);
        }
        if let Err(law) = self.tally.push(record) {
            return Err(TraceError::Unlawful { path: self.path.clone(), record: self.tally.records(), law });
        }
        chunk::encode(record, &mut self.state, &mut self.raw);
        self.head.records += 1;
        if self.head.records >= CHUNK_RECORDS || self.raw.len() >= CHUNK_RAW_BYTES {
            self.close_chunk()?;
        }
        Ok(())
    }

    /// Closes the open chunk and flushes the output: what was pushed so far can be read even if
    /// nothing is written any more. Many small chunks make a large file.
    pub fn flush(&mut self) -> Result<(), TraceError> {
        self.close_chunk()?;
        let flushed = self.output.flush();
        self.check(flushed)
    }

    /// Sets the totals that only the source knows; the last call counts.
    pub fn set_source_counts(&mut self, counts: SourceCounts) {
        self.source_counts = counts;
    }

    /// The totals so far.
    pub fn summary(&self) -> Summary {
        self.source_counts.put_into(self.tally.summary())
    }

    /// Writes what is still open, the summary and the index, and flushes the output.
    pub fn finish(self) -> Result<Summary, TraceError> {
        self.close().map(|(summary, _)| summary)
    }

    /// As [`finish`](TraceWriter::finish), giving the output back.
    pub(crate) fn close(mut self) -> Result<(Summary, W), TraceError> {
        if self.spoiled {
            return Err(TraceError::Spoiled { path: self.path });
        }
        self.close_chunk()?;
        let end_offset = self.offset;
        let summary = self.summary();
        let summary_bytes = layout::summary_to_bytes(&summary);
        let index_bytes: Vec<u8> = self.index.iter().flat_map(|entry| entry.to_bytes()).collect();
        let head = EndHead {
            summary_bytes: summary_bytes.len() as u32,
            summary_checksum: crc32fast::hash(&summary_bytes),
            index_entries: self.index.len() as u32,
            index_checksum: crc32fast::hash(&index_bytes),
        };
        self.write(&head.to_bytes())?;
        self.write(&summary_bytes)?;
        self.write(&index_bytes)?;
        self.write(&layout::trailer_to_bytes(end_offset))?;
        let flushed = self.output.flush();
        self.check(flushed)?;
        Ok((summary, self.output))
    }

    fn encode_header(&self, header: &Header) -> Result<Vec<u8>, TraceError> {
        let text = toml::to_string(header).map_err(|error| TraceError::Io {
            path: self.path.clone(),
            doing: "encode the header of",
            source: io::Error::other(error),
        })?;
        if text.len() > layout::HEADER_MOST_BYTES as usize {
            let (path, bytes) = (self.path.clone(), text.len());
            return Err(TraceError::HeaderTooLong { path, bytes, most: layout::HEADER_MOST_BYTES });
        }
        let mut head = layout::MAGIC.to_vec();
        head.extend(layout::FORMAT_VERSION.to_le_bytes());
        head.extend((text.len() as u32).to_le_bytes());
        head.extend(text.as_bytes());
        layout::seal(&mut head);
        Ok(head)
    }

    fn begin_chunk(&mut self, first: &Record) {
        let time_ns = match first {
            Record::Event(event) => event.time_ns,
            Record::Resident(sample) => sample.time_ns,
            Record::Mark(mark) => mark.time_ns,
            Record::ThreadName { .. } => self.state.time_ns,
        };
        self.head = ChunkHead {
            first_event: self.tally.events(),
            first_time_ns: time_ns,
            first_object: self.tally.objects(),
            threads: self.tally.threads(),
            ..ChunkHead::default()
        };
        self.state =
            State { time_ns, thread: 0, next_object: self.head.first_object, threads: self.head.threads };
    }

    fn close_chunk(&mut self) -> Result<(), TraceError> {
        if self.head.records == 0 {
            return Ok(());
        }
        let compressed = self.compressor.compress(&self.raw);
        let compressed = self.check(compressed)?;
        self.head.raw_bytes = self.raw.len() as u32;
        self.head.compressed_bytes = compressed.len() as u32;
        self.head.events = (self.tally.events() - self.head.first_event) as u32;
        self.head.payload_checksum = crc32fast::hash(&compressed);
        self.index.push(IndexEntry {
            offset: self.offset,
            first_event: self.head.first_event,
            first_time_ns: self.head.first_time_ns,
        });
        self.write(&self.head.to_bytes())?;
        self.write(&compressed)?;
        self.raw.clear();
        self.head.records = 0;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TraceError> {
        let written = self.output.write_all(bytes);
        self.check(written)?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    fn check<T>(&mut self, result: io::Result<T>) -> Result<T, TraceError> {
        result.map_err(|source| {
            self.spoiled = true;
            TraceError::Io { path: self.path.clone(), doing: "write", source }
        })
    }
}
