//! What the program told its allocator, or the kernel about its memory: marks that a replay follows.
//!
//! A fork is a flag of a window too: see `WINDOW_FORKED`.
//!
//! Huge pages are flags of a window, because the kernel is asked once for the whole process. A call of
//! `malloc_trim` or `mallopt` is an operation like any other call of the allocator, but in a window of its
//! own between two barriers: it concerns the whole heap, so all events before it must be done and none after
//! it may have started, in causal order too. It is neither an event nor work, and is counted nowhere.

use heaplab_trace::{HugePages, Mark, ThreadId, Tuning};

use super::compiler::Compiler;
use super::draft::SegmentDraft;
use super::error::Fault;
use super::layout::{
    WINDOW_BARRIER, WINDOW_FORKED, WINDOW_HUGE_PAGES_ADVISED, WINDOW_HUGE_PAGES_ALLOWED,
    WINDOW_HUGE_PAGES_OFF,
};
use super::operation::{Code, Op};

/// The parameters of `mallopt` that are replayed, by their numbers in the C library's malloc.h: `M_MXFAST`,
/// `M_TRIM_THRESHOLD`, `M_TOP_PAD`, `M_MMAP_THRESHOLD`, `M_MMAP_MAX`, `M_PERTURB`, `M_ARENA_TEST`,
/// `M_ARENA_MAX`. Whatever the value, and whoever wrote the trace, the worst result is an allocator that then
/// runs out of memory (a pad below 0), which is a status of the sample. `M_CHECK_ACTION` (-5) has done
/// nothing since glibc 2.26; another number may be anything to an allocator that knows it.
const REPLAYED_PARAMETERS: [i32; 8] = [1, -1, -2, -3, -4, -6, -7, -8];

impl Compiler<'_> {
    /// Applies what a mark says from its place in the order on.
    pub(super) fn mark(&mut self, mark: &Mark) -> Result<(), Fault> {
        if let Some(said) = HugePages::from_mark(&mark.name) {
            self.set_huge_pages(said)
        } else if let Some(op) = Tuning::from_mark(&mark.name).and_then(operation) {
            self.tune(mark.time_ns, op)
        } else if mark.name == Mark::FORKED {
            self.fork(mark.time_ns)
        } else {
            Ok(())
        }
    }

    /// The process was forked: what it holds and requests counts from here on. The fork has a window of its own, at
    /// its own time: the child's memory is sampled from then on, and its first event may be much later.
    fn fork(&mut self, time_ns: u64) -> Result<(), Fault> {
        let time = self.begin_window(time_ns)?;
        self.current.head.flags |= WINDOW_FORKED;
        self.count_from(time);
        self.end_window(time, Vec::new())
    }

    /// What the process said about its memory applies from the next window on, which waits for all earlier
    /// ones.
    fn set_huge_pages(&mut self, said: HugePages) -> Result<(), Fault> {
        self.close_window(Some((self.current.head.last_time, WINDOW_BARRIER)))?;
        self.current.head.flags &=
            !(WINDOW_HUGE_PAGES_OFF | WINDOW_HUGE_PAGES_ADVISED | WINDOW_HUGE_PAGES_ALLOWED);
        self.current.head.flags |= match said {
            HugePages::Off => WINDOW_HUGE_PAGES_OFF,
            HugePages::Advised => WINDOW_HUGE_PAGES_ADVISED,
            HugePages::Allowed => WINDOW_HUGE_PAGES_ALLOWED,
        };
        Ok(())
    }

    /// Makes a window that holds only `op`, at the mark's own time: an idle process may trim its heap long
    /// after its last event.
    fn tune(&mut self, time_ns: u64, op: Op) -> Result<(), Fault> {
        let time = self.begin_window(time_ns)?;
        self.end_window(time, vec![op])
    }

    /// Begins a window for what a mark says, which waits for all earlier ones; returns its time.
    fn begin_window(&mut self, time_ns: u64) -> Result<u64, Fault> {
        let last_time = self.current.head.last_time;
        let time = if self.has_times { self.since_first_event(time_ns).unwrap_or(0) } else { last_time };
        let time = time.max(last_time);
        self.close_window(Some((time, WINDOW_BARRIER)))?;
        Ok(time)
    }

    /// Ends it; the next one waits for it.
    fn end_window(&mut self, time: u64, ops: Vec<Op>) -> Result<(), Fault> {
        let thread = self.thread_of_last_event();
        self.current.segments.push(SegmentDraft { thread, ops, ..SegmentDraft::default() });
        self.close_window(Some((time, WINDOW_BARRIER)))
    }

    /// A mark has no thread. The thread that acted last most likely made the call, and in strict order it
    /// need not be woken for it; if it has ended, the initial thread makes the call. The C library does not
    /// care which thread does.
    fn thread_of_last_event(&self) -> ThreadId {
        if self.is_alive(self.last_thread) { self.last_thread } else { 0 }
    }
}

/// The operation that makes the call; none if it is not replayed.
fn operation(said: Tuning) -> Option<Op> {
    match said {
        Tuning::MallocTrim { pad } => Some(Op::new(Code::MallocTrim, 0, pad)),
        Tuning::Mallopt { parameter, value } => {
            let number = |number: i32| u64::from(number.cast_unsigned());
            let op = Op { old_size: number(value), ..Op::new(Code::Mallopt, 0, number(parameter)) };
            REPLAYED_PARAMETERS.contains(&parameter).then_some(op)
        }
    }
}
