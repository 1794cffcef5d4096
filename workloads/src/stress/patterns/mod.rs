//! The patterns, one file each (two where they differ in one step): parameters in, a [`Play`](super::Play) out.
//!
//! A pattern is a state machine: each turn is one thread's run of operations, or a step of the initial thread
//! between them. docs/stress.md says what the original program did and what differs here.

mod alloc_test;
mod balloon;
mod blowup;
mod cache;
mod fragmentation;
mod glibc_simple;
mod glibc_thread;
mod larson;
mod malloc_large;
mod messages;
mod mstress;
mod profile;
mod rptest;
mod size_ramp;
mod thread_churn;
mod xmalloc;

use super::Pattern;
use super::parameter::{Parameter, choice, count, size};

/// Every pattern.
pub const PATTERNS: &[Pattern] = &[
    larson::PATTERN,
    xmalloc::PATTERN,
    cache::SCRATCH,
    cache::THRASH,
    alloc_test::PATTERN,
    rptest::PATTERN,
    mstress::PATTERN,
    size_ramp::PATTERN,
    glibc_simple::PATTERN,
    glibc_thread::PATTERN,
    malloc_large::PATTERN,
    thread_churn::PATTERN,
    blowup::PATTERN,
    messages::PATTERN,
    balloon::PATTERN,
    fragmentation::PATTERN,
    profile::PATTERN,
];

/// Operations that a step of the initial thread makes, where its length does not matter.
const STEP: u64 = 256;

/// `threads`, where all do the same.
const THREADS: Parameter = count("threads", "4", (1, 256), "threads, in addition to the initial one");
/// `run`, the granularity at which threads interleave.
const RUN: Parameter =
    count("run", "50", (1, 10_000), "operations of a thread before the next thread's turn comes");

/// `min` of uniform sizes.
const fn min(default: &'static str) -> Parameter {
    size("min", default, (0, 1 << 30), "smallest size")
}

/// `max` of uniform sizes.
const fn max(default: &'static str) -> Parameter {
    size("max", default, (1, 1 << 30), "largest size")
}

/// `thread`: which thread runs a pattern of one thread.
const fn thread(words: &'static [&'static str], default: &'static str) -> Parameter {
    choice(
        "thread",
        words,
        default,
        "which thread does it: the initial one (ptmalloc2's brk heap) or another",
    )
}
