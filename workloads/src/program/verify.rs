//! Reads a whole program once and proves that a replay of it cannot go wrong: every operation is valid, finds
//! its slot as the previous operation left it, and waits only for something that comes.
//!
//! A replay's loop can then trust what it reads. A file that no compiler wrote is an error here rather than a
//! crash there.

use std::io;
use std::ops::Range;

use super::group::{GROUP_OPS, decode_member, group_bytes, pattern_of_kind};
use super::layout::{WINDOW_BARRIER, WINDOW_DRAIN, WINDOW_FORKED, WINDOW_NUDGE};
use super::operation::{Code, MOST_OP_BYTES, OP_PUBLISHES, OP_WAITS, Op};
use super::reader::{ProgramReader, SLACK_BYTES, damaged};
use super::window::{HEAD_BYTES, Segment, Window};
use super::{Order, ProgramInfo};

/// The initial size of a buffer.
const BUFFER_BYTES: usize = 64 << 10;
/// Generations are compared without their highest bit: the worker needs it.
const GENERATION: u32 = u32::MAX >> 1;

/// What is known about a verified program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// A buffer for its longest window.
    pub buffer_bytes: usize,
}

/// Verifies a program from its first window to its end, and goes back to the first.
///
/// # Errors
///
/// A file that cannot be read, or is not what `info` says.
pub fn verify(reader: &mut ProgramReader, info: &ProgramInfo) -> io::Result<Verified> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut verified = Verified { buffer_bytes: 0 };
    let mut model = Model::new(info);
    loop {
        let filled = reader.fill(&mut buffer)?;
        if filled > buffer.len() - SLACK_BYTES {
            buffer.resize(filled, 0);
            continue;
        }
        if filled == 0 {
            break;
        }
        let mut at = 0;
        while at < filled {
            let head = Window::from_bytes(&buffer[at..]).ok_or_else(|| damaged("it is cut off"))?;
            let bytes = head.bytes as usize;
            verified.buffer_bytes = verified.buffer_bytes.max(bytes + SLACK_BYTES);
            model.window(&head, &buffer[at..at + bytes + SLACK_BYTES])?;
            at += bytes;
        }
    }
    if model.main_windows != info.windows {
        return Err(damaged(format!("it has {} windows instead of {}", model.main_windows, info.windows)));
    }
    reader.rewind();
    Ok(verified)
}

/// What the model knows about a slot.
#[derive(Clone, Copy)]
struct Slot {
    /// Bytes of the object in it, plus one; 0 while it is empty.
    size: u64,
    /// The window and the thread of the last operation.
    window: u64,
    thread: u32,
    generation: u32,
}

/// A segment that is being executed.
struct Running {
    segment: Segment,
    /// The rest of its operations, in the window's bytes.
    rest: Range<usize>,
    requested: i64,
    requested_peak: i64,
}

impl Running {
    /// Counts what an operation that was executed does to the requested bytes.
    fn count(&mut self, op: &Op) {
        let (taken, given) = op.requested_change();
        self.requested = self.requested.wrapping_sub_unsigned(taken).wrapping_add_unsigned(given);
        self.requested_peak = self.requested_peak.max(self.requested);
    }
}

struct Model {
    order: Order,
    slots: Vec<Slot>,
    /// By thread: the window of its last segment plus one, or that it ended.
    threads: Vec<u64>,
    /// Windows so far, of every kind; and those of the trace itself.
    windows: u64,
    main_windows: u64,
    /// The last window's part of the program.
    part: u32,
    ops: u64,
    running: Vec<Running>,
}

/// In place of a window: the thread ended.
const ENDED: u64 = u64::MAX;

/// The result of trying to execute an operation.
enum Step {
    Done,
    MustWait,
}

impl Model {
    fn new(info: &ProgramInfo) -> Model {
        // The first window is number 2, so that no slot was used in the one before it.
        let empty = Slot { size: 0, window: 0, thread: 0, generation: 0 };
        Model {
            order: info.order,
            slots: vec![empty; info.slots as usize],
            threads: vec![0; info.thread_table as usize],
            windows: 2,
            main_windows: 0,
            part: 0,
            ops: 0,
            running: Vec::new(),
        }
    }

