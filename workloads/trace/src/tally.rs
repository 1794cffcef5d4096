//! The laws of a trace and its totals: what a stream of records must obey, and what it adds up to.
//!
//! The writer checks every record by it before it encodes one, and `verify` does the same with
//! what it decodes, so that a summary is never taken on trust. No I/O. Memory grows with the live
//! objects and, by a byte each, with the threads; not with the trace's length.

use std::collections::HashMap;

use rustc_hash::FxBuildHasher;

use crate::coverage::Explained;
use crate::error::Law;
use crate::{Action, Call, Event, IgnoredReason, ObjectId, Record, Summary, ThreadId};

/// The longest name of a thread or a mark, in bytes.
pub const NAME_MOST_BYTES: usize = 255;

#[derive(Clone, Copy)]
struct Live {
    size: u64,
    /// The thread that allocated or last reallocated it.
    thread: ThreadId,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ThreadState {
    Named,
    Running,
    Ended,
}

/// Totals so far, and what is needed to judge the next record.
#[derive(Default)]
pub(crate) struct Tally {
    summary: Summary,
    // PERF: ids are dense, so one multiplication spreads them; with the default hasher an import
    // took 6 to 22 % longer.
    live: HashMap<ObjectId, Live, FxBuildHasher>,
    // A hostile trace may hold any sizes: the sum must neither wrap nor stick at a bound.
    live_bytes: u128,
    peak_bytes: u128,
    explained: Explained,
    time_ns: u64,
    threads: Vec<ThreadState>,
    records: u64,
}

impl Tally {
    /// Counts `record`, or says which law it breaks; then nothing was counted.
    pub(crate) fn push(&mut self, record: &Record) -> Result<(), Law> {
        match record {
            Record::Event(event) => self.push_event(event)?,
            Record::Resident(sample) => {
                self.advance(sample.time_ns)?;
                self.summary.resident_samples += 1;
                self.explained.add(sample.time_ns, sample.resident_bytes, clamp(self.peak_bytes));
            }
            Record::Mark(mark) => {
                check_name(&mark.name)?;
                self.advance(mark.time_ns)?;
            }
            Record::ThreadName { thread, name } => {
                check_name(name)?;
                self.check_thread_order(*thread)?;
                if *thread as usize == self.threads.len() {
                    self.threads.push(ThreadState::Named);
                }
            }
        }
        self.records += 1;
        Ok(())
    }

    /// Records counted so far.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Events counted so far.
    pub(crate) fn events(&self) -> u64 {
        self.summary.events
    }

    /// Objects allocated so far: the next one's id.
    pub(crate) fn objects(&self) -> u64 {
        self.summary.objects
    }

    /// Threads seen so far: the next one's number.
    pub(crate) fn threads(&self) -> u32 {
        self.threads.len() as u32
    }

    /// The totals as they stand.
    pub(crate) fn summary(&self) -> Summary {
        let summary = Summary {
            threads: self.threads.len() as u64,
            live_at_end: self.live.len() as u64,
            live_at_end_bytes: clamp(self.live_bytes),
            requested_peak_bytes: clamp(self.peak_bytes),
            ..self.summary
        };
        self.explained.put_into(summary)
    }

    fn push_event(&mut self, event: &Event) -> Result<(), Law> {
        // All checks first: a record that is refused must leave no trace.
        if event.time_ns < self.time_ns {
            return Err(Law::Time { before: self.time_ns, found: event.time_ns });
        }
        self.check_running(event)?;
        self.check_objects(&event.action)?;
        self.time_ns = event.time_ns;
        self.enter_thread(event);
        self.count_object(event);
        self.count_call(&event.action);
        if event.action.is_event() {
            if self.summary.events == 0 {
                self.summary.first_time_ns = event.time_ns;
            }
            self.summary.last_time_ns = event.time_ns;
            self.summary.events += 1;
        }
        Ok(())
    }

    fn check_thread_order(&self, thread: ThreadId) -> Result<(), Law> {
        if thread as usize > self.threads.len() {
            return Err(Law::ThreadOrder { found: thread, expected: self.threads.len() as u32 });
        }
        Ok(())
    }

