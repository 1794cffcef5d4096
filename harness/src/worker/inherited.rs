//! What a forked process still shares with its parent: a stand-in for the parent is forked where the recorded
//! process was forked, and the kernel knows which pages either of them has written to since.
//!
//! The stand-in does nothing: it waits until the worker stops it or exits. It is made with the bare system call,
//! without the allocator's fork handlers: those of the parent have no lasting effect, and the child is the worker,
//! which continues.
//!
//! Replayed threads have their stacks, and the C library's data of each, in shared mappings, which a fork does not
//! copy. So the stand-in runs on a stack of its own, and the thread that forks it waits until it sleeps in the
//! kernel: from then on it runs nothing in user mode.

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use procfs::process::Process;

use super::clock;
use super::mapping::map_shared;
use super::memory::Rollup;

/// Bytes of the stand-in's stack, of which it uses some hundred.
const STACK_BYTES: usize = 64 << 10;
/// How long it may take to fall asleep, on a machine however busy.
const MOST_FALLING_ASLEEP_NS: u64 = 30_000_000_000;
/// How long to wait before its state is read again.
const POLL_NS: u64 = 50_000;

/// The parent of the replayed process, as far as memory goes.
pub(super) struct Parent {
    process: libc::pid_t,
    stack: *mut u8,
    /// When it is closed, the stand-in exits.
    _end: OwnedFd,
}

impl Parent {
    /// Forks it: from here on pages that are written to are this process's own.
    ///
    /// # Errors
    ///
    /// The system's refusal, and a stand-in that does not come to rest.
    pub(super) fn fork() -> io::Result<Parent> {
        let mut ends = [-1; 2];
        // SAFETY: room for two descriptors.
        if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just opened, and nobody else's.
        let [read, write] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
        let stack = map_shared(STACK_BYTES);
        if stack.is_null() {
            return Err(io::Error::last_os_error());
        }
        let argument = std::ptr::without_provenance_mut(read.as_raw_fd() as usize);
        // SAFETY: as in fork(2), in a child that makes only system calls, on a stack that is nobody else's. No signal
        // is sent when it ends.
        let process = unsafe { libc::clone(wait_for_end, stack.add(STACK_BYTES).cast(), 0, argument) };
        if process <= 0 {
            let error = io::Error::last_os_error();
            // SAFETY: nobody uses the mapping.
            unsafe { libc::munmap(stack.cast(), STACK_BYTES) };
            return Err(error);
        }
        let parent = Parent { process, stack, _end: write };
        parent.wait_until_asleep()?;
        Ok(parent)
    }

    /// The stand-in's state as the kernel names it: `S` while it sleeps.
    fn state(&self) -> io::Result<char> {
        let stat = Process::new(self.process).and_then(|process| process.stat());
        stat.map(|stat| stat.state).map_err(io::Error::other)
    }

    fn wait_until_asleep(&self) -> io::Result<()> {
        let begin_ns = clock::real_ns();
        loop {
            match self.state()? {
                'S' => return Ok(()),
                'Z' | 'X' => return Err(io::Error::other("the forked process ended at once")),
                _ if clock::real_ns() - begin_ns > MOST_FALLING_ASLEEP_NS => {
                    return Err(io::Error::other("the forked process does not come to rest"));
                }
                _ => clock::sleep_until_ns(clock::real_ns() + POLL_NS),
            }
        }
    }

    /// Anonymous bytes that neither has written to since the fork; none before Linux 5.4, which does not tell.
    ///
    /// # Errors
    ///
    /// A stand-in that has ended, and the kernel's account if it cannot be read.
    pub(super) fn shared_bytes(&self) -> Result<Option<u64>, String> {
        // Without it, nothing is shared any more, as if everything had been written to.
        match self.state() {
            Ok('Z' | 'X') => return Err("the process forked from the worker has ended".to_owned()),
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
        // SAFETY: the process is a child of this one that nobody else waits for, so that the number is still its own;
        // once it has ended, nobody uses its stack.
        unsafe {
            libc::kill(self.process, libc::SIGKILL);
            libc::waitpid(self.process, std::ptr::null_mut(), libc::__WALL);
            libc::munmap(self.stack.cast(), STACK_BYTES);
        }
    }
}

/// In the stand-in: waits until nobody holds the other end. It keeps no other descriptor, so that nobody
/// waits for it.
///
/// NOTE: bare system calls, because the C library's `read` and `close` note in the thread's data that it may be
/// cancelled.
extern "C" fn wait_for_end(read: *mut c_void) -> c_int {
    // SAFETY: system calls that take numbers, and a place of one byte; in a process of one thread. The thread that
    // forked it waits, and so does not miss its `errno`, which the two may share.
    unsafe {
        libc::dup2(read.addr() as c_int, 0);
        if libc::syscall(libc::SYS_close_range, 1, libc::c_uint::MAX, 0) != 0 {
            // Linux before 5.9.
            (1..1024).for_each(|descriptor| {
                libc::syscall(libc::SYS_close, descriptor);
            });
        }
        let mut byte = 0_u8;
        // NOTE: an error is a handled signal, which nobody sends, or the end.
        while libc::syscall(libc::SYS_read, 0, &raw mut byte, 1) > 0 {}
        libc::_exit(0)
    }
}
