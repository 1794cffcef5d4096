//! The clock that the allocator under test sees.
//!
//! The binary exports `clock_gettime` and `gettimeofday`, so that an allocator's calls come here.
//! Outside a replay they pass through. In a replay at virtual pace the monotonic clocks show the
//! trace's time; at every pace they stand still while a checkpoint is taken.
//!
//! It starts at the real clock's value and never runs backwards: jemalloc ignores a time earlier than one
//! that it has seen, and would never decay again. Clocks with a different epoch, and the date, keep their
//! distance from it. The harness's own timing does not use these functions; it reads [`real_ns`] or the
//! time-stamp counter.

mod offset;

use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use libc::{c_int, clockid_t, timespec};
use offset::Offset;

use super::sync;

/// What the monotonic clock shows.
static MONOTONIC: Offset = Offset { word: AtomicU64::new(0), stood_ns: AtomicU64::new(0) };
/// The clocks with a different epoch, and how far each is ahead of the monotonic one (modulo 2^64). The distance
/// is read once, so that these clocks do nothing that the monotonic clock does not do.
static EPOCHS: [(clockid_t, AtomicU64); 5] = [
    (libc::CLOCK_MONOTONIC_RAW, AtomicU64::new(UNREAD)),
    (libc::CLOCK_BOOTTIME, AtomicU64::new(UNREAD)),
    (libc::CLOCK_REALTIME, AtomicU64::new(UNREAD)),
    (libc::CLOCK_REALTIME_COARSE, AtomicU64::new(UNREAD)),
    (libc::CLOCK_TAI, AtomicU64::new(UNREAD)),
];
/// An epoch that nobody has asked for yet. No two clocks are 2^63 ns apart.
const UNREAD: u64 = 1 << 63;
/// Reads of the supplied clock, counted on cache lines that few threads share: jemalloc reads the clock at
/// every seventh call, and a single line for all threads would make it pay for the other CPUs.
static READS: [Reads; READERS] = [const { Reads(AtomicU64::new(0)) }; READERS];
const READERS: usize = 32;

#[repr(align(64))]
struct Reads(AtomicU64);

/// The count that the calling thread adds to, selected by the 256 KiB that contain its stack.
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

/// A real clock in ns, whatever the allocator is shown; none if the system has no such clock.
fn libc_ns(clock: clockid_t) -> Option<u64> {
    let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place to write to.
    let error = unsafe { libc_clock_gettime(clock, &raw mut time) };
    (error == 0).then(|| to_ns(&time))
}

