//! System call filters (seccomp): noticed when the program installs one, so that this library is quiet from
//! then on.
//!
//! A filter that was installed before the program started applies to the command too, which works under it. One that
//! a program installs with its own system call instruction is not noticed.

use core::ffi::{c_int, c_long, c_uint};
use core::sync::atomic::Ordering;

use heaplab_raw::{Event, MarkKind};

use crate::system::{self, Outcome};
use crate::{next, process, record};

/// Collects, before `main`, what is needed to be quiet.
pub(crate) fn prepare() {
    system::prepare(next::search(c"_thread_db_pthread_tid").cast());
}

/// Makes a call of the program that may install a filter; `is_installed` says of its result whether it did. This
/// library is quiet during the call, because another thread may be at work, and stays so if there is a filter now.
pub(crate) fn watch(call: impl FnOnce() -> Outcome, is_installed: impl FnOnce(usize) -> bool) -> Outcome {
    // NOTE: a child of vfork filters itself, in its parent's memory: this library must not be quiet in the parent.
    if !system::is_quiet() && process::is_in_vfork() {
        return call();
    }
    system::FILTERING.fetch_add(1, Ordering::SeqCst);
    let outcome = call();
    if outcome.is_ok_and(is_installed) {
        system::FILTERS.fetch_add(1, Ordering::SeqCst);
        record::note(Event::Mark { kind: MarkKind::Filter, argument: 0, detail: 0 });
    }
    system::FILTERING.fetch_sub(1, Ordering::SeqCst);
    outcome
}

/// In a forked child: none of the parent's other threads is in such a call here.
pub(crate) fn begin_child() {
    system::FILTERING.store(0, Ordering::SeqCst);
}

/// `seccomp(2)`.
///
/// # Safety
/// As of the call that is made.
unsafe extern "C" fn seccomp(_number: c_long, operation: c_uint, flags: c_uint, arguments: usize) -> c_long {
    // SAFETY: the caller keeps the contract.
    let call = || unsafe { system::seccomp([operation as usize, flags as usize, arguments]) };
    // The others ask what the kernel can do.
    let sets = matches!(operation, libc::SECCOMP_SET_MODE_STRICT | libc::SECCOMP_SET_MODE_FILTER);
    // Where threads cannot be synchronised, the result is one of them; a listener's is its descriptor.
    let has_listener = u64::from(flags) & libc::SECCOMP_FILTER_FLAG_NEW_LISTENER != 0;
    let outcome = if sets { watch(call, |result| result == 0 || has_listener) } else { call() };
    system::told(outcome) as c_long
}

/// `prctl(2)` by its number.
///
/// # Safety
/// As of the call that is made.
unsafe extern "C" fn prctl(
    _number: c_long,
    option: c_int,
    second: usize,
    third: usize,
    fourth: usize,
    fifth: usize,
) -> c_long {
    // SAFETY: the caller keeps the contract.
    system::told(unsafe { call_prctl(option, [second, third, fourth, fifth]) }) as c_long
}

/// Makes a `prctl` of the program.
///
/// # Safety
/// As of the call that is made.
pub(crate) unsafe fn call_prctl(option: c_int, [second, third, fourth, fifth]: [usize; 4]) -> Outcome {
    // SAFETY: the caller keeps the contract.
    let call = || unsafe { system::prctl([option as usize, second, third, fourth, fifth]) };
    if option == libc::PR_SET_SECCOMP { watch(call, |result| result == 0) } else { call() }
}

/// `syscall(2)`, with which libraries install a filter. It does what the C library's own does: arguments move down
/// by one, and an error becomes errno.
///
/// # Safety
/// As of the call that is made.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn syscall(_number: c_long) -> c_long {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "cmp rdi, {seccomp_number}",
        "je {seccomp}",
        "cmp rdi, {prctl_number}",
        "je {prctl}",
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
        seccomp_number = const libc::SYS_seccomp,
        seccomp = sym seccomp,
        prctl_number = const libc::SYS_prctl,
        prctl = sym prctl,
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
pub(crate) unsafe extern "C" fn syscall(_number: c_long) -> c_long {
    core::arch::naked_asm!(
        ".cfi_startproc",
        "cmp x0, #{seccomp_number}",
        "b.ne 2f",
        "b {seccomp}",
        "2:",
        "cmp x0, #{prctl_number}",
        "b.ne 2f",
        "b {prctl}",
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
        seccomp_number = const libc::SYS_seccomp,
        seccomp = sym seccomp,
        prctl_number = const libc::SYS_prctl,
        prctl = sym prctl,
        fail = sym fail,
    )
}

/// A failed call, as the C library reports it.
extern "C" fn fail(result: isize) -> c_long {
    system::told(Err(result.wrapping_neg() as i32)) as c_long
}
