//! The control page, mapped over a page of the library itself, so that every event reads its clock with one
//! load from a known address.
//!
//! Before the recording starts the page is zero, which is never the word that a thread last saw.

use core::ffi::CStr;
use core::sync::atomic::{AtomicU64, Ordering};

use heaplab_raw::{Control, PAGE_BYTES, PAGE_WORDS};

use crate::system;

/// The largest page that the processor may have: the kernel maps at least that much.
#[cfg(target_arch = "x86_64")]
const LARGEST_PAGE_BYTES: usize = 4 << 10;
#[cfg(not(target_arch = "x86_64"))]
const LARGEST_PAGE_BYTES: usize = 64 << 10;

#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(align(4096)))]
#[cfg_attr(not(target_arch = "x86_64"), repr(align(65536)))]
struct Page([AtomicU64; LARGEST_PAGE_BYTES / 8]);

static PAGE: Page = Page([const { AtomicU64::new(0) }; LARGEST_PAGE_BYTES / 8]);

/// The word that holds time and state.
#[inline(always)]
pub(crate) fn word() -> u64 {
    PAGE.0[Control::TICK_OFFSET / 8].load(Ordering::Relaxed)
}

/// Maps the file at `path`: returns the page, or the errno.
pub(crate) fn map(path: &CStr) -> Result<Control<'static>, i32> {
    let descriptor = system::open(path, libc::O_RDWR)?;
    // SAFETY: the place is PAGE, whose size and alignment are a page's or a multiple of it.
    let mapped = unsafe { system::map_file(&raw const PAGE as usize, descriptor, 0, PAGE_BYTES) };
    system::close(descriptor);
    mapped?;
    page().ok_or(libc::EINVAL)
}

/// The page; none if it is not mapped, or its version is not this library's.
pub(crate) fn page() -> Option<Control<'static>> {
    let words: &'static [AtomicU64; PAGE_WORDS] = PAGE.0.first_chunk()?;
    Control::open(words).ok()
}
