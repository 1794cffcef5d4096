//! Reading a whole trace to see whether it is what it says.

use std::path::Path;

use crate::error::{Fault, RecordFault};
use crate::layout;
use crate::reader::{TraceReader, Truncation};
use crate::tally::Tally;
use crate::writer::SourceCounts;
use crate::{Header, Summary, TraceError};

/// What a trace without a fault was found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its header.
    pub header: Header,
    /// Totals of what was read; for a file that was cut off, of its whole chunks.
    pub summary: Summary,
    /// Whole chunks.
    pub chunks: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Where the file is cut off, if it is.
    pub truncation: Option<Truncation>,
}

/// Reads all of the trace at `path`: every checksum, every law of traces (no object allocated twice,
/// none freed that is not live, ...), and whether summary and index are what the records give.
///
/// The first fault is the error, with its offset. A file that was cut off is not at fault for that:
/// see [`Verified::truncation`].
pub fn verify(path: &Path) -> Result<Verified, TraceError> {
    let mut reader = TraceReader::open(path)?;
    let mut tally = Tally::default();
    while let Some(record) = reader.read_record()? {
        if let Err(law) = tally.push(&record) {
            let record = reader.record_in_chunk();
            return Err(reader.chunk_fault(Fault::Record { record, problem: RecordFault::Law(law) }));
        }
    }
    let mut summary = tally.summary();
    if let Some(stated) = reader.summary() {
        summary = SourceCounts::of(&stated).put_into(summary);
        let pairs = layout::summary_to_numbers(&stated).into_iter().zip(layout::summary_to_numbers(&summary));
        // An earlier version states fewer.
        for (name, (found, expected)) in layout::SUMMARY_NAMES.iter().zip(pairs).take(reader.summary_fields())
        {
            if found != expected {
                return Err(reader.end_fault(Fault::Summary { name, found, expected }));
            }
        }
    }
    Ok(Verified {
        header: reader.header().clone(),
        summary,
        chunks: reader.chunks(),
        file_bytes: reader.bytes_read(),
        truncation: reader.truncated(),
    })
}
