//! Reads a run's sizes.csv and requests.csv.

use super::packed;
use super::reader::Run;
use super::{Pass, RequestRow, ResultsError, SizeRow};
use crate::worker::{RequestClass, SizeClass};

impl Run {
    /// Streams `sizes.csv`: each row's figures with the index of its sample in [`Run::samples`].
    /// Returns notes on what was left out. Runs of an earlier heaplab have no such file.
    pub fn each_size(&self, mut take: impl FnMut(usize, SizeClass)) -> Result<Vec<String>, ResultsError> {
        if !packed::is_there(&self.directory.join("sizes.csv")) {
            return Ok(Vec::new());
        }
        self.each_row::<SizeRow>("sizes.csv", &[Pass::Memory], |place, rows| {
            let class = SizeClass {
                usable_bytes: rows.number("usable_bytes")?,
                calls: rows.number("calls")?,
                requested_bytes: rows.number("requested_bytes")?,
                live_blocks: rows.number("live_blocks")?,
                live_requested_bytes: rows.number("live_requested_bytes")?,
                live_usable_bytes: rows.number("live_usable_bytes")?,
            };
            take(place, class);
            Ok(())
        })
    }

    /// Streams `requests.csv`: each row's figures with the index of its sample in [`Run::samples`].
    /// Returns notes on what was left out. Runs of an earlier heaplab have no such file.
    pub fn each_request(
        &self,
        mut take: impl FnMut(usize, RequestClass),
    ) -> Result<Vec<String>, ResultsError> {
        if !packed::is_there(&self.directory.join("requests.csv")) {
            return Ok(Vec::new());
        }
        self.each_row::<RequestRow>("requests.csv", &[Pass::Memory], |place, rows| {
            let class = RequestClass {
                requested_bytes: rows.number("requested_bytes")?,
                calls: rows.number("calls")?,
                usable_bytes: rows.number("usable_bytes")?,
                live_blocks: rows.number("live_blocks")?,
                live_requested_bytes: rows.number("live_requested_bytes")?,
                live_usable_bytes: rows.number("live_usable_bytes")?,
            };
            take(place, class);
            Ok(())
        })
    }
}
