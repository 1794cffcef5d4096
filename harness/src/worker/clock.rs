//! The clock that the allocator under test sees.
//!
//! The binary exports `clock_gettime` and `gettimeofday`, so that an allocator's calls come here.
//! Outside a replay they pass through. In a replay at virtual pace the monotonic clocks show the
//! trace's time; at every pace they stand still while a checkpoint is taken.
//!
//! It starts at the real clock's value and never runs backwards: jemalloc ignores a time earlier than
//! one that it has seen, and would never decay again. The harness's own timing does not come through
//! here; it reads [`real_ns`] or the time-stamp counter.

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, Ordering};

use libc::{c_int, clockid_t, timespec};

/// The clock passes through, less the time spent in checkpoints.
const REAL: u8 = 0;
/// The clock shows `SHOWN_NS`.
const SHOWN: u8 = 1;

static MODE: AtomicU8 = AtomicU8::new(REAL);
static SHOWN_NS: AtomicU64 = AtomicU64::new(0);
/// What a real clock is ahead of ours by: checkpoints took that long.
static HELD_BACK_NS: AtomicU64 = AtomicU64::new(0);
/// Calls of the supplied clock, counted on cache lines that few threads share: jemalloc reads the clock at every
/// seventh call, and one line for all would charge it for the other CPUs.
static READS: [Reads; READERS] = [const { Reads(AtomicU64::new(0)) }; READERS];
const READERS: usize = 32;

#[repr(align(64))]
struct Reads(AtomicU64);

/// The count that the calling thread adds to: by the 256 KiB that its stack lies in.
fn own_reads() -> &'static AtomicU64 {
    let mark = 0u8;
    &READS[(std::ptr::from_ref(&mark).addr() >> 18) % READERS].0
}

/// libc's own function, found at the first call.
static LIBC_CLOCK: AtomicPtr<libc::c_void> = AtomicPtr::new(std::ptr::null_mut());

type ClockGettime = unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int;

/// Calls libc's `clock_gettime` (which reads the vDSO), whatever the exported one shows.
unsafe fn libc_clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    let mut function = LIBC_CLOCK.load(Ordering::Relaxed);
    if function.is_null() {
        // SAFETY: the name is a C string; RTLD_NEXT is looked up from this binary.
        function = unsafe { libc::dlsym(libc::RTLD_NEXT, c"clock_gettime".as_ptr()) };
        LIBC_CLOCK.store(function, Ordering::Relaxed);
    }
    if function.is_null() {
        // SAFETY: the system call has the same duties as the function.
        return unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) as c_int };
    }
    // SAFETY: the symbol of that name has this type in every libc.
    let function: ClockGettime = unsafe { std::mem::transmute(function) };
    // SAFETY: the caller's duties are the same.
    unsafe { function(clock, time) }
}

/// The real monotonic clock in ns, whatever the allocator is shown.
pub(crate) fn real_ns() -> u64 {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to.
    unsafe { libc_clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    to_ns(&time)
}

/// Sleeps until the real monotonic clock shows `deadline_ns`.
pub(super) fn sleep_until_ns(deadline_ns: u64) {
    let time = to_timespec(deadline_ns);
    loop {
        // SAFETY: `time` is valid, and with TIMER_ABSTIME no remainder is written.
        let interrupted = unsafe {
            libc::clock_nanosleep(
                libc::CLOCK_MONOTONIC,
                libc::TIMER_ABSTIME,
                &raw const time,
                std::ptr::null_mut(),
            )
        };
        if interrupted != libc::EINTR {
            return;
        }
    }
}

/// From now on the clock shows what [`advance_to`] says, beginning at what it showed last. Returns that value.
pub(super) fn make_virtual() -> u64 {
    if MODE.load(Ordering::Relaxed) == REAL {
        SHOWN_NS.fetch_max(real_ns() - HELD_BACK_NS.load(Ordering::Relaxed), Ordering::Relaxed);
        MODE.store(SHOWN, Ordering::Release);
    }
    SHOWN_NS.load(Ordering::Relaxed)
}

/// Sets a virtual clock forward to `ns`; an earlier value is ignored.
pub(super) fn advance_to(ns: u64) {
    SHOWN_NS.fetch_max(ns, Ordering::Relaxed);
}

/// Runs `action` while the clock stands still.
pub(super) fn hold_still<R>(action: impl FnOnce() -> R) -> R {
    if MODE.load(Ordering::Relaxed) == SHOWN {
        return action();
    }
    let begin = real_ns();
    SHOWN_NS.store(begin - HELD_BACK_NS.load(Ordering::Relaxed), Ordering::Relaxed);
    MODE.store(SHOWN, Ordering::Release);
    let result = action();
    HELD_BACK_NS.fetch_add(real_ns() - begin, Ordering::Relaxed);
    MODE.store(REAL, Ordering::Release);
    result
}

/// How often somebody else read a monotonic clock or the time of day.
pub(super) fn reads() -> u64 {
    READS.iter().map(|reads| reads.0.load(Ordering::Relaxed)).sum()
}

fn to_ns(time: &timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn to_timespec(ns: u64) -> timespec {
    timespec { tv_sec: (ns / 1_000_000_000) as libc::time_t, tv_nsec: (ns % 1_000_000_000) as libc::c_long }
}

/// What the exported clock shows; none where libc's answer stands.
fn shown(clock: clockid_t) -> Option<u64> {
    match clock {
        libc::CLOCK_MONOTONIC
        | libc::CLOCK_MONOTONIC_COARSE
        | libc::CLOCK_MONOTONIC_RAW
        | libc::CLOCK_BOOTTIME => {}
        _ => return None,
    }
    own_reads().fetch_add(1, Ordering::Relaxed);
    if MODE.load(Ordering::Acquire) == SHOWN {
        return Some(SHOWN_NS.load(Ordering::Relaxed));
    }
    let held_back = HELD_BACK_NS.load(Ordering::Relaxed);
    if held_back == 0 { None } else { Some(real_ns() - held_back) }
}

/// The `clock_gettime` of every library in this process.
///
/// # Safety
///
/// As POSIX says: `time` must be writable.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    match shown(clock) {
        Some(ns) => {
            // SAFETY: the caller gives a writable place.
            unsafe { time.write(to_timespec(ns)) };
            0
        }
        // SAFETY: the caller's duties are the same.
        None => unsafe { libc_clock_gettime(clock, time) },
    }
}

/// The `gettimeofday` of every library in this process: the real date, moved by as much as the
/// monotonic clock is.
///
/// # Safety
///
/// As POSIX says: `time` must be writable or null.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn gettimeofday(time: *mut libc::timeval, _zone: *mut libc::c_void) -> c_int {
    if time.is_null() {
        return 0;
    }
    let mut date = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `date` is a valid place to write to.
    if unsafe { libc_clock_gettime(libc::CLOCK_REALTIME, &raw mut date) } != 0 {
        return -1;
    }
    let moved = shown(libc::CLOCK_MONOTONIC).map_or(0, |ns| i128::from(ns) - i128::from(real_ns()));
    let ns = (i128::from(to_ns(&date)) + moved).max(0) as u64;
    let value = libc::timeval {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_usec: (ns % 1_000_000_000 / 1000) as libc::suseconds_t,
    };
    // SAFETY: the caller gives a writable place.
    unsafe { time.write(value) };
    0
}
