//! Traces as the text of other tools: a `.hlt` trace in, lines out.
//!
//! The way back from [`import`](crate::import). A trace is read once and streamed; nothing is held. What a format
//! cannot say is left out and counted, and the caller is told.

mod android;
mod table;

use std::io::{self, Read, Write};
use std::str::FromStr;

use heaplab_trace::{Header, Record, TraceError, TraceReader};

/// The formats that a trace can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The text that Android's memory_replay reads, one call a line.
    Android,
    /// A table of all records, one a row.
    Csv,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 2] = [Format::Android, Format::Csv];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Android => "android",
            Format::Csv => "csv",
        }
    }
}

/// A name that is no format's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown format {0:?}: the formats are {known}", known = Format::ALL.map(Format::name).join(", "))]
pub struct UnknownFormat(String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Format, UnknownFormat> {
        let found = Format::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| UnknownFormat(name.to_string()))
    }
}

/// A trace cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The trace cannot be read.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// The text cannot be written.
    #[error("cannot write the exported trace")]
    Write(#[source] io::Error),
}

/// What was exported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Records that were written.
    pub records: u64,
    /// What the text does not say, or says otherwise. Sentences.
    pub lost: Vec<String>,
}

/// Writes records in some format.
trait Output {
    /// Writes one record; whether the format can say it.
    fn push(&mut self, record: &Record) -> io::Result<bool>;

    /// Ends the text; what it does not say.
    fn finish(&mut self) -> io::Result<Vec<String>>;
}

/// Writes the trace on `reader` in `format` to `out`. `progress` is called with the records so far, now and then.
///
/// # Errors
///
/// The trace cannot be read, or the text not written.
///
/// ```
/// use heaplab_trace::{Action, Event, Header, Record, TraceReader, TraceWriter};
/// use heaplab_workloads::export::{Format, export};
///
/// let mut bytes = Vec::new();
/// let mut writer = TraceWriter::new(&mut bytes, &Header::default())?;
/// writer.push(&Record::Event(Event { time_ns: 0, thread: 0, action: Action::Malloc { object: 0, size: 48 } }))?;
/// writer.finish()?;
///
/// let mut text = Vec::new();
/// export(&mut TraceReader::new(bytes.as_slice())?, Format::Android, &mut text, &mut |_| {})?;
/// assert_eq!(text, b"1: malloc 0x10 48\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn export<R: Read>(
    reader: &mut TraceReader<R>,
    format: Format,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(u64),
) -> Result<Exported, ExportError> {
    const REPORT_EVERY: u64 = 1 << 16;
    let header = reader.header().clone();
    let mut output: Box<dyn Output + '_> = match format {
        Format::Android => Box::new(android::Android::new(out, &header)),
        Format::Csv => Box::new(table::Table::new(out)),
    };
    let mut records = 0;
    while let Some(record) = reader.read_record()? {
        records += u64::from(output.push(&record).map_err(ExportError::Write)?);
        if records % REPORT_EVERY == 0 {
            progress(records);
        }
    }
    let mut lost = output.finish().map_err(ExportError::Write)?;
    lost.extend(list_unknown(&header, format));
    lost.extend(list_facts(&header));
    if let Some(cut) = reader.truncated() {
        lost.push(format!("the trace is cut off at byte {}: what was after it", cut.offset));
    }
    Ok(Exported { records, lost })
}

/// What the trace does not know, and the text seems to. Only Android's says that there are no times, by lines without.
fn list_unknown(header: &Header, format: Format) -> Option<String> {
    let unknown = [
        (!header.has_times && format != Format::Android, "times"),
        (!header.has_threads, "threads"),
        (!header.has_alignment, "alignment"),
    ];
    let names: Vec<&str> =
        unknown.into_iter().filter(|(is_unknown, _)| *is_unknown).map(|(_, name)| name).collect();
    let what = names.join(", ");
    (!names.is_empty()).then(|| format!("that the trace lacks {what}: what the text has of it is made up"))
}

/// What the header knows: no format of text has a place for it.
fn list_facts(header: &Header) -> Option<String> {
    let mut facts = Vec::new();
    let known = [
        (!header.program.is_empty(), "program"),
        (header.cpus.is_some(), "CPU count"),
        (header.allocator.is_some(), "allocator"),
        (!header.notes.is_empty(), "notes"),
    ];
    facts.extend(known.into_iter().filter(|(known, _)| *known).map(|(_, name)| name));
    (!facts.is_empty()).then(|| format!("the header: {}", facts.join(", ")))
}

#[cfg(test)]
mod tests;
