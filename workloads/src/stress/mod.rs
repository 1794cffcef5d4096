//! Stress patterns: the classic workloads of the allocator literature, as traces.
//!
//! Each is rewritten from a description of what it does, without the faults that make results incomparable:
//! here a pattern is a fixed number of operations, never a time, and its live set is the same for every
//! allocator, because it is settled before any allocator runs. docs/stress.md explains what each stresses,
//! what it hides, and what was changed. Patterns are pulled, one thread's run at a time, and hold what is
//! live. They have no clock: an event's index serves as its time.
//!
//! The parts, in the order in which data goes through them: `parameter` reads values, `random` draws,
//! `round` says whose turn it is, `heap` makes the events that `patterns` ask for.
//!
//! ```
//! use heaplab_workloads::simulate::Options;
//! use heaplab_workloads::stream::RecordStream;
//! use heaplab_workloads::stress::Stress;
//!
//! let options = Options { overrides: vec!["threads=2".to_string()], ..Options::default() };
//! let mut stress = Stress::new("larson", &options)?;
//! assert_eq!(stress.header().source, "stress");
//! assert!(stress.next()?.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod heap;
mod parameter;
mod patterns;
mod random;
mod round;

use heaplab_trace::{Header, Note, Record};

pub use parameter::{Kind, Parameter};
pub use patterns::PATTERNS;

use crate::simulate::{DefinitionError, Options};
use crate::stream::{RecordStream, StreamError};
use heap::Heap;
use parameter::Values;

/// More objects than this at once end a pattern with an error: this bounds its own memory.
const LIVE_OBJECTS_MOST: u64 = 1 << 24;

/// A stress pattern.
#[derive(Debug, Clone, Copy)]
pub struct Pattern {
    /// Its name.
    pub name: &'static str,
    /// What it stresses, in a line.
    pub description: &'static str,
    /// What can be set.
    pub parameters: &'static [Parameter],
    begin: fn(&Values, u64) -> Result<Begun, DefinitionError>,
}

/// A pattern that has started.
pub(crate) struct Begun {
    /// What it does.
    play: Box<dyn Play>,
    /// What determines its trace besides its parameters and its seed.
    notes: Vec<(&'static str, String)>,
}

impl Begun {
    fn new(play: impl Play + 'static) -> Begun {
        Begun { play: Box::new(play), notes: Vec::new() }
    }
}

/// A pattern in progress.
pub(crate) trait Play: std::fmt::Debug + Send {
    /// Makes some more events, at most some tens of thousands, or none if a thread has to wait; false once
    /// everything is done.
    fn turn(&mut self, heap: &mut Heap) -> bool;
}

/// The pattern of that name.
pub fn find(name: &str) -> Option<&'static Pattern> {
    PATTERNS.iter().find(|pattern| pattern.name == name)
}

/// A pattern that runs as its records are read.
#[derive(Debug)]
pub struct Stress {
    header: Header,
    heap: Heap,
    play: Option<Box<dyn Play>>,
}

/// More objects are live than a pattern may hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "after {events} events {live} objects are live, and {LIVE_OBJECTS_MOST} are the most: lower the pattern's counts"
)]
pub struct TooManyObjects {
    /// Events so far.
    pub events: u64,
    /// Objects that are live.
    pub live: u64,
}

impl Stress {
    /// Prepares to run the pattern `name`.
    ///
    /// # Errors
    ///
    /// An unknown pattern, a fault of an override, or a duration, which no pattern has.
    pub fn new(name: &str, options: &Options) -> Result<Stress, DefinitionError> {
        let names: Vec<&str> = PATTERNS.iter().map(|pattern| pattern.name).collect();
        let unknown = || parameter::refuse("pattern", name, format!("one of {}", names.join(", ")));
        let pattern = find(name).ok_or_else(unknown)?;
        if let Some(duration_ns) = options.duration_ns {
            let keys: Vec<&str> = pattern.parameters.iter().map(|parameter| parameter.key).collect();
            return Err(DefinitionError::Value {
                origin: pattern.name.to_string(),
                key: "--duration".to_string(),
                found: format!("{}s", duration_ns as f64 / 1e9),
                allowed: format!(
                    "left out: a stress pattern is a fixed number of operations (--set {})",
                    keys.join(", ")
                ),
            });
        }
        let values = Values::read(pattern.parameters, &options.overrides)?;
        let begun = (pattern.begin)(&values, options.seed)?;
        let header = header(pattern, &values, options.seed, begun.notes);
        Ok(Stress { header, heap: Heap::new(), play: Some(begun.play) })
    }
}

impl RecordStream for Stress {
    fn header(&self) -> &Header {
        &self.header
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        loop {
            if let Some(record) = self.heap.take_record() {
                return Ok(Some(record));
            }
            let Some(play) = &mut self.play else { return Ok(None) };
            if !play.turn(&mut self.heap) {
                self.play = None;
            }
            let (events, live) = (self.heap.events(), self.heap.live_objects());
            if live > LIVE_OBJECTS_MOST {
                return Err(StreamError::new(&self.header.program, TooManyObjects { events, live }));
            }
        }
    }
}

/// Everything that determines the trace, and nothing else: no date, host or path.
fn header(pattern: &Pattern, values: &Values, seed: u64, more: Vec<(&'static str, String)>) -> Header {
    let mut notes =
        vec![("heaplab_version", env!("CARGO_PKG_VERSION").to_string()), ("seed", seed.to_string())];
    notes.extend(values.texts().map(|(key, text)| (key, text.to_string())));
    notes.extend(more);
    let note = |(name, value): (&str, String)| Note { name: name.to_string(), value };
    Header {
        source: "stress".to_string(),
        program: pattern.name.to_string(),
        has_times: false,
        has_threads: true,
        has_alignment: true,
        notes: notes.into_iter().map(note).collect(),
        ..Header::default()
    }
}

#[cfg(test)]
mod tests;
