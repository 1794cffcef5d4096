//! What a trace holds: events, and the samples and marks that stand beside them.
//!
//! Plain data, no I/O. An object is named by an [`ObjectId`], never by an address: ids count up
//! from 0 in the order in which objects first appear, so an allocation always brings the next id.

use serde::{Deserialize, Serialize};

/// Identity of one object, from its allocation to its free. A realloc keeps it.
///
/// Ids are dense and count up from 0 in order of first allocation.
pub type ObjectId = u64;

/// A recorded thread: dense numbers from 0 in order of first appearance.
///
/// Thread 0 is the recorded process's initial thread. A thread identifier of the operating system
/// that comes back after its thread ended is another thread.
pub type ThreadId = u32;

/// One entry of a trace: an allocation event, or something that stands beside the events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An event of a thread.
    Event(Event),
    /// A sample of the recorded process's anonymous resident memory.
    Resident(ResidentSample),
    /// A named moment: a phase of a load model begins, or the program told its allocator something ([`Tuning`]) or
    /// the kernel ([`HugePages`]), which a replay does too.
    ///
    /// [`Tuning`]: crate::Tuning
    Mark(Mark),
    /// The name of a thread, as the operating system had it.
    ThreadName {
        /// The thread that is named.
        thread: ThreadId,
        /// Its name; at most 255 bytes of UTF-8.
        name: String,
    },
}

/// One malloc, calloc, aligned allocation, realloc, free, thread start or thread end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Start of the call in ns since the recording began; the event's index where the trace has no times.
    /// Never less than the time of the event before it.
    pub time_ns: u64,
    /// The thread that made the call.
    pub thread: ThreadId,
    /// A call and its result.
    pub action: Action,
}

/// What an event did. Sizes and alignments are in bytes, as the program asked for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The thread begins.
    ThreadStart,
    /// The thread ends: its caches and its arena are given back.
    ThreadEnd,
    /// `malloc(size)`.
    Malloc {
        /// The new object.
        object: ObjectId,
        /// Requested bytes; 0 is legal and yields an object.
        size: u64,
    },
    /// `calloc`, with the product of its two arguments.
    Calloc {
        /// The new object.
        object: ObjectId,
        /// Requested bytes.
        size: u64,
    },
    /// `memalign`, `posix_memalign`, `aligned_alloc`, `valloc`, `pvalloc`, aligned `operator new`.
    AlignedAlloc {
        /// The new object.
        object: ObjectId,
        /// Requested bytes.
        size: u64,
        /// Requested alignment: a power of two.
        alignment: u64,
    },
    /// `realloc(NULL, size)`, or a realloc of an address at which no object was seen: all that a
    /// replay can do with either is to allocate.
    ReallocNull {
        /// The new object.
        object: ObjectId,
        /// Requested bytes.
        size: u64,
    },
    /// `realloc(p, size)` that succeeded: the object stays and its size changes.
    Realloc {
        /// The object that is resized.
        object: ObjectId,
        /// Its new size.
        size: u64,
    },
    /// `realloc(p, 0)` that returned NULL: the object ends.
    ReallocFree {
        /// The object that ends.
        object: ObjectId,
    },
    /// `free(p)`, `operator delete` and related functions.
    Free {
        /// The object that ends.
        object: ObjectId,
    },
    /// `free(NULL)`.
    FreeNull,
    /// The object ends here although no call says so: its address was given out again, and its free
    /// was never logged. A replay frees it. It is no event, for nobody logged it: it counts nowhere
    /// but in [`frees_missed`](crate::Summary::frees_missed), and it bears the time and the thread
    /// of the allocation that follows, which proves that the object had ended.
    FreeMissed {
        /// The object that ends.
        object: ObjectId,
    },
    /// The thread works on a live object's memory: it reads and writes back each of its first `bytes`, `repeats`
    /// times over. It is no event, for it asks nothing of malloc, and it bears the time of the event before it.
    /// Only workloads that are about where objects lie have it: recordings do not.
    Work {
        /// The object.
        object: ObjectId,
        /// How many of its bytes, from the first; never more than its size.
        bytes: u64,
        /// How many times over.
        repeats: u32,
    },
    /// So much of a live object was written to, at most, since it was allocated or last reallocated: its free or its
    /// next realloc follows, or it stays live. It is no event, for it asks nothing of malloc. Recordings have it of large
    /// objects: those of 128 KiB or more.
    Touched {
        /// The object.
        object: ObjectId,
        /// How many bytes; where it is more than the object's size, all of it.
        bytes: u64,
    },
    /// A call that was logged and has no effect that can be replayed.
    Ignored {
        /// The function that was called.
        call: Call,
        /// Why it has no effect.
        reason: IgnoredReason,
        /// Requested bytes; 0 for a free.
        size: u64,
    },
}