    /// Executes a window; its bytes are followed by slack.
    fn window(&mut self, head: &Window, bytes: &[u8]) -> io::Result<()> {
        if head.segments == 0 {
            return Err(self.fault("a window has no segment"));
        }
        self.part = self.find_part(head)?;
        if self.part == 0 {
            self.main_windows += 1;
        } else {
            self.order = Order::Strict;
        }
        self.ops = 0;
        self.read_segments(head, bytes)?;
        let mut running = std::mem::take(&mut self.running);
        match self.order {
            Order::Strict => {
                for segment in &mut running {
                    if let Step::MustWait = self.execute(segment, bytes)? {
                        return Err(self.fault("an operation waits in strict order"));
                    }
                }
            }
            Order::Causal => self.execute_in_turns(&mut running, bytes)?,
        }
        for one in &running {
            let (segment, peak) = (&one.segment, one.requested_peak.cast_unsigned());
            if segment.requested_change != one.requested || segment.requested_peak != peak {
                return Err(self.fault("a segment changes the requested bytes otherwise than it says"));
            }
        }
        if self.ops != u64::from(head.ops) {
            return Err(self.fault("a window has not as many operations as it says"));
        }
        running.clear();
        self.running = running;
        self.windows += 1;
        Ok(())
    }

    /// The part of the program that a window belongs to, by its flag: the trace, which has none, then the drain, then
    /// the nudge.
    fn find_part(&self, head: &Window) -> io::Result<u32> {
        let part = head.flags & (WINDOW_DRAIN | WINDOW_NUDGE);
        let is_forked = head.flags & WINDOW_FORKED != 0;
        let what = match part {
            // A replay plays the windows of one part, then those of the next.
            0 if self.part != 0 => "a window of the trace comes after its end",
            WINDOW_DRAIN if self.part == WINDOW_NUDGE => "a window of the drain comes after the nudge",
            0 | WINDOW_DRAIN | WINDOW_NUDGE if !is_forked => return Ok(part),
            0 if head.flags & WINDOW_BARRIER != 0 => return Ok(part),
            // The replay stands still in order to fork: with a window in flight it would wait for ever.
            0 => "a fork does not wait for the windows before it",
            WINDOW_DRAIN | WINDOW_NUDGE => "a fork comes after the end of the trace",
            _ => "a window belongs to the drain and to the nudge",
        };
        Err(self.fault(what))
    }

    fn read_segments(&mut self, head: &Window, bytes: &[u8]) -> io::Result<()> {
        let bytes = &bytes[..bytes.len() - SLACK_BYTES];
        let mut at = HEAD_BYTES;
        for _ in 0..head.segments {
            let cut_off = || self.fault("a segment is longer than its window");
            let (segment, begin) = Segment::decode(bytes, at).ok_or_else(cut_off)?;
            at = begin + segment.bytes as usize;
            let Some(thread) = self.threads.get_mut(segment.thread as usize) else {
                return Err(self.fault("a thread is not in the table"));
            };
            if *thread == ENDED {
                return Err(self.fault("a thread acts after its end"));
            }
            if self.order == Order::Causal && *thread == self.windows {
                return Err(self.fault("a thread has two segments in a window"));
            }
            *thread = if segment.ends_thread && segment.thread != 0 { ENDED } else { self.windows };
            self.running.push(Running { segment, rest: begin..at, requested: 0, requested_peak: 0 });
        }
        if at == bytes.len() { Ok(()) } else { Err(self.fault("a window is longer than its segments")) }
    }

    /// Executes the segments of a window in an order in which none waits, if there is one.
    fn execute_in_turns(&mut self, running: &mut [Running], bytes: &[u8]) -> io::Result<()> {
        loop {
            let (mut waits, mut moved) = (false, false);
            for segment in running.iter_mut().filter(|segment| !segment.rest.is_empty()) {
                let before = segment.rest.start;
                if let Step::MustWait = self.execute(segment, bytes)? {
                    waits = true;
                }
                moved |= segment.rest.start > before;
            }
            if !waits {
                return Ok(());
            }
            if !moved {
                return Err(self.fault("every thread waits for another"));
            }
        }
    }

