//! A trace as it comes: the header, then one record after another, wherever they come from.
//!
//! A file, an imported log and a running simulation look the same from here, so that a program can
//! be compiled from any of them without a file in between. A stream is pulled: it does nothing
//! between two calls of [`RecordStream::next`], and holds no more than what is live at that moment.
//! It must not look ahead, buffer the whole trace, or know who reads it.

use heaplab_trace::{Header, Record};

/// A source of records in time order. Ids, threads and times obey the rules of [`heaplab_trace::Event`].
pub trait RecordStream {
    /// What the trace says of itself; known before the first record.
    fn header(&self) -> &Header;

    /// The next record, or none after the last one. After an error or the end it is not called again.
    fn next(&mut self) -> Result<Option<Record>, StreamError>;

    /// Whether the source was cut off and ended early: its whole part was given out, and it is less
    /// than was recorded. Meaningful once [`RecordStream::next`] has returned none.
    fn truncated(&self) -> bool {
        false
    }

    /// Where the last record's time will be, if it is known in advance: what a progress bar measures against.
    fn expected_last_time_ns(&self) -> Option<u64> {
        None
    }

    /// Of a load model of a server: its requests so far; all of them once [`RecordStream::next`] has returned none.
    fn requests(&self) -> Option<Requests> {
        None
    }

    /// Of a load model: how far its clock is, which may be ahead of the records that were read, and the sum of the
    /// times that requests were under way until then, both in ns.
    fn requests_under_way(&self) -> Option<(u64, u128)> {
        None
    }
}

impl<S: RecordStream + ?Sized> RecordStream for Box<S> {
    fn header(&self) -> &Header {
        (**self).header()
    }

    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        (**self).next()
    }

    fn truncated(&self) -> bool {
        (**self).truncated()
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        (**self).expected_last_time_ns()
    }

    fn requests(&self) -> Option<Requests> {
        (**self).requests()
    }

    fn requests_under_way(&self) -> Option<(u64, u128)> {
        (**self).requests_under_way()
    }
}

/// The requests of a load model of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Requests {
    /// Those that clients began to send.
    pub made: u64,
    /// Arrivals that were refused, because no open connection was idle.
    pub refused: u64,
}

impl Requests {
    /// What is wrong with a load of which more than one arrival in a hundred was refused, for a sentence about it.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let share = self.refused as f64 / (self.made + self.refused).max(1) as f64;
        (share > MOST_REFUSED).then(|| {
            format!(
                "{:.1} % of the arrivals were refused, because no open connection was idle: the load is smaller than its \
                 rate says (simulate longer than connection.ramp, or set more connections, more workers or shorter service \
                 times)",
                share * 100.0
            )
        })
    }
}

/// The largest share of refused arrivals that is not worth a warning.
const MOST_REFUSED: f64 = 0.01;

/// A stream could not go on: the file is damaged, the log cannot be read, ...
#[derive(Debug, thiserror::Error)]
#[error("{name}")]
pub struct StreamError {
    /// The workload or file that was being read.
    pub name: String,
    /// What happened.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl StreamError {
    /// An error of the workload or file `name`.
    pub fn new(
        name: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StreamError {
        StreamError { name: name.into(), source: source.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_one_refused_arrival_in_a_hundred_is_a_warning() {
        let warning = |made, refused| Requests { made, refused }.warning();
        assert_eq!((warning(0, 0), warning(99, 1), warning(5000, 0)), (None, None, None));
        assert!(warning(98, 2).unwrap().starts_with("2.0 % of the arrivals were refused"));
        assert!(warning(0, 7).unwrap().starts_with("100.0 % "));
    }
}
