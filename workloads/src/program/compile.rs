//! Compiling: a trace's records to the compiler, in order, and the drain after them.

use heaplab_trace::Record;

use super::compiler::Compiler;
use super::error::{CompileError, Fault};
use super::file::{ProgramFile, ProgramWriter};
use super::layout::WINDOW_SAMPLED;
use super::{Order, ProgramInfo, Windows};
use crate::stream::RecordStream;

/// Compiles the records of `stream` into `file`, which must be empty.
///
/// `progress` is called with the number of events from time to time.
///
/// # Errors
///
/// The stream's own, a file that cannot be written, and records that break a trace's laws.
pub fn compile(
    stream: &mut dyn RecordStream,
    file: &ProgramFile,
    order: Order,
    cut: Windows,
    progress: &mut dyn FnMut(u64),
) -> Result<ProgramInfo, CompileError> {
    let folder = file.folder();
    let mut compiler = Compiler::new(ProgramWriter::new(file), order, cut, stream.header().has_times);
    let in_file = |error: Fault| error.at(folder);
    while let Some(record) = stream.next()? {
        match record {
            Record::Event(event) => {
                compiler.event(&event).map_err(in_file)?;
                if compiler.events.is_multiple_of(1 << 16) {
                    progress(compiler.events);
                }
            }
            Record::Resident(sample) => compiler.close_at_sample(sample.time_ns).map_err(in_file)?,
            Record::Mark(mark) => compiler.mark(&mark).map_err(in_file)?,
            Record::ThreadName { .. } => {}
        }
    }
    compiler.close_window(None).map_err(in_file)?;
    compiler.write_held().map_err(in_file)?;
    let mut info = compiler.info(stream.header().cpus, stream.truncated());
    compiler.write_drain().map_err(in_file)?;
    info.slots = compiler.slots.count();
    let (file_bytes, no_room) = compiler.writer.finish().map_err(|error| in_file(error.into()))?;
    if let Some(source) = no_room {
        return Err(CompileError::NoRoom { folder: folder.to_path_buf(), needed_bytes: file_bytes, source });
    }
    info.file_bytes = file_bytes;
    progress(info.events);
    Ok(info)
}

impl Compiler<'_> {
    /// The recorded process was sampled. In strict order the window ends here, so that a replay can be
    /// sampled where the recorded process was; in causal order no such place exists.
    fn close_at_sample(&mut self, time_ns: u64) -> Result<(), Fault> {
        let Some(time) = self.since_first_event(time_ns) else { return Ok(()) };
        if self.order == Order::Causal || !self.has_times || time < self.current.head.last_time {
            return Ok(());
        }
        if self.current.segments.is_empty() {
            // Nothing has happened since the previous window, which ends here unless it ends at an earlier
            // sample.
            if let Some(held) = self.held.as_mut().filter(|held| held.head.flags & WINDOW_SAMPLED == 0) {
                held.head.flags |= WINDOW_SAMPLED;
                held.head.last_time = time;
                (self.current.head.first_time, self.current.head.last_time) = (time, time);
            }
            return Ok(());
        }
        self.current.head.flags |= WINDOW_SAMPLED;
        self.current.head.last_time = time;
        self.close_window(Some((time, 0)))
    }

    fn info(&self, cpus: Option<u32>, truncated: bool) -> ProgramInfo {
        let duration_ns = self.last_event;
        let counted_ns = duration_ns.saturating_sub(self.counted_from);
        let mean = self.byte_ns.checked_div(u128::from(counted_ns)).unwrap_or(u128::from(self.requested));
        ProgramInfo {
            order: self.order,
            cut: self.cut,
            has_times: self.has_times,
            cpus,
            events: self.events - self.inherited_events,
            threads: self.threads.iter().filter(|thread| thread.seen).count() as u32,
            thread_table: self.threads.len().max(1) as u32,
            slots: self.slots.count(),
            windows: self.current.number,
            peak_window: self.peak.window,
            requested_peak_bytes: self.peak.bytes,
            requested_mean_bytes: u64::try_from(mean).unwrap_or(u64::MAX),
            requested_end_bytes: self.requested,
            live_at_end: self.live.len() as u64,
            duration_ns,
            counted_from_ns: self.counted_from,
            truncated,
            file_bytes: 0,
        }
    }
}
