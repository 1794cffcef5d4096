//! What a program file looks like. Plain data and its bytes; no I/O.
//!
//! A program is a chain of blocks, one for each window, in the machine's byte order, every block
//! aligned to 32 bytes. A worker maps the file and reads the structures where they lie.
//!
//! ```text
//! file    := magic "HEAPLABP" | version u32 | zero to byte 64 | block ... | end block (segments = 0, next = 0)
//! block   := window (64 bytes) | segment (16 bytes) ... | zero to a multiple of 32 | operation (32 bytes) ...
//!
//! window     0        8            16          24               32             40
//!            | next   | first_time | last_time | requested_end  | requested_max | events |
//!            48         52      56      60
//!            | segments | flags | ops   | zero |
//! segment    0        4     8          12
//!            | thread | ops | first_op | flags |
//! operation  0      8          16     20           24      28     29      30          31
//!            | size | old_size | slot | generation | touch | code | flags | alignment | zero |
//! ```
//!
//! For example `free` of a 48-byte object in slot 3, waited for by nobody:
//! `30 00 .. 00 | 00 .. 00 | 03 00 00 00 | 00 00 00 00 | 00 00 00 00 | 05 | 00 | 00 | 00`, with 48 in `size`.

/// First bytes of a program file.
pub const MAGIC: [u8; 8] = *b"HEAPLABP";
/// Version of this layout.
pub const VERSION: u32 = 3;
/// Where the first block begins.
pub const FIRST_BLOCK: u64 = 64;
/// Alignment of blocks and operations.
pub const ALIGNMENT: usize = 32;
/// Unit of [`Op::touch`] in bytes: a cache line.
pub const TOUCH_UNIT: u64 = 64;

/// What an operation calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// `malloc(size)` into the slot.
    Malloc = 0,
    /// `calloc(1, size)` into the slot.
    Calloc = 1,
    /// `posix_memalign(alignment, size)` into the slot.
    AlignedAlloc = 2,
    /// `realloc(NULL, size)` into the slot.
    ReallocNull = 3,
    /// `realloc(slot, size)`.
    Realloc = 4,
    /// `free(slot)`.
    Free = 5,
    /// `free(NULL)`.
    FreeNull = 6,
    /// Reads and writes back each of the first `size` bytes of what lies in the slot, `old_size` times over.
    Work = 7,
    /// `malloc_trim(size)`, of the whole heap. Its slot is 0 and unused.
    MallocTrim = 8,
    /// `mallopt(size, old_size)`, each an `int` in its low 32 bits. Its slot is 0 and unused.
    Mallopt = 9,
}

/// The operation waits until the slot's generation has reached its own.
pub const OP_WAITS: u8 = 1;
/// The operation then sets the slot's generation to its own plus one: another thread may wait for it.
pub const OP_PUBLISHES: u8 = 2;

/// The window opens only when every window before it is complete.
pub const WINDOW_BARRIER: u32 = 1;
/// The window frees what was live at the end of the trace.
pub const WINDOW_DRAIN: u32 = 2;
/// The window is a round of the nudge: small calls that let an allocator look at its clock.
pub const WINDOW_NUDGE: u32 = 4;
/// Behind the window the recorded process's resident memory was looked at; the window's last time is that look's.
pub const WINDOW_LOOKED_AT: u32 = 8;

/// Before the window the recorded process had its huge pages switched off.
pub const WINDOW_HUGE_PAGES_OFF: u32 = 16;
/// Before the window it had them only where memory asks for them.
pub const WINDOW_HUGE_PAGES_ADVISED: u32 = 32;
/// Before the window it had them as the system's setting is.
pub const WINDOW_HUGE_PAGES_ALLOWED: u32 = 64;

/// The thread ends behind the segment.
pub const SEGMENT_ENDS_THREAD: u32 = 1;

