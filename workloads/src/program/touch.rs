//! How far a block is written to, where its later events say more of it than its size did.
//!
//! An operation that allocates is written down with a touch length by its size alone; what becomes known later
//! changes it in place.

use heaplab_trace::ObjectId;
use rustc_hash::FxHashMap;

/// Of live objects, how far those were written to of which that is known.
#[derive(Debug, Default)]
pub(super) struct Touches(FxHashMap<ObjectId, Known>);

/// What the recording says of how far a large object was written to.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Bytes that were written to, as of the last that was said; none if nothing was since the last realloc.
    touched: Option<u64>,
    /// Bytes of what the last realloc kept that were not written to then: what is written to of a block beyond
    /// what was before lies in the part that is new, so that the replay's sum is the program's.
    untouched_before: u64,
}

impl Known {
    /// How far from its begin a block of `size` bytes is touched.
    fn reach(&self, size: u64) -> u64 {
        self.touched.map_or(size, |bytes| bytes.saturating_add(self.untouched_before).min(size))
    }
}

impl Touches {
    /// A new object whose first `bytes` are touched.
    pub(super) fn add(&mut self, object: ObjectId, bytes: u64) {
        self.0.insert(object, Known { touched: Some(bytes), untouched_before: 0 });
    }

    /// Of an object of `size` bytes so many were written to. Returns how far its block is touched.
    pub(super) fn set(&mut self, object: ObjectId, bytes: u64, size: u64) -> u64 {
        let known = self.0.entry(object).or_default();
        known.touched = Some(bytes);
        known.reach(size)
    }

    /// The object is about to be resized from `old` to `new` bytes. A block that shrinks was written to no further
    /// than that: a receive buffer of 128 KB that is cut to what came. Returns how far the old block is touched, where
    /// that is less than was known.
    pub(super) fn resize(&mut self, object: ObjectId, old: u64, new: u64) -> Option<u64> {
        // PERF: hardly any object is in it.
        let known = if self.0.is_empty() { None } else { self.0.get_mut(&object) };
        let reach = known.as_deref().copied().unwrap_or_default().reach(old);
        if let Some(known) = known {
            let untouched_before = known.touched.map_or(0, |bytes| new.min(old).saturating_sub(bytes));
            *known = Known { touched: None, untouched_before };
        }
        (new < old && new < reach).then_some(new)
    }

    /// Nothing more will be said of the object.
    pub(super) fn end(&mut self, object: ObjectId) {
        // PERF: hardly any object is in it.
        if !self.0.is_empty() {
            self.0.remove(&object);
        }
    }
}
