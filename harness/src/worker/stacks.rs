//! The stacks of replayed threads, and how an overflow is distinguished from another crash.
//!
//! Each stack has an inaccessible guard below it, as large as the stack itself, because a function with large
//! arrays does not touch the pages in between. Above it is a small stack for the fault handler, which has nowhere
//! else to run:
//!
//! ```text
//! lowest address                                          highest address
//! | guard, 256 KiB | stack, 256 KiB, used from here down | handler, 32 KiB |
//! ```
//!
//! The handler reports what happened and exits the worker with a status for this case. Any other fault is left to
//! the previous handler.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::OnceLock;

use libc::c_int;
use procfs::process::{MMapPath, Process};

use super::answer;
use super::job::Status;
use super::mapping::map_shared;

/// Bytes of a stack. Allocators use a few KB, but other measured libraries may use more.
pub(super) const STACK_BYTES: usize = 256 << 10;
const GUARD_BYTES: usize = STACK_BYTES;
const HANDLER_BYTES: usize = 32 << 10;
const STRIDE_BYTES: usize = GUARD_BYTES + STACK_BYTES + HANDLER_BYTES;
/// How many stacks are mapped at once.
pub(super) const STACKS_A_TIME: usize = 64;
/// How far below the end of the initial thread's stack, where the system leaves a gap, a fault counts as an
/// overflow.
const INITIAL_GUARD_BYTES: usize = 16 << 20;

/// The exit status of a worker that overflowed a stack.
pub(crate) const OVERFLOW_EXIT: c_int = 86;
const OVERFLOW_TEXT: &[u8] =
    b"the allocator needed more stack than a thread has: 256 KiB in a replayed thread, \
the limit of `ulimit -s` in the initial one\n";

/// `MADV_GUARD_INSTALL`, which libc's crate does not know: Linux 6.13, and 6.15 for shared mappings.
const MADV_GUARD_INSTALL: c_int = 102;
/// The kernel's default, for when it does not tell.
const DEFAULT_MAPPINGS: usize = 65_530;
/// The share of a process's allowed mappings that guards may take; the rest is for the allocator.
const GUARDS_SHARE: usize = 8;

thread_local! {
    /// The addresses at which a fault of the calling thread is an overflow of its stack.
    static GUARD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

/// The previous fault handler.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// How guards are made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guards {
    /// By the kernel, within the mapping.
    Installed,
    /// With a separate mapping; this many are left.
    Mapped(usize),
}

/// Makes stacks, and counts what their guards cost.
pub(super) struct Stacks {
    guards: Guards,
    unguarded: usize,
    guard_mappings: usize,
}

impl Stacks {
    pub(super) fn new() -> Stacks {
        let allowed = std::fs::read_to_string("/proc/sys/vm/max_map_count");
        let allowed = allowed.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(DEFAULT_MAPPINGS);
        // A guard in the middle of a mapping splits it, which adds two.
        let most = allowed / GUARDS_SHARE / 2;
        Stacks {
            guards: if can_install() { Guards::Installed } else { Guards::Mapped(most) },
            unguarded: 0,
            guard_mappings: 0,
        }
    }

    /// Maps stacks; the lowest address of each.
    pub(super) fn map(&mut self) -> impl Iterator<Item = u64> + use<> {
        let region = map_shared(STRIDE_BYTES * STACKS_A_TIME);
        if region.is_null() {
            answer::fail(Status::Error, "the system refuses memory for another thread's stack");
        }
        for index in 0..STACKS_A_TIME {
            // SAFETY: within the region.
            self.guard(unsafe { region.add(index * STRIDE_BYTES) });
        }
        let first = region.expose_provenance() as u64;
        (0..STACKS_A_TIME as u64).map(move |index| first + index * STRIDE_BYTES as u64 + GUARD_BYTES as u64)
    }

    fn guard(&mut self, at: *mut u8) {
        // SAFETY: the pages are of a new region that nobody uses yet.
        let error = unsafe {
            match &mut self.guards {
                Guards::Installed => libc::madvise(at.cast(), GUARD_BYTES, MADV_GUARD_INSTALL),
                Guards::Mapped(0) => -1,
                Guards::Mapped(left) => {
                    *left -= 1;
                    self.guard_mappings += 2;
                    libc::mprotect(at.cast(), GUARD_BYTES, libc::PROT_NONE)
                }
            }
        };
        self.unguarded += usize::from(error != 0);
    }

    /// Mappings that exist only for guards.
    pub(super) fn guard_mappings(&self) -> u64 {
        self.guard_mappings as u64
    }

    /// The warning about stacks without a guard; none if there are none.
    pub(super) fn warning(&self) -> Option<String> {
        (self.unguarded > 0).then(|| {
            format!(
                "{} of the threads' stacks have no guard, because the system allows too few mappings: an \
                 allocator that overflows one overwrites another unseen (raise vm.max_map_count)",
                self.unguarded
            )
        })
    }
}

/// Whether this kernel makes guards within a shared mapping.
fn can_install() -> bool {
    let page = map_shared(GUARD_BYTES);
    // SAFETY: a mapping of this function's own, which nobody refers to afterwards.
    unsafe {
        !page.is_null() && {
            let error = libc::madvise(page.cast(), GUARD_BYTES, MADV_GUARD_INSTALL);
            libc::munmap(page.cast(), GUARD_BYTES);
            error == 0
        }
    }
}

