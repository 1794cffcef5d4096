//! The memory pass: keeps requested and usable bytes of every live object.

use std::ffi::c_void;
use std::sync::atomic::Ordering;

use heaplab_workloads::program::layout::Op;

use super::engine::Engine;
use super::local::Local;
use super::ops::Instrument;

/// Bookkeeping behind each call; it asks `malloc_usable_size` once for each new block.
pub(super) struct Tracked;

impl Instrument for Tracked {
    #[inline(always)]
    fn start(_local: &mut Local) {}
    #[inline(always)]
    fn called(_local: &mut Local, _op: &Op) {}
    #[inline(always)]
    fn touched(_local: &mut Local, _op: &Op) {}

    #[inline(always)]
    fn placed(engine: &Engine, local: &mut Local, op: &Op, block: *mut c_void) {
        // SAFETY: the block was just returned by the allocator.
        let usable = unsafe { libc::malloc_usable_size(block) } as u64;
        local.usable += usable as i64;
        engine.slots.notes[op.slot as usize].store(usable, Ordering::Relaxed);
        engine.slots.sizes[op.slot as usize].store(op.size + 1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn leaving(engine: &Engine, local: &mut Local, op: &Op, _block: *mut c_void) {
        local.usable -= engine.slots.notes[op.slot as usize].load(Ordering::Relaxed) as i64;
        engine.slots.sizes[op.slot as usize].store(0, Ordering::Relaxed);
    }

    #[inline(always)]
    fn done(_engine: &Engine, _local: &mut Local) {}
}
