//! The pool of workers: a FIFO queue of requests, and which idle worker is woken for a request.

use std::collections::VecDeque;

use heaplab_trace::ThreadId;

use super::block::Block;
use super::definition::Wake;
use super::request::{Job, Request};

/// Workers and the requests waiting for one.
#[derive(Debug)]
pub(super) struct Pool {
    wake: Wake,
    workers: Vec<Worker>,
    /// Idle workers in the order in which they became idle.
    idle: VecDeque<u32>,
    queue: VecDeque<Request>,
}

/// One place in the pool, with the thread that fills it now.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) thread: ThreadId,
    /// What the thread allocated when it started.
    pub(super) own: Vec<Block>,
    /// Requests that the thread has handled.
    pub(super) handled: u64,
    /// The connection whose request it handles, and the handling.
    pub(super) job: Option<(u32, Job)>,
}

impl Pool {
    pub(super) fn new(wake: Wake) -> Pool {
        Pool { wake, workers: Vec::new(), idle: VecDeque::new(), queue: VecDeque::new() }
    }

    /// Adds a place that is filled by `thread`, idle.
    pub(super) fn add(&mut self, thread: ThreadId, own: Vec<Block>) {
        self.idle.push_back(self.workers.len() as u32);
        self.workers.push(Worker { thread, own, handled: 0, job: None });
    }

    /// Places in the pool.
    pub(super) fn workers(&self) -> u32 {
        self.workers.len() as u32
    }

    /// Puts `request` at the end of the queue.
    pub(super) fn submit(&mut self, request: Request) {
        self.queue.push_back(request);
    }

    /// Takes the oldest request and the worker that is woken for it, if there are both.
    pub(super) fn assign(&mut self) -> Option<(u32, Request)> {
        if self.idle.is_empty() {
            return None;
        }
        let request = self.queue.pop_front()?;
        let worker = match self.wake {
            Wake::Fifo => self.idle.pop_front(),
            Wake::Lifo => self.idle.pop_back(),
        };
        worker.map(|worker| (worker, request))
    }

    /// Marks worker `index` as idle.
    pub(super) fn rest(&mut self, index: u32) {
        self.idle.push_back(index);
    }

    /// Requests waiting.
    pub(super) fn queued(&self) -> u64 {
        self.queue.len() as u64
    }

    /// Workers handling a request.
    pub(super) fn busy(&self) -> u64 {
        (self.workers.len() - self.idle.len()) as u64
    }

    pub(super) fn worker(&mut self, index: u32) -> &mut Worker {
        &mut self.workers[index as usize]
    }

    /// Removes every worker.
    pub(super) fn take_workers(&mut self) -> Vec<Worker> {
        self.idle.clear();
        std::mem::take(&mut self.workers)
    }
}
