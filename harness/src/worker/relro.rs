//! The program's own relocated constants, which the loader wrote and then made read-only: moved to a shared
//! mapping, so that they do not count in `RssAnon`.
//!
//! They grow with the program (0.4 MB in release, over 1 MB without optimisation), and would be most of the
//! constant that is subtracted from every resident figure.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr;

use super::mapping::map_shared;
use super::memory::PAGE_BYTES;

/// A range of whole pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Pages {
    address: usize,
    bytes: usize,
}

/// Moves them. Only at the start, while there is one thread.
pub(super) fn share() -> io::Result<()> {
    let Some(pages) = own_pages() else { return Ok(()) };
    let copy = map_shared(pages.bytes);
    if copy.is_null() {
        return Err(io::Error::last_os_error());
    }
    let place: *mut c_void = ptr::with_exposed_provenance_mut(pages.address);
    // SAFETY: the pages are mapped and readable, the copy is as long and nobody else's. Nothing writes to the
    // pages: the loader made them read-only. The copy takes their place in one step, with the same bytes.
    unsafe {
        ptr::copy_nonoverlapping(place.cast::<u8>(), copy, pages.bytes);
        if libc::mprotect(copy.cast(), pages.bytes, libc::PROT_READ) != 0 {
            return Err(io::Error::last_os_error());
        }
        let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
        if libc::mremap(copy.cast(), pages.bytes, pages.bytes, flags, place) == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// The pages of the program that the loader made read-only; none if it did not.
fn own_pages() -> Option<Pages> {
    let mut found: Option<Pages> = None;
    // SAFETY: `note` takes what is given here, and the loader's lists are valid during the call.
    unsafe { libc::dl_iterate_phdr(Some(note), (&raw mut found).cast()) };
    found.filter(|pages| pages.bytes > 0)
}

/// Notes the range of the first object, which is the program, and ends the walk.
unsafe extern "C" fn note(object: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
    // SAFETY: the loader passes an object with its list of segments, and `found` is `own_pages`' own.
    unsafe {
        let object = &*object;
        let segments = std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum));
        let relocated = segments.iter().find(|segment| segment.p_type == libc::PT_GNU_RELRO);
        *found.cast::<Option<Pages>>() = relocated.map(|segment| {
            whole_pages(object.dlpi_addr as usize + segment.p_vaddr as usize, segment.p_memsz as usize)
        });
    }
    1
}

/// The part of a range that the loader protects: both ends rounded down to a page.
fn whole_pages(begin: usize, bytes: usize) -> Pages {
    let down = |address: usize| address & !(PAGE_BYTES as usize - 1);
    Pages { address: down(begin), bytes: down(begin + bytes) - down(begin) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_rounded_as_the_loader_does() {
        assert_eq!(whole_pages(0x1880, 0x3000), Pages { address: 0x1000, bytes: 0x3000 });
        assert_eq!(whole_pages(0x1000, 0x0fff).bytes, 0);
    }

    #[test]
    fn this_program_has_such_pages_and_they_stay_as_they_are() {
        let pages = own_pages().expect("a position-independent program");
        let place: *const u8 = ptr::with_exposed_provenance(pages.address);
        // SAFETY: mapped for as long as the program runs, and never written to.
        let bytes = || unsafe { std::slice::from_raw_parts(place, pages.bytes) };
        let before = bytes().to_vec();
        share().expect("the kernel moves them");
        assert!(before == bytes());
        let is_shared =
            |line: &str| line.starts_with(&format!("{:x}-", pages.address)) && line.contains("r--s");
        let maps = std::fs::read_to_string("/proc/self/maps").expect("readable");
        assert!(maps.lines().any(is_shared), "{maps}");
    }
}
