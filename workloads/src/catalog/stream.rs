//! A trace as a stream of records: from a file, or from this program's own bytes.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use heaplab_trace::{Header, Record, TraceReader};

use super::CatalogError;
use crate::stream::{RecordStream, StreamError};

/// A trace that is read.
pub(super) struct TraceStream<R> {
    name: String,
    reader: TraceReader<R>,
    last_time_ns: Option<u64>,
}

impl TraceStream<BufReader<File>> {
    /// The trace at `path`.
    pub(super) fn open(name: &str, path: &Path) -> Result<TraceStream<BufReader<File>>, CatalogError> {
        let last_time_ns = heaplab_trace::summary(path)?.map(|summary| summary.last_time_ns);
        let reader = TraceReader::open(path)?;
        Ok(TraceStream { name: name.to_string(), reader, last_time_ns })
    }
}

impl TraceStream<&'static [u8]> {
    /// A trace that is built in.
    pub(super) fn built_in(
        name: &str,
        bytes: &'static [u8],
    ) -> Result<TraceStream<&'static [u8]>, CatalogError> {
        let last_time_ns = heaplab_trace::summary_of_bytes(bytes)?.map(|summary| summary.last_time_ns);
        let reader = TraceReader::new(bytes)?;
        Ok(TraceStream { name: name.to_string(), reader, last_time_ns })
    }
}

impl<R: Read> RecordStream for TraceStream<R> {
    fn header(&self) -> &Header {
        self.reader.header()
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        self.reader.read_record().map_err(|error| StreamError::new(&self.name, error))
    }

    fn truncated(&self) -> bool {
        self.reader.truncated().is_some()
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        self.last_time_ns
    }
}
