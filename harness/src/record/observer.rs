//! What can be seen of the recorded processes from outside: resident memory, and the names of threads.
//!
//! Both are read from /proc and appended to the recording's file of samples. A process that has just ended,
//! or that is another user's, shows nothing; that is no failure. A file that cannot be written to is one: then
//! no more is written, and the recording goes on.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use heaplab_raw::{ImageId, SampleRecord, samples_head, write_sample};
use heaplab_trace::Header;

use super::RecordError;

/// How often resident memory is read. It is stored where it changed, and the trace says how often: who reads it must
/// know at which times nothing new was found.
const RESIDENT_STEP: Duration = Duration::from_millis(10);
/// An unchanged figure is stored this often all the same.
const RESIDENT_MOST: Duration = Duration::from_secs(1);
/// How often names are read at first, and later: most threads are named when they start.
const NAMES_STEPS: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];

/// The observer of all recorded processes.
pub(super) struct Observer {
    file: File,
    failure: Option<String>,
    processes: Vec<Process>,
    next_resident: Duration,
    next_names: Duration,
}

struct Process {
    number: u32,
    statm: File,
    resident_bytes: u64,
    stored: Option<Duration>,
    looked: Option<Duration>,
    names: BTreeMap<u32, String>,
    is_gone: bool,
}

impl Observer {
    /// Makes the file, and says in it how often is looked.
    pub(super) fn create(path: &Path) -> Result<Observer, RecordError> {
        let failed = |source| RecordError::Io { what: "make the file of samples", path: path.into(), source };
        let mut file = OpenOptions::new().append(true).create_new(true).open(path).map_err(failed)?;
        file.write_all(&samples_head()).map_err(failed)?;
        let mut observer = Observer {
            file,
            failure: None,
            processes: Vec::new(),
            next_resident: Duration::ZERO,
            next_names: NAMES_STEPS[0],
        };
        observer.fact(0, Header::RESIDENT_LOOKS_NOTE, &RESIDENT_STEP.as_nanos().to_string());
        Ok(observer)
    }

    /// Looks at what is due at `elapsed`. `fresh` are images that have begun since the last look.
    pub(super) fn look(&mut self, elapsed: Duration, program: u32, fresh: &[ImageId]) {
        let mut records = Vec::new();
        if !fresh.is_empty() {
            self.find_processes(program, fresh);
        }
        if elapsed >= self.next_resident {
            self.next_resident = elapsed + RESIDENT_STEP;
            self.processes.iter_mut().for_each(|process| process.read_resident(elapsed, &mut records));
        }
        if elapsed >= self.next_names {
            self.next_names = elapsed + NAMES_STEPS[usize::from(elapsed >= NAMES_STEPS[1])];
            self.processes.iter_mut().for_each(|process| process.read_names(elapsed, &mut records));
        }
        self.write(&records);
    }

    /// Takes in the processes of new images. One that ended in between is seen by its image alone.
    fn find_processes(&mut self, program: u32, fresh: &[ImageId]) {
        for number in fresh.iter().map(|image| image.pid).chain([program]) {
            if self.processes.iter().all(|process| process.number != number)
                && let Ok(statm) = File::open(format!("/proc/{number}/statm"))
            {
                self.processes.push(Process {
                    number,
                    statm,
                    resident_bytes: 0,
                    stored: None,
                    looked: None,
                    names: BTreeMap::new(),
                    is_gone: false,
                });
            }
        }
    }

    /// How many recorded processes but the program's own still run.
    pub(super) fn count_running(&self, program: u32) -> usize {
        let others = self.processes.iter().filter(|process| process.number != program);
        others.filter(|process| process.is_running()).count()
    }

    /// Notes how the program ended.
    pub(super) fn finish(&mut self, elapsed: Duration, program: u32, status: ExitStatus) {
        let mut records = Vec::new();
        self.processes.iter_mut().for_each(|process| process.store_last(&mut records));
        let status = status.into_raw() as u32;
        append(
            &mut records,
            &SampleRecord::ProcessGone { elapsed_us: micros(elapsed), pid: program, status },
        );
        self.write(&records);
    }