/// One call. 32 bytes, so that two share a cache line and an index is a shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Op {
    /// Requested bytes; of a free, the bytes that the object had; of work, the bytes that are worked on; of
    /// `malloc_trim` its pad, of `mallopt` its parameter.
    pub size: u64,
    /// Of a realloc, the bytes that the object had before; of work, how many times over it is done; of `mallopt`,
    /// the value.
    pub old_size: u64,
    /// Where the object's pointer is kept.
    pub slot: u32,
    /// What `OP_WAITS` waits for; `OP_PUBLISHES` sets one more.
    pub generation: u32,
    /// How far the program writes to the block, in units of [`TOUCH_UNIT`], never meant beyond `size`.
    pub touch: u32,
    /// A [`Code`].
    pub code: u8,
    /// `OP_WAITS` and `OP_PUBLISHES`.
    pub flags: u8,
    /// Binary logarithm of the alignment of an aligned allocation.
    pub alignment_log2: u8,
    /// Zero.
    pub reserved: u8,
}

/// Operations that one thread executes one after another within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Segment {
    /// The thread.
    pub thread: u32,
    /// How many operations.
    pub ops: u32,
    /// Index of its first operation within the block.
    pub first_op: u32,
    /// `SEGMENT_ENDS_THREAD` or 0.
    pub flags: u32,
}

/// Head of a block. Times are in ns (or event indices) since the trace's first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Window {
    /// File offset of the next block; 0 in the end block.
    pub next: u64,
    /// Time of its first event.
    pub first_time: u64,
    /// Time of its last event.
    pub last_time: u64,
    /// Requested bytes live behind its last event.
    pub requested_end: u64,
    /// Largest requested bytes live at any of its events.
    pub requested_max: u64,
    /// Events, as the trace counts them.
    pub events: u64,
    /// How many segments.
    pub segments: u32,
    /// `WINDOW_*`.
    pub flags: u32,
    /// How many operations.
    pub ops: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Op>() == 32 && size_of::<Segment>() == 16 && size_of::<Window>() == 64);

impl Op {
    /// A call that neither waits nor publishes.
    pub fn new(code: Code, slot: u32, size: u64) -> Op {
        Op {
            size,
            old_size: 0,
            slot,
            generation: 0,
            touch: 0,
            code: code as u8,
            flags: 0,
            alignment_log2: 0,
            reserved: 0,
        }
    }

    /// The bytes as they stand in the file.
    #[inline]
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[0..8].copy_from_slice(&self.size.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.old_size.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.slot.to_ne_bytes());
        bytes[20..24].copy_from_slice(&self.generation.to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.touch.to_ne_bytes());
        bytes[28..32].copy_from_slice(&[self.code, self.flags, self.alignment_log2, self.reserved]);
        bytes
    }
}

impl Segment {
    /// The bytes as they stand in the file.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[0..4].copy_from_slice(&self.thread.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.ops.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.first_op.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.flags.to_ne_bytes());
        bytes
    }
}

impl Window {
    /// The bytes as they stand in the file.
    pub fn to_bytes(self) -> [u8; 64] {
        let mut bytes = [0; 64];
        let longs =
            [self.next, self.first_time, self.last_time, self.requested_end, self.requested_max, self.events];
        for (place, value) in bytes.chunks_exact_mut(8).zip(longs) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        let shorts = [self.segments, self.flags, self.ops, self.reserved];
        for (place, value) in bytes[48..].chunks_exact_mut(4).zip(shorts) {
            place.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// Bytes from the head of a block to its first operation.
    pub fn ops_offset(segments: u32) -> usize {
        (size_of::<Window>() + segments as usize * size_of::<Segment>()).next_multiple_of(ALIGNMENT)
    }
}

/// `bytes` in units of [`TOUCH_UNIT`], rounded up; beyond 256 GiB it saturates.
pub fn touch_units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(TOUCH_UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worked_example_is_what_is_written() {
        let bytes = Op::new(Code::Free, 3, 48).to_bytes();
        let mut expected = [0; 32];
        (expected[0], expected[16], expected[28]) = (0x30, 3, 5);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn operations_begin_aligned_behind_any_number_of_segments() {
        for segments in 0..9 {
            let offset = Window::ops_offset(segments);
            assert_eq!(offset % ALIGNMENT, 0);
            assert!(offset >= 64 + 16 * segments as usize && offset < 64 + 16 * segments as usize + 32);
        }
    }
}
