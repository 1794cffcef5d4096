//! The thread-local storage of a thread's heap.
//!
//! PERF: a malloc and a free together take 9.0 ns with `thread_local!`, which calls `__tls_get_addr` in a
//! shared library, and 6.0 ns with the initial-exec model, in a loop that takes 5.0 ns with functions that do
//! nothing. A preloaded library may use that model, and Rust has no stable switch for it: hence the storage
//! and its address are written in assembly where we know how, and use `thread_local!` elsewhere.

use crate::heap::Heap;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
core::arch::global_asm!(
    ".pushsection .tbss.heaplab_floor_heap, \"awT\", @nobits",
    ".globl heaplab_floor_heap",
    ".hidden heaplab_floor_heap",
    ".type heaplab_floor_heap, @object",
    ".size heaplab_floor_heap, {bytes}",
    ".balign 64",
    "heaplab_floor_heap:",
    ".zero {bytes}", // all zeros is Heap::EMPTY
    ".popsection",
    bytes = const size_of::<Heap>(),
);

/// The calling thread's heap.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn heap() -> *mut Heap {
    let heap: *mut Heap;
    // SAFETY: reads the thread pointer and a constant of the global offset table, and adds them.
    unsafe {
        core::arch::asm!(
            "mov {heap}, qword ptr fs:[0]",
            "add {heap}, qword ptr [rip + heaplab_floor_heap@GOTTPOFF]",
            heap = out(reg) heap,
            options(pure, nomem, nostack),
        );
    }
    heap
}

/// The calling thread's heap.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(crate) fn heap() -> *mut Heap {
    let heap: *mut Heap;
    // SAFETY: reads the thread pointer and a constant of the global offset table, and adds them.
    unsafe {
        core::arch::asm!(
            "mrs {heap}, tpidr_el0",
            "adrp {offset}, :gottprel:heaplab_floor_heap",
            "ldr {offset}, [{offset}, #:gottprel_lo12:heaplab_floor_heap]",
            "add {heap}, {heap}, {offset}",
            heap = out(reg) heap,
            offset = out(reg) _,
            options(pure, nomem, nostack),
        );
    }
    heap
}

/// The calling thread's heap.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
pub(crate) fn heap() -> *mut Heap {
    use core::cell::UnsafeCell;

    thread_local! {
        static HEAP: UnsafeCell<Heap> = const { UnsafeCell::new(Heap::EMPTY) };
    }
    HEAP.with(UnsafeCell::get)
}
