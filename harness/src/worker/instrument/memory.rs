//! The memory pass: keeps requested and usable bytes of every live object.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use heaplab_workloads::program::operation::Op;

use super::Instrument;
use crate::worker::state::{Local, State};

/// Bookkeeping after each call; it calls `malloc_usable_size` once for each new block, if `ASKS` says that the
/// allocator has it.
pub(crate) struct Tracked<const ASKS: bool>;

impl<const ASKS: bool> Instrument for Tracked<ASKS> {
    #[inline(always)]
    fn placed(state: &State, local: &mut Local, op: &Op, block: *mut c_void) {
        if ASKS {
            // SAFETY: the block was just returned by the allocator, which has this function.
            let usable = unsafe { libc::malloc_usable_size(block) } as u64;
            local.usable += usable as i64;
            state.slots.notes[op.slot as usize].store(usable, Ordering::Relaxed);
            if let Some(sizes) = &state.sizes {
                sizes.count(op.size, usable);
            }
        }
        state.slots.sizes[op.slot as usize].store(op.size + 1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn leaving(state: &State, local: &mut Local, op: &Op, _block: *mut c_void) {
        local.usable -= state.slots.notes[op.slot as usize].load(Ordering::Relaxed) as i64;
        state.slots.sizes[op.slot as usize].store(0, Ordering::Relaxed);
    }
}
