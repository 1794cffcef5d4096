//! The loop that calls the allocator: one walk over a segment's operations.
//!
//! PERF: no hash, no allocation, no division, no system call and no lock on the common path. Each pass adds
//! its part as a type parameter, so the throughput pass carries none of the others' work.

use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use heaplab_workloads::program::group::{GROUP, GROUP_OPS, decode_member};
use heaplab_workloads::program::operation::{
    Code, Form, MOST_OP_BYTES, OP_PUBLISHES, OP_WAITS, Op, TOUCH_UNIT,
};

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

const FLAGS: u8 = OP_WAITS | OP_PUBLISHES;

/// The kinds of the most common operations.
const MALLOC: u8 = short(Code::Malloc);
const CALLOC: u8 = short(Code::Calloc);
const REALLOC: u8 = short(Code::Realloc);
const FREE: u8 = short(Code::Free);
const LARGE_MALLOC: u8 = medium(Code::Malloc, 0);
/// An allocation that another thread waits for, and that thread's free.
const HANDED_MALLOC: u8 = medium(Code::Malloc, OP_PUBLISHES);
const AWAITED_FREE: u8 = medium(Code::Free, OP_WAITS);

/// Groups, by their patterns.
const GROUP_0: u8 = GROUP;
const GROUP_1: u8 = GROUP | 1;
const GROUP_2: u8 = GROUP | 2;
const GROUP_3: u8 = GROUP | 3;
const GROUP_4: u8 = GROUP | 4;
const GROUP_5: u8 = GROUP | 5;
const GROUP_6: u8 = GROUP | 6;
const GROUP_7: u8 = GROUP | 7;
const GROUP_8: u8 = GROUP | 8;
const GROUP_9: u8 = GROUP | 9;
const GROUP_10: u8 = GROUP | 10;
const GROUP_11: u8 = GROUP | 11;
const GROUP_12: u8 = GROUP | 12;
const GROUP_13: u8 = GROUP | 13;
const GROUP_14: u8 = GROUP | 14;
const GROUP_15: u8 = GROUP | 15;

const fn short(code: Code) -> u8 {
    Form::Short.kind(code as u8, 0)
}

const fn medium(code: Code, flags: u8) -> u8 {
    Form::Medium.kind(code as u8, flags)
}

/// PERF: the most common kinds are decoded and executed with the kind known, so that one jump determines what is
/// read and called, and an operation stays in registers.
fn run<I: Instrument, const TOUCH: u8>(state: &State, mut ops: Ops, local: &mut Local) {
    while ops.begin < ops.end {
        // SAFETY: there is one, and the window is in flight until this segment is finished.
        let bytes = unsafe { ops.first() };
        let length = match bytes[0] {
            MALLOC => step::<I, TOUCH>(state, MALLOC, bytes, local),
            FREE => step::<I, TOUCH>(state, FREE, bytes, local),
            CALLOC => step::<I, TOUCH>(state, CALLOC, bytes, local),
            REALLOC => step::<I, TOUCH>(state, REALLOC, bytes, local),
            LARGE_MALLOC => step::<I, TOUCH>(state, LARGE_MALLOC, bytes, local),
            HANDED_MALLOC => step::<I, TOUCH>(state, HANDED_MALLOC, bytes, local),
            AWAITED_FREE => step::<I, TOUCH>(state, AWAITED_FREE, bytes, local),
            GROUP_0 => group::<I, TOUCH, 0>(state, bytes, local),
            GROUP_1 => group::<I, TOUCH, 1>(state, bytes, local),
            GROUP_2 => group::<I, TOUCH, 2>(state, bytes, local),
            GROUP_3 => group::<I, TOUCH, 3>(state, bytes, local),
            GROUP_4 => group::<I, TOUCH, 4>(state, bytes, local),
            GROUP_5 => group::<I, TOUCH, 5>(state, bytes, local),
            GROUP_6 => group::<I, TOUCH, 6>(state, bytes, local),
            GROUP_7 => group::<I, TOUCH, 7>(state, bytes, local),
            GROUP_8 => group::<I, TOUCH, 8>(state, bytes, local),
            GROUP_9 => group::<I, TOUCH, 9>(state, bytes, local),
            GROUP_10 => group::<I, TOUCH, 10>(state, bytes, local),
            GROUP_11 => group::<I, TOUCH, 11>(state, bytes, local),
            GROUP_12 => group::<I, TOUCH, 12>(state, bytes, local),
            GROUP_13 => group::<I, TOUCH, 13>(state, bytes, local),
            GROUP_14 => group::<I, TOUCH, 14>(state, bytes, local),
            GROUP_15 => group::<I, TOUCH, 15>(state, bytes, local),
            kind => match Form::of_kind(kind) {
                Some(Form::Short) => step_short::<I, TOUCH>(state, kind, bytes, local),
                Some(Form::Medium) => step_medium::<I, TOUCH>(state, kind, bytes, local),
                Some(Form::Wide) => step_wide::<I, TOUCH>(state, kind, bytes, local),
                None => unknown_code(),
            },
        };
        ops.begin = ops.begin.wrapping_add(length);
    }
}