    /// Notes something known of a process, or of the recording (process 0).
    pub(super) fn fact(&mut self, process: u32, name: &str, value: &str) {
        let mut records = Vec::new();
        let text = format!("{name}={value}");
        append(&mut records, &SampleRecord::Fact { pid: process, text: text.as_bytes() });
        self.write(&records);
    }

    /// Why the file has not everything.
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

impl Process {
    fn read_resident(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        let mut text = [0; 128];
        let Some(resident_bytes) = self
            .statm
            .read_at(&mut text, 0)
            .ok()
            .and_then(|length| resident_bytes(&text[..length], rustix::param::page_size() as u64))
        else {
            self.store_last(records);
            self.is_gone = true;
            return;
        };
        self.looked = Some(elapsed);
        let is_due = self.stored.is_none_or(|stored| elapsed >= stored + RESIDENT_MOST);
        if resident_bytes != self.resident_bytes || is_due {
            self.resident_bytes = resident_bytes;
            self.store(elapsed, records);
        }
    }

    fn store(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        self.stored = Some(elapsed);
        let (elapsed_us, resident_bytes) = (micros(elapsed), self.resident_bytes);
        append(records, &SampleRecord::Resident { elapsed_us, pid: self.number, resident_bytes });
    }

    /// Stores the last look, which found nothing new: until then the process had that memory.
    fn store_last(&mut self, records: &mut Vec<u8>) {
        if let Some(looked) = self.looked.filter(|looked| self.stored != Some(*looked)) {
            self.store(looked, records);
        }
    }

    fn read_names(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        if self.is_gone {
            return;
        }
        let Ok(tasks) = fs::read_dir(format!("/proc/{}/task", self.number)) else { return };
        let mut gone = std::mem::take(&mut self.names);
        let (elapsed_us, pid) = (micros(elapsed), self.number);
        for tid in tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<u32>().ok()) {
            let Ok(name) = fs::read_to_string(format!("/proc/{pid}/task/{tid}/comm")) else { continue };
            let name = name.trim_end_matches('\n').to_owned();
            if gone.remove(&tid).as_deref() != Some(name.as_str()) {
                let record = SampleRecord::ThreadName { elapsed_us, pid, tid, name: name.as_bytes() };
                append(records, &record);
            }
            self.names.insert(tid, name);
        }
        for tid in gone.into_keys() {
            append(records, &SampleRecord::ThreadGone { elapsed_us, pid, tid });
        }
    }

    fn is_running(&self) -> bool {
        let mut text = [0; 128];
        let length = self.statm.read_at(&mut text, 0);
        // A zombie has no memory, and its figures are zeros.
        length.ok().and_then(|length| resident_bytes(&text[..length], 1)).is_some()
    }
}

/// RssAnon from a process's statm: what is resident, but for pages of files and shared ones. None for a
/// process that has no memory any more.
fn resident_bytes(statm: &[u8], page_bytes: u64) -> Option<u64> {
    let text = std::str::from_utf8(statm).ok()?;
    let mut pages = text.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
    let (size, resident, shared) = (pages.next()??, pages.next()??, pages.next()??);
    (size > 0).then(|| resident.saturating_sub(shared) * page_bytes)
}

fn append(records: &mut Vec<u8>, record: &SampleRecord<'_>) {
    write_sample(record, &mut |bytes| records.extend(bytes));
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

/// The choice that a file of sysfs marks by brackets; none where it cannot be read.
pub(super) fn read_choice(path: &str) -> io::Result<Option<String>> {
    let text = fs::read_to_string(path)?;
    let chosen = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    Ok(chosen.map(|(word, _)| word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_what_is_resident_and_not_shared() {
        assert_eq!(resident_bytes(b"5000 300 120 10 0 90 0\n", 4096), Some(180 * 4096));
        assert_eq!(resident_bytes(b"0 0 0 0 0 0 0\n", 4096), None, "a zombie");
        assert_eq!(resident_bytes(b"5000 x", 4096), None);
        assert_eq!(resident_bytes(b"", 4096), None);
    }
}
