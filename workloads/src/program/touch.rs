//! How far a block is written to, where its later events say more of it than its size did.
//!
//! An operation that allocates is written down with a touch length by its size alone; what becomes known later
//! changes it in place, in the windows that are held back or in the file.

use heaplab_trace::ObjectId;

use super::compile::{Compiler, Live};
use super::error::Fault;
use super::operation::touch_units;

/// What the recording says of how far a large object was written to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// Bytes that were written to, as of the last that was said; none if nothing was since the last realloc.
    touched: Option<u64>,
    /// Bytes of what the last realloc kept that were not written to then: what is written to of a block beyond
    /// what was before lies in the part that is new, so that the replay's sum is the program's.
    untouched_before: u64,
}

impl Known {
    /// Of a new object whose first `bytes` are touched.
    pub(super) fn of(bytes: u64) -> Known {
        Known { touched: Some(bytes), untouched_before: 0 }
    }

    /// How far from its begin a block of `size` bytes is touched.
    fn reach(&self, size: u64) -> u64 {
        self.touched.map_or(size, |bytes| bytes.saturating_add(self.untouched_before).min(size))
    }
}

impl Compiler<'_> {
    /// Of a live object so many bytes were written to: its last allocating operation touches no more, and no
    /// less, which for a large calloc is more than its first page.
    pub(super) fn touched(&mut self, object: ObjectId, bytes: u64) -> Result<(), Fault> {
        let Some(live) = self.live.get(&object).copied() else {
            return Err(
                self.law(format!("it is said what was written of object {object}, which is not live"))
            );
        };
        let known = self.known.entry(object).or_default();
        known.touched = Some(bytes);
        let reach = known.reach(live.size);
        self.set_touch(&live, reach)
    }

    /// The object is about to be resized to `size`. A block that shrinks was written to no further than that: a
    /// receive buffer of 128 KB that is cut to what came.
    pub(super) fn resize_touch(&mut self, object: ObjectId, live: &Live, size: u64) -> Result<(), Fault> {
        let known = self.known.get(&object).copied();
        if size < live.size {
            let reach = known.unwrap_or_default().reach(live.size);
            if size < reach {
                self.set_touch(live, size)?;
            }
        }
        if let Some(known) = known {
            let kept = size.min(live.size);
            let untouched_before = known.touched.map_or(0, |bytes| kept.saturating_sub(bytes));
            self.known.insert(object, Known { touched: None, untouched_before });
        }
        Ok(())
    }

    /// Nothing more will be said of the object.
    pub(super) fn end_touch(&mut self, object: ObjectId) {
        // PERF: hardly any object is in it.
        if !self.known.is_empty() {
            self.known.remove(&object);
        }
    }

    fn set_touch(&mut self, live: &Live, bytes: u64) -> Result<(), Fault> {
        let touch = touch_units(bytes);
        let held = self.held.as_mut().and_then(|held| held.op_mut(live.allocating));
        if let Some(op) = self.current.op_mut(live.allocating).or(held) {
            op.touch = touch;
        } else if live.touch_offset != 0 {
            self.writer.patch_touch(live.touch_offset, touch)?;
        }
        Ok(())
    }
}
