//! The CPU count that the allocator under test sees.
//!
//! Allocators choose the number of their arenas by it: a trace from 32 CPUs replayed on 2 would otherwise
//! meet limits that the recorded process never met. The binary exports the functions that allocators ask;
//! they pass through unless the parent set [`VARIABLE`] for this process. The C library's own malloc calls
//! them internally, and gets the count through `MALLOC_ARENA_MAX` instead.

use std::sync::atomic::{AtomicU32, Ordering};

use libc::{c_int, c_long, cpu_set_t, pid_t, pthread_t, size_t};

/// Environment variable with the count: allocators ask before `main` starts.
pub(crate) const VARIABLE: &str = heaplab_allocators::CPUS_VARIABLE;

const UNREAD: u32 = u32::MAX;
static SHOWN: AtomicU32 = AtomicU32::new(UNREAD);

unsafe extern "C" {
    fn __sysconf(name: c_int) -> c_long;
}

/// The count to show; none if the system's answer is to be passed through.
fn shown() -> Option<u32> {
    let mut count = SHOWN.load(Ordering::Relaxed);
    if count == UNREAD {
        count = read_variable();
        SHOWN.store(count, Ordering::Relaxed);
    }
    (count > 0).then_some(count)
}

/// NOTE: called from within an allocator's set-up: it must not allocate, so not `std::env`.
fn read_variable() -> u32 {
    // SAFETY: the name is a C string, and nobody changes the environment before `main`.
    let value = unsafe { libc::getenv(c"HEAPLAB_CPUS".as_ptr()) };
    if value.is_null() {
        return 0;
    }
    // SAFETY: getenv returns a C string.
    let text = unsafe { std::ffi::CStr::from_ptr(value) };
    text.to_bytes()
        .iter()
        .try_fold(0u32, |count, byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            count.checked_mul(10)?.checked_add(u32::from(digit))
        })
        .filter(|count| *count <= libc::CPU_SETSIZE as u32)
        .unwrap_or(0)
}

/// The `sysconf` of every library in this process.
///
/// # Safety
///
/// None beyond the C library's.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sysconf(name: c_int) -> c_long {
    match (name, shown()) {
        (libc::_SC_NPROCESSORS_ONLN | libc::_SC_NPROCESSORS_CONF, Some(count)) => c_long::from(count),
        // SAFETY: takes a number, gives a number.
        _ => unsafe { __sysconf(name) },
    }
}

/// Fills a CPU set: with the first CPUs up to the shown count, or with the thread's own.
///
/// Returns 0 or a positive error number.
unsafe fn affinity(thread: pid_t, size: size_t, set: *mut cpu_set_t) -> c_int {
    if let Some(count) = shown() {
        if size.saturating_mul(8) < count as usize {
            return libc::EINVAL;
        }
        // SAFETY: the caller gives `size` writable bytes.
        let bytes = unsafe { std::slice::from_raw_parts_mut(set.cast::<u8>(), size) };
        bytes.fill(0);
        (0..count as usize).for_each(|cpu| bytes[cpu / 8] |= 1 << (cpu % 8));
        return 0;
    }
    // SAFETY: the caller gives `size` writable bytes.
    let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread, size, set) };
    if written < 0 {
        // SAFETY: errno is the calling thread's own.
        return unsafe { *libc::__errno_location() };
    }
    // SAFETY: the kernel wrote `written` of `size` bytes; libc's function clears the rest, and so do we.
    unsafe { set.cast::<u8>().add(written as usize).write_bytes(0, size - written as usize) };
    0
}

/// The `sched_getaffinity` of every library in this process.
///
/// # Safety
///
/// `set` must have `size` writable bytes.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn sched_getaffinity(
    process: pid_t,
    size: size_t,
    set: *mut cpu_set_t,
) -> c_int {
    // SAFETY: the caller's duties are the same.
    match unsafe { affinity(process, size, set) } {
        0 => 0,
        error => {
            // SAFETY: errno is the calling thread's own.
            unsafe { *libc::__errno_location() = error };
            -1
        }
    }
}

/// The `pthread_getaffinity_np` of every library in this process. For a thread other than the calling one it
/// returns the calling thread's set.
///
/// # Safety
///
/// `set` must have `size` writable bytes.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pthread_getaffinity_np(
    _thread: pthread_t,
    size: size_t,
    set: *mut cpu_set_t,
) -> c_int {
    // SAFETY: the caller's duties are the same; 0 names the calling thread.
    unsafe { affinity(0, size, set) }
}

/// The `get_nprocs` of every library in this process.
///
/// # Safety
///
/// None.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn get_nprocs() -> c_int {
    // SAFETY: takes a number, gives a number.
    unsafe { sysconf(libc::_SC_NPROCESSORS_ONLN) as c_int }
}
