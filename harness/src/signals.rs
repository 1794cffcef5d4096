//! Signals as this process inherited them: which are ignored (`nohup`, `trap ''`), so that programs that it starts
//! ignore them too; and who sends one.
//!
//! A handler of this process is a default action in a program that it starts, and Rust's runtime changes what SIGPIPE
//! does, in this process and in its children.
#![allow(unsafe_code)]

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The signals that were ignored when this process started, a bit each, that of signal 1 the lowest.
static IGNORED: AtomicU64 = AtomicU64::new(0);
const LAST_SIGNAL: i32 = 64;

/// Runs before `main`, and before Rust's runtime ignores SIGPIPE.
#[used]
#[unsafe(link_section = ".init_array")]
static READ_IGNORED: extern "C" fn() = read_ignored;

extern "C" fn read_ignored() {
    let is_ignored = |signal: &i32| {
        // SAFETY: all zeros is a value of this plain structure, which the kernel overwrites.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: without a new action, the call only tells the present one.
        let status = unsafe { libc::sigaction(*signal, std::ptr::null(), &raw mut action) };
        status == 0 && action.sa_sigaction == libc::SIG_IGN
    };
    let ignored = (1..=LAST_SIGNAL).filter(is_ignored).fold(0, |ignored, signal| ignored | bit(signal));
    IGNORED.store(ignored, Ordering::Relaxed);
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Whether a signal was ignored when this process started.
pub(crate) fn is_ignored(signal: i32) -> bool {
    (1..=LAST_SIGNAL).contains(&signal) && IGNORED.load(Ordering::Relaxed) & bit(signal) != 0
}

/// Lets a program ignore the signals that it would ignore if this process had not started it.
pub(crate) fn inherit(command: &mut Command) -> &mut Command {
    let ignored = IGNORED.load(Ordering::Relaxed);
    if ignored == 0 {
        return command;
    }
    let ignore = move || {
        for signal in (1..=LAST_SIGNAL).filter(|signal| ignored & bit(*signal) != 0) {
            // SAFETY: this may be called between fork and exec, and changes nothing but what the signal does.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: the closure neither allocates nor locks, and uses only a number that it owns.
    unsafe { command.pre_exec(ignore) }
}

/// A signal that a process has sent, rather than the kernel for a terminal; and which process was the last one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(Arc<AtomicU64>);

impl Sent {
    const IS_SENT: u64 = 1 << 32;

    /// Watches for a signal, which has a handler from now on.
    ///
    /// # Errors
    ///
    /// The system refuses a handler.
    pub(crate) fn watch(signal: i32) -> io::Result<Sent> {
        let sent = Sent::default();
        let last = Arc::clone(&sent.0);
        let note = move |info: &libc::siginfo_t| {
            if info.si_code <= 0 {
                // SAFETY: a signal that a process has sent has its PID.
                let process = unsafe { info.si_pid() };
                last.store(Sent::IS_SENT | u64::from(process.cast_unsigned()), Ordering::Relaxed);
            }
        };
        // SAFETY: the handler does nothing but store a number.
        unsafe { signal_hook_registry::register_sigaction(signal, note) }?;
        Ok(sent)
    }

    /// The PID of the process that has sent the signal since the last call; 0 of one in a namespace outside.
    pub(crate) fn take(&self) -> Option<u32> {
        let sent = self.0.swap(0, Ordering::Relaxed);
        (sent & Sent::IS_SENT != 0).then_some(sent as u32)
    }
}
