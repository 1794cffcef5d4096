//! What a forked process still shares with its parent: a stand-in for the parent is forked where the recorded
//! process was forked, and the kernel knows which pages either of them has written to since.
//!
//! The stand-in does nothing: it waits until the worker stops it or exits. It is made with the bare system call,
//! without the allocator's fork handlers: those of the parent have no lasting effect, and the child is the worker,
//! which continues.
//!
//! Only the worker's initial thread forks it. Replayed threads have their stacks in shared mappings, which a fork does
//! not copy, and with them the C library's data of each thread, to which the kernel writes the number of its CPU
//! (rseq). The stand-in of such a thread would write over both.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use procfs::process::Process;

use super::clock;
use super::memory::Rollup;

/// How long a thread waits before it asks again whether the initial thread has forked the stand-in.
const POLL_NS: u64 = 50_000;

/// The parent of the replayed process, as far as memory goes.
pub(super) struct Parent {
    process: libc::pid_t,
    /// When it is closed, the stand-in exits.
    _end: OwnedFd,
}

/// Where the initial thread leaves the stand-in for the thread that asked for it.
#[derive(Default)]
pub(super) struct Forked(Mutex<Option<io::Result<Parent>>>);

impl Forked {
    /// Forks the stand-in: in the initial thread.
    pub(super) fn fork(&self) {
        let parent = Parent::fork();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(parent);
    }

    /// Waits for it.
    pub(super) fn wait(&self) -> io::Result<Parent> {
        loop {
            if let Some(parent) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return parent;
            }
            clock::sleep_until_ns(clock::real_ns() + POLL_NS);
        }
    }
}

/// Whether the calling thread is the process's initial one.
pub(super) fn is_initial_thread() -> bool {
    // SAFETY: neither has preconditions.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}

impl Parent {
    /// Forks it: from here on pages that are written to are this process's own.
    fn fork() -> io::Result<Parent> {
        debug_assert!(is_initial_thread());
        let mut ends = [-1; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let [read, write] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        // SAFETY: as in fork(2), in a child that makes only system calls. No signal is sent when it ends.
        let process = unsafe { libc::syscall(libc::SYS_clone, 0, 0, 0, 0, 0) };
        match process {
            0 => wait_for_end(read.as_raw_fd()),
            -1 => Err(io::Error::last_os_error()),
            process => Ok(Parent { process: process as libc::pid_t, _end: write }),
        }
    }

    /// Anonymous bytes that neither has written to since the fork; none before Linux 5.4, which does not tell.
    ///
    /// # Errors
    ///
    /// A stand-in that has ended, and the kernel's account if it cannot be read.
    pub(super) fn shared_bytes(&self) -> Result<Option<u64>, String> {
        // Without it, nothing is shared any more, as if everything had been written to.
        match Process::new(self.process).and_then(|process| process.stat()) {
            Ok(stat) if matches!(stat.state, 'Z' | 'X') => {
                return Err("the process forked from the worker has ended".to_owned());
            }
            Ok(_) => {}
            Err(error) => return Err(format!("the process forked from the worker is gone: {error}")),
        }
        // A page of two processes counts half in the proportional share of each.
        let rollup = Rollup::read()?;
        let share = rollup.anonymous_share_bytes;
        Ok(share.map(|share| 2 * rollup.anonymous_bytes.saturating_sub(share)))
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        // SAFETY: the process is a child of this one that nobody else waits for, so that the number is still its own.
        unsafe {
            libc::kill(self.process, libc::SIGKILL);
            libc::waitpid(self.process, std::ptr::null_mut(), libc::__WALL);
        }
    }
}

/// In the stand-in: waits until nobody holds the other end. It keeps no other descriptor, so that nobody
/// waits for it.
fn wait_for_end(read: i32) -> ! {
    // SAFETY: system calls that take numbers, and a place of one byte; in a process of one thread.
    unsafe {
        libc::dup2(read, 0);
        if libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) != 0 {
            // Linux before 5.9.
            (1..1024).for_each(|descriptor| {
                libc::close(descriptor);
            });
        }
        let mut byte = 0_u8;
        // NOTE: an error is a handled signal, which nobody sends, or the end.
        while libc::read(0, (&raw mut byte).cast(), 1) > 0 {}
        libc::_exit(0)
    }
}
