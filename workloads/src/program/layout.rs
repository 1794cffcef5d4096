//! What a program file looks like. Plain data; no I/O.
//!
//! A program is a chain of windows, in the machine's byte order. Nothing in it is aligned: it is read once,
//! from front to back. The most common operations take 4 to 8 bytes, and a byte less in groups of four.
//!
//! ```text
//! file      := magic "HEAPLABP" | version u32 | zero to byte 64 | window ... | end (8 zero bytes)
//! window    := head (64 bytes) | segment ...
//! segment   := thread | bytes | change | peak (variable length each) | operation ...
//!
//! head         0       8            16          24              32              40
//!              | bytes | first_time | last_time | requested_end | requested_max | events |
//!              48         52      56    60
//!              | segments | flags | ops | zero |
//! thread       its number times two, plus one if it ends after the segment
//! bytes        of the segment's operations
//! change       by which the segment changes the requested bytes, zigzag: 0, -1, 1, -2 ... are 0, 1, 2, 3 ...
//! peak         the most by which it raises them meanwhile
//!
//! operation, by its form (see `operation.rs`)
//! short        0      1      4      6     8
//!              | kind | slot | size | aux |              size and aux only where the code has them
//! medium       0      1      4      8       12    16
//!              | kind | slot | size | touch | aux | generation |     each only where the code or a flag has it
//! wide         0      1      4      8      16         24           28      32
//!              | kind | zero | slot | size | old_size | generation | touch | alignment |
//! kind         bits 0 to 3 the code, 4 and 5 the form, 6 waits, 7 publishes
//!
//! group        0             1
//!              | 30 | pattern | slot (3 bytes) | size (2 bytes) | slot ... |     four times; see `group.rs`
//! pattern      a bit for each, the first one's lowest: 1 for a malloc, 0 for a free, which has no size
//! ```
//!
//! Variable length: seven bits a byte, lowest first; the highest bit says that another byte follows.
//!
//! For example thread 2's segment that allocates 48 bytes into slot 3 and frees them again, waited for by nobody:
//! `04 | 0a | 00 | 30 || 00 03 00 00 30 00 || 05 03 00 00`.

/// First bytes of a program file.
pub const MAGIC: [u8; 8] = *b"HEAPLABP";
/// Version of this layout.
pub const VERSION: u32 = 6;
/// Where the first window begins.
pub const FIRST_WINDOW: u64 = 64;

/// The window opens only when every window before it is complete.
pub const WINDOW_BARRIER: u32 = 1;
/// The window frees what was live at the end of the trace.
pub const WINDOW_DRAIN: u32 = 2;
/// The window is a round of the nudge: small calls that let an allocator read its clock.
pub const WINDOW_NUDGE: u32 = 4;
/// After the window the recorded process's resident memory was sampled; the window's last time is that sample's.
pub const WINDOW_SAMPLED: u32 = 8;

/// Before the window, the recorded process switched its huge pages off.
pub const WINDOW_HUGE_PAGES_OFF: u32 = 16;
/// Before the window, the process restricted huge pages to memory that asks for them.
pub const WINDOW_HUGE_PAGES_ADVISED: u32 = 32;
/// Before the window, the process returned to the system's setting of huge pages.
pub const WINDOW_HUGE_PAGES_ALLOWED: u32 = 64;

/// Before the window, the recorded process was forked: everything earlier was done by its parent.
pub const WINDOW_FORKED: u32 = 128;
