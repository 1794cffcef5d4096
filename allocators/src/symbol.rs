//! Symbols of the running process: where they are, and which file contains them.
//!
//! The only module here that talks to the dynamic loader, apart from those that call what it finds. A look-up
//! that fails makes the loader write an error text, a few hundred bytes from the malloc in use.
#![allow(unsafe_code)]

use std::ffi::{CStr, OsStr, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::ptr;

/// The address of the first symbol of this name in the loader's search order: the one that a call from the
/// program reaches.
pub(crate) fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with NUL; RTLD_DEFAULT is a valid handle.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// The file that contains an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its path, as the loader names it.
    pub(crate) path: PathBuf,
    /// Where it is mapped: what distinguishes two objects.
    pub(crate) base: usize,
}

/// The object that contains `address`.
pub(crate) fn object_of(address: *const c_void) -> Option<Object> {
    let mut found = libc::Dl_info {
        dli_fname: ptr::null(),
        dli_fbase: ptr::null_mut(),
        dli_sname: ptr::null(),
        dli_saddr: ptr::null_mut(),
    };
    // SAFETY: dladdr takes any address and writes only to `found`.
    if unsafe { libc::dladdr(address, &mut found) } == 0 || found.dli_fname.is_null() {
        return None;
    }
    // SAFETY: the loader's own text, which lives as long as the object is loaded.
    let path = unsafe { CStr::from_ptr(found.dli_fname) };
    Some(Object { path: OsStr::from_bytes(path.to_bytes()).into(), base: found.dli_fbase as usize })
}

/// A symbol of this name, if it is the one that the program reaches and is in `object`.
pub(crate) fn find_in(object: &Object, name: &CStr) -> Option<*mut c_void> {
    find(name).filter(|&address| object_of(address).is_some_and(|found| found.base == object.base))
}

/// jemalloc's control function.
pub(crate) type Mallctl =
    unsafe extern "C" fn(*const libc::c_char, *mut c_void, *mut usize, *mut c_void, usize) -> libc::c_int;

/// jemalloc's control function in `object`, under its own name.
pub(crate) fn mallctl_in(object: &Object) -> Option<Mallctl> {
    let address = find_in(object, c"mallctl")?;
    // SAFETY: a library that serves malloc and exports `mallctl` is jemalloc, whose function has this type.
    Some(unsafe { std::mem::transmute::<*mut c_void, Mallctl>(address) })
}
