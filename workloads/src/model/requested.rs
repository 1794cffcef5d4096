//! Requested bytes of a trace: their peak and their mean over time. Those of a forked process count from the fork on.

use heaplab_trace::{Action, Mark, Record};
use rustc_hash::FxHashMap;

use super::error::ModelError;
use super::survey::{Chain, Requested};
use crate::stream::{RecordStream, StreamError};

/// A stretch of time.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) since_ns: u64,
    pub(super) until_ns: u64,
}

/// What is known of a span so far.
struct Counted {
    span: Span,
    time_ns: u64,
    byte_ns: u128,
    peak_bytes: u64,
}

/// Requested bytes of a trace.
///
/// # Errors
///
/// Those of the stream.
pub fn requested(stream: &mut dyn RecordStream) -> Result<Requested, ModelError> {
    requested_since(stream, 0)
}

/// The same, from a time until the end of the trace.
pub(super) fn requested_since(stream: &mut dyn RecordStream, since_ns: u64) -> Result<Requested, ModelError> {
    let failed = |error: StreamError| ModelError::asked("fit", Chain(&error).to_string());
    let [found] = requested_in(stream, [Span { since_ns, until_ns: u64::MAX }], |_| {}).map_err(failed)?;
    Ok(found)
}

/// The same for several spans, in one reading. `also` sees each record.
pub(super) fn requested_in<const N: usize>(
    stream: &mut dyn RecordStream,
    spans: [Span; N],
    mut also: impl FnMut(&Record),
) -> Result<[Requested; N], StreamError> {
    let mut sizes: FxHashMap<u64, u64> = FxHashMap::default();
    let mut live = 0_u64;
    let mut counted = spans.map(|span| Counted { span, time_ns: span.since_ns, byte_ns: 0, peak_bytes: 0 });
    while let Some(record) = stream.next()? {
        also(&record);
        let event = match record {
            Record::Event(event) => event,
            Record::Mark(mark) if mark.name == Mark::FORKED => {
                counted.iter_mut().for_each(|counted| counted.fork(mark.time_ns, live));
                continue;
            }
            _ => continue,
        };
        let before = live;
        if let Some((object, size)) = event.action.allocated() {
            sizes.insert(object, size);
            live = live.saturating_add(size);
        } else if let Action::Realloc { object, size } = event.action {
            live = live.saturating_sub(sizes.insert(object, size).unwrap_or(0)).saturating_add(size);
        } else if let Some(object) = event.action.freed() {
            live = live.saturating_sub(sizes.remove(&object).unwrap_or(0));
        }
        for counted in &mut counted {
            counted.take(event.time_ns, before, live);
        }
    }
    Ok(counted.map(Counted::finish))
}

impl Counted {
    fn take(&mut self, time_ns: u64, before: u64, live: u64) {
        let Span { since_ns, until_ns } = self.span;
        let now_ns = time_ns.clamp(since_ns, until_ns);
        self.byte_ns += u128::from(before) * u128::from(now_ns - self.time_ns);
        self.time_ns = now_ns;
        if (since_ns..=until_ns).contains(&time_ns) {
            self.peak_bytes = self.peak_bytes.max(live);
        }
    }

    /// The process was forked: a span that has begun begins here.
    fn fork(&mut self, time_ns: u64, live: u64) {
        if time_ns >= self.span.since_ns {
            let since_ns = time_ns.min(self.span.until_ns);
            (self.span.since_ns, self.time_ns, self.byte_ns, self.peak_bytes) = (since_ns, since_ns, 0, live);
        }
    }

    fn finish(self) -> Requested {
        let lasted = (self.time_ns - self.span.since_ns).max(1);
        Requested {
            peak_bytes: self.peak_bytes,
            mean_bytes: self.byte_ns as f64 / lasted as f64,
            ..Requested::default()
        }
    }
}
