//! What the lock-free parts of a replay are made of. A model checker puts its own in their place (`models/`).

pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
