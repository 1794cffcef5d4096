//! Model checking of the lock-free parts, with loom: every order of the threads' steps up to a bound of
//! preemptions, and every value that a load may see under the memory model.
//!
//! The code is the product's own, included by its path rather than copied; only its atomics and the kernel's
//! futex are loom's (`sync.rs`). `scripts/models` runs all models; a name as argument runs one. Each prints
//! how many executions were tried. A law that does not hold is a panic, and so is a deadlock.

mod clock;
mod lock_model;
mod raw;
mod sync;
mod turns;
mod windows;

// A raw recording's shared pages refer to each other from the root of their crate, which is this crate here.
// Not everything that they offer is modelled: hence the dead code.
#[path = "../../workloads/raw/src/control.rs"]
#[allow(dead_code)]
mod control;
#[path = "../../workloads/raw/src/fault.rs"]
#[allow(dead_code)]
mod fault;
#[path = "../../workloads/raw/src/full_buffer.rs"]
#[allow(dead_code)]
mod full_buffer;
#[path = "../../workloads/raw/src/image.rs"]
#[allow(dead_code)]
mod image;
#[path = "../../workloads/raw/src/region.rs"]
#[allow(dead_code)]
mod region;

use control::Tick;
use fault::Fault;
use image::Image;
/// Bytes of a page of the file.
const PAGE_BYTES: usize = 4096;
/// NOTE: an image's page has two places for full buffers here instead of 64: each is one more atomic to try
/// in every order.
const PAGE_WORDS: usize = 450;
const RAW_VERSION: u32 = 1;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// A model: its name, the most preemptions that are tried, and the function to run.
type Model = (&'static str, usize, fn());

const MODELS: [Model; 10] = [
    ("clock-stops", 3, clock::stops),
    ("clock-stops-twice", 3, clock::stops_twice),
    ("clock-becomes-virtual", 3, clock::becomes_virtual),
    ("lock-excludes", 3, lock_model::excludes),
    ("turns-generations", 3, turns::generations),
    ("turns-offers", 3, turns::offers),
    ("windows-segments", 3, windows::segments),
    ("raw-full-buffers", 3, raw::full_buffers),
    ("raw-room", 3, raw::room),
    ("raw-forked-images", 3, raw::forked_images),
];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| !MODELS.iter().any(|(known, ..)| known == name)) {
        let known: Vec<&str> = MODELS.iter().map(|(name, ..)| *name).collect();
        eprintln!("no model `{unknown}`: there are {}", known.join(", "));
        return ExitCode::from(2);
    }
    println!("{:<24} {:>11} {:>12} {:>9}", "model", "preemptions", "executions", "seconds");
    for (name, preemptions, model) in MODELS {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        let executions = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&executions);
        let begin = Instant::now();
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(preemptions);
        builder.max_branches = 10_000;
        builder.check(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            model();
        });
        let (executions, seconds) = (executions.load(Ordering::Relaxed), begin.elapsed().as_secs_f64());
        println!("{name:<24} {preemptions:>11} {executions:>12} {seconds:>9.1}");
    }
    ExitCode::SUCCESS
}
