//! The text of Android's memory_replay: see `import/android.rs` for its lines.
//!
//! A trace has no addresses, so that they are made up: object N is at 16 (N + 1), which no other object ever is, and which
//! does not obey alignments. Frees of what was never seen name address 0x8. A thread's number is one more than in the
//! trace, for memory_replay takes 0 for none. Both times of a line are the start of the call.

use std::io::{self, Write};

use heaplab_trace::{Action, Call, Event, Header, IgnoredReason, ObjectId, Record};

use super::Output;

/// At which no object is.
const UNSEEN_ADDRESS: u64 = 8;

pub(super) struct Android<'a> {
    out: &'a mut dyn Write,
    has_times: bool,
    /// What could not be said, by what it is.
    thread_starts: u64,
    thread_names: u64,
    resident_samples: u64,
    marks: u64,
    work: u64,
    touched: u64,
    frees_missed: u64,
    failed_aligned: u64,
}

impl<'a> Android<'a> {
    pub(super) fn new(out: &'a mut dyn Write, header: &Header) -> Android<'a> {
        Android {
            out,
            has_times: header.has_times,
            thread_starts: 0,
            thread_names: 0,
            resident_samples: 0,
            marks: 0,
            work: 0,
            touched: 0,
            frees_missed: 0,
            failed_aligned: 0,
        }
    }

    fn write_event(&mut self, event: &Event) -> io::Result<bool> {
        match event.action {
            Action::ThreadStart => {
                self.thread_starts += 1;
                return Ok(false);
            }
            Action::Work { .. } => {
                self.work += 1;
                return Ok(false);
            }
            Action::Touched { .. } => {
                self.touched += 1;
                return Ok(false);
            }
            Action::FreeMissed { .. } => self.frees_missed += 1,
            Action::Ignored { call: Call::AlignedAlloc, .. } => self.failed_aligned += 1,
            _ => {}
        }
        write!(self.out, "{}: ", u64::from(event.thread) + 1)?;
        write_call(self.out, &event.action)?;
        match (self.has_times, event.action) {
            (false, _) => writeln!(self.out)?,
            (true, Action::ThreadEnd) => writeln!(self.out, " {}", event.time_ns)?,
            (true, _) => writeln!(self.out, " {} {}", event.time_ns, event.time_ns)?,
        }
        Ok(true)
    }
}

/// Writes a call with its arguments, without thread and times.
fn write_call(out: &mut dyn Write, action: &Action) -> io::Result<()> {
    match *action {
        Action::Malloc { object, size } => write!(out, "malloc {:#x} {size}", address(object)),
        Action::Calloc { object, size } => write!(out, "calloc {:#x} 1 {size}", address(object)),
        Action::AlignedAlloc { object, size, alignment } => {
            write!(out, "memalign {:#x} {alignment} {size}", address(object))
        }
        Action::ReallocNull { object, size } => write!(out, "realloc {:#x} 0x0 {size}", address(object)),
        Action::Realloc { object, size } => {
            let address = address(object);
            write!(out, "realloc {address:#x} {address:#x} {size}")
        }
        Action::ReallocFree { object } => write!(out, "realloc 0x0 {:#x} 0", address(object)),
        Action::Free { object } | Action::FreeMissed { object } => write!(out, "free {:#x}", address(object)),
        Action::FreeNull => write!(out, "free 0x0"),
        Action::Ignored { call, reason, size } => write_ignored(out, call, reason, size),
        Action::ThreadEnd => write!(out, "thread_done 0x0"),
        // Not written: see `write_event`.
        Action::ThreadStart | Action::Work { .. } | Action::Touched { .. } => Ok(()),
    }
}

/// Writes a call that had no effect, so that it has none again.
fn write_ignored(out: &mut dyn Write, call: Call, reason: IgnoredReason, size: u64) -> io::Result<()> {
    match (call, reason) {
        (Call::Malloc, _) => write!(out, "malloc 0x0 {size}"),
        (Call::Calloc, _) => write!(out, "calloc 0x0 1 {size}"),
        (Call::AlignedAlloc, _) => write!(out, "memalign 0x0 1 {size}"),
        (Call::Realloc, IgnoredReason::Failed) => write!(out, "realloc 0x0 0x0 {size}"),
        (Call::Realloc, IgnoredReason::Unseen) => write!(out, "realloc 0x0 {UNSEEN_ADDRESS:#x} 0"),
        (Call::Free, _) => write!(out, "free {UNSEEN_ADDRESS:#x}"),
    }
}

/// Ids are dense, and no trace has 2^60 objects.
fn address(object: ObjectId) -> u64 {
    object.wrapping_add(1).wrapping_mul(16)
}

impl Output for Android<'_> {
    fn push(&mut self, record: &Record) -> io::Result<bool> {
        match record {
            Record::Event(event) => return self.write_event(event),
            Record::Resident(_) => self.resident_samples += 1,
            Record::Mark(_) => self.marks += 1,
            Record::ThreadName { .. } => self.thread_names += 1,
        }
        Ok(false)
    }

    fn finish(&mut self) -> io::Result<Vec<String>> {
        self.out.flush()?;
        let lost = [
            (self.thread_starts, "thread starts"),
            (self.thread_names, "names of threads"),
            (self.resident_samples, "samples of resident memory"),
            (self.marks, "marks"),
            (self.work, "pieces of work on objects"),
            (self.touched, "statements of how much of an object was written to"),
            (self.failed_aligned, "alignments of allocations that failed"),
            (self.frees_missed, "frees that nobody logged are lines like any other"),
        ];
        let lost = lost.into_iter().filter(|&(count, _)| count > 0);
        let mut lost: Vec<String> = lost.map(|(count, what)| format!("{count} {what}")).collect();
        lost.push("addresses are made up (object N is at 16 (N + 1)) and obey no alignment".to_string());
        if self.has_times {
            lost.push("how long calls took was not in the trace: each ends when it starts".to_string());
        }
        Ok(lost)
    }
}
