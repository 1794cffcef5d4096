//! The control page: the one page that the command and every recorded process have mapped.
//!
//! The command is the clock. It stores the time and the state as one word about every millisecond; a
//! process loads that word at each event and compares it with the last one that its thread saw. Nothing
//! else is shared at an event. So a pause, a stop and the passing of time cost nothing where nothing changes.
//!
//! ```text
//! word  0  magic            "HLRCTRL\n"; written last
//!       1  version
//!       2  tick             elapsed microseconds << 8 | state        the command, each millisecond
//!       3  process          the recorded process's pid; 0 until it is known
//!       4  follow forks     0 or 1
//!       5  next ordinal     of an image                              each image adds 1
//!       6  taken            bytes of all images                      each chunk adds its length
//!       7  failure          errno of what stopped a process's recording, 0 if nothing did
//!       8  wall clock       ns since 1970 at tick 0
//!       9  lost             events of processes that had no image yet
//! ```
//!
//! A worked example: 1.5 ms after the beginning, recording. 1500 is 5dc in hexadecimal, the state is 2:
//!
//! ```text
//! 02 dc 05 00 00 00 00 00
//! ```

use crate::sync::{AtomicU64, Ordering};

use crate::{Fault, PAGE_WORDS, RAW_VERSION};

/// The name of the control page's file.
pub const CONTROL_NAME: &str = "control";

const MAGIC: u64 = u64::from_le_bytes(*b"HLRCTRL\n");
const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 1;
const AT_TICK: usize = 2;
const AT_PROCESS: usize = 3;
const AT_FOLLOW_FORKS: usize = 4;
const AT_NEXT_ORDINAL: usize = 5;
const AT_TAKEN: usize = 6;
const AT_FAILURE: usize = 7;
const AT_WALL_CLOCK: usize = 8;
const AT_LOST: usize = 9;

/// Whether events are recorded now. No state is 0, so that a thread whose memory was wiped by a fork
/// never holds the current word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The command has not started: nothing is recorded.
    Starting = 1,
    /// Events are recorded.
    Recording = 2,
    /// Not now; perhaps later.
    Paused = 3,
    /// Never again.
    Stopped = 4,
    /// Never again, because something failed: the disk is full, a file cannot be mapped.
    Failed = 5,
}

impl State {
    /// The state of a number.
    pub const fn from_number(number: u8) -> Option<State> {
        Some(match number {
            1 => State::Starting,
            2 => State::Recording,
            3 => State::Paused,
            4 => State::Stopped,
            5 => State::Failed,
            _ => return None,
        })
    }
}

/// Time and state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The word of `elapsed_us` microseconds since the beginning (2,284 years fit) and `state`.
    pub const fn new(elapsed_us: u64, state: State) -> Tick {
        Tick(elapsed_us << 8 | state as u64)
    }

    /// Microseconds since the beginning.
    #[inline(always)]
    pub const fn elapsed_us(self) -> u64 {
        self.0 >> 8
    }

    /// The state; none for a number that no version has.
    pub const fn state(self) -> Option<State> {
        State::from_number(self.0 as u8)
    }

    /// Whether events are recorded.
    #[inline(always)]
    pub const fn is_recording(self) -> bool {
        self.0 as u8 == State::Recording as u8
    }
}

/// The page, as both sides see it.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    words: &'a [AtomicU64; PAGE_WORDS],
}

impl<'a> Control<'a> {
    /// Where the tick is in the page, for a process that keeps its address.
    pub const TICK_OFFSET: usize = AT_TICK * 8;

    /// The page that the command makes: `State::Starting`, tick 0.
    pub fn new_page(follow_forks: bool, wall_clock_ns: u64) -> [u64; PAGE_WORDS] {
        let mut words = [0; PAGE_WORDS];
        words[AT_MAGIC] = MAGIC;
        words[AT_VERSION] = u64::from(RAW_VERSION);
        words[AT_TICK] = Tick::new(0, State::Starting).0;
        words[AT_FOLLOW_FORKS] = u64::from(follow_forks);
        words[AT_WALL_CLOCK] = wall_clock_ns;
        words
    }

