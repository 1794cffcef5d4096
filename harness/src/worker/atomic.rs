//! What the lock-free parts of a replay are made of. A model checker puts its own in their place (`models/`).

pub(super) use std::hint::spin_loop;
pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How often a waiter looks before it sleeps.
///
/// PERF: with more threads than cores the one that is waited for is often not running, and every look
/// keeps it from doing so.
pub(super) const LOOKS: u32 = 40;
