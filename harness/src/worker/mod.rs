//! The process that is measured: one variant, one program, one pass.
//!
//! A worker is this binary again, with the variant's library preloaded. It reads the job from stdin, writes
//! the answer to stdout, and exits. All of the harness's data is outside the heap under test: a private heap,
//! tables and stacks on shared mappings, the program in a mapped file. It must not use std's clock, sleeping
//! or waiting with time-outs: they would read the clock that it supplies itself.
#![allow(unsafe_code)] // malloc is called here; every unsafe block says why it is sound
#![deny(clippy::disallowed_methods)] // harness/clippy.toml lists what reads the supplied clock

mod answer;
mod background;
mod backing;
mod calls;
mod checkpoint;
mod classes;
mod clock;
mod cpus;
mod engine;
mod extent;
mod first_write;
mod footprint;
mod gate;
mod heap;
mod heap_map;
mod huge_pages;
mod inherited;
mod initial_stack;
mod instrument;
mod job;
mod latency;
mod layout;
mod lock;
mod mapping;
mod membership;
mod memory;
mod ops;
mod populate;
mod program;
mod relro;
mod replay;
mod sizes;
mod space;
mod stacks;
mod state;
mod stopwatch;
mod sync;
mod tables;
mod threads;
mod turn;
mod usage;
mod windows;

use std::io::Read;

pub use backing::main as back_memory;
pub use calls::main as make_calls;
pub(crate) use classes::smallest_request;
pub use extent::{Extent, Footprint, Need, PageCosts, Warmed};
pub use first_write::measure_first_writes;
pub use heap::PrivateHeap;
pub(crate) use job::measured_columns;
pub use job::{
    Breakdown, Checkpoint, HeapCell, HeapMap, Histogram, Job, Measured, Moment, Reply, RequestClass,
    SizeClass, Stated, Status,
};
pub(crate) use latency::COST_SIZES;

pub(crate) use cpus::VARIABLE as CPUS_VARIABLE;
pub(crate) use stacks::OVERFLOW_EXIT;

/// Reads a job from stdin, does it, and answers on stdout.
///
/// # Errors
///
/// A job that cannot be read. Every later error is an answer with a status.
pub fn main() -> Result<(), String> {
    offer_to_killer();
    if let Err(error) = relro::share() {
        eprintln!("heaplab worker: its own constants stay in its anonymous memory: {error}");
    }
    // A fault in the harness must not be reported as the allocator's crash, whichever thread finds it.
    std::panic::set_hook(Box::new(|fault| {
        answer::fail(Status::Error, &format!("the harness failed: {fault}"))
    }));
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| format!("cannot read the job: {error}"))?;
    let job: Job = serde_json::from_str(&text).map_err(|error| format!("the job is not valid: {error}"))?;
    answer::write(&replay::run(job));
    Ok(())
}

/// Asks the kernel to choose this process first when memory runs out.
fn offer_to_killer() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        eprintln!("heaplab worker: cannot offer itself to the out-of-memory killer: {error}");
    }
}
