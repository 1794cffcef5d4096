//! A page of a file that is shared with recorded processes: the control page, or the first page of an image.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

use heaplab_raw::{PAGE_BYTES, PAGE_WORDS};
use memmap2::{MmapOptions, MmapRaw};

/// The page, mapped.
pub(super) struct SharedPage {
    mapping: MmapRaw,
}

impl SharedPage {
    /// Maps the first page of a file, which must be that long.
    pub(super) fn map(file: &File) -> io::Result<SharedPage> {
        SharedPage::map_at(file, 0)
    }

    /// Maps the page of a file at `offset`, a multiple of its length; the file must reach to its end.
    pub(super) fn map_at(file: &File, offset: u64) -> io::Result<SharedPage> {
        if file.metadata()?.len() < offset.saturating_add(PAGE_BYTES as u64) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(SharedPage { mapping: MmapOptions::new().offset(offset).len(PAGE_BYTES).map_raw(file)? })
    }

    /// Its words.
    pub(super) fn words(&self) -> &[AtomicU64; PAGE_WORDS] {
        // SAFETY: a mapping of a page's length that lives as long as self. All sides read and write it only
        // with atomic operations, and the file is not made shorter.
        unsafe { &*self.mapping.as_mut_ptr().cast::<[AtomicU64; PAGE_WORDS]>() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;

    #[test]
    fn what_is_stored_is_in_the_file() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(PAGE_BYTES as u64 - 1).expect("a length");
        assert!(SharedPage::map(&file).is_err(), "half a page: reading the rest would raise a signal");
        file.set_len(PAGE_BYTES as u64).expect("a length");
        let page = SharedPage::map(&file).expect("a page");
        page.words()[1].store(0x1234, Ordering::Relaxed);
        let mut bytes = [0; PAGE_BYTES];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 0).expect("a page");
        assert_eq!(bytes[8..11], [0x34, 0x12, 0]);
    }
}
