//! Observes the recorded processes from outside: resident memory, the names of threads, what they run.
//!
//! It reads /proc and appends to the recording's file of samples. A process that has just exited, or that
//! belongs to another user, shows nothing; that is not a failure. A file that cannot be written is one: then
//! no more is written, and the recording continues.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use heaplab_raw::{ImageId, SampleRecord, samples_head, write_sample};
use heaplab_trace::Header;

use super::RecordError;
use super::images::Images;
use super::processes::Processes;
use crate::sharing::cpu_time;

/// The sampling interval of resident memory. A sample is stored only if it changed, and the trace states the
/// interval, so that readers know when samples without a change were taken.
const RESIDENT_STEP: Duration = Duration::from_millis(10);
/// The interval at which names are read, at first and later: most threads are named when they start.
const NAMES_STEPS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// The interval at which the processes' programs are checked, at first and later: a program may exit soon.
const PROGRAMS_STEPS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(20)];
/// New processes are searched for as often as resident memory is sampled, but a search that takes long,
/// because there are many threads, takes at most one part in this many of the time.
const FIND_PART: u32 = 50;
/// How long "at first" lasts.
const FIRST: Duration = Duration::from_millis(500);

/// The observer of all recorded processes.
pub(super) struct Observer {
    file: File,
    failure: Option<String>,
    processes: Processes,
    next_find: Duration,
    next_resident: Duration,
    next_names: Duration,
    next_programs: Duration,
}

impl Observer {
    /// Makes the file, and writes the sampling interval into it.
    pub(super) fn create(path: &Path, library: &Path) -> Result<Observer, RecordError> {
        let failed = |source| RecordError::Io { what: "make the file of samples", path: path.into(), source };
        let mut file = OpenOptions::new().append(true).create_new(true).open(path).map_err(failed)?;
        file.write_all(&samples_head()).map_err(failed)?;
        let mut observer = Observer {
            file,
            failure: None,
            processes: Processes::new(library),
            next_find: Duration::ZERO,
            next_resident: Duration::ZERO,
            next_names: NAMES_STEPS[0],
            next_programs: Duration::ZERO,
        };
        observer.fact(0, Header::SAMPLING_INTERVAL_NOTE, &RESIDENT_STEP.as_nanos().to_string());
        Ok(observer)
    }

    /// Takes the samples that are due at `elapsed`. `fresh` are images that started since the last call.
    pub(super) fn sample(&mut self, elapsed: Duration, images: &Images, fresh: &[ImageId]) {
        let mut records = Vec::new();
        if elapsed >= self.next_find || !fresh.is_empty() {
            let begin = cpu_time();
            self.processes.find(elapsed);
            self.processes.take_images(images, fresh);
            self.next_find = elapsed + (FIND_PART * cpu_time().saturating_sub(begin)).max(RESIDENT_STEP);
        }
        let later = usize::from(elapsed >= FIRST);
        if elapsed >= self.next_programs {
            self.next_programs = elapsed + PROGRAMS_STEPS[later];
            self.processes.check_programs(elapsed);
        }
        if elapsed >= self.next_resident {
            self.next_resident = elapsed + RESIDENT_STEP;
            self.processes.read_resident(elapsed, &mut records);
            self.processes.read_shared(elapsed);
        }
        if elapsed >= self.next_names {
            self.next_names = elapsed + NAMES_STEPS[later];
            self.processes.read_names(elapsed, &mut records);
        }
        self.write(&records);
    }

    /// Takes note of the processes below this one that run before the program starts.
    pub(super) fn note_strangers(&mut self) {
        self.processes.note_strangers();
    }

    /// Begins with the program's own process.
    pub(super) fn begin_tree(&mut self, program: u32) {
        self.processes.begin_tree(program);
        self.find(Duration::ZERO);
    }

    /// Adds images.
    pub(super) fn take_images(&mut self, images: &Images, fresh: &[ImageId]) {
        self.processes.take_images(images, fresh);
    }

    /// Adds new processes.
    pub(super) fn find(&mut self, elapsed: Duration) {
        self.processes.find(elapsed);
        self.processes.check_programs(elapsed);
    }

    /// The processes that were seen.
    pub(super) fn processes(&self) -> &Processes {
        &self.processes
    }

    /// The processes that were seen, after the end.
    pub(super) fn into_processes(self) -> Processes {
        self.processes
    }

    /// Stores how a process ended that this one waited for.
    pub(super) fn end(&mut self, number: u32, status: u32, elapsed: Duration) {
        let mut records = Vec::new();
        self.processes.end(number, status, elapsed, &mut records);
        self.write(&records);
    }

    /// Stores the end of the recording.
    pub(super) fn finish(&mut self) {
        let mut records = Vec::new();
        self.processes.store_last(&mut records);
        self.write(&records);
    }

    /// Stores a fact about a process, or about the recording (process 0).
    pub(super) fn fact(&mut self, process: u32, name: &str, value: &str) {
        let mut records = Vec::new();
        let text = format!("{name}={value}");
        let fact = SampleRecord::Fact { pid: process, text: text.as_bytes() };
        write_sample(&fact, &mut |bytes| records.extend(bytes));
        self.write(&records);
    }

    /// Why the file is incomplete.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    fn write(&mut self, records: &[u8]) {
        if records.is_empty() || self.failure.is_some() {
            return;
        }
        if let Err(error) = self.file.write_all(records) {
            self.failure = Some(format!("the file of samples cannot be written: {error}"));
        }
    }
}

/// The choice that a sysfs file marks with brackets; none if there is none.
pub(super) fn read_choice(path: &str) -> io::Result<Option<String>> {
    let text = fs::read_to_string(path)?;
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    Ok(chosen.map(|(word, _)| word.to_owned()))
}
