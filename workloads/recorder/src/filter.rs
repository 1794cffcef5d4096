//! System call filters (seccomp): noticed when the program installs one, so that this library is quiet from
//! then on.
//!
//! A filter that was installed before the program started applies to the command too, which works under it. One that
//! a program installs with its own system call instruction is not noticed.

use core::sync::atomic::Ordering;

use crate::{next, system};

/// Collects, before `main`, what is needed to be quiet.
pub(crate) fn prepare() {
    system::prepare(next::search(c"_thread_db_pthread_tid").cast());
}

/// `prctl` asks for a filter.
pub(crate) fn watch(option: core::ffi::c_int) {
    if option == libc::PR_SET_SECCOMP {
        system::QUIET.store(true, Ordering::Relaxed);
    }
}

/// `syscall(2)`, with which libraries install a filter. It does what the C library's own does: arguments move down
/// by one, and an error becomes errno.
///
/// # Safety
/// As of the call that is made.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syscall(_number: core::ffi::c_long) -> core::ffi::c_long {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "cmp rdi, {seccomp}",
        "jne 2f",
        "mov byte ptr [rip + {quiet}], 1",
        "2:",
        "mov rax, rdi",
        "mov rdi, rsi",
        "mov rsi, rdx",
        "mov rdx, rcx",
        "mov r10, r8",
        "mov r8, r9",
        "mov r9, qword ptr [rsp + 8]",
        "syscall",
        "cmp rax, -4095",
        "jae 3f",
        "ret",
        "3:",
        "mov rdi, rax",
        "jmp {fail}",
        ".cfi_endproc",
        seccomp = const libc::SYS_seccomp,
        quiet = sym system::QUIET,
        fail = sym fail,
    )
}

/// `syscall(2)`, as above.
///
/// # Safety
/// As of the call that is made.
#[cfg(target_arch = "aarch64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syscall(_number: core::ffi::c_long) -> core::ffi::c_long {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "cmp x0, #{seccomp}",
        "b.ne 2f",
        "adrp x9, {quiet}",
        "add x9, x9, :lo12:{quiet}",
        "mov w10, #1",
        "strb w10, [x9]",
        "2:",
        "mov x8, x0",
        "mov x0, x1",
        "mov x1, x2",
        "mov x2, x3",
        "mov x3, x4",
        "mov x4, x5",
        "mov x5, x6",
        "svc 0",
        "cmn x0, #4095",
        "b.cs 3f",
        "ret",
        "3:",
        "b {fail}",
        ".cfi_endproc",
        seccomp = const libc::SYS_seccomp,
        quiet = sym system::QUIET,
        fail = sym fail,
    )
}

/// A failed call, as the C library reports it.
extern "C" fn fail(result: isize) -> core::ffi::c_long {
    system::told(Err(result.wrapping_neg() as i32)) as core::ffi::c_long
}
