//! The modelled server: who acts when, the workers, the phases, the start and the orderly end.
//!
//! One event loop (thread 0) and a pool. Each actor's turn makes a few calls of the heap and enters when it
//! acts again. A handler of the event loop takes no virtual time, because its calls are few: they carry the
//! time at which it ran. A worker's calls are spread over its service time in slices: those of a slice are
//! made back to back at its start, with no other thread's calls between them.

use heaplab_trace::ThreadId;

use super::block::Block;
use super::cache::Cache;
use super::client::Client;
use super::counts::Counts;
use super::definition::{Definition, Process};
use super::heap::Heap;
use super::load::LoadClock;
use super::random::Random;
use super::request::{Job, Request, Turn};
use super::schedule::Schedule;
use super::surroundings::{Spare, Surroundings, Tables};
use super::workers::Pool;

/// The thread of the event loop: the process's initial one.
pub(super) const LOOP: ThreadId = 0;

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Actor {
    /// The duration is over.
    Finish,
    /// A phase begins.
    Phase(u32),
    /// The process starts: the next of its first objects.
    Startup,
    /// A client connects.
    Open(u32),
    /// A client's connection has lived its life, if it is still the one of this number.
    Expire(u32, u32),
    /// A client sends a request, on the connection of this number.
    Send(u32, u32),
    /// An open loop's next arrival.
    Arrive,
    /// A part of a request arrived.
    Read(u32),
    /// A part of a response can be sent.
    Write(u32),
    /// A worker's next call.
    Work(u32),
    /// The cache is swept.
    Sweep,
}

/// Streams of random numbers, one for each purpose.
#[derive(Debug)]
pub(super) struct Randoms {
    pub(super) arrivals: Random,
    pub(super) payloads: Random,
    pub(super) service: Random,
    pub(super) objects: Random,
    pub(super) connections: Random,
    pub(super) keeping: Random,
    pub(super) pieces: Random,
}

impl Randoms {
    fn new(seed: u64) -> Randoms {
        // The numbers are part of what a seed means: new streams get new numbers.
        Randoms {
            arrivals: Random::new(seed, 1),
            payloads: Random::new(seed, 2),
            service: Random::new(seed, 3),
            objects: Random::new(seed, 4),
            connections: Random::new(seed, 5),
            keeping: Random::new(seed, 6),
            pieces: Random::new(seed, 7),
        }
    }
}

/// The state of the modelled server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) definition: Definition,
    pub(super) heap: Heap,
    pub(super) schedule: Schedule<Actor>,
    pub(super) now_ns: u64,
    pub(super) load: LoadClock,
    pub(super) randoms: Randoms,
    pub(super) tables: Tables,
    pub(super) clients: Vec<Client>,
    /// Clients whose connection is open and has no request, in no particular order.
    pub(super) idle: Vec<u32>,
    pub(super) counts: Counts,
    /// Factor of the phase on the payload.
    pub(super) payload_factor: f64,
    /// Whether the duration is over: nothing new starts.
    pub(super) finishing: bool,
    pool: Pool,
    cache: Cache,
    startup: Vec<Block>,
    spares: Vec<Spare>,
    /// The actor that was stopped within a turn because enough records wait: it continues before any other
    /// acts.
    stopped: Option<Actor>,
    finished: bool,
}

impl Server {
    pub(super) fn new(definition: Definition, seed: u64) -> Server {
        let duration_ns = definition.duration_ns;
        let heap = Heap::new(&definition, Random::new(seed, 8));
        let tables = Tables::new(&definition, &heap);
        let phases = phase_ends(&definition).map(|(_, end_ns, rate)| (end_ns, rate)).collect();
        let load = LoadClock::new(&definition, phases, Random::new(seed, 9));
        let mut server = Server {
            heap,
            schedule: Schedule::new(),
            now_ns: 0,
            load,
            randoms: Randoms::new(seed),
            tables,
            clients: (0..definition.connections).map(|_| Client::default()).collect(),
            idle: Vec::new(),
            counts: Counts::default(),
            payload_factor: 1.0,
            finishing: false,
            pool: Pool::new(definition.pool.wake),
            cache: Cache::new(definition.cache.clone()),
            startup: Vec::new(),
            spares: Vec::new(),
            stopped: None,
            finished: false,
            definition,
        };
        server.heap.initial_thread("event loop");
        server.schedule.enter(duration_ns, Actor::Finish);
        for (index, (start_ns, ..)) in phase_ends(&server.definition).enumerate() {
            server.schedule.enter(start_ns, Actor::Phase(index as u32));
        }
        server.schedule.enter(0, Actor::Startup);
        server
    }