/// The real monotonic clock in ns, whatever the allocator is shown.
pub(crate) fn real_ns() -> u64 {
    libc_ns(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// CPU time that the calling thread has used, in ns.
pub(super) fn thread_cpu_ns() -> u64 {
    libc_ns(libc::CLOCK_THREAD_CPUTIME_ID).unwrap_or(0)
}

/// CPU time that a thread of this process has used, in ns; none if there is no such thread.
pub(super) fn cpu_ns_of(thread: i32) -> Option<u64> {
    /// The kernel's number of a thread's own clock of run time.
    const OF_THREAD: clockid_t = 4 | 2;
    libc_ns((!thread << 3) | OF_THREAD)
}

/// A real clock that is read before anything that follows.
fn read_before(clock: clockid_t) -> u64 {
    let now = libc_ns(clock).unwrap_or(0);
    // NOTE: the processor may load what follows before it reads its counter. A memory fence does not prevent
    // that; this instruction does.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction exists on every x86-64.
    unsafe {
        std::arch::x86_64::_mm_lfence();
    }
    now
}

fn monotonic_ns() -> u64 {
    read_before(libc::CLOCK_MONOTONIC)
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

/// From now on the clock shows the time set by [`advance_to`], starting at the time that it showed last.
/// Returns that time.
pub(super) fn make_virtual() -> u64 {
    MONOTONIC.stop(monotonic_ns);
    MONOTONIC.read(monotonic_ns)
}

/// Sets a virtual clock forward to `ns`; an earlier value is ignored.
pub(super) fn advance_to(ns: u64) {
    MONOTONIC.advance_to(ns);
}

/// Runs `action` while the clock stands still. One thread at a time does this, or moves a virtual clock.
pub(super) fn hold_still<R>(action: impl FnOnce() -> R) -> R {
    let stop = MONOTONIC.stop(monotonic_ns);
    let result = action();
    if let Some(stop) = stop {
        MONOTONIC.go_on(stop, monotonic_ns);
    }
    result
}

/// How often code outside the harness read a monotonic clock or the time of day.
pub(super) fn reads() -> u64 {
    READS.iter().map(|reads| reads.0.load(Ordering::Relaxed)).sum()
}

fn to_ns(time: &timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn to_timespec(ns: u64) -> timespec {
    timespec { tv_sec: (ns / 1_000_000_000) as libc::time_t, tv_nsec: (ns % 1_000_000_000) as libc::c_long }
}

/// What the exported clock shows; none if libc's answer is to be passed through.
fn shown(clock: clockid_t) -> Option<u64> {
    let epoch = EPOCHS.iter().find(|(of, _)| *of == clock).map(|(_, epoch)| epoch);
    if epoch.is_none() && clock != libc::CLOCK_MONOTONIC && clock != libc::CLOCK_MONOTONIC_COARSE {
        return None;
    }
    own_reads().fetch_add(1, Ordering::Relaxed);
    if clock == libc::CLOCK_MONOTONIC_COARSE {
        return Some(MONOTONIC.read_coarse(monotonic_ns, || read_before(libc::CLOCK_MONOTONIC_COARSE)));
    }
    let ahead_ns = epoch.map_or(Some(0), |epoch| ahead_of_monotonic(clock, epoch))?;
    Some(MONOTONIC.read(monotonic_ns).wrapping_add(ahead_ns))
}

/// How far a clock is ahead of the monotonic one, as it was at the first request.
fn ahead_of_monotonic(clock: clockid_t, epoch: &AtomicU64) -> Option<u64> {
    let known = epoch.load(Ordering::Acquire);
    if known != UNREAD {
        return Some(known);
    }
    let ahead = libc_ns(clock)?.wrapping_sub(real_ns());
    Some(match epoch.compare_exchange(UNREAD, ahead, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => ahead,
        Err(other) => other,
    })
}

/// The `clock_gettime` of every library in this process.
///
/// # Safety
///
/// As in POSIX: `time` must be writable.
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

/// The `gettimeofday` of every library in this process: the date, moved by as much as the monotonic clock is.
///
/// # Safety
///
/// As in POSIX: `time` must be writable or null.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn gettimeofday(time: *mut libc::timeval, _zone: *mut libc::c_void) -> c_int {
    if time.is_null() {
        return 0;
    }
    let Some(ns) = shown(libc::CLOCK_REALTIME) else { return -1 };
    let value = libc::timeval {
        tv_sec: (ns / 1_000_000_000) as libc::time_t,
        tv_usec: (ns % 1_000_000_000 / 1000) as libc::suseconds_t,
    };
    // SAFETY: the caller gives a writable place.
    unsafe { time.write(value) };
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCKS: [clockid_t; 7] = [
        libc::CLOCK_MONOTONIC,
        libc::CLOCK_MONOTONIC_COARSE,
        libc::CLOCK_MONOTONIC_RAW,
        libc::CLOCK_BOOTTIME,
        libc::CLOCK_REALTIME,
        libc::CLOCK_REALTIME_COARSE,
        libc::CLOCK_TAI,
    ];

    #[test]
    fn every_clock_keeps_its_own_epoch_through_a_stop() {
        // The exported functions show this test what an allocator sees: it calls them as any library does.
        let shown = |clock| {
            let mut time = timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: a valid place.
            assert_eq!(unsafe { clock_gettime(clock, &raw mut time) }, 0);
            to_ns(&time)
        };
        let before = CLOCKS.map(shown);
        for (clock, before) in CLOCKS.iter().zip(before) {
            let real = libc_ns(*clock).unwrap();
            assert!(real.abs_diff(before) < 60_000_000_000, "clock {clock}: {before}, really {real}");
        }
        let standing = hold_still(|| [CLOCKS.map(shown), CLOCKS.map(shown)]);
        assert_eq!(standing[0], standing[1], "none of them moves");
        for ((clock, before), standing) in CLOCKS.iter().zip(before).zip(standing[0]) {
            assert!(before <= standing, "clock {clock}: {before}, and then {standing}");
            assert!(standing - before < 60_000_000_000, "clock {clock}: {before}, and then {standing}");
        }
        for ((clock, standing), after) in CLOCKS.iter().zip(standing[0]).zip(CLOCKS.map(shown)) {
            assert!(standing <= after, "clock {clock}: {standing}, and then {after}");
        }
    }

    #[test]
    fn no_thread_sees_a_clock_run_backwards_while_it_is_stopped_again_and_again() {
        const READS: u32 = 5_000;
        let clock = Offset::default();
        let reading = AtomicU64::new(2);
        std::thread::scope(|scope| {
            for coarse in [false, true] {
                let (clock, reading) = (&clock, &reading);
                scope.spawn(move || {
                    let mut last = 0;
                    for _ in 0..READS {
                        let now = if coarse {
                            clock.read_coarse(monotonic_ns, || read_before(libc::CLOCK_MONOTONIC_COARSE))
                        } else {
                            clock.read(monotonic_ns)
                        };
                        assert!(last <= now, "{last}, and then {now}");
                        last = now;
                    }
                    reading.fetch_sub(1, Ordering::Release);
                });
            }
            while reading.load(Ordering::Acquire) > 0 {
                let stop = clock.stop(monotonic_ns).unwrap();
                clock.go_on(stop, monotonic_ns);
            }
        });
    }
}
