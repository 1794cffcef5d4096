//! Where a thread finds its state: one thread-local pointer.
//!
//! PERF: a preloaded library may use the initial-exec model, two loads; `thread_local!` calls
//! `__tls_get_addr` in a shared library, which took 3 ns more for a malloc and a free together. Rust has no
//! stable switch for it, hence the assembly.
//!
//! The pointer is never NULL: a thread that nobody has seen yet has [`NOBODY`], so that the common path
//! needs no test for it.

use crate::system;
use crate::thread::{NOBODY, Thread};

core::arch::global_asm!(
    ".pushsection .tdata.heaplab_recorder_thread, \"awT\", @progbits",
    ".globl heaplab_recorder_thread",
    ".hidden heaplab_recorder_thread",
    ".type heaplab_recorder_thread, @object",
    ".size heaplab_recorder_thread, 8",
    ".balign 8",
    "heaplab_recorder_thread:",
    ".quad {nobody}",
    ".popsection",
    nobody = sym NOBODY,
);

/// The calling thread's state, or [`NOBODY`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn thread() -> &'static Thread {
    let thread: *const Thread;
    // SAFETY: reads a constant of the global offset table, and the thread's own pointer by it. What that
    // points to is a Thread for ever.
    unsafe {
        core::arch::asm!(
            "mov {thread}, qword ptr [rip + heaplab_recorder_thread@GOTTPOFF]",
            "mov {thread}, qword ptr fs:[{thread}]",
            thread = out(reg) thread,
            options(readonly, nostack, preserves_flags),
        );
        &*thread
    }
}

/// Gives the calling thread its state.
#[cfg(target_arch = "x86_64")]
pub(crate) fn set_thread(thread: &'static Thread) {
    // SAFETY: writes the thread's own pointer.
    unsafe {
        core::arch::asm!(
            "mov {offset}, qword ptr [rip + heaplab_recorder_thread@GOTTPOFF]",
            "mov qword ptr fs:[{offset}], {thread}",
            offset = out(reg) _,
            thread = in(reg) thread,
            options(nostack, preserves_flags),
        );
    }
}

/// The calling thread's state, or [`NOBODY`].
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn thread() -> &'static Thread {
    let thread: *const Thread;
    // SAFETY: reads a constant of the global offset table, and the thread's own pointer by it. What that
    // points to is a Thread for ever.
    unsafe {
        core::arch::asm!(
            "mrs {thread}, tpidr_el0",
            "adrp {offset}, :gottprel:heaplab_recorder_thread",
            "ldr {offset}, [{offset}, #:gottprel_lo12:heaplab_recorder_thread]",
            "ldr {thread}, [{thread}, {offset}]",
            thread = out(reg) thread,
            offset = out(reg) _,
            options(readonly, nostack, preserves_flags),
        );
        &*thread
    }
}

/// Gives the calling thread its state.
#[cfg(target_arch = "aarch64")]
pub(crate) fn set_thread(thread: &'static Thread) {
    // SAFETY: writes the thread's own pointer.
    unsafe {
        core::arch::asm!(
            "mrs {base}, tpidr_el0",
            "adrp {offset}, :gottprel:heaplab_recorder_thread",
            "ldr {offset}, [{offset}, #:gottprel_lo12:heaplab_recorder_thread]",
            "str {thread}, [{base}, {offset}]",
            base = out(reg) _,
            offset = out(reg) _,
            thread = in(reg) thread,
            options(nostack, preserves_flags),
        );
    }
}

/// The depth of the stack, as an address: a multiple of 8, so never a word of the control page. If it must be
/// compared exactly, it is read before a function has made its frame: see `malloc`.
#[inline(always)]
pub(crate) fn depth() -> u64 {
    let depth: u64;
    // SAFETY: reads a register.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("mov {}, rsp", out(reg) depth, options(nomem, nostack, preserves_flags));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("mov {}, sp", out(reg) depth, options(nomem, nostack, preserves_flags));
    }
    depth
}

/// Bits of an address. The others of a depth have the last bits of the address that the call returns to, or are 0:
/// not known.
const ADDRESS_BITS: u32 = 48;
/// How far from a call to look for the address that it returns to: so much of one stack is mapped.
const NEAR_BYTES: u64 = 256 << 10;

/// The depth of a call, from that of the stack before the function has made its frame: with where it returns to.
///
/// # Safety
/// `depth` is what the stack pointer was at the call.
#[inline(always)]
pub(crate) unsafe fn depth_of_call(depth: u64) -> u64 {
    // On AArch64 a call leaves the address in a register, and the function stores it wherever it likes.
    if cfg!(target_arch = "x86_64") {
        // SAFETY: the call has put the address there.
        depth | u64::from(unsafe { (depth as *const u16).read() }) << ADDRESS_BITS
    } else {
        depth
    }
}

/// Whether a call at `depth` is made from within one at `outer`: its stack is deeper, and the outer call can still
/// return.
pub(crate) fn is_within(depth: u64, outer: u64) -> bool {
    let [depth, place] = [depth, outer].map(|depth| depth & ((1 << ADDRESS_BITS) - 1));
    if depth >= place {
        return false;
    }
    let returns_to = outer >> ADDRESS_BITS;
    if returns_to == 0 || place.wrapping_sub(depth) > NEAR_BYTES || !system::is_mapped(place as usize) {
        return true;
    }
    // SAFETY: mapped. It is the stack of the outer call, which is this thread's present one, or another one of its own:
    // of a coroutine, or of a signal's handler.
    u64::from(unsafe { (place as *const u16).read_volatile() }) == returns_to
}