/// The function families that events are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// `malloc`, `operator new`.
    Malloc,
    /// `calloc`.
    Calloc,
    /// `memalign` and related functions.
    AlignedAlloc,
    /// `realloc`, with whatever arguments.
    Realloc,
    /// `free`, with whatever argument.
    Free,
}

/// Why a logged call has no effect on the replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IgnoredReason {
    /// The call returned NULL: nothing was allocated, and a reallocated object is as it was.
    Failed,
    /// A free, or a realloc to 0, of an address at which no object was seen.
    Unseen,
}

/// Anonymous resident memory of the recorded process at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResidentSample {
    /// When it was taken, in ns on the events' clock.
    pub time_ns: u64,
    /// `RssAnon` of the process in bytes.
    pub resident_bytes: u64,
}

/// A named moment of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// When, in ns on the events' clock.
    pub time_ns: u64,
    /// What begins or happens; at most 255 bytes of UTF-8.
    pub name: String,
}

/// What a process has said of transparent huge pages, as a mark of its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HugePages {
    /// As the system's setting is.
    Allowed,
    /// None.
    Off,
    /// Only where memory asks for them by madvise.
    Advised,
}

impl Mark {
    /// The process was forked here: what is before it, its parent did.
    pub const FORKED: &str = "forked";
    /// Recording was paused by the user: what the process did from here on is missing.
    pub const PAUSED: &str = "recording paused";
    /// Recording was continued.
    pub const CONTINUED: &str = "recording continued";
    /// The process forbade itself system calls: how much of a large block it wrote to is not recorded from here on.
    pub const FILTERED: &str = "system calls filtered";
}

impl HugePages {
    /// `PR_THP_DISABLE_EXCEPT_ADVISED`, of Linux 6.18.
    pub const EXCEPT_ADVISED: i16 = 2;

    /// Of the second and third argument of `prctl(PR_SET_THP_DISABLE)`.
    pub fn from_prctl(disable: i32, flags: i16) -> HugePages {
        match (disable, flags & HugePages::EXCEPT_ADVISED) {
            (0, _) => HugePages::Allowed,
            (_, 0) => HugePages::Off,
            _ => HugePages::Advised,
        }
    }

    /// The mark's name.
    pub fn mark(self) -> &'static str {
        match self {
            HugePages::Allowed => "huge pages: allowed",
            HugePages::Off => "huge pages: off",
            HugePages::Advised => "huge pages: advised",
        }
    }

    /// Of a mark's name; none if it is another mark.
    pub fn from_mark(name: &str) -> Option<HugePages> {
        [HugePages::Allowed, HugePages::Off, HugePages::Advised].into_iter().find(|said| said.mark() == name)
    }
}

impl Action {
    /// Whether this is an event, that is: a call, or a thread's start or end, that somebody logged. A
    /// [`FreeMissed`](Action::FreeMissed), a [`Work`](Action::Work) and a [`Touched`](Action::Touched) are none.
    pub fn is_event(&self) -> bool {
        !matches!(self, Action::FreeMissed { .. } | Action::Work { .. } | Action::Touched { .. })
    }

    /// The function family of the call; none for a thread's start and end, and for what is no event.
    pub fn call(&self) -> Option<Call> {
        Some(match self {
            Action::ThreadStart
            | Action::ThreadEnd
            | Action::FreeMissed { .. }
            | Action::Work { .. }
            | Action::Touched { .. } => return None,
            Action::Malloc { .. } => Call::Malloc,
            Action::Calloc { .. } => Call::Calloc,
            Action::AlignedAlloc { .. } => Call::AlignedAlloc,
            Action::ReallocNull { .. } | Action::Realloc { .. } | Action::ReallocFree { .. } => Call::Realloc,
            Action::Free { .. } | Action::FreeNull => Call::Free,
            Action::Ignored { call, .. } => *call,
        })
    }

    /// The object that begins here, with its size.
    pub fn allocated(&self) -> Option<(ObjectId, u64)> {
        match *self {
            Action::Malloc { object, size }
            | Action::Calloc { object, size }
            | Action::AlignedAlloc { object, size, .. }
            | Action::ReallocNull { object, size } => Some((object, size)),
            _ => None,
        }
    }

    /// The object that ends here.
    pub fn freed(&self) -> Option<ObjectId> {
        match *self {
            Action::Free { object } | Action::ReallocFree { object } | Action::FreeMissed { object } => {
                Some(object)
            }
            _ => None,
        }
    }
}
