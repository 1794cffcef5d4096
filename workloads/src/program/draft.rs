//! A window while it is compiled.
//!
//! Two windows are held back, because a later event may still mark one of their operations as waited for;
//! after that a window is written, and only the touch length of a large block may still be changed in place.

use heaplab_trace::{ObjectId, ThreadId};

use super::group::{GROUP_OPS, encode_group};
use super::operation::Op;
use super::window::{HEAD_BYTES, Segment, Window};

/// The operations of one thread in one window.
#[derive(Debug, Default)]
pub(super) struct SegmentDraft {
    pub(super) thread: ThreadId,
    pub(super) ops: Vec<Op>,
    pub(super) ends_thread: bool,
    /// Slots that this thread freed in this window and has not taken again (causal order).
    pub(super) freed_slots: Vec<u32>,
}

/// Where an operation is, while its window is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of its window.
    pub(super) window: u64,
    /// Index of its segment in the window.
    pub(super) segment: u32,
    /// Index of the operation in the segment.
    pub(super) op: u32,
}

/// A window that is being filled or held back.
#[derive(Debug)]
pub(super) struct WindowDraft {
    /// Its number, from 0.
    pub(super) number: u64,
    pub(super) head: Window,
    pub(super) segments: Vec<SegmentDraft>,
    /// Bytes allocated by its events.
    pub(super) allocated_bytes: u64,
    /// Its operations that are work on an object, which are not events.
    pub(super) works: u64,
    /// Allocations larger than a page: a later event may change how far they are touched.
    pub(super) large: Vec<(ObjectId, Place)>,
}

impl WindowDraft {
    /// An empty window.
    pub(super) fn new(number: u64, first_time: u64, flags: u32) -> WindowDraft {
        let head = Window { first_time, last_time: first_time, flags, ..Window::default() };
        WindowDraft { number, head, segments: Vec::new(), allocated_bytes: 0, works: 0, large: Vec::new() }
    }

    /// The operation at `place`, if the place is in this window.
    pub(super) fn op_mut(&mut self, place: Place) -> Option<&mut Op> {
        if place.window != self.number {
            return None;
        }
        self.segments.get_mut(place.segment as usize)?.ops.get_mut(place.op as usize)
    }
}

/// The bytes of one window.
#[derive(Debug, Default)]
pub(super) struct Encoded {
    pub(super) bytes: Vec<u8>,
    ops: Vec<u8>,
    /// Segment, operation, and position of the touch length, for each operation that has one, in that order.
    touches: Vec<(u32, u32, usize)>,
}

impl Encoded {
    /// Encodes `window` into these bytes.
    pub(super) fn encode(&mut self, window: &WindowDraft) {
        self.bytes.clear();
        self.bytes.resize(HEAD_BYTES, 0);
        self.touches.clear();
        let mut ops = 0;
        for (index, draft) in (0..).zip(&window.segments) {
            self.encode_segment(index, draft);
            ops += draft.ops.len();
        }
        let bytes = self.bytes.len() as u64;
        let head = Window { bytes, segments: window.segments.len() as u32, ops: ops as u32, ..window.head };
        self.bytes[..HEAD_BYTES].copy_from_slice(&head.to_bytes());
    }

    fn encode_segment(&mut self, index: u32, draft: &SegmentDraft) {
        self.ops.clear();
        let first_touch = self.touches.len();
        let (mut requested, mut peak) = (0i64, 0i64);
        for op in &draft.ops {
            let (taken, given) = op.requested_change();
            requested = requested.wrapping_sub_unsigned(taken).wrapping_add_unsigned(given);
            peak = peak.max(requested);
        }
        let mut at = 0;
        while at < draft.ops.len() {
            if encode_group(&draft.ops[at..], &mut self.ops) {
                at += GROUP_OPS;
                continue;
            }
            let begin = self.ops.len();
            if let Some(touch) = draft.ops[at].encode(&mut self.ops) {
                self.touches.push((index, at as u32, begin + touch));
            }
            at += 1;
        }
        let segment = Segment {
            thread: draft.thread,
            ends_thread: draft.ends_thread,
            bytes: self.ops.len() as u64,
            requested_change: requested,
            requested_peak: peak.cast_unsigned(),
        };
        segment.encode(&mut self.bytes);
        let begin = self.bytes.len();
        for (_, _, touch) in &mut self.touches[first_touch..] {
            *touch += begin;
        }
        self.bytes.extend_from_slice(&self.ops);
    }

    /// Where the touch length of an operation lies in the window; none if its size alone determines it.
    pub(super) fn touch_offset(&self, place: Place) -> Option<usize> {
        let wanted = (place.segment, place.op);
        let found = self.touches.binary_search_by_key(&wanted, |(segment, op, _)| (*segment, *op)).ok()?;
        Some(self.touches[found].2)
    }
}
