//! A window while it is being compiled, and the file that finished ones go to.
//!
//! Two windows are held back, because a later event may still mark an operation of theirs as waited
//! for; then a block is written and only the touch length of a large block may be changed in place.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use heaplab_trace::{ObjectId, ThreadId};

use super::layout::{ALIGNMENT, FIRST_BLOCK, MAGIC, Op, SEGMENT_ENDS_THREAD, Segment, VERSION, Window};

/// The operations of one thread in one window.
#[derive(Debug, Default)]
pub(super) struct SegmentDraft {
    pub(super) thread: ThreadId,
    pub(super) ops: Vec<Op>,
    pub(super) ends_thread: bool,
    /// Slots that this thread freed in this window and has not taken again (causal order).
    pub(super) freed_slots: Vec<u32>,
}

/// Where an operation is, while its block is held back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Number of its window.
    pub(super) window: u64,
    /// Index of its segment in the window.
    pub(super) segment: u32,
    /// Index of the operation in the segment.
    pub(super) op: u32,
}

/// A window that is being filled or held back.
#[derive(Debug)]
pub(super) struct Block {
    /// Its number, from 0.
    pub(super) number: u64,
    pub(super) head: Window,
    pub(super) segments: Vec<SegmentDraft>,
    /// Bytes allocated by its events.
    pub(super) allocated_bytes: u64,
    /// Its operations that are work on an object, which are no events.
    pub(super) works: u64,
    /// Allocations larger than a page: a later event may change how far they are touched.
    pub(super) large: Vec<(ObjectId, Place)>,
}

impl Block {
    /// An empty window.
    pub(super) fn new(number: u64, first_time: u64, flags: u32) -> Block {
        let head = Window {
            next: 0,
            first_time,
            last_time: first_time,
            requested_end: 0,
            requested_max: 0,
            events: 0,
            segments: 0,
            flags,
            ops: 0,
            reserved: 0,
        };
        Block { number, head, segments: Vec::new(), allocated_bytes: 0, works: 0, large: Vec::new() }
    }

    /// The operation at `place`, if the place is in this window.
    pub(super) fn op_mut(&mut self, place: Place) -> Option<&mut Op> {
        if place.window != self.number {
            return None;
        }
        self.segments.get_mut(place.segment as usize)?.ops.get_mut(place.op as usize)
    }
}

/// The program file while it grows.
pub(super) struct ProgramWriter {
    file: BufWriter<File>,
    offset: u64,
    /// Where the operations of the block written last begin, by segment.
    segment_offsets: Vec<u64>,
}

impl ProgramWriter {
    pub(super) fn create(path: &Path) -> io::Result<ProgramWriter> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        let mut head = [0; FIRST_BLOCK as usize];
        head[..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&VERSION.to_ne_bytes());
        file.write_all(&head)?;
        Ok(ProgramWriter { file, offset: FIRST_BLOCK, segment_offsets: Vec::new() })
    }

    /// Where the next block will begin.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Writes a window as a block.
    pub(super) fn write(&mut self, block: &Block) -> io::Result<()> {
        let segments = block.segments.len() as u32;
        let ops: usize = block.segments.iter().map(|segment| segment.ops.len()).sum();
        let ops_offset = Window::ops_offset(segments);
        let length = (ops_offset + ops * size_of::<Op>()) as u64;
        let head = Window { next: self.offset + length, segments, ops: ops as u32, ..block.head };
        self.file.write_all(&head.to_bytes())?;
        self.segment_offsets.clear();
        let mut first_op = 0;
        for segment in &block.segments {
            let flags = if segment.ends_thread { SEGMENT_ENDS_THREAD } else { 0 };
            let row = Segment { thread: segment.thread, ops: segment.ops.len() as u32, first_op, flags };
            self.file.write_all(&row.to_bytes())?;
            self.segment_offsets
                .push(self.offset + ops_offset as u64 + u64::from(first_op) * size_of::<Op>() as u64);
            first_op += row.ops;
        }
        let written = size_of::<Window>() + block.segments.len() * size_of::<Segment>();
        self.file.write_all(&[0; ALIGNMENT][..ops_offset - written])?;
        for op in block.segments.iter().flat_map(|segment| &segment.ops) {
            self.file.write_all(&op.to_bytes())?;
        }
        self.offset += length;
        Ok(())
    }

    /// File offset of the touch length of an operation of the block written last.
    pub(super) fn touch_offset(&self, place: Place) -> u64 {
        const TOUCH: u64 = 24;
        self.segment_offsets[place.segment as usize] + u64::from(place.op) * size_of::<Op>() as u64 + TOUCH
    }

    /// Changes a touch length in place.
    pub(super) fn patch_touch(&mut self, offset: u64, touch: u32) -> io::Result<()> {
        let buffered = self.file.buffer().len() as u64;
        if offset + 4 > self.offset - buffered {
            self.file.flush()?;
        }
        self.file.get_ref().write_all_at(&touch.to_ne_bytes(), offset)
    }

    /// Writes the end block.
    pub(super) fn finish(mut self) -> io::Result<u64> {
        self.file.write_all(&Block::new(0, 0, 0).head.to_bytes())?;
        self.file.flush()?;
        self.file.get_mut().seek(SeekFrom::End(0))
    }
}
