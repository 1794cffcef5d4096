//! Mappings that the program makes, or an allocator that calls the C library: counted, not recorded.
//!
//! The C library's own malloc maps through internal functions, which cannot be interposed.
//!
//! NOTE: an allocator may call these while it holds its lock: nothing here may allocate, or wait for a thread
//! that does. So the kernel is called directly, as the C library's functions do.

use core::ffi::{c_int, c_void};

use crate::{next, process, system};

/// `mmap(2)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mmap(
    place: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: i64,
) -> *mut c_void {
    let arguments =
        [place as usize, bytes, protection as usize, flags as usize, descriptor as usize, offset as usize];
    // SAFETY: the caller keeps the contract.
    let mapped = system::told(unsafe { system::mmap(arguments) }) as *mut c_void;
    if mapped != libc::MAP_FAILED
        && let Some(image) = process::image()
    {
        image.add_mmap(bytes as u64);
    }
    mapped
}

/// `mmap64(2)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mmap64(
    place: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: i64,
) -> *mut c_void {
    // SAFETY: the caller keeps the contract; offsets have 64 bits anyway.
    unsafe { mmap(place, bytes, protection, flags, descriptor, offset) }
}

/// `munmap(2)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn munmap(place: *mut c_void, bytes: usize) -> c_int {
    // SAFETY: the caller keeps the contract.
    let status = system::told(unsafe { system::munmap(place as usize, bytes) }) as c_int;
    if status == 0
        && let Some(image) = process::image()
    {
        image.add_munmap(bytes as u64);
    }
    status
}

/// `mremap(2)`. The fifth argument exists only with some flags; passing it on otherwise does no harm.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn mremap(
    place: *mut c_void,
    old_bytes: usize,
    bytes: usize,
    flags: c_int,
    new_place: *mut c_void,
) -> *mut c_void {
    let arguments = [place as usize, old_bytes, bytes, flags as usize, new_place as usize];
    // SAFETY: the caller keeps the contract.
    let mapped = system::told(unsafe { system::mremap(arguments) }) as *mut c_void;
    if mapped != libc::MAP_FAILED
        && let Some(image) = process::image()
    {
        image.add_mremap(bytes as u64);
    }
    mapped
}

/// `brk(2)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn brk(end: *mut c_void) -> c_int {
    let (Some(brk), Some(sbrk)) = (next::BRK.find(), next::SBRK.find()) else { return refuse() };
    // SAFETY: to ask where the break is changes nothing.
    let before = unsafe { sbrk(0) };
    // SAFETY: the caller keeps the contract.
    let status = unsafe { brk(end) };
    if status == 0
        && let Some(image) = process::image()
    {
        image.add_brk((end as u64).saturating_sub(before as u64));
    }
    status
}

/// `sbrk(2)`.
///
/// # Safety
/// As of the C library's.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sbrk(bytes: isize) -> *mut c_void {
    let Some(function) = next::SBRK.find() else {
        refuse();
        return libc::MAP_FAILED; // (void *) -1 here too
    };
    // SAFETY: the caller keeps the contract.
    let before = unsafe { function(bytes) };
    if before != libc::MAP_FAILED
        && bytes != 0
        && let Some(image) = process::image()
    {
        image.add_brk(bytes.max(0) as u64);
    }
    before
}

fn refuse() -> c_int {
    // SAFETY: errno's address is valid in every thread.
    unsafe { *libc::__errno_location() = libc::ENOMEM };
    -1
}
