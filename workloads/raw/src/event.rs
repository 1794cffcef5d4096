//! What is recorded: one value for each call, and the few things that stand between calls.

/// Of a block of at least this many requested bytes it is recorded how much of it was resident when it ended.
pub const LARGE_BYTES: u64 = 128 << 10;

/// A record of a thread. Addresses are as the program has them; sizes are as it asked.
///
/// An allocation is recorded after the call, because only then its address is known; a free before it,
/// because the address may be another thread's by the time that it returns. A realloc is both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A call allocated a block.
    Allocate {
        /// Which function.
        by: Allocation,
        /// Where the block is.
        address: u64,
        /// Requested bytes.
        size: u64,
    },
    /// `memalign` or a related function allocated a block. Sizes from 2^58 on cannot be allocated, and are
    /// not encoded.
    Aligned {
        /// Where the block is.
        address: u64,
        /// Requested bytes.
        size: u64,
        /// Binary logarithm of the alignment, at most 63.
        alignment_log2: u8,
    },
    /// `free` or a related function is about to be called.
    Free {
        /// The block.
        address: u64,
    },
    /// `free(NULL)`.
    FreeNull,
    /// `realloc` of a block is about to be called. Its end is the same thread's next record of a call.
    ReallocBegin {
        /// The block.
        address: u64,
    },
    /// The realloc that was started succeeded.
    ReallocEnd {
        /// Where the block is now.
        address: u64,
        /// Its new size as requested.
        size: u64,
    },
    /// The realloc that was started was to size 0 and returned NULL: the block is freed.
    ReallocFreed,
    /// A call returned NULL. After a failed realloc of a block, the block is as it was.
    Failed {
        /// Which function.
        call: Call,
        /// Requested bytes.
        size: u64,
    },
    /// The time from here on, in microseconds since the beginning.
    Tick {
        /// Below 2^56.
        elapsed_us: u64,
    },
    /// The thread begins: its first record.
    ThreadBegin,
    /// The thread is ending; frees by late destructors may follow.
    ThreadEnd,
    /// `pthread_create` was entered: what the thread allocates until it is left is the new thread's
    /// machinery, which a replay makes for itself.
    CreateEnter,
    /// `pthread_create` was left.
    CreateLeave,
    /// This many events of the thread could not be recorded here.
    Lost {
        /// Below 2^56.
        count: u64,
    },
    /// So much of a block was resident when it was about to be freed or reallocated, which is the thread's next
    /// record of a call then, or when the process was about to end. It bounds what the program has written to there, from above: a page may be resident from
    /// an earlier block, or because a neighbour, the allocator or a realloc's copying wrote to it. A page that was swapped out is not seen.
    Touched {
        /// The block.
        address: u64,
        /// Bytes of resident pages that it lies on, at most its size rounded up to 1 KiB (to 1 MiB, of 512 MiB and more).
        bytes: u64,
    },
    /// The program told the allocator something.
    Mark {
        /// What.
        kind: MarkKind,
        /// `malloc_trim`'s pad (kept below 2^31); the value that `mallopt` sets; 1 where huge pages are switched off
        /// and 0 where they are allowed; a fork's number.
        argument: i32,
        /// What of it: `mallopt`'s parameter (kept within 16 bits: no C library has one beyond); with huge pages
        /// off, the flags of that.
        detail: i16,
    },
}

/// The functions that allocate a block without regard to alignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    /// `malloc`, `operator new`, `mallocx` without flags.
    Malloc,
    /// `calloc`; the size is the product.
    Calloc,
    /// `realloc(NULL, size)`.
    ReallocNull,
}

/// The function families that a failure is counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Call {
    /// `malloc`, `operator new`.
    Malloc = 0,
    /// `calloc`; the size is the product, or 2^64 - 1 where that has no 64 bits.
    Calloc = 1,
    /// `memalign` and related functions.
    Aligned = 2,
    /// `realloc` of NULL.
    ReallocNull = 3,
    /// `realloc` of a block; the record after its `ReallocBegin`.
    Realloc = 4,
}

impl Call {
    pub(crate) fn from_number(number: u8) -> Option<Call> {
        [Call::Malloc, Call::Calloc, Call::Aligned, Call::ReallocNull, Call::Realloc]
            .into_iter()
            .find(|call| *call as u8 == number)
    }
}

/// Calls that change the allocator, or what memory it gets, and not the heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MarkKind {
    /// `malloc_trim`.
    MallocTrim = 1,
    /// `mallopt`.
    Mallopt = 2,
    /// `prctl(PR_SET_THP_DISABLE)`, which succeeded: of the whole process.
    HugePages = 3,
    /// `fork` is about to be called; the argument is its [number](crate::Image::fork). A call that fails leaves one too.
    Fork = 4,
    /// The program has installed a system call filter: how much of a large block was written to is not recorded from here
    /// on.
    Filter = 5,
}

impl MarkKind {
    pub(crate) fn from_number(number: u8) -> Option<MarkKind> {
        match number {
            1 => Some(MarkKind::MallocTrim),
            2 => Some(MarkKind::Mallopt),
            3 => Some(MarkKind::HugePages),
            4 => Some(MarkKind::Fork),
            5 => Some(MarkKind::Filter),
            _ => None,
        }
    }
}

impl Event {
    /// The address that the next record's difference is to; none where it stays as it was.
    #[inline(always)]
    pub fn address(&self) -> Option<u64> {
        match *self {
            Event::Allocate { address, .. }
            | Event::Aligned { address, .. }
            | Event::Free { address }
            | Event::ReallocBegin { address }
            | Event::Touched { address, .. }
            | Event::ReallocEnd { address, .. } => Some(address),
            _ => None,
        }
    }
}