    /// Whether nothing more will happen.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Lets the next actor act, and continue as long as no other actor comes before it and fewer than `most`
    /// records wait.
    pub(super) fn step(&mut self, most: usize) {
        let stopped = self.stopped.take().map(|actor| (self.now_ns, actor));
        let Some((time_ns, actor)) = stopped.or_else(|| self.schedule.take()) else {
            self.finished = true;
            return;
        };
        let mut due_ns = time_ns;
        loop {
            self.now_ns = due_ns;
            self.heap.set_time(due_ns);
            match self.act(actor, most) {
                Some(next_ns) if self.schedule.is_next(next_ns) && self.heap.pending() < most => {
                    due_ns = next_ns;
                }
                Some(next_ns) => return self.schedule.enter(next_ns, actor),
                None => return,
            }
        }
    }

    /// One turn of `actor`; returns the time of its next turn if that is known. A long turn stops when `most`
    /// records wait.
    fn act(&mut self, actor: Actor, most: usize) -> Option<u64> {
        match actor {
            Actor::Work(worker) => self.work(worker, most),
            Actor::Startup => self.start_up(),
            Actor::Read(client) => self.read(client),
            Actor::Write(client) => self.write(client),
            Actor::Open(client) => self.open(client),
            Actor::Expire(client, serial) => self.expire(client, serial),
            Actor::Send(client, serial) => self.send(client, serial),
            Actor::Arrive => self.arrive(),
            Actor::Sweep => self.sweep(),
            Actor::Phase(index) => self.begin_phase(index as usize),
            Actor::Finish => self.begin_end(),
        }
    }

    /// Hands the request of `client` to the pool.
    pub(super) fn submit(&mut self, client: u32, buffer: Block) {
        self.pool.submit(Request { connection: client, buffer, queued_ns: self.now_ns });
        self.assign();
    }

    /// Wakes a worker for each request that waits, as long as there are idle workers.
    fn assign(&mut self) {
        while let Some((index, request)) = self.pool.assign() {
            let now_ns = self.now_ns;
            self.counts.handled += 1;
            self.counts.waited_ns += u128::from(now_ns - request.queued_ns);
            let service_ns = self.draw_service(request.buffer.size());
            let client = request.connection;
            let spare = self.spares.pop().unwrap_or_default();
            let worker = self.pool.worker(index);
            let job =
                Job::new(&self.definition, &self.tables, request, worker.thread, now_ns, service_ns, spare);
            worker.job = Some((client, job));
            self.schedule.enter(now_ns, Actor::Work(index));
        }
        self.counts.queue.set(self.now_ns, self.pool.queued());
        self.counts.busy.set(self.now_ns, self.pool.busy());
    }

    fn draw_service(&mut self, payload_bytes: u64) -> u64 {
        let plan = &self.definition.service;
        let work_ns = plan.base_ns as f64 + payload_bytes as f64 / plan.bytes_per_s * 1e9;
        let service_ns = (work_ns * libm::exp(plan.sigma * self.randoms.service.normal())) as u64;
        self.counts.served_ns += u128::from(service_ns.max(1));
        service_ns.max(1)
    }

    /// A slice of the work of worker `index`: the calls that are due in it.
    fn work(&mut self, index: u32, most: usize) -> Option<u64> {
        let worker = self.pool.worker(index);
        let (client, job) = worker.job.as_mut()?;
        let mut around = Surroundings {
            definition: &self.definition,
            tables: &self.tables,
            heap: &mut self.heap,
            cache: &mut self.cache,
            objects: &mut self.randoms.objects,
            keeping: &mut self.randoms.keeping,
            spares: &mut self.spares,
        };
        match job.run(self.now_ns, most, &mut around) {
            Turn::Stopped => {
                self.stopped = Some(Actor::Work(index));
                None
            }
            Turn::Next(next_ns) => Some(next_ns),
            Turn::Done(response) => {
                let client = *client;
                self.end_job(index, client, response);
                None
            }
        }
    }

    fn end_job(&mut self, index: u32, client: u32, response: Block) {
        let worker = self.pool.worker(index);
        worker.job = None;
        worker.handled += 1;
        if worker.handled == self.definition.pool.recycle_after {
            self.recycle(index);
        }
        self.respond(client, response);
        self.pool.rest(index);
        self.assign();
    }

    /// Ends the thread of worker `index` and starts another in its place.
    fn recycle(&mut self, index: u32) {
        let worker = self.pool.worker(index);
        for block in worker.own.drain(..) {
            self.heap.free(worker.thread, block);
        }
        self.heap.end_thread(worker.thread);
        let (thread, own) = self.start_thread(index);
        let worker = self.pool.worker(index);
        (worker.thread, worker.own, worker.handled) = (thread, own, 0);
    }

