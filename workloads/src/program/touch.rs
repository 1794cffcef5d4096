//! How far a block is written to, where later events say more about it than its size did.
//!
//! An operation that allocates is written down with a touch length by its size alone; what becomes known
//! later changes that length in place.

use heaplab_trace::ObjectId;
use rustc_hash::FxHashMap;

/// How far live objects were written to, for those of which this is known.
#[derive(Debug, Default)]
pub(super) struct Touches(FxHashMap<ObjectId, Known>);

/// What the recording says about how far a large object was written to.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Bytes that were written to, as last recorded; none if nothing was recorded since the last realloc.
    touched: Option<u64>,
    /// Bytes that the last realloc kept and that had not been written to by then. Anything written to beyond
    /// the earlier amount lies in the new part, so that the replay's sum equals the program's.
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

    /// This many bytes of an object of `size` bytes were written to. Returns how far its block is touched.
    pub(super) fn set(&mut self, object: ObjectId, bytes: u64, size: u64) -> u64 {
        let known = self.0.entry(object).or_default();
        known.touched = Some(bytes);
        known.reach(size)
    }

    /// The object is about to be resized from `old` to `new` bytes. A block that shrinks was written to no
    /// further than its new size: for example a receive buffer of 128 KB that is cut to what arrived. Returns
    /// how far the old block is touched, where that is less than was known.
    pub(super) fn resize(&mut self, object: ObjectId, old: u64, new: u64) -> Option<u64> {
        // PERF: hardly any object is in the map.
        let known = if self.0.is_empty() { None } else { self.0.get_mut(&object) };
        let reach = known.as_deref().copied().unwrap_or_default().reach(old);
        if let Some(known) = known {
            let untouched_before = known.touched.map_or(0, |bytes| new.min(old).saturating_sub(bytes));
            *known = Known { touched: None, untouched_before };
        }
        (new < old && new < reach).then_some(new)
    }

    /// Nothing more will be recorded about the object.
    pub(super) fn end(&mut self, object: ObjectId) {
        // PERF: hardly any object is in the map.
        if !self.0.is_empty() {
            self.0.remove(&object);
        }
    }
}
