//! A thread's state: where it writes its next record, and what it has seen of the clock.
//!
//! Only its own thread reads and writes it, signal handlers of that thread included. It is in memory that a
//! fork wipes: in a child every field is 0, nothing in it appears current, and the first event leaves the
//! common path.

use core::cell::Cell;
use core::ffi::c_void;
use core::ptr;

/// A thread's state. Two cache lines: what every event uses is in the first.
#[repr(C, align(128))]
pub(crate) struct Thread {
    /// The word of the control page as this thread last saw it, while it records: an event compares it with
    /// the page and takes the common path if both are equal.
    ///
    /// Inside a call of the allocator, and while a record is made, it is the depth of the stack at the call
    /// (see [`crate::storage::depth`]): calls from there are not events of the program. 0: neither.
    pub(crate) tick: Cell<u64>,
    /// Where the next record goes.
    pub(crate) cursor: Cell<*mut u8>,
    /// The last place where a record may start.
    pub(crate) limit: Cell<*mut u8>,
    /// The address of the last record that has one.
    pub(crate) last_address: Cell<u64>,
    /// [`Thread::LIVE`], or 0 after a fork.
    pub(crate) mark: Cell<u64>,
    /// The word of the control page at the last record that was not a tick.
    pub(crate) written_tick: Cell<u64>,
    /// The chunk that the thread writes to.
    pub(crate) chunk: Cell<*mut u8>,
    pub(crate) chunk_end: Cell<*mut u8>,
    /// Its two buffers, one after the other; NULL if it has none.
    pub(crate) pair: Cell<*mut u8>,
    /// The one that is full and has not been handed over yet, while the thread writes elsewhere.
    pub(crate) waiting: Cell<*mut u8>,
    /// The number of the place where it reports that a buffer is full; 0 if it has none.
    pub(crate) place: Cell<u32>,
    /// How many chunks it had before.
    pub(crate) sequence: Cell<u32>,
    /// Its ordinal in the image.
    pub(crate) ordinal: Cell<u32>,
    /// The TID; 0 until the thread itself has run.
    pub(crate) number: Cell<u32>,
    /// How often the destructor of its key ran.
    pub(crate) ending: Cell<u32>,
    /// Calls from within the present one, and where its records end: nothing is written meanwhile.
    pub(crate) inner: Cell<u32>,
    pub(crate) inner_at: Cell<*mut u8>,
    /// Where a created thread starts.
    pub(crate) start: Cell<Option<Start>>,
    pub(crate) argument: Cell<*mut c_void>,
    /// The next in a list of retired or unused states.
    pub(crate) next: Cell<*const Thread>,
}

/// What a thread runs. It may be left by `pthread_exit` and by cancellation, which unwind.
pub(crate) type Start = unsafe extern "C-unwind" fn(*mut c_void) -> *mut c_void;

// SAFETY: fields are touched by the thread that a state belongs to; NOBODY and BUSY are never written to.
unsafe impl Sync for Thread {}

/// The state of a thread that has not been seen yet, and of every thread of a process that is not recorded.
pub(crate) static NOBODY: Thread = Thread::new(Thread::NEVER);

/// The state of a thread that is being given one: its calls are forwarded and not recorded.
pub(crate) static BUSY: Thread = Thread::new(Thread::NEVER);

impl Thread {
    /// The value of [`Thread::mark`] in memory that no fork has wiped.
    pub(crate) const LIVE: u64 = 0x7265_636f_7264_6572;

    /// Never a word of the control page, before and after it is mapped: its low byte is not a state.
    const NEVER: u64 = u64::MAX;

    const fn new(tick: u64) -> Thread {
        Thread {
            tick: Cell::new(tick),
            cursor: Cell::new(ptr::null_mut()),
            limit: Cell::new(ptr::null_mut()),
            last_address: Cell::new(0),
            mark: Cell::new(0),
            written_tick: Cell::new(0),
            chunk: Cell::new(ptr::null_mut()),
            chunk_end: Cell::new(ptr::null_mut()),
            pair: Cell::new(ptr::null_mut()),
            waiting: Cell::new(ptr::null_mut()),
            place: Cell::new(0),
            sequence: Cell::new(0),
            ordinal: Cell::new(0),
            number: Cell::new(0),
            ending: Cell::new(0),
            inner: Cell::new(0),
            inner_at: Cell::new(ptr::null_mut()),
            start: Cell::new(None),
            argument: Cell::new(ptr::null_mut()),
            next: Cell::new(ptr::null()),
        }
    }

    /// Turns an unused state, or one of another thread, into a new thread's. Its chunk and its place are kept
    /// for reuse.
    pub(crate) fn renew(&self) {
        self.tick.set(0);
        self.last_address.set(0);
        self.mark.set(Thread::LIVE);
        self.written_tick.set(0);
        self.sequence.set(0);
        self.number.set(0);
        self.ending.set(0);
        self.inner.set(0);
        self.start.set(None);
        self.next.set(ptr::null());
    }

    /// Whether this is the one given.
    pub(crate) fn is(&self, other: &Thread) -> bool {
        ptr::eq(self, other)
    }
}