/// Installs the fault handler: from now on an overflow of the calling thread, the process's initial one, is
/// reported.
pub(super) fn watch_faults() -> Result<(), String> {
    let handler = map_shared(HANDLER_BYTES);
    if handler.is_null() {
        return Err("the system refuses memory for the fault handler".to_owned());
    }
    if let Some(lowest) = lowest_of_initial_stack() {
        GUARD.set((lowest.saturating_sub(INITIAL_GUARD_BYTES), lowest));
    }
    use_handler_stack(handler);
    // SAFETY: the action is whole before it is used, and the handler does only what a handler may do.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        let mut before: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGSEGV, std::ptr::null(), &raw mut before);
        // A second call in one process keeps what the first one found.
        BEFORE.get_or_init(|| before);
        if libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()) != 0 {
            return Err(format!("cannot handle faults: {}", std::io::Error::last_os_error()));
        }
    }
    Ok(())
}

/// Has overflows of the calling thread's stack, which starts at `lowest`, reported.
pub(super) fn watch_own_stack(lowest: u64) {
    let lowest = lowest as usize;
    GUARD.set((lowest - GUARD_BYTES, lowest));
    use_handler_stack(std::ptr::with_exposed_provenance_mut(lowest + STACK_BYTES));
}

fn use_handler_stack(lowest: *mut u8) {
    let stack = libc::stack_t { ss_sp: lowest.cast(), ss_flags: 0, ss_size: HANDLER_BYTES };
    // SAFETY: HANDLER_BYTES of mapped memory that only this thread's handler uses.
    if unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) } != 0 {
        let reason = std::io::Error::last_os_error();
        answer::fail(Status::Error, &format!("a thread cannot have a stack for its fault handler: {reason}"));
    }
}

/// The lowest address that the initial thread's stack may grow to; none if it has no limit.
fn lowest_of_initial_stack() -> Option<usize> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid place.
    let error = unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut limit) };
    if error != 0 || limit.rlim_cur == libc::RLIM_INFINITY {
        return None;
    }
    let maps = Process::myself().and_then(|process| process.maps()).ok()?;
    let stack = maps.0.iter().find(|map| map.pathname == MMapPath::Stack)?;
    // One page more: the fault is at the first address that the limit does not cover.
    (stack.address.1 as usize).checked_sub(limit.rlim_cur as usize).map(|lowest| lowest + 4096)
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel gives a valid description of the signal, which has an address for a fault.
    let (sent, address) = unsafe { ((*info).si_code <= 0, (*info).si_addr().addr()) };
    let (from, to) = GUARD.get();
    // SAFETY: write, _exit, sigaction and raise are what a handler may call.
    unsafe {
        if !sent && (from..to).contains(&address) {
            libc::write(libc::STDERR_FILENO, OVERFLOW_TEXT.as_ptr().cast(), OVERFLOW_TEXT.len());
            libc::_exit(OVERFLOW_EXIT);
        }
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(signal, BEFORE.get().unwrap_or(&default), std::ptr::null_mut());
        // A fault occurs again when this returns; a signal that another process sent does not.
        if sent {
            libc::raise(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Permissions of the page at an address, as /proc/self/smaps shows them.
    fn is_writable(address: u64) -> bool {
        // process_vm_writev writes without a signal, and fails if a write would fault.
        let byte = 7u8;
        let part = |base: *mut c_void| libc::iovec { iov_base: base, iov_len: 1 };
        let local = part(std::ptr::from_ref(&byte).cast_mut().cast());
        let remote = part(std::ptr::without_provenance_mut(address as usize));
        // SAFETY: one byte from a local, to an address that the kernel checks.
        unsafe { libc::process_vm_writev(libc::getpid(), &raw const local, 1, &raw const remote, 1, 0) == 1 }
    }

    fn assert_guarded(stack: u64) {
        assert!(is_writable(stack) && is_writable(stack + (STACK_BYTES + HANDLER_BYTES) as u64 - 1));
        assert!(!is_writable(stack - 1) && !is_writable(stack - GUARD_BYTES as u64));
    }

    #[test]
    fn every_stack_has_a_guard_whichever_way_the_kernel_makes_it() {
        let mut ways = vec![Guards::Mapped(10_000)];
        ways.extend(can_install().then_some(Guards::Installed));
        for guards in ways {
            let mut stacks = Stacks { guards, unguarded: 0, guard_mappings: 0 };
            let made: Vec<u64> = stacks.map().collect();
            assert_eq!(made.len(), STACKS_A_TIME);
            made.iter().for_each(|stack| assert_guarded(*stack));
            assert_eq!(stacks.warning(), None);
            let expected = if guards == Guards::Installed { 0 } else { 2 * STACKS_A_TIME as u64 };
            assert_eq!(stacks.guard_mappings(), expected);
        }
    }

    #[test]
    fn stacks_without_a_guard_are_told() {
        let mut stacks = Stacks { guards: Guards::Mapped(3), unguarded: 0, guard_mappings: 0 };
        let made: Vec<u64> = stacks.map().collect();
        made[..3].iter().for_each(|stack| assert_guarded(*stack));
        assert!(is_writable(made[3] - 1));
        let warning = stacks.warning().unwrap();
        assert!(warning.starts_with("61 of the threads' stacks have no guard"), "{warning}");
    }
}
