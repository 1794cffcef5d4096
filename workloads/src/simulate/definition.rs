//! What a load model is made of: its parameters, as `reader` reads them from a definition's text.
//!
//! Every parameter of the model is a field here, with its key and its unit; its bounds are in `reader`;
//! docs/workloads.md explains what each means and where its value comes from. There are no defaults in the
//! code: `monitor-server` states every field, and another definition starts from the one that its `base`
//! names (`monitor-server` unless it says otherwise).

use super::distribution::{Sizes, Times};

mod reader;
mod unread;

pub use reader::MAX_PHASES;

/// A load model's parameters. Sizes are in bytes, times in ns.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// `name`: the workload's name.
    pub name: String,
    /// `description`: what it stands for, in a line.
    pub description: String,
    /// `duration`: simulated time, unless another is asked for.
    pub duration_ns: u64,
    /// `heap_limit`: more live bytes than this (an object counts as 16 at least) end the simulation with an error.
    pub heap_limit_bytes: u64,
    /// `cpus`: CPUs of the modelled host, for the header; none if it does not matter.
    pub cpus: Option<u32>,
    /// `thinned`: one request in this many is simulated: rates are those of the whole load, and are divided
    /// by it.
    pub thinned: f64,
    /// `free_at_end`: whether the server shuts down in order and frees every object.
    pub free_at_end: bool,
    /// `connections`: clients, each with one connection, which it reopens after it is closed.
    pub connections: u32,
    /// `workers`: threads of the pool.
    pub workers: u32,
    /// `runtime`
    pub runtime: Runtime,
    /// `pymalloc`: whether the runtime's small objects lie in its pools. If not, each is malloc's.
    pub pymalloc: bool,
    /// `gc`, `collector.*`
    pub collector: CollectorSettings,
    /// `startup.*`
    pub startup: Startup,
    /// `arrivals.*`
    pub arrivals: Arrivals,
    /// `payload.*`: sizes of requests.
    pub payload: Sizes,
    /// `connection.*`
    pub connection: Connection,
    /// `receive.*`
    pub receive: Receive,
    /// `pool.*`
    pub pool: Pool,
    /// `service.*`
    pub service: Service,
    /// `parsed.*`
    pub parsed: Parsed,
    /// `temporary.*`
    pub temporary: Temporary,
    /// `cache.*`
    pub cache: CachePlan,
    /// `response.*`
    pub response: Response,
    /// `phases`: in order; none means one phase with all factors 1.
    pub phases: Vec<Phase>,
    /// Tables of empirical distributions: the distribution's key, and the text of its CSV.
    pub tables: Vec<(String, String)>,
}

/// What lies between the program's objects and malloc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// Nothing: a compiled language.
    None,
    /// CPython 2.7: pools for up to 256 bytes in arenas of 256 KiB by malloc, and a collector.
    CPython27,
    /// CPython 3.10 and later: pools for up to 512 bytes in mapped arenas of 1 MiB, and a collector.
    CPython3,
}

/// The collector of cyclic garbage; a program without a runtime has none.
#[derive(Debug, Clone, PartialEq)]
pub struct CollectorSettings {
    /// `gc`
    pub gc: Gc,
    /// `collector.cyclic`: share of parsed objects and payload copies that a cycle holds.
    pub cyclic: f64,
    /// `collector.threshold0` to `collector.threshold2`: see [`Gc::Threshold`].
    pub thresholds: [u64; 3],
}

/// When the collector runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gc {
    /// When containers allocated minus containers freed exceed the first threshold; an older generation when
    /// there have been more collections of the next younger one than its threshold.
    Threshold,
    /// The same, and all generations at the end of each request's handling.
    PerRequest,
    /// Never.
    Off,
}

/// What the process allocates before it serves: modules, code, constants.
#[derive(Debug, Clone, PartialEq)]
pub struct Startup {
    /// `startup.objects`: how many objects.
    pub objects: u64,
    /// `startup.time`: how long it takes.
    pub time_ns: u64,
    /// `startup.size.*`
    pub size: Sizes,
}

/// When requests come.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrivals {
    /// `arrivals.process`
    pub process: Process,
    /// `arrivals.rate`: in an open loop, requests per second of all clients together.
    pub rate_per_s: f64,
    /// `arrivals.think.*`: in a closed loop, from a response to the client's next request.
    pub think: Times,
    /// `arrivals.curve`, `arrivals.period`
    pub curve: Curve,
    /// `arrivals.burst.*`
    pub bursts: Bursts,
}

/// A rate that comes and goes, as in the course of a day.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Factors on the rate in equal parts of the period; empty for no curve.
    pub factors: Vec<f64>,
    /// After this time it starts over.
    pub period_ns: u64,
}

