//! Load models: a definition in, a trace out.
//!
//! A discrete-event simulation in virtual time of a server that does not exist yet, or that cannot be
//! recorded: an event loop, a pool of workers, long-lived connections. It depends only on its definition,
//! overrides, duration and seed: the same arguments produce the same bytes on every machine. It is pulled
//! record by record and holds what is live at that moment, however long it runs.
//!
//! The parts, in the order in which data goes through them: `units`, `weights` and `fields` read values,
//! `definition` turns them into parameters; `distribution` and `table` draw, `schedule` and `load` say when; `log` makes
//! the events, `pools` and `collector` are an interpreter's layers in front of it, and `heap` combines these
//! for `objects`, `parsing`, `cache`, `request`, `workers`, `event_loop` and `server`; `counts` counts.
//!
//! ```
//! use heaplab_workloads::simulate::{Options, Simulation, shipped};
//! use heaplab_workloads::stream::RecordStream;
//!
//! let (name, text) = shipped("monitor-server").unwrap();
//! let options = Options { duration_ns: Some(100_000_000), ..Options::default() };
//! let mut simulation = Simulation::new(text, name, &options)?;
//! assert_eq!(simulation.header().source, "simulate");
//! assert!(simulation.next()?.is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod cache;
mod client;
mod collector;
mod counts;
mod definition;
mod distribution;
mod error;
mod event_loop;
mod fields;
mod heap;
mod load;
mod log;
mod objects;
mod parsing;
mod pools;
mod random;
mod request;
mod schedule;
mod server;
mod surroundings;
mod table;
mod units;
mod weights;
mod workers;

use heaplab_trace::{Header, Mark, Note, Record};
use sha2::{Digest, Sha256};

pub use counts::{Counts, HeapCounts, Level};
pub use definition::{
    Arrivals, Bursts, CachePlan, CollectorSettings, Connection, Curve, Definition, Gc, MAX_PHASES, Parsed,
    Phase, Policy, Pool, Process, Receive, Response, Runtime, Service, Startup, Temporary, Wake,
};
pub use distribution::{Shape, Sizes, Times};
pub use error::DefinitionError;
pub use load::LoadChangesTooOften;
pub use units::{parse_size_bytes, parse_time_ns, show_size, show_time};
pub use weights::SizeWeights;

use crate::stream::{RecordStream, Requests, StreamError};
use server::Server;
use units::MAX_TIME_NS;

/// The definitions that come with heaplab: name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("monitor-server", include_str!("../../definitions/monitor-server.toml")),
    ("monitor-server-vm", include_str!("../../definitions/monitor-server-vm.toml")),
    ("monitor-server-gc", include_str!("../../definitions/monitor-server-gc.toml")),
    ("monitor-server-night", include_str!("../../definitions/monitor-server-night.toml")),
    ("monitor-server-1000h", include_str!("../../definitions/monitor-server-1000h.toml")),
    ("api-gateway", include_str!("../../definitions/api-gateway.toml")),
    ("cache-churn", include_str!("../../definitions/cache-churn.toml")),
];

/// The shipped definition `name`, with its text.
pub fn shipped(name: &str) -> Option<(&'static str, &'static str)> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).copied()
}

fn shipped_text(name: &str) -> Option<&'static str> {
    shipped(name).map(|(_, text)| text)
}

/// The options of a simulation besides its definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Simulated time in ns, 100,000 hours at most; if none, the definition's own.
    pub duration_ns: Option<u64>,
    /// The seed of all random draws.
    pub seed: u64,
    /// Overrides of fields of the definition, each KEY=VALUE.
    pub overrides: Vec<String>,
}

impl Default for Options {
    fn default() -> Options {
        Options { duration_ns: None, seed: DEFAULT_SEED, overrides: Vec::new() }
    }
}

/// The default seed.
pub const DEFAULT_SEED: u64 = 1;

/// The source that the header of a simulated trace names.
pub const SIMULATE: &str = "simulate";

/// Name of the header's note that says one in how many requests is in the trace, if not all are.
pub const THINNED_NOTE: &str = "thinned";

/// The most records made ahead of the reader, not counting the calls of one actor's turn.
const AHEAD: usize = 1024;

/// A simulation that runs as its records are read.
#[derive(Debug)]
pub struct Simulation {
    header: Header,
    server: Server,
}

/// More bytes are live than the definition allows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "after {time_ns} ns of simulated time {live} are live, and heap_limit is {limit}: raise heap_limit, \
     or lower the load, the payload or what is kept"
)]
pub struct HeapLimitReached {
    /// When, in simulated time.
    pub time_ns: u64,
    live: String,
    limit: String,
}