    /// A page that was mapped or read; refused if it is not a control page of this version.
    pub fn open(words: &'a [AtomicU64; PAGE_WORDS]) -> Result<Control<'a>, Fault> {
        if words[AT_MAGIC].load(Ordering::Acquire) != MAGIC {
            return Err(Fault::Magic { of: "the mark of a control page" });
        }
        let found = words[AT_VERSION].load(Ordering::Relaxed) as u32;
        if found != RAW_VERSION {
            return Err(Fault::Version { of: "the control page", found });
        }
        Ok(Control { words })
    }

    /// The current tick.
    #[inline(always)]
    pub fn tick(&self) -> Tick {
        Tick(self.words[AT_TICK].load(Ordering::Relaxed))
    }

    /// Stores a tick: the command alone does.
    pub fn set_tick(&self, tick: Tick) {
        self.words[AT_TICK].store(tick.0, Ordering::Release);
    }

    /// Pid of the process that the command started; 0 until it is known.
    pub fn process(&self) -> u64 {
        self.words[AT_PROCESS].load(Ordering::Acquire)
    }

    /// Claims the recording for the first process that comes; gives the pid that has it.
    pub fn claim_process(&self, pid: u32) -> u32 {
        let wanted = u64::from(pid);
        match self.words[AT_PROCESS].compare_exchange(0, wanted, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => pid,
            Err(found) => found as u32,
        }
    }

    /// Whether children are recorded too, each in images of its own.
    pub fn follow_forks(&self) -> bool {
        self.words[AT_FOLLOW_FORKS].load(Ordering::Relaxed) != 0
    }

    /// Takes the ordinal of the next image.
    pub fn take_ordinal(&self) -> u32 {
        self.words[AT_NEXT_ORDINAL].fetch_add(1, Ordering::AcqRel) as u32
    }

    /// How many images have started.
    pub fn ordinals(&self) -> u64 {
        self.words[AT_NEXT_ORDINAL].load(Ordering::Acquire)
    }

    /// Counts `bytes` of files as taken; gives the new sum.
    pub fn add_taken(&self, bytes: u64) -> u64 {
        self.words[AT_TAKEN].fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes)
    }

    /// Bytes of all images.
    pub fn taken_bytes(&self) -> u64 {
        self.words[AT_TAKEN].load(Ordering::Relaxed)
    }

    /// Counts an event of a process that has no image yet.
    pub fn add_lost(&self) {
        self.words[AT_LOST].fetch_add(1, Ordering::Relaxed);
    }

    /// Events of processes that had no image.
    pub fn lost(&self) -> u64 {
        self.words[AT_LOST].load(Ordering::Relaxed)
    }

    /// What stopped a process's recording, as errno; none if nothing did.
    pub fn failure(&self) -> Option<i32> {
        match self.words[AT_FAILURE].load(Ordering::Relaxed) as i32 {
            0 => None,
            errno => Some(errno),
        }
    }

    /// Says that a process had to stop recording; the first one's errno stays.
    pub fn set_failure(&self, errno: i32) {
        let number = u64::from(errno as u32);
        let _ = self.words[AT_FAILURE].compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// Nanoseconds since 1970 at tick 0.
    pub fn wall_clock_ns(&self) -> u64 {
        self.words[AT_WALL_CLOCK].load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(words: [u64; PAGE_WORDS]) -> [AtomicU64; PAGE_WORDS] {
        words.map(AtomicU64::new)
    }

    #[test]
    fn the_tick_is_as_drawn() {
        let tick = Tick::new(1500, State::Recording);
        assert_eq!(tick.0.to_le_bytes(), [0x02, 0xdc, 0x05, 0, 0, 0, 0, 0]);
        assert_eq!(
            (tick.elapsed_us(), tick.state(), tick.is_recording()),
            (1500, Some(State::Recording), true)
        );
    }

    #[test]
    fn a_new_page_is_read_by_the_other_side() {
        let page = shared(Control::new_page(true, 77));
        let control = Control::open(&page).unwrap();
        assert_eq!(control.tick(), Tick::new(0, State::Starting));
        assert_eq!((control.follow_forks(), control.wall_clock_ns(), control.failure()), (true, 77, None));
        assert_eq!((control.take_ordinal(), control.take_ordinal(), control.ordinals()), (0, 1, 2));
        assert_eq!((control.claim_process(5), control.claim_process(6)), (5, 5));
        control.set_failure(28);
        control.set_failure(5);
        assert_eq!(control.failure(), Some(28));
        assert_eq!((control.add_taken(10), control.add_taken(5), control.taken_bytes()), (10, 15, 15));
    }

    #[test]
    fn another_page_is_refused() {
        assert!(matches!(Control::open(&shared([0; PAGE_WORDS])), Err(Fault::Magic { .. })));
        let mut words = Control::new_page(false, 0);
        words[AT_VERSION] = 9;
        assert!(matches!(Control::open(&shared(words)), Err(Fault::Version { found: 9, .. })));
    }
}
