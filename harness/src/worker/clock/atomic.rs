//! The atomics that a clock is made of. A model checker puts its own in their place (`models/`).

pub(super) use std::sync::atomic::{AtomicU64, Ordering};