/// A process of two states: calm, and bursts with another rate.
#[derive(Debug, Clone, PartialEq)]
pub struct Bursts {
    /// `arrivals.burst.rate`: factor on the rate in a burst; 1 means no bursts.
    pub rate: f64,
    /// `arrivals.burst.length.*`: how long a burst lasts.
    pub length: Times,
    /// `arrivals.burst.gap.*`: from the end of one to the start of the next.
    pub gap: Times,
}

/// What makes a client send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// Each connection sends a think time after its last response came.
    Closed,
    /// A Poisson process; each arrival takes an idle connection, and is refused if there is none.
    Open,
}

/// The life of a connection, and what the event loop keeps for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// `connection.ramp`: the time over which the first connections are opened.
    pub ramp_ns: u64,
    /// `connection.lifetime.*`: from open to close; a request under way is finished first.
    pub lifetime: Times,
    /// `connection.reconnect.*`: from close to the next open.
    pub reconnect: Times,
    /// `connection.objects`: state objects.
    pub objects: u32,
    /// `connection.size.*`: their sizes.
    pub size: Sizes,
    /// `connection.buffer`: size of the buffer that it keeps.
    pub buffer_bytes: u64,
}

/// How the event loop reads and writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Receive {
    /// `receive.chunk`: bytes requested in one read, and offered in one write.
    pub chunk_bytes: u64,
    /// `receive.buffer`: initial size of a growing buffer, including the response's.
    pub buffer_bytes: u64,
    /// `receive.growth`: factor by which it grows.
    pub growth: f64,
    /// `receive.bandwidth`: bytes per second of one connection, both ways.
    pub bytes_per_s: f64,
}

/// The pool of workers.
#[derive(Debug, Clone, PartialEq)]
pub struct Pool {
    /// `pool.wake`
    pub wake: Wake,
    /// `pool.recycle_after`: requests after which a worker's thread is replaced; 0 means never.
    pub recycle_after: u64,
    /// `pool.thread_objects`: objects that a thread allocates when it starts and frees at its end.
    pub thread_objects: u32,
    /// `pool.size.*`: their sizes.
    pub size: Sizes,
}

/// Which idle worker is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// The one that has been idle longest.
    Fifo,
    /// The one that became idle last.
    Lifo,
}

/// How long a worker takes for a request: (base + payload / throughput) times a lognormal factor of median 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// `service.base`
    pub base_ns: u64,
    /// `service.throughput`
    pub bytes_per_s: f64,
    /// `service.sigma`: of the factor's logarithm.
    pub sigma: f64,
    /// `service.slice`: a worker's calls that are due within this time are made back to back at its start.
    pub slice_ns: u64,
}

/// What a worker makes of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// `parsed.copies`: copies of the whole payload, held until the request is parsed and answered.
    pub copies: u32,
    /// `parsed.bytes_per_object`: payload bytes that make one parsed object.
    pub bytes_per_object: u64,
    /// `parsed.containers`: share of objects that are containers; the others are strings.
    pub containers: f64,
    /// `parsed.grown`: share of containers that start at half their size and are reallocated once.
    pub grown: f64,
    /// `parsed.container.*`: sizes of containers.
    pub container: Sizes,
    /// `parsed.string.*`: sizes of strings.
    pub string: Sizes,
}

/// Objects that are freed by the next call.
#[derive(Debug, Clone, PartialEq)]
pub struct Temporary {
    /// `temporary.per_object`: how many for each parsed object.
    pub per_object: f64,
    /// `temporary.size.*`
    pub size: Sizes,
}

/// What outlives a request.
#[derive(Debug, Clone, PartialEq)]
pub struct CachePlan {
    /// `cache.policy`: what leaves when the cache is full.
    pub policy: Policy,
    /// `cache.limit`: the most bytes that it may hold.
    pub limit_bytes: u64,
    /// `cache.requests`: share of requests that leave something in it.
    pub requests: f64,
    /// `cache.objects`: share of such a request's parsed objects that stay, with one copy of the payload.
    pub objects: f64,
    /// `cache.hits`: share of requests that use an entry, chosen at random.
    pub hits: f64,
    /// `cache.lifetime.*`: age at which an entry expires.
    pub lifetime: Times,
    /// `cache.sweep`: how often the event loop frees what has expired.
    pub sweep_ns: u64,
}

/// What a full cache gives up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The least recently used entry.
    Lru,
    /// Any entry.
    Random,
}

/// The encoded answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// `response.ratio`: its size as a share of the payload's.
    pub ratio: f64,
    /// `response.min`: its smallest size.
    pub min_bytes: u64,
}

/// A part of the simulated time that has its own load.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// `phases.N.name`
    pub name: String,
    /// `phases.N.share`: its part of the duration, relative to the sum of all shares.
    pub share: f64,
    /// `phases.N.rate`: factor on the rate of arrivals.
    pub rate: f64,
    /// `phases.N.payload`: factor on the payload's median.
    pub payload: f64,
}

#[cfg(test)]
mod tests;
