//! What a pass does around the calls of the loop, which takes it as a type: the throughput pass carries nothing of the
//! others.

mod check;
mod latency;
mod memory;

use std::ffi::c_void;

use heaplab_workloads::program::operation::Op;

use super::state::{Local, State};

pub(super) use check::Checked;
pub(super) use latency::Timed;
pub(super) use memory::Tracked;

/// What a pass does around the calls.
pub(super) trait Instrument {
    /// Right before a call.
    fn start(local: &mut Local);
    /// Right behind a call.
    fn called(local: &mut Local, op: &Op);
    /// Behind the first touch of what the call returned.
    fn touched(local: &mut Local, op: &Op);
    /// An object has a new block.
    fn placed(state: &State, local: &mut Local, op: &Op, block: *mut c_void);
    /// An object's block is about to be freed or reallocated.
    fn leaving(state: &State, local: &mut Local, op: &Op, block: *mut c_void);
    /// Behind an operation.
    fn done(state: &State, local: &mut Local);
}

/// Nothing around the calls: the throughput pass.
pub(super) struct Bare;

impl Instrument for Bare {
    #[inline(always)]
    fn start(_local: &mut Local) {}
    #[inline(always)]
    fn called(_local: &mut Local, _op: &Op) {}
    #[inline(always)]
    fn touched(_local: &mut Local, _op: &Op) {}
    #[inline(always)]
    fn placed(_state: &State, _local: &mut Local, _op: &Op, _block: *mut c_void) {}
    #[inline(always)]
    fn leaving(_state: &State, _local: &mut Local, _op: &Op, _block: *mut c_void) {}
    #[inline(always)]
    fn done(_state: &State, _local: &mut Local) {}
}
