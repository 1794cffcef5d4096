//! What a pass does around the calls of the loop, which takes it as a type: the throughput pass carries none
//! of the others' work.

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
    /// Whether the loop has separate code for each pattern of a group.
    const UNROLLS_GROUPS: bool = false;

    /// Right before a call.
    #[inline(always)]
    fn start(_local: &mut Local) {}
    /// Right after a call.
    #[inline(always)]
    fn called(_local: &mut Local, _op: &Op) {}
    /// After the first touch of what the call returned.
    #[inline(always)]
    fn touched(_local: &mut Local, _op: &Op) {}
    /// An object has a new block.
    #[inline(always)]
    fn placed(_state: &State, _local: &mut Local, _op: &Op, _block: *mut c_void) {}
    /// An object's block is about to be freed or reallocated.
    #[inline(always)]
    fn leaving(_state: &State, _local: &mut Local, _op: &Op, _block: *mut c_void) {}
    /// Before an operation of the replay that is no call of the trace: work on an object, or a tuning call.
    #[inline(always)]
    fn other(_local: &mut Local) {}
    /// After an operation.
    #[inline(always)]
    fn done(_state: &State, _local: &mut Local) {}
}

/// Nothing around the calls: the throughput pass.
pub(super) struct Bare;

impl Instrument for Bare {
    const UNROLLS_GROUPS: bool = true;
}