    /// Executes the rest of a segment, as far as it need not wait.
    fn execute(&mut self, segment: &mut Running, bytes: &[u8]) -> io::Result<Step> {
        let thread = segment.segment.thread;
        while !segment.rest.is_empty() {
            let unknown = || self.fault("an operation has an unknown code");
            let op_bytes = bytes[segment.rest.start..].first_chunk::<MOST_OP_BYTES>().ok_or_else(unknown)?;
            if let Some(pattern) = pattern_of_kind(op_bytes[0]) {
                self.execute_group(segment, pattern, op_bytes)?;
                continue;
            }
            let mut op = Op::new(Code::FreeNull, 0, 0);
            let length = op.read(op_bytes[0], op_bytes).ok_or_else(unknown)?;
            if length > segment.rest.len() {
                return Err(self.fault("an operation is longer than its segment"));
            }
            if let Step::MustWait = self.apply(&mut op, thread)? {
                return Ok(Step::MustWait);
            }
            segment.count(&op);
            segment.rest.start += length;
            self.ops += 1;
        }
        Ok(Step::Done)
    }

    /// Executes the operations of a group, of which none can wait.
    fn execute_group(
        &mut self,
        segment: &mut Running,
        pattern: u8,
        bytes: &[u8; MOST_OP_BYTES],
    ) -> io::Result<()> {
        if group_bytes(pattern) > segment.rest.len() {
            return Err(self.fault("a group of operations is longer than its segment"));
        }
        let mut at = 1;
        for bit in 0..GROUP_OPS {
            let (mut op, length) = decode_member(pattern >> bit & 1 != 0, bytes, at);
            self.apply(&mut op, segment.segment.thread)?;
            segment.count(&op);
            at += length;
        }
        segment.rest.start += at;
        self.ops += GROUP_OPS as u64;
        Ok(())
    }

    /// Executes an operation, and fills in what the file does not state.
    fn apply(&mut self, op: &mut Op, thread: u32) -> io::Result<Step> {
        if matches!(op.code, Code::FreeNull | Code::MallocTrim | Code::Mallopt) {
            let plain = op.flags == 0;
            return if plain { Ok(Step::Done) } else { Err(self.fault("a call without an object waits")) };
        }
        let strict = self.order == Order::Strict;
        let Some(slot) = self.slots.get_mut(op.slot as usize) else {
            return Err(self.fault("a slot is not in the table"));
        };
        let waits = op.flags & OP_WAITS != 0;
        if waits && slot.generation != op.generation & GENERATION {
            return Ok(Step::MustWait);
        }
        let ordered = strict || slot.thread == thread || slot.window + 2 <= self.windows || waits;
        let live = slot.size.checked_sub(1);
        let what = match (op.code, live) {
            _ if !ordered => Some("two threads use a slot and neither waits"),
            (Code::Free, Some(size)) => {
                op.size = size;
                slot.size = 0;
                None
            }
            (Code::Realloc, Some(size)) if op.old_size == size => {
                slot.size = op.size.saturating_add(1);
                None
            }
            (Code::Realloc, Some(_)) => Some("a realloc has another size before than its object"),
            (Code::Work, Some(size)) if op.size <= size => None,
            (Code::Work, Some(_)) => Some("work goes beyond its object"),
            (Code::Free | Code::Realloc | Code::Work, None) => {
                Some("an operation finds no object in its slot")
            }
            (_, Some(_)) => Some("an allocation finds an object in its slot"),
            (_, None) if op.alignment_log2 > 63 => Some("an alignment is no number"),
            (_, None) => {
                slot.size = op.size.saturating_add(1);
                None
            }
        };
        (slot.window, slot.thread) = (self.windows, thread);
        if op.flags & OP_PUBLISHES != 0 {
            slot.generation = op.generation.wrapping_add(1) & GENERATION;
        }
        what.map_or(Ok(Step::Done), |what| Err(self.fault(what)))
    }

    fn fault(&self, what: &str) -> io::Error {
        damaged(format!("window {}: {what}", self.windows - 2))
    }
}
