//! Calls of malloc whose CPU time is known: additional time under a recorder is the recorder's.

use std::hint::black_box;

use serde::Serialize;

use super::clock;

/// Consecutive calls, in this many rounds; the cheapest round counts.
const ROUNDS: usize = 6;
const PAIRS: u32 = 20_000;
/// How often the process sleeps before a pair of calls; the median counts.
const WAKINGS: usize = 15;
/// Longer than a step of the recorder's clock.
const SLEEP_NS: u64 = 1_300_000;

/// CPU time of calls, in ns.
#[derive(Debug, Clone, Copy, Serialize)]
struct Calls {
    /// Per call, among many.
    event_ns: f64,
    /// Additional time of the first call after the thread slept.
    waking_ns: f64,
}

/// Makes the calls, and prints their cost to stdout.
///
/// # Errors
///
/// An answer that nobody reads.
pub fn main() -> Result<(), String> {
    super::offer_to_killer();
    let event_ns = (0..ROUNDS).map(|_| cpu_ns_of(PAIRS)).min().unwrap_or(0) as f64 / f64::from(2 * PAIRS);
    let mut wakings: Vec<u64> = (0..WAKINGS)
        .map(|_| {
            clock::sleep_until_ns(clock::real_ns() + SLEEP_NS);
            cpu_ns_of(1)
        })
        .collect();
    wakings.sort_unstable();
    let waking_ns = (wakings[WAKINGS / 2] as f64 - 2.0 * event_ns).max(0.0);
    serde_json::to_writer(std::io::stdout(), &Calls { event_ns, waking_ns })
        .map_err(|error| error.to_string())
}

/// CPU time of this many mallocs and frees.
fn cpu_ns_of(pairs: u32) -> u64 {
    let begin = clock::thread_cpu_ns();
    for _ in 0..pairs {
        // SAFETY: malloc takes any number, and free what it returned.
        unsafe { libc::free(black_box(libc::malloc(black_box(64)))) };
    }
    clock::thread_cpu_ns() - begin
}
