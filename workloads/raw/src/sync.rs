//! What the shared pages are made of. A model checker puts its own in their place (`models/`).

pub(crate) use core::sync::atomic::{AtomicU64, Ordering};