    fn start_thread(&mut self, index: u32) -> (ThreadId, Vec<Block>) {
        self.counts.threads_started += 1;
        let thread = self.heap.start_thread(&format!("worker {index}"));
        let sizes = &self.tables.thread;
        let own = (0..self.definition.pool.thread_objects)
            .map(|_| self.heap.malloc(thread, sizes.draw(&mut self.randoms.objects)))
            .collect();
        (thread, own)
    }

    /// The next of the first objects, then the next thread of the pool; after the last one the server serves.
    fn start_up(&mut self) -> Option<u64> {
        if self.finishing {
            return None;
        }
        let plan = &self.definition.startup;
        if (self.startup.len() as u64) < plan.objects {
            let size = self.tables.startup.draw(&mut self.randoms.objects);
            self.startup.push(self.heap.malloc(LOOP, size));
            let part = self.startup.len() as f64 / plan.objects as f64;
            return Some((plan.time_ns as f64 * part) as u64);
        }
        let index = self.pool.workers();
        if index < self.definition.workers {
            let (thread, own) = self.start_thread(index);
            self.pool.add(thread, own);
            return Some(self.now_ns);
        }
        let connection = &self.definition.connection;
        for client in 0..self.definition.connections {
            let part = f64::from(client) / f64::from(self.definition.connections);
            let after_ns = (connection.ramp_ns as f64 * part) as u64;
            self.schedule.enter(self.now_ns + after_ns, Actor::Open(client));
        }
        if self.definition.arrivals.process == Process::Open {
            self.enter_arrival();
        }
        self.schedule.enter(self.now_ns + self.definition.cache.sweep_ns, Actor::Sweep);
        None
    }

    fn begin_phase(&mut self, index: usize) -> Option<u64> {
        if let Some(phase) = self.definition.phases.get(index) {
            self.heap.mark(&phase.name);
            self.payload_factor = phase.payload;
        }
        None
    }

    /// The event loop frees what has expired in the cache.
    fn sweep(&mut self) -> Option<u64> {
        if self.finishing {
            return None;
        }
        let mut expired = Vec::new();
        self.cache.sweep(self.now_ns, &mut expired);
        for block in expired {
            self.heap.free(LOOP, block);
        }
        // Before the next actor acts, nothing is added.
        let until_ns = self.schedule.next_ns().unwrap_or(self.now_ns);
        Some(self.cache.next_sweep_ns(self.now_ns, until_ns))
    }

    /// The duration is over: nothing new starts, and the simulation ends here or with the last response.
    fn begin_end(&mut self) -> Option<u64> {
        self.finishing = true;
        if !self.definition.free_at_end {
            self.finished = true;
            return None;
        }
        for client in 0..self.definition.connections {
            self.close_when_idle(client);
        }
        self.end_if_idle();
        None
    }

    /// Ends the threads and frees everything, once the last connection is closed.
    pub(super) fn end_if_idle(&mut self) {
        if !self.finishing || self.finished || self.counts.opened > self.counts.closed {
            return;
        }
        for worker in self.pool.take_workers() {
            for block in worker.own {
                self.heap.free(worker.thread, block);
            }
            self.heap.end_thread(worker.thread);
        }
        let mut rest = Vec::new();
        self.cache.sweep(u64::MAX, &mut rest);
        rest.append(&mut self.startup);
        for block in rest {
            self.heap.free(LOOP, block);
        }
        self.heap.shut_down(LOOP);
        self.finished = true;
    }
}

/// Start, end and rate of each phase in ns; one whole phase if the definition names none.
fn phase_ends(definition: &Definition) -> impl Iterator<Item = (u64, u64, f64)> {
    let mut parts: Vec<(f64, f64)> =
        definition.phases.iter().map(|phase| (phase.share, phase.rate)).collect();
    if parts.is_empty() {
        parts.push((1.0, 1.0));
    }
    let total: f64 = parts.iter().map(|(share, _)| share).sum();
    let duration = definition.duration_ns as f64;
    let last = parts.len() - 1;
    let (mut passed, mut start_ns) = (0.0, 0);
    let duration_ns = definition.duration_ns;
    parts.into_iter().enumerate().map(move |(index, (share, rate))| {
        passed += share;
        let end = if index == last { duration_ns } else { (duration * (passed / total)) as u64 };
        let phase = (start_ns, end.max(start_ns), rate);
        start_ns = phase.1;
        phase
    })
}
