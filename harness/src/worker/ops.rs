//! The loop that calls the allocator: one walk over a segment's operations.
//!
//! PERF: no hash, no allocation, no division, no system call and no lock on the common path. What a
//! pass adds is a type parameter, so that the throughput pass carries nothing of the others.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use heaplab_workloads::program::operation::{Code, MOST_OP_BYTES, OP_PUBLISHES, OP_WAITS, Op, TOUCH_UNIT};

use super::instrument::Instrument;
use super::program::Ops;
use super::state::{Local, State};
use super::{answer, gate};
use crate::design::Touch;
use crate::worker::Status;

/// A loop for one pass and one touch policy.
pub(super) type Runner = fn(&State, Ops, &mut Local);

/// The loop of a pass for a touch policy.
pub(super) fn runner<I: Instrument>(touch: Touch) -> Runner {
    match touch {
        Touch::None => run::<I, NONE>,
        Touch::First => run::<I, FIRST>,
        Touch::Page => run::<I, PAGE>,
        Touch::Full => run::<I, FULL>,
    }
}

const NONE: u8 = 0;
const FIRST: u8 = 1;
const PAGE: u8 = 2;
const FULL: u8 = 3;

/// The kinds of the calls that programs make most, in their short form.
const MALLOC: u8 = Code::Malloc as u8;
const CALLOC: u8 = Code::Calloc as u8;
const REALLOC: u8 = Code::Realloc as u8;
const FREE: u8 = Code::Free as u8;

/// PERF: the commonest kinds are decoded and executed with the kind known, so that what is read and what is called
/// are settled by one jump.
fn run<I: Instrument, const TOUCH: u8>(state: &State, mut ops: Ops, local: &mut Local) {
    while ops.begin < ops.end {
        // SAFETY: there is one, and the window is in flight until this segment is finished.
        let bytes = unsafe { ops.first() };
        let length = match bytes[0] {
            MALLOC => step::<I, TOUCH>(state, MALLOC, bytes, local),
            FREE => step::<I, TOUCH>(state, FREE, bytes, local),
            CALLOC => step::<I, TOUCH>(state, CALLOC, bytes, local),
            REALLOC => step::<I, TOUCH>(state, REALLOC, bytes, local),
            kind => step_any::<I, TOUCH>(state, kind, bytes, local),
        };
        ops.begin = ops.begin.wrapping_add(length);
        I::done(state, local);
    }
}

#[inline(never)]
fn step_any<I: Instrument, const TOUCH: u8>(
    state: &State,
    kind: u8,
    bytes: &[u8; MOST_OP_BYTES],
    local: &mut Local,
) -> usize {
    step::<I, TOUCH>(state, kind, bytes, local)
}

/// Executes the operation of that kind that `bytes` begin with, and returns its length.
#[inline(always)]
fn step<I: Instrument, const TOUCH: u8>(
    state: &State,
    kind: u8,
    bytes: &[u8; MOST_OP_BYTES],
    local: &mut Local,
) -> usize {
    let Some((op, length)) = Op::decode_kind(kind, bytes) else { unknown_code() };
    let op = &op;
    if op.flags & OP_WAITS != 0 {
        gate::wait_for_generation(state, op, local);
    }
    // SAFETY: every slot of a verified program is in the table.
    let pointer = unsafe { state.slots.pointers.get_unchecked(op.slot as usize) };
    match op.code {
        Code::Malloc | Code::Calloc | Code::AlignedAlloc | Code::ReallocNull => {
            allocate::<I, TOUCH>(state, op, pointer, local);
        }
        Code::Realloc => reallocate::<I, TOUCH>(state, op, pointer, local),
        Code::Free => {
            let block = pointer.load(Ordering::Relaxed);
            I::leaving(state, local, op, block);
            I::start(local);
            // SAFETY: the operations before this one on the object are done, so that its block is live.
            unsafe { libc::free(block) };
            I::called(local, op);
        }
        Code::FreeNull => {
            I::start(local);
            // SAFETY: freeing NULL does nothing.
            unsafe { libc::free(ptr::null_mut()) };
            I::called(local, op);
        }
        // SAFETY: the operations before this one on the object are done, and it has at least `size` bytes.
        Code::Work => unsafe { work(pointer.load(Ordering::Relaxed), op) },
        Code::MallocTrim | Code::Mallopt => tune(op),
    }
    if op.flags & OP_PUBLISHES != 0 {
        gate::publish_generation(state, op, local);
    }
    length
}

