//! A trace as a table: every record a row, whatever it is. Empty means that this kind of record has no such thing.

use std::io::{self, Write};

use heaplab_trace::{Action, Call, Event, IgnoredReason, Record};
use serde::Serialize;

use super::Output;

/// A row. The names of the fields are the columns.
#[derive(Debug, Default, Serialize)]
struct Row<'a> {
    /// What happened.
    record: &'static str,
    /// When, in ns since the recording began; the event's index where the trace has no times.
    time_ns: Option<u64>,
    /// The thread, from 0.
    thread: Option<u32>,
    /// The object, from 0 in order of allocation.
    object: Option<u64>,
    /// Requested bytes; of work, the bytes that are worked on; of `touched`, those that were written to; of a resident sample, the resident bytes.
    bytes: Option<u64>,
    /// Requested alignment in bytes.
    alignment: Option<u64>,
    /// How many times over a piece of work is done.
    repeats: Option<u32>,
    /// The call that had no effect, the name of a mark or of a thread.
    name: &'a str,
}

pub(super) struct Table<'a> {
    writer: csv::Writer<&'a mut dyn Write>,
    /// Whether there was a row, before which the columns' names are written.
    begun: bool,
}

impl<'a> Table<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> Table<'a> {
        Table { writer: csv::WriterBuilder::new().has_headers(false).from_writer(out), begun: false }
    }

    fn begin(&mut self) -> io::Result<()> {
        const COLUMNS: [&str; 8] =
            ["record", "time_ns", "thread", "object", "bytes", "alignment", "repeats", "name"];
        if !self.begun {
            self.begun = true;
            self.writer.write_record(COLUMNS)?;
        }
        Ok(())
    }
}

impl Output for Table<'_> {
    fn push(&mut self, record: &Record) -> io::Result<bool> {
        self.begin()?;
        let row = match record {
            Record::Event(event) => describe(event),
            Record::Resident(sample) => Row {
                record: "resident",
                time_ns: Some(sample.time_ns),
                bytes: Some(sample.resident_bytes),
                ..Row::default()
            },
            Record::Mark(mark) => {
                Row { record: "mark", time_ns: Some(mark.time_ns), name: &mark.name, ..Row::default() }
            }
            Record::ThreadName { thread, name } => {
                Row { record: "thread_name", thread: Some(*thread), name, ..Row::default() }
            }
        };
        self.writer.serialize(row)?;
        Ok(true)
    }

    fn finish(&mut self) -> io::Result<Vec<String>> {
        self.begin()?;
        self.writer.flush()?;
        Ok(Vec::new())
    }
}

fn describe(event: &Event) -> Row<'static> {
    let of = |record, object, bytes| Row { record, object: Some(object), bytes, ..Row::default() };
    let what = match event.action {
        Action::ThreadStart => Row { record: "thread_start", ..Row::default() },
        Action::ThreadEnd => Row { record: "thread_end", ..Row::default() },
        Action::Malloc { object, size } => of("malloc", object, Some(size)),
        Action::Calloc { object, size } => of("calloc", object, Some(size)),
        Action::AlignedAlloc { object, size, alignment } => {
            Row { alignment: Some(alignment), ..of("aligned_alloc", object, Some(size)) }
        }
        Action::ReallocNull { object, size } => of("realloc_null", object, Some(size)),
        Action::Realloc { object, size } => of("realloc", object, Some(size)),
        Action::ReallocFree { object } => of("realloc_free", object, None),
        Action::Free { object } => of("free", object, None),
        Action::FreeNull => Row { record: "free_null", ..Row::default() },
        Action::FreeMissed { object } => of("free_missed", object, None),
        Action::Work { object, bytes, repeats } => {
            Row { repeats: Some(repeats), ..of("work", object, Some(bytes)) }
        }
        Action::Touched { object, bytes } => of("touched", object, Some(bytes)),
        Action::Ignored { call, reason, size } => {
            let record = match reason {
                IgnoredReason::Failed => "failed",
                IgnoredReason::Unseen => "unseen",
            };
            let bytes = (reason == IgnoredReason::Failed).then_some(size);
            Row { record, bytes, name: name(call), ..Row::default() }
        }
    };
    Row { time_ns: Some(event.time_ns), thread: Some(event.thread), ..what }
}

fn name(call: Call) -> &'static str {
    match call {
        Call::Malloc => "malloc",
        Call::Calloc => "calloc",
        Call::AlignedAlloc => "aligned_alloc",
        Call::Realloc => "realloc",
        Call::Free => "free",
    }
}
