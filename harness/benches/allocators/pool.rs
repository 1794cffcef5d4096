//! The operations of a server with an event loop and 25 workers, at fixed work.
//!
//! The loop receives each request into a buffer that grows by realloc, and hands it to a worker; the
//! worker copies it, frees the loop's buffer, parses objects, writes a response and hands that back; the
//! loop frees it. So buffers and responses are freed by another thread than the one that allocated them.
//! Blocks are written to once in each page. The queues lie on the private heap and never grow.

use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};

use crate::length;
use crate::requests::{MOST_OBJECTS, OBJECT_BYTES, RECEIVE_BYTES, RESPONSE_BYTES, Request, make_requests};

const WORKERS: usize = 25;
/// Requests that are received and not yet answered, at most.
const CONNECTIONS: usize = 100;
/// Requests of one iteration.
const REQUESTS: usize = 500;
const PAGE_BYTES: usize = 4096;

pub(super) fn bench(criterion: &mut Criterion, variant: &str) {
    let requests = make_requests(REQUESTS);
    let pool = Pool::start();
    let mut group = criterion.benchmark_group("pool");
    if length::is_long() {
        group
            .warm_up_time(Duration::from_millis(500))
            .measurement_time(Duration::from_secs(3))
            .sample_size(20);
    }
    group.throughput(Throughput::Elements(REQUESTS as u64));
    let id = BenchmarkId::new(format!("{WORKERS} threads"), variant);
    group.bench_function(id, |bencher| bencher.iter(|| pool.serve(&requests)));
    group.finish();
    pool.stop();
}

/// A block of the allocator under test. It is freed by whoever has it last.
struct Block(*mut c_void);

// SAFETY: a block may be freed and written to by any thread, and there is one owner at a time.
unsafe impl Send for Block {}

impl Block {
    fn allocate(bytes: usize) -> Block {
        // SAFETY: malloc takes any number.
        let block = Block(unsafe { libc::malloc(bytes) });
        block.touch(0, bytes);
        block
    }

    fn resize(&mut self, old_bytes: usize, bytes: usize) {
        // SAFETY: the block is live and this is its only pointer.
        self.0 = unsafe { libc::realloc(self.0, bytes) };
        self.touch(old_bytes, bytes);
    }

    /// Writes one byte in each page of a part.
    fn touch(&self, from: usize, to: usize) {
        assert!(!self.0.is_null(), "no memory for {to} bytes");
        for offset in (from..to).step_by(PAGE_BYTES) {
            // SAFETY: the block has `to` bytes.
            unsafe { self.0.cast::<u8>().add(offset).write_volatile(1) };
        }
    }

    fn free(self) {
        // SAFETY: the block is live, and its only pointer ends here.
        unsafe { libc::free(self.0) };
    }
}

/// What the loop hands to a worker; none ends it.
type Task = Option<(Request, Block)>;

/// A queue that blocks while it is empty.
struct Mailbox<T> {
    queue: Mutex<VecDeque<T>>,
    filled: Condvar,
}

impl<T> Mailbox<T> {
    fn new() -> Mailbox<T> {
        Mailbox { queue: Mutex::new(VecDeque::with_capacity(CONNECTIONS)), filled: Condvar::new() }
    }

    fn put(&self, item: T) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(item);
        self.filled.notify_one();
    }

    fn take(&self) -> T {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match queue.pop_front() {
                Some(item) => return item,
                None => queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// The workers, waiting.
struct Pool {
    tasks: Vec<Arc<Mailbox<Task>>>,
    responses: Arc<Mailbox<Block>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    fn start() -> Pool {
        let tasks: Vec<Arc<Mailbox<Task>>> = (0..WORKERS).map(|_| Arc::new(Mailbox::new())).collect();
        let responses = Arc::new(Mailbox::new());
        let start = |tasks: &Arc<Mailbox<Task>>| {
            let (tasks, responses) = (Arc::clone(tasks), Arc::clone(&responses));
            std::thread::spawn(move || work(&tasks, &responses))
        };
        let threads = tasks.iter().map(start).collect();
        Pool { tasks, responses, threads }
    }

    /// The loop: every request goes to the next worker, whoever is free, so that the work is fixed.
    fn serve(&self, requests: &[Request]) {
        for (number, request) in requests.iter().enumerate() {
            if number >= CONNECTIONS {
                self.responses.take().free();
            }
            self.tasks[number % WORKERS].put(Some((*request, receive(request))));
        }
        for _ in 0..requests.len().min(CONNECTIONS) {
            self.responses.take().free();
        }
    }

    fn stop(self) {
        self.tasks.iter().for_each(|tasks| tasks.put(None));
        for thread in self.threads {
            thread.join().expect("a worker does not panic");
        }
    }
}

/// A receive buffer: it doubles until all is there, and is then cut to what came.
fn receive(request: &Request) -> Block {
    let mut bytes = RECEIVE_BYTES;
    let mut buffer = Block::allocate(bytes);
    while bytes < request.payload_bytes {
        buffer.resize(bytes, 2 * bytes);
        bytes *= 2;
    }
    buffer.resize(bytes, request.payload_bytes);
    buffer
}

fn work(tasks: &Mailbox<Task>, responses: &Mailbox<Block>) {
    while let Some((request, buffer)) = tasks.take() {
        let payload = Block::allocate(request.payload_bytes);
        buffer.free();
        let mut objects: [Option<Block>; MOST_OBJECTS] = [const { None }; MOST_OBJECTS];
        for (number, object) in objects.iter_mut().take(request.objects).enumerate() {
            *object = Some(Block::allocate(OBJECT_BYTES[number % OBJECT_BYTES.len()]));
        }
        let mut bytes = RESPONSE_BYTES;
        let mut response = Block::allocate(bytes);
        while bytes < request.response_bytes {
            response.resize(bytes, 2 * bytes);
            bytes *= 2;
        }
        objects.into_iter().flatten().for_each(Block::free);
        payload.free();
        responses.put(response);
    }
}