#[inline(always)]
fn allocate<I: Instrument, const TOUCH: u8>(
    state: &State,
    op: &Op,
    pointer: &AtomicPtr<c_void>,
    local: &mut Local,
) {
    let size = op.size as usize;
    I::start(local);
    // SAFETY: these functions take any number; `aligned` is a power of two.
    let block = unsafe {
        match op.code {
            Code::Malloc => libc::malloc(size),
            Code::Calloc => libc::calloc(1, size),
            Code::ReallocNull => libc::realloc(ptr::null_mut(), size),
            _ => aligned(op.alignment_log2, size),
        }
    };
    I::called(local, op);
    if block.is_null() && size > 0 {
        no_memory(op);
    }
    // SAFETY: the block is new, has `size` bytes, and nobody else knows it.
    unsafe { touch::<TOUCH>(block, 0, op) };
    I::touched(local, op);
    pointer.store(block, Ordering::Relaxed);
    I::placed(state, local, op, block);
}

#[inline(always)]
fn reallocate<I: Instrument, const TOUCH: u8>(
    state: &State,
    op: &Op,
    pointer: &AtomicPtr<c_void>,
    local: &mut Local,
) {
    let old = pointer.load(Ordering::Relaxed);
    I::leaving(state, local, op, old);
    I::start(local);
    // NOTE: a realloc to 0 bytes would free on some allocators; a trace holds it as a free, so this size is not 0
    // but in a trace made by hand.
    // SAFETY: the operations before this one on the object are done, so that its block is live.
    let block = unsafe { libc::realloc(old, (op.size as usize).max(1)) };
    I::called(local, op);
    if block.is_null() {
        no_memory(op);
    }
    // SAFETY: the block has `size` bytes and nobody else knows it.
    unsafe { touch::<TOUCH>(block, op.old_size as usize, op) };
    I::touched(local, op);
    pointer.store(block, Ordering::Relaxed);
    I::placed(state, local, op, block);
}

/// `posix_memalign` with at least the alignment that it accepts; null when it fails.
#[inline]
unsafe fn aligned(alignment_log2: u8, size: usize) -> *mut c_void {
    let alignment = (1usize << (alignment_log2 & 63)).max(size_of::<*mut c_void>());
    let mut block = ptr::null_mut();
    // SAFETY: `block` is a place for the result.
    let error = unsafe { libc::posix_memalign(&raw mut block, alignment, size) };
    if error == 0 { block } else { ptr::null_mut() }
}

/// Writes to a block from `from` to the operation's touch length, as the policy says.
#[inline(always)]
unsafe fn touch<const TOUCH: u8>(block: *mut c_void, from: usize, op: &Op) {
    const PAGE_BYTES: usize = 4096;
    let block = block.cast::<u8>();
    let to = (u64::from(op.touch) * TOUCH_UNIT).min(op.size) as usize;
    if TOUCH == NONE || from >= to {
        return;
    }
    if TOUCH == FULL {
        // SAFETY: `to` is at most the block's size.
        unsafe { ptr::write_bytes(block.add(from), 0xA5, to - from) };
        return;
    }
    // SAFETY: `from` is below `to`, which is at most the block's size; so is every address between them.
    unsafe {
        if TOUCH == FIRST {
            if from == 0 {
                block.write_volatile(0xA5);
            }
            return;
        }
        block.add(from).write_volatile(0xA5);
        let start = block.addr() + from;
        let mut next = (start & !(PAGE_BYTES - 1)) + PAGE_BYTES;
        while next < block.addr() + to {
            block.add(next - block.addr()).write_volatile(0xA5);
            next += PAGE_BYTES;
        }
        block.add(to - 1).write_volatile(0xA5);
    }
}

/// Reads and writes back each byte that is worked on. What the bytes hold stays, so that the check pass
/// finds its pattern whole; the cache lines become this CPU's own, which is what false sharing is about.
#[inline(never)]
unsafe fn work(block: *mut c_void, op: &Op) {
    let block = block.cast::<MaybeUninit<u8>>();
    for _ in 0..op.old_size {
        for index in 0..op.size as usize {
            // SAFETY: by the caller's word the byte is the object's, and only the thread whose turn it is works on it.
            unsafe { block.add(index).write_volatile(block.add(index).read_volatile()) };
        }
    }
}

/// Tells the allocator what the program told it. Bound by the loader, as the program's own call would be: where the
/// preloaded library has no such function, the C library's acts on a heap that serves nobody. What the call
/// returns is not looked at: an allocator may refuse, as it would have refused the program.
#[cold]
#[inline(never)]
fn tune(op: &Op) {
    // SAFETY: both take any number, and neither moves a block.
    unsafe {
        if op.code == Code::MallocTrim {
            libc::malloc_trim(op.size as usize);
        } else {
            libc::mallopt(op.size as u32 as c_int, op.old_size as u32 as c_int);
        }
    }
}

#[cold]
#[inline(never)]
fn unknown_code() -> ! {
    answer::fail(
        Status::Error,
        "the program changed since it was verified: it has an operation of no known code",
    )
}

#[cold]
#[inline(never)]
fn no_memory(op: &Op) -> ! {
    answer::fail(Status::Oom, &format!("the allocator returned NULL for {} bytes", op.size))
}