/// Executes the group that `bytes` start with, and returns its length.
#[inline(always)]
fn group<I: Instrument, const TOUCH: u8, const PATTERN: u8>(
    state: &State,
    bytes: &[u8; MOST_OP_BYTES],
    local: &mut Local,
) -> usize {
    if !I::UNROLLS_GROUPS {
        return group_in_turn::<I, TOUCH>(state, PATTERN, bytes, local);
    }
    const { assert!(GROUP_OPS == 4) };
    let at = member::<I, TOUCH>(state, PATTERN & 1 != 0, bytes, 1, local);
    let at = member::<I, TOUCH>(state, PATTERN & 2 != 0, bytes, at, local);
    let at = member::<I, TOUCH>(state, PATTERN & 4 != 0, bytes, at, local);
    member::<I, TOUCH>(state, PATTERN & 8 != 0, bytes, at, local)
}

/// The same for a pass with considerable work at each call: one piece of code for all patterns.
#[inline(never)]
fn group_in_turn<I: Instrument, const TOUCH: u8>(
    state: &State,
    pattern: u8,
    bytes: &[u8; MOST_OP_BYTES],
    local: &mut Local,
) -> usize {
    let mut at = 1;
    for bit in 0..GROUP_OPS {
        at = if pattern >> bit & 1 != 0 {
            member::<I, TOUCH>(state, true, bytes, at, local)
        } else {
            member::<I, TOUCH>(state, false, bytes, at, local)
        };
    }
    at
}

/// Executes the operation of a group that starts at `at`, and returns where the next one starts.
#[inline(always)]
fn member<I: Instrument, const TOUCH: u8>(
    state: &State,
    allocates: bool,
    bytes: &[u8; MOST_OP_BYTES],
    at: usize,
    local: &mut Local,
) -> usize {
    let (op, length) = decode_member(allocates, bytes, at);
    // SAFETY: every slot of a verified program is in the table.
    let pointer = unsafe { state.slots.pointers.get_unchecked(op.slot as usize) };
    if allocates {
        allocate::<I, TOUCH>(state, &op, pointer, local);
    } else {
        release::<I>(state, &op, pointer, local);
    }
    I::done(state, local);
    at + length
}

/// An operation in the short form.
///
/// PERF: the rest of the kinds have a function for each form. A single function would assemble an operation
/// in memory from parts, and then read it in different widths, which the processor cannot forward: 20 ns and
/// more.
#[inline(never)]
fn step_short<I: Instrument, const TOUCH: u8>(
    state: &State,
    kind: u8,
    bytes: &[u8; MOST_OP_BYTES],
    local: &mut Local,
) -> usize {
    step::<I, TOUCH>(state, Form::Short.kind(kind & 0xF, 0), bytes, local)
}

/// An operation in the medium form.
#[inline(never)]
fn step_medium<I: Instrument, const TOUCH: u8>(
    state: &State,
    kind: u8,
    bytes: &[u8; MOST_OP_BYTES],
    local: &mut Local,
) -> usize {
    step::<I, TOUCH>(state, Form::Medium.kind(kind & 0xF, kind & FLAGS), bytes, local)
}

/// An operation in the wide form.
#[inline(never)]
fn step_wide<I: Instrument, const TOUCH: u8>(
    state: &State,
    kind: u8,
    bytes: &[u8; MOST_OP_BYTES],
    local: &mut Local,
) -> usize {
    step::<I, TOUCH>(state, Form::Wide.kind(kind & 0xF, kind & FLAGS), bytes, local)
}

