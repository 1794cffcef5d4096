//! The program file as a worker sees it: mapped, and read where it lies.

use std::fs::File;
use std::io;
use std::path::Path;

use heaplab_workloads::program::layout::{MAGIC, Op, Segment, VERSION, Window};
use memmap2::{Mmap, MmapOptions};

/// Up to this size the file is read in before the replay, so that no page of it faults in the timed part.
const POPULATED_BYTES: u64 = 4 << 30;

/// A mapped program. It stays mapped until the process ends.
pub(super) struct Program {
    map: Mmap,
}

/// A block of it.
#[derive(Clone, Copy)]
pub(super) struct Block<'a> {
    address: *const u8,
    pub(super) head: &'a Window,
}

impl Program {
    /// Maps the file.
    pub(super) fn open(path: &Path) -> io::Result<Program> {
        let file = File::open(path)?;
        let mut options = MmapOptions::new();
        if file.metadata()?.len() <= POPULATED_BYTES {
            options.populate();
        }
        // SAFETY: the parent wrote the file for this run in a directory of its own and changes it no more.
        let map = unsafe { options.map(&file)? };
        let version = map.get(8..12).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes);
        if map.get(..8) != Some(&MAGIC[..]) || version != Some(VERSION) {
            let what = format!("{} is not a program of this version", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(Program { map })
    }

    /// The block at a file offset that the program itself names.
    pub(super) fn block(&self, offset: u64) -> Block<'_> {
        assert!(
            offset as usize + size_of::<Window>() <= self.map.len(),
            "a block lies outside of the program"
        );
        // SAFETY: the offset lies in the mapping, is a multiple of 32, and a window was written there.
        unsafe { Block::at(self.map.as_ptr().add(offset as usize)) }
    }
}

impl<'a> Block<'a> {
    /// The block at an address.
    ///
    /// # Safety
    ///
    /// The address must be one that [`Block::address`] gave, and the program still mapped.
    pub(super) unsafe fn at(address: *const u8) -> Block<'a> {
        // SAFETY: by the caller's word a window lies there.
        Block { address, head: unsafe { &*address.cast::<Window>() } }
    }

    /// Where it lies.
    pub(super) fn address(&self) -> *const u8 {
        self.address
    }

    /// Its segments.
    pub(super) fn segments(&self) -> &'a [Segment] {
        let count = self.head.segments as usize;
        // SAFETY: the compiler wrote that many segments behind the head.
        unsafe { std::slice::from_raw_parts(self.address.add(size_of::<Window>()).cast(), count) }
    }

    /// The operations of one of its segments.
    pub(super) fn ops(&self, segment: &Segment) -> &'a [Op] {
        let first = Window::ops_offset(self.head.segments) + segment.first_op as usize * size_of::<Op>();
        // SAFETY: the compiler wrote that many operations there, aligned to 32.
        unsafe { std::slice::from_raw_parts(self.address.add(first).cast(), segment.ops as usize) }
    }
}
