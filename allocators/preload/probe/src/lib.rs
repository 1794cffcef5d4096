//! A shared library that reports which malloc serves each process of a tree, for LD_PRELOAD after the allocator.
//!
//! Its constructor finds the file that contains this process's malloc, and appends one record to the file
//! that `HEAPLAB_PROBE_FILE` names. A path is inherited by every child, through exec and through programs
//! that close all descriptors. A missing record is also proof: LD_PRELOAD did not reach that process.
//!
//! ```text
//! record = field NUL field NUL field NUL field NUL, appended in one write
//!
//!   "4711"                       process id
//!   "/usr/bin/redis-server"      the program: what /proc/self/exe leads to
//!   "/opt/libheaplab_jemalloc.so" the file that malloc lies in; empty if none is known
//!   "valloc memalign"            functions of the malloc family that lie in another file, separated by spaces
//! ```
//!
//! It exports nothing. Side effects: a few system calls before `main`, and error texts of the dynamic loader
//! (a few hundred bytes of the heap under test) for functions that do not exist. It must not panic, and does
//! not allocate through Rust.
#![allow(unsafe_code)]

mod owner;
mod record;

use core::ffi::{CStr, c_char};

use owner::Owner;
use record::Record;

/// Where the record goes.
const FILE_VARIABLE: &CStr = c"HEAPLAB_PROBE_FILE";

/// The functions that must come from one library: a block of one allocator freed by another is a crash.
const FAMILY: [&CStr; 7] =
    [c"calloc", c"realloc", c"free", c"posix_memalign", c"aligned_alloc", c"memalign", c"malloc_usable_size"];

/// Runs when the library is loaded, before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static REPORT: extern "C" fn() = report;

extern "C" fn report() {
    // SAFETY: the name ends with NUL; nobody changes the environment before `main`.
    let path = unsafe { libc::getenv(FILE_VARIABLE.as_ptr()) };
    if path.is_null() {
        return;
    }
    let mut record = Record::new();
    // SAFETY: getpid has no preconditions.
    record.push_number(unsafe { libc::getpid() }.unsigned_abs().into());
    record.end_field();
    let mut program = [0u8; record::PATH_BYTES];
    let program = read_program(&mut program);
    record.push(program);
    record.end_field();
    let malloc = owner::find(c"malloc");
    if let Some(owner) = &malloc {
        push_file(&mut record, owner, program);
    }
    record.end_field();
    if let Some(malloc) = &malloc {
        push_strays(&mut record, malloc);
    }
    record.end_field();
    // SAFETY: the environment's text ends with NUL.
    unsafe { record.append_to(path) };
}

/// The running program, as the kernel reports it; empty if it does not.
fn read_program(buffer: &mut [u8; record::PATH_BYTES]) -> &[u8] {
    let link = c"/proc/self/exe".as_ptr();
    // SAFETY: the buffer has the stated length.
    let length = unsafe { libc::readlink(link, buffer.as_mut_ptr().cast::<c_char>(), buffer.len()) };
    usize::try_from(length).ok().and_then(|length| buffer.get(..length)).unwrap_or_default()
}

/// The file of an object, as an absolute path: the loader knows the program itself only by its first
/// argument.
fn push_file(record: &mut Record, owner: &Owner, program: &[u8]) {
    if owner.is_program() {
        record.push(program);
        return;
    }
    // SAFETY: the loader's own text, which lives as long as the object is loaded.
    let path = unsafe { CStr::from_ptr(owner.file) }.to_bytes();
    if path.starts_with(b"/") {
        record.push(path);
        return;
    }
    let mut buffer = [0 as c_char; record::PATH_BYTES];
    // SAFETY: the buffer has PATH_MAX bytes, as realpath demands, and both texts end with NUL.
    let resolved = unsafe { libc::realpath(owner.file, buffer.as_mut_ptr()) };
    if resolved.is_null() {
        record.push(path);
    } else {
        // SAFETY: realpath wrote a text that ends with NUL.
        record.push(unsafe { CStr::from_ptr(resolved) }.to_bytes());
    }
}

/// The functions of the malloc family that are not in the same file as malloc.
fn push_strays(record: &mut Record, malloc: &Owner) {
    let mut separator: &[u8] = b"";
    for name in FAMILY {
        if owner::find(name).is_some_and(|owner| owner.base != malloc.base) {
            record.push(separator);
            record.push(name.to_bytes());
            separator = b" ";
        }
    }
}
