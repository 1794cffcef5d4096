//! Limits that the program sets itself, or reaches: what this library has reserved counts for that of the address
//! space, and for that of locked memory.

use core::ffi::{c_int, c_void};

use crate::{process, region, system};

/// `prlimit(2)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn prlimit(
    process: libc::pid_t,
    resource: c_int,
    limit: *const c_void,
    before: *mut c_void,
) -> c_int {
    let arguments = [process as usize, resource as usize, limit as usize, before as usize];
    // SAFETY: the caller keeps the contract.
    let outcome = unsafe { system::prlimit(arguments) };
    if outcome.is_ok() && resource as u32 == libc::RLIMIT_AS && !limit.is_null() {
        give_back(process);
    }
    system::told(outcome) as c_int
}

/// Gives back what the limit of this process, if it is the one meant, makes scarce. NOTE: a child of vfork limits
/// itself, in its parent's memory.
fn give_back(process: libc::pid_t) {
    let is_own = process == 0 || process.cast_unsigned() == system::process();
    if is_own && !system::is_quiet() && !process::is_in_vfork() {
        region::give_back(system::most_address_bytes());
    }
}

/// `prlimit64(2)`: on these processors the same.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn prlimit64(
    process: libc::pid_t,
    resource: c_int,
    limit: *const c_void,
    before: *mut c_void,
) -> c_int {
    // SAFETY: the caller keeps the contract.
    unsafe { prlimit(process, resource, limit, before) }
}

/// `setrlimit(2)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn setrlimit(resource: c_int, limit: *const c_void) -> c_int {
    // SAFETY: the caller keeps the contract.
    unsafe { prlimit(0, resource, limit, core::ptr::null_mut()) }
}

/// `setrlimit64(2)`: on these processors the same.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn setrlimit64(resource: c_int, limit: *const c_void) -> c_int {
    // SAFETY: the caller keeps the contract.
    unsafe { setrlimit(resource, limit) }
}

/// `mlockall(2)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mlockall(flags: c_int) -> c_int {
    // SAFETY: the caller keeps the contract.
    let lock = || unsafe { system::mlockall(flags as usize) };
    let mut outcome = lock();
    if !system::is_quiet() {
        let most_bytes = system::most_locked_bytes();
        // More addresses than it may lock.
        if outcome == Err(libc::ENOMEM) {
            region::give_back_locked(most_bytes);
            outcome = lock();
        }
        if outcome.is_ok() && most_bytes != libc::RLIM_INFINITY {
            region::unlock();
        }
    }
    system::told(outcome) as c_int
}