impl Simulation {
    /// Reads the definition in `text`, which `origin` names in messages, and prepares to run it.
    ///
    /// # Errors
    ///
    /// A fault of the definition or of an override. Nothing has run then.
    pub fn new(text: &str, origin: &str, options: &Options) -> Result<Simulation, DefinitionError> {
        let mut definition = Definition::parse(text, origin, &options.overrides, &shipped_text)?;
        if let Some(duration_ns) = options.duration_ns {
            definition.duration_ns = duration_ns.min(MAX_TIME_NS as u64);
        }
        let header = header(&definition, text, options);
        Ok(Simulation { header, server: Server::new(definition, options.seed) })
    }

    /// Name and description of the definition in `text`.
    ///
    /// # Errors
    ///
    /// A fault of the definition.
    pub fn describe(text: &str, origin: &str) -> Result<(String, String), DefinitionError> {
        let definition = Definition::parse(text, origin, &[], &shipped_text)?;
        Ok((definition.name, definition.description))
    }

    /// The parameters that the definition in `text` has under these overrides.
    ///
    /// # Errors
    ///
    /// A fault of the definition or of an override.
    pub fn parameters(text: &str, origin: &str, overrides: &[String]) -> Result<Definition, DefinitionError> {
        Definition::parse(text, origin, overrides, &shipped_text)
    }

    /// The parameters, overrides included.
    pub fn definition(&self) -> &Definition {
        &self.server.definition
    }

    /// What the model has done so far; it may be ahead of what was read.
    pub fn counts(&self) -> &Counts {
        &self.server.counts
    }

    /// What the interpreter's layers have done so far; all 0 without a runtime.
    pub fn heap_counts(&self) -> &HeapCounts {
        self.server.heap.counts()
    }

    /// The virtual time so far, in ns.
    pub fn now_ns(&self) -> u64 {
        self.server.now_ns
    }

    /// Whether the simulation may go on.
    fn check(&self) -> Result<(), StreamError> {
        let name = &self.server.definition.name;
        let (live, limit) = (self.server.heap.live_bytes(), self.server.definition.heap_limit_bytes);
        if live > limit {
            let (live, limit) = (show_size(live as f64), show_size(limit as f64));
            let reached = HeapLimitReached { time_ns: self.server.now_ns, live, limit };
            return Err(StreamError::new(name, reached));
        }
        self.server.load.check().map_err(|error| StreamError::new(name, error))
    }
}

impl RecordStream for Simulation {
    fn header(&self) -> &Header {
        &self.header
    }

    #[inline]
    fn next(&mut self) -> Result<Option<Record>, StreamError> {
        if let Some(record) = self.server.heap.take_record() {
            return Ok(Some(record));
        }
        while self.server.heap.pending() < AHEAD && !self.server.is_finished() {
            self.server.step(AHEAD);
            self.check()?;
        }
        Ok(self.server.heap.take_record())
    }

    fn expected_last_time_ns(&self) -> Option<u64> {
        Some(self.server.definition.duration_ns)
    }

    fn requests(&self) -> Option<Requests> {
        let counts = &self.server.counts;
        Some(Requests { made: counts.requests, refused: counts.refused })
    }

    fn requests_under_way(&self) -> Option<(u64, u128)> {
        let now_ns = self.server.now_ns;
        Some((now_ns, self.server.counts.in_flight.integral_ns(now_ns)))
    }
}

/// Whether `mark` of a simulated trace is the start of a phase.
pub fn is_phase(mark: &Mark) -> bool {
    !mark.name.starts_with(heap::ARENAS_MAPPED)
}

/// Everything that determines the trace, and nothing else: no date, host or path.
fn header(definition: &Definition, text: &str, options: &Options) -> Header {
    let hash: String = Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut notes = vec![
        ("heaplab_version", env!("CARGO_PKG_VERSION").to_string()),
        ("definition", text.to_string()),
        ("definition_sha256", hash),
        ("seed", options.seed.to_string()),
        ("duration_ns", definition.duration_ns.to_string()),
    ];
    notes.extend(options.overrides.iter().map(|text| ("override", text.clone())));
    notes.extend(definition.tables.iter().map(|(key, text)| ("sizes", format!("{key}\n{text}"))));
    if definition.thinned > 1.0 {
        notes.push((THINNED_NOTE, definition.thinned.to_string()));
    }
    let note = |(name, value): (&str, String)| Note { name: name.to_string(), value };
    Header {
        source: SIMULATE.to_string(),
        program: definition.name.clone(),
        has_times: true,
        has_threads: true,
        has_alignment: true,
        cpus: definition.cpus,
        notes: notes.into_iter().map(note).collect(),
        ..Header::default()
    }
}

#[cfg(test)]
mod tests;
