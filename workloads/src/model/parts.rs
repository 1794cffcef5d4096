//! What a model consists of: plain data, no I/O.
//!
//! A model has one [`Fitted`] for each recording that it was fitted to, in order of load. Each is cut into
//! start-up, windows of equal length, and shutdown. A part holds the objects that were allocated in it, each
//! with its whole life: what happens within the part is in `steps`, what happens after it in `later`.

use serde::{Deserialize, Serialize};

/// The object of a step that concerns none.
pub(super) const NO_OBJECT: u32 = u32::MAX;
/// The longest time in a model, in ns: 100,000 hours.
pub(super) const MOST_NS: u64 = 100_000 * 3_600_000_000_000;
/// The most recordings in a model.
pub(super) const MOST_RECORDINGS: usize = 16;
/// The most steps in a model: they are held in memory, and a short file may promise any number of them.
pub(super) const MOST_STEPS: usize = 1 << 24;
/// The most threads of a recording that stay.
pub(super) const MOST_THREADS: usize = 1 << 16;
/// Windows that a recording is cut into.
pub(super) const WINDOWS: usize = 200;
/// The most lives kept per size class.
pub(super) const LIVES_KEPT: usize = 256;
/// Phases: stretches of a recording within which windows are drawn.
pub(super) const PHASES: usize = 10;
/// Equal parts of the windows' time for which mean live bytes are kept.
pub(super) const COURSE: usize = 40;

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `malloc`: creates the part's next object, as do the next three.
    Malloc,
    /// `calloc`.
    Calloc,
    /// An aligned allocation.
    AlignedAlloc,
    /// `realloc(NULL, n)`.
    ReallocNull,
    /// `realloc`.
    Realloc,
    /// `free`.
    Free,
    /// `realloc(p, 0)`.
    ReallocFree,
    /// How much of the object was written to.
    Touched,
    /// `free(NULL)`.
    FreeNull,
    /// A thread begins.
    ThreadStart,
    /// A thread ends.
    ThreadEnd,
    /// The program told its allocator or the kernel something; `bytes` is the mark's number.
    Mark,
}

impl Kind {
    /// In the order of their numbers in a file; new kinds are appended, never renumbered.
    pub(super) const ALL: [Kind; 12] = [
        Kind::Malloc,
        Kind::Calloc,
        Kind::AlignedAlloc,
        Kind::ReallocNull,
        Kind::Realloc,
        Kind::Free,
        Kind::ReallocFree,
        Kind::Touched,
        Kind::FreeNull,
        Kind::ThreadStart,
        Kind::ThreadEnd,
        Kind::Mark,
    ];

    /// Whether it creates an object.
    #[inline]
    pub(super) fn allocates(self) -> bool {
        matches!(self, Kind::Malloc | Kind::Calloc | Kind::AlignedAlloc | Kind::ReallocNull)
    }

    /// Whether it ends its object.
    #[inline]
    pub(super) fn frees(self) -> bool {
        matches!(self, Kind::Free | Kind::ReallocFree)
    }

    /// Whether it concerns an object.
    #[inline]
    pub(super) fn has_object(self) -> bool {
        self.allocates() || self.frees() || matches!(self, Kind::Realloc | Kind::Touched)
    }

    /// Whether it has a number besides time, thread and object.
    pub(super) fn has_bytes(self) -> bool {
        self.allocates() || matches!(self, Kind::Realloc | Kind::Touched | Kind::Mark)
    }
}

/// One call, or another record between calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    /// Time since the part began; for an anchored step, since the shutdown began.
    pub time_ns: u64,
    /// Requested or touched bytes, or the number of a mark.
    pub bytes: u64,
    /// The part's object, from 0 in order of allocation, or [`NO_OBJECT`].
    pub object: u32,
    /// A thread of the recording: first those that stay, then those that come and go.
    pub thread: u32,
    /// What it does.
    pub kind: Kind,
    /// The alignment's power of two.
    pub alignment_bits: u8,
    /// Whether it belongs to the shutdown, whenever that happens. Only in `later`.
    pub is_anchored: bool,
}

/// A stretch of the recording with the objects that were allocated in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Part {
    /// Its number among the windows; 0 for start-up and shutdown.
    pub number: u32,
    /// Objects that are allocated in it.
    pub objects: u32,
    /// What happens to them within the part, in time order.
    pub(super) steps: Vec<Step>,
    /// What happens to those that survive it, by object and then in time order.
    pub(super) later: Vec<Step>,
}