    fn check_running(&self, event: &Event) -> Result<(), Law> {
        self.check_thread_order(event.thread)?;
        let starts = matches!(event.action, Action::ThreadStart);
        match self.threads.get(event.thread as usize) {
            Some(ThreadState::Ended) => Err(Law::ThreadEnded(event.thread)),
            Some(ThreadState::Running) if starts => Err(Law::ThreadRestarted(event.thread)),
            _ => Ok(()),
        }
    }

    fn check_objects(&self, action: &Action) -> Result<(), Law> {
        if let Some((object, _)) = action.allocated()
            && object != self.summary.objects
        {
            return Err(Law::ObjectOrder { found: object, expected: self.summary.objects });
        }
        match *action {
            Action::Realloc { object, .. }
            | Action::ReallocFree { object }
            | Action::Free { object }
            | Action::FreeMissed { object }
            | Action::Touched { object, .. }
                if !self.live.contains_key(&object) =>
            {
                Err(Law::NotLive(object))
            }
            Action::AlignedAlloc { alignment, .. } if !alignment.is_power_of_two() => {
                Err(Law::Alignment(alignment))
            }
            Action::Work { object, bytes, .. } => match self.live.get(&object) {
                None => Err(Law::NotLive(object)),
                Some(live) if bytes > live.size => Err(Law::Work { object, bytes, size: live.size }),
                Some(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn enter_thread(&mut self, event: &Event) {
        let state = match event.action {
            Action::ThreadEnd => ThreadState::Ended,
            _ => ThreadState::Running,
        };
        match self.threads.get_mut(event.thread as usize) {
            Some(known) => *known = state,
            None => self.threads.push(state),
        }
    }

    fn count_object(&mut self, event: &Event) {
        let thread = event.thread;
        if let Some((object, size)) = event.action.allocated() {
            self.summary.objects += 1;
            self.live.insert(object, Live { size, thread });
            self.live_bytes += u128::from(size);
        } else if let Action::Realloc { object, size } = event.action {
            if let Some(live) = self.live.get_mut(&object) {
                self.summary.cross_thread += u64::from(live.thread != thread);
                self.live_bytes = self.live_bytes - u128::from(live.size) + u128::from(size);
                *live = Live { size, thread };
            }
        } else if let Action::Touched { object, bytes } = event.action {
            let size = self.live.get(&object).map_or(0, |live| live.size);
            let summary = &mut self.summary;
            summary.touched += 1;
            summary.touched_bytes = summary.touched_bytes.saturating_add(bytes.min(size));
            summary.touched_of_bytes = summary.touched_of_bytes.saturating_add(size);
        } else if let Some(object) = event.action.freed() {
            if let Some(live) = self.live.remove(&object) {
                let logged = event.action.is_event();
                self.summary.cross_thread += u64::from(logged && live.thread != thread);
                self.live_bytes -= u128::from(live.size);
            }
            return;
        } else {
            return;
        }
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
    }

    fn count_call(&mut self, action: &Action) {
        let summary = &mut self.summary;
        match action.call() {
            Some(Call::Malloc) => summary.malloc += 1,
            Some(Call::Calloc) => summary.calloc += 1,
            Some(Call::AlignedAlloc) => summary.aligned_alloc += 1,
            Some(Call::Realloc) => summary.realloc += 1,
            Some(Call::Free) => summary.free += 1,
            None => {}
        }
        match action {
            Action::ThreadStart => summary.thread_starts += 1,
            Action::ThreadEnd => summary.thread_ends += 1,
            Action::ReallocNull { .. } => summary.realloc_null += 1,
            Action::FreeNull => summary.free_null += 1,
            Action::FreeMissed { .. } => summary.frees_missed += 1,
            Action::Ignored { reason: IgnoredReason::Failed, .. } => summary.failed += 1,
            Action::Ignored { reason: IgnoredReason::Unseen, .. } => summary.unseen_frees += 1,
            _ => {}
        }
    }

    fn advance(&mut self, time_ns: u64) -> Result<(), Law> {
        if time_ns < self.time_ns {
            return Err(Law::Time { before: self.time_ns, found: time_ns });
        }
        self.time_ns = time_ns;
        Ok(())
    }
}

fn check_name(name: &str) -> Result<(), Law> {
    if name.len() > NAME_MOST_BYTES {
        return Err(Law::NameLength(name.len() as u64));
    }
    Ok(())
}

fn clamp(bytes: u128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(thread: ThreadId, time_ns: u64, action: Action) -> Record {
        Record::Event(Event { time_ns, thread, action })
    }

    fn tally(records: &[Record]) -> Result<Summary, Law> {
        let mut tally = Tally::default();
        for record in records {
            tally.push(record)?;
        }
        Ok(tally.summary())
    }

    #[test]
    fn peak_cross_thread_and_live_are_exact() {
        let summary = tally(&[
            event(0, 5, Action::Malloc { object: 0, size: 100 }),
            event(1, 6, Action::Realloc { object: 0, size: 300 }),
            event(1, 7, Action::Calloc { object: 1, size: 50 }),
            event(1, 8, Action::Free { object: 0 }),
            event(1, 8, Action::Work { object: 1, bytes: 50, repeats: 9 }),
            event(0, 9, Action::FreeMissed { object: 1 }),
            event(0, 9, Action::Malloc { object: 2, size: 7 }),
            event(0, 9, Action::Touched { object: 2, bytes: 3 }),
            event(0, 9, Action::Touched { object: 2, bytes: 4096 }),
        ])
        .unwrap();
        assert_eq!((summary.events, summary.objects, summary.threads), (5, 3, 2));
        assert_eq!(summary.cross_thread, 1, "the realloc alone; a missed free is nobody's call");
        assert_eq!((summary.requested_peak_bytes, summary.live_at_end_bytes), (350, 7));
        assert_eq!((summary.free, summary.frees_missed, summary.live_at_end), (1, 1, 1));
        assert_eq!((summary.first_time_ns, summary.last_time_ns), (5, 9));
        assert_eq!((summary.touched, summary.touched_bytes, summary.touched_of_bytes), (2, 10, 14));
    }

    #[test]
    fn sizes_that_no_machine_has_neither_wrap_nor_stick() {
        let summary = tally(&[
            event(0, 0, Action::Malloc { object: 0, size: u64::MAX }),
            event(0, 0, Action::Malloc { object: 1, size: u64::MAX }),
            event(0, 0, Action::Free { object: 0 }),
            event(0, 0, Action::Realloc { object: 1, size: 3 }),
        ])
        .unwrap();
        assert_eq!((summary.requested_peak_bytes, summary.live_at_end_bytes), (u64::MAX, 3));
    }

    #[test]
    fn each_law_is_kept() {
        let malloc = event(0, 9, Action::Malloc { object: 0, size: 1 });
        let cases = [
            (event(0, 9, Action::Malloc { object: 2, size: 1 }), Law::ObjectOrder { found: 2, expected: 1 }),
            (event(0, 9, Action::Malloc { object: 0, size: 1 }), Law::ObjectOrder { found: 0, expected: 1 }),
            (event(0, 9, Action::Free { object: 1 }), Law::NotLive(1)),
            (event(0, 9, Action::Realloc { object: 7, size: 1 }), Law::NotLive(7)),
            (event(0, 9, Action::Work { object: 7, bytes: 0, repeats: 1 }), Law::NotLive(7)),
            (event(0, 9, Action::Touched { object: 7, bytes: 0 }), Law::NotLive(7)),
            (
                event(0, 9, Action::Work { object: 0, bytes: 2, repeats: 1 }),
                Law::Work { object: 0, bytes: 2, size: 1 },
            ),
            (event(0, 8, Action::FreeNull), Law::Time { before: 9, found: 8 }),
            (event(2, 9, Action::FreeNull), Law::ThreadOrder { found: 2, expected: 1 }),
            (event(0, 9, Action::ThreadStart), Law::ThreadRestarted(0)),
            (event(0, 9, Action::AlignedAlloc { object: 1, size: 1, alignment: 24 }), Law::Alignment(24)),
            (Record::ThreadName { thread: 0, name: "x".repeat(256) }, Law::NameLength(256)),
        ];
        for (bad, law) in cases {
            assert_eq!(tally(&[malloc.clone(), bad]), Err(law));
        }
        let end = event(0, 9, Action::ThreadEnd);
        assert_eq!(tally(&[malloc, end, event(0, 9, Action::FreeNull)]), Err(Law::ThreadEnded(0)));
    }
}