/// Executes the operation of that kind that `bytes` start with, and returns its length.
#[inline(always)]
fn step<I: Instrument, const TOUCH: u8>(
    state: &State,
    kind: u8,
    bytes: &[u8; MOST_OP_BYTES],
    local: &mut Local,
) -> usize {
    let Some((op, length)) = Op::decode_kind(kind, bytes) else { unknown_code() };
    if op.flags & OP_WAITS != 0 {
        gate::wait_for_generation(state, op.slot, op.generation, local);
    }
    // SAFETY: every slot of a verified program is in the table.
    let pointer = unsafe { state.slots.pointers.get_unchecked(op.slot as usize) };
    match op.code {
        Code::Malloc | Code::Calloc | Code::AlignedAlloc | Code::ReallocNull => {
            allocate::<I, TOUCH>(state, &op, pointer, local);
        }
        Code::Realloc => reallocate::<I, TOUCH>(state, &op, pointer, local),
        Code::Free => release::<I>(state, &op, pointer, local),
        Code::FreeNull => {
            I::start(local);
            // SAFETY: freeing NULL does nothing.
            unsafe { libc::free(unknown_null()) };
            I::called(local, &op);
        }
        Code::Work => {
            I::other(local);
            // SAFETY: the operations before this one on the object are done, and it has at least `size` bytes.
            unsafe { work(pointer.load(Ordering::Relaxed), op.size as usize, op.old_size) };
        }
        Code::MallocTrim | Code::Mallopt => {
            I::other(local);
            tune(op.code, op.size, op.old_size);
        }
    }
    if op.flags & OP_PUBLISHES != 0 {
        gate::publish_generation(state, op.slot, op.generation, local);
    }
    I::done(state, local);
    length
}

/// NULL, which the compiler does not know to be NULL: it would leave out `free(NULL)` and make `realloc(NULL, size)` a
/// `malloc`.
#[inline(always)]
fn unknown_null() -> *mut c_void {
    std::hint::black_box(ptr::null_mut())
}

#[inline(always)]
fn release<I: Instrument>(state: &State, op: &Op, pointer: &AtomicPtr<c_void>, local: &mut Local) {
    let block = pointer.load(Ordering::Relaxed);
    I::leaving(state, local, op, block);
    I::start(local);
    // SAFETY: the operations before this one on the object are done, so that its block is live.
    unsafe { libc::free(block) };
    I::called(local, op);
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
            Code::ReallocNull => libc::realloc(unknown_null(), size),
            _ => aligned(op.alignment_log2, size),
        }
    };
    I::called(local, op);
    if block.is_null() && size > 0 {
        no_memory(op.size);
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
    // NOTE: a realloc to 0 bytes would free on some allocators; a trace stores it as a free, so this size is 0
    // only in a trace made by hand.
    // SAFETY: the operations before this one on the object are done, so that its block is live.
    let block = unsafe { libc::realloc(old, (op.size as usize).max(1)) };
    I::called(local, op);
    if block.is_null() {
        no_memory(op.size);
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

/// Reads and writes back each byte that is worked on. The bytes keep their values, so that the check pass
/// finds its pattern intact; the cache lines become this CPU's own, which is what false sharing is about.
#[inline(never)]
unsafe fn work(block: *mut c_void, bytes: usize, repeats: u64) {
    let block = block.cast::<MaybeUninit<u8>>();
    for _ in 0..repeats {
        for index in 0..bytes {
            // SAFETY: by the caller's contract the byte is the object's, and only the thread whose turn it is
            // works on it.
            unsafe { block.add(index).write_volatile(block.add(index).read_volatile()) };
        }
    }
}

/// Makes the call with which the program tuned its allocator. The loader binds it as it would bind the program's
/// own call: if the preloaded library has no such function, the C library's acts on a heap that is not in use. The
/// call's result is not checked: an allocator may refuse, as it would have refused the program.
#[cold]
#[inline(never)]
fn tune(code: Code, argument: u64, value: u64) {
    // SAFETY: both take any number, and neither moves a block.
    unsafe {
        if code == Code::MallocTrim {
            libc::malloc_trim(argument as usize);
        } else {
            libc::mallopt(argument as u32 as c_int, value as u32 as c_int);
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
fn no_memory(size: u64) -> ! {
    answer::fail(Status::Oom, &format!("the allocator returned NULL for {size} bytes"))
}