/// A thread of the recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// Threads of one role take turns; the initial thread has role 0 to itself.
    pub role: u32,
    /// Its last name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// How long objects of a size class lived.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lives {
    /// Time seen alive in ns, and whether it was freed then (if not, it was alive at the end); sorted by
    /// time.
    pub seen: Vec<(u64, bool)>,
}

/// The mean live bytes of a group.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Group {
    /// 0: left by start-up, 1: survivors of their windows.
    pub kind: u32,
    /// Sizes from 2 to the power of this minus 1.
    pub octave: u32,
    /// Mean live bytes in each fortieth of the windows' time.
    pub course: Vec<f64>,
}

/// What a model says about one recording.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outline {
    /// The load that it was recorded at.
    pub load: f64,
    /// When the process was forked, in ns; 0 if it was not. What is before it belongs to start-up, and counts in no
    /// figure.
    #[serde(default)]
    pub forked_ns: u64,
    /// When start-up ends and the windows begin, in ns.
    pub startup_ns: u64,
    /// A window's length in ns.
    pub window_ns: u64,
    /// Windows between start-up and shutdown, kept or not.
    pub windows: u32,
    /// The length of the shutdown in ns; 0 if there is none.
    pub shutdown_ns: u64,
    /// Events of the recording, with those before a fork.
    pub events: u64,
    /// The most requested bytes of the recording.
    pub requested_peak_bytes: u64,
    /// The mean of its requested bytes over time.
    pub requested_mean_bytes: u64,
    /// How often an object of a quarter of the peak or more was allocated after start-up; at most 100.
    #[serde(default)]
    pub large_objects: u64,
    /// Events while the windows last.
    pub windows_events: u64,
    /// Mean requested bytes, while the windows last, of objects that start-up left or that survived their window.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// Events since the windows began, until the end of each fortieth of their time.
    #[serde(default)]
    pub course_events: Vec<u64>,
    /// Threads that stay.
    pub threads: Vec<Thread>,
    /// Threads that come and go: for each, the window in which it began.
    #[serde(default)]
    pub passing: Vec<u32>,
    /// How much the live set grows over the time of the recording, as a share of its mean, from a line
    /// through its second half.
    #[serde(default)]
    pub growth: f64,
    /// Anonymous memory of the process that was not malloc's: the median over time of its resident memory less that of
    /// its replay on the allocator that it ran on. None if that was not measured.
    #[serde(default)]
    pub outside_malloc_bytes: Option<u64>,
}

/// The model of one recording.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fitted {
    /// Its numbers.
    pub outline: Outline,
    /// From the first event until the first window.
    pub startup: Part,
    /// The windows that are kept, in time order.
    pub windows: Vec<Part>,
    /// From the last window to the end.
    pub shutdown: Part,
    /// Lives by size class.
    pub lives: Vec<Lives>,
}

/// One more than the largest octave.
pub(super) const OCTAVES: usize = 65;

/// How objects came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Start-up left them.
    Startup,
    /// They survived their window.
    Survivor,
}

impl Origin {
    pub(super) const COUNT: usize = 2;
    pub(super) const ALL: [Origin; Origin::COUNT] = [Origin::Startup, Origin::Survivor];
}

/// The octave of a size.
#[inline]
pub(super) fn octave(bytes: u64) -> usize {
    (u64::BITS - bytes.leading_zeros()) as usize
}

/// A size's class: 16 bytes wide up to 1 KiB, then four per octave.
#[inline]
pub(super) fn size_class(bytes: u64) -> usize {
    if bytes <= 1024 {
        return bytes.max(1).div_ceil(16) as usize;
    }
    let octave = 63 - bytes.leading_zeros() as usize;
    64 + 4 * (octave - 10) + ((bytes >> (octave - 2)) & 3) as usize + 1
}

/// One more than the largest class.
pub(super) const SIZE_CLASSES: usize = 64 + 4 * 54 + 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_rise_and_have_a_bound() {
        let sizes = (0..64).flat_map(|bit| [1u64 << bit, (1 << bit) + (1 << bit) / 2]);
        let classes: Vec<usize> = sizes.map(size_class).collect();
        assert!(classes.is_sorted());
        assert!(size_class(u64::MAX) < SIZE_CLASSES);
        assert_eq!((size_class(0), size_class(16), size_class(17), size_class(1025)), (1, 1, 2, 65));
    }

    #[test]
    fn a_size_has_an_octave() {
        assert_eq!([0, 1, 2, 3, 64, u64::MAX].map(octave), [0, 1, 2, 2, 7, 64]);
    }
}
