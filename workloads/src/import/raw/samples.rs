//! The command's file of samples: read twice as a stream, because it grows with the recording's length.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use heaplab_raw::{CONTINUED_FACT, PAUSED_FACT, SAMPLES_NAME, SampleRecord, read_sample, samples_head};

use super::{Problems, regular};

/// A record of the file, on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sample {
    Resident { elapsed_us: u64, pid: u32, resident_bytes: u64 },
    ThreadName { elapsed_us: u64, pid: u32, tid: u32, name: String },
    ProcessGone { elapsed_us: u64, pid: u32, status: u32 },
    Fact { pid: u32, text: String },
    Other,
}

/// What the file says once, regardless of its length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// Texts of the recording and of each process: pid (0: the recording), name, value.
    pub(super) texts: Vec<(u32, String, String)>,
    /// By process and thread, each in order of time.
    names: HashMap<(u32, u32), Vec<(u64, String)>>,
    /// Status of a process that ended, as wait(2) gives it.
    pub(super) statuses: Vec<(u32, u32)>,
    /// When a process ended, in microseconds.
    gone_us: Vec<(u32, u64)>,
    /// When recording was paused, and when it was continued, in microseconds.
    pauses: Vec<(u64, Option<u64>)>,
}

impl Facts {
    /// Reads the file of `directory`; a missing file is a problem, not an error.
    pub(super) fn read(directory: &Path, problems: &mut Problems) -> io::Result<Facts> {
        let mut facts = Facts::default();
        let Some(mut file) = SampleFile::open(directory, problems)? else { return Ok(facts) };
        while let Some(sample) = file.next(problems)? {
            match sample {
                Sample::ThreadName { elapsed_us, pid, tid, name } => {
                    facts.names.entry((pid, tid)).or_default().push((elapsed_us, name));
                }
                Sample::ProcessGone { elapsed_us, pid, status } => {
                    facts.statuses.push((pid, status));
                    facts.gone_us.push((pid, elapsed_us));
                }
                Sample::Fact { pid, text } => {
                    let (name, value) = text.split_once('=').unwrap_or((&text, ""));
                    if pid == 0 && facts.take_pause(name, value) {
                        continue;
                    }
                    facts.texts.push((pid, name.to_string(), value.to_string()));
                }
                Sample::Resident { .. } | Sample::Other => {}
            }
        }
        Ok(facts)
    }

    /// Takes a fact about a pause; false if it is none. What cannot be is passed over: the file may be damaged.
    fn take_pause(&mut self, name: &str, value: &str) -> bool {
        let Ok(at_us) = value.parse::<u64>() else { return false };
        let last_us = self.pauses.last().map_or(0, |(begin_us, end_us)| end_us.unwrap_or(*begin_us));
        let is_later = at_us >= last_us;
        match (name, self.pauses.last_mut()) {
            (PAUSED_FACT, Some((_, None))) => {}
            (PAUSED_FACT, _) if is_later => self.pauses.push((at_us, None)),
            (CONTINUED_FACT, Some((_, end_us @ None))) if is_later => *end_us = Some(at_us),
            (PAUSED_FACT | CONTINUED_FACT, _) => {}
            _ => return false,
        }
        true
    }

    /// The pauses that a process saw that began at `from_us` and ended, as far as is known, before `until_us`.
    pub(super) fn pauses(
        &self,
        pid: u32,
        from_us: u64,
        until_us: u64,
    ) -> impl Iterator<Item = (u64, Option<u64>)> {
        let gone_us = self.gone_us.iter().rev().find(|(of, _)| *of == pid).map(|(_, at_us)| *at_us);
        let until_us = until_us.min(gone_us.unwrap_or(u64::MAX));
        let is_seen = move |(begin_us, end_us): &(u64, Option<u64>)| {
            *begin_us < until_us && end_us.is_none_or(|end_us| end_us > from_us)
        };
        let until_end = move |end_us: Option<u64>| end_us.filter(|end_us| *end_us < until_us);
        self.pauses
            .iter()
            .filter(move |pause| is_seen(pause))
            .map(move |&(begin, end)| (begin, until_end(end)))
    }

    /// A text of the process `pid`, or else of the recording.
    pub(super) fn text(&self, pid: u32, name: &str) -> Option<&str> {
        let find = |of: u32| self.texts.iter().rev().find(|(pid, known, _)| *pid == of && known == name);
        find(pid).or_else(|| find(0)).map(|(.., value)| value.as_str())
    }

    /// The last name that the thread `tid` of `pid` was seen to have between two ticks.
    pub(super) fn thread_name(&self, pid: u32, tid: u32, from_us: u64, until_us: u64) -> Option<&str> {
        let mut names = self.names.get(&(pid, tid))?.iter().rev();
        let found = names.find(|(seen_us, _)| (from_us..until_us).contains(seen_us));
        found.map(|(_, name)| name.as_str())
    }
}

/// Resident samples of one process in one span of time, as they come.
pub(super) struct Residents {
    file: Option<SampleFile>,
    pid: u32,
    from_us: u64,
    until_us: u64,
    next: Option<(u64, u64)>,
    /// The time of the last one that was read.
    last_us: u64,
    /// How many were passed over because their time is before that of the one before them.
    pub(super) out_of_order: u64,
}

impl Residents {
    /// Opens the samples of `pid` from `from_us` on and before `until_us`.
    pub(super) fn open(directory: &Path, pid: u32, from_us: u64, until_us: u64) -> io::Result<Residents> {
        // Problems with the file were reported when its facts were read.
        let file = SampleFile::open(directory, &mut Problems::default())?;
        let (next, last_us, out_of_order) = (None, 0, 0);
        let mut residents = Residents { file, pid, from_us, until_us, next, last_us, out_of_order };
        residents.advance()?;
        Ok(residents)
    }

    /// The next sample that was taken until the tick at `tick_us` began: its time, and `RssAnon` in bytes.
    /// The recording process samples just after it has stored a tick, so a sample with that time comes before
    /// the tick's events.
    pub(super) fn next_until(&mut self, tick_us: u64) -> io::Result<Option<(u64, u64)>> {
        let found = self.next.filter(|(at_us, _)| *at_us <= tick_us);
        if found.is_some() {
            self.advance()?;
        }
        Ok(found)
    }

    fn advance(&mut self) -> io::Result<()> {
        self.next = None;
        let Some(file) = &mut self.file else { return Ok(()) };
        while let Some(sample) = file.next(&mut Problems::default())? {
            if let Sample::Resident { elapsed_us, pid, resident_bytes } = sample
                && pid == self.pid
                && (self.from_us..self.until_us).contains(&elapsed_us)
            {
                // Only a damaged file goes back in time, which a trace must not.
                if elapsed_us < self.last_us {
                    self.out_of_order += 1;
                    continue;
                }
                self.last_us = elapsed_us;
                self.next = Some((elapsed_us, resident_bytes));
                break;
            }
        }
        Ok(())
    }
}

struct SampleFile {
    reader: BufReader<File>,
    /// The file's head and one record.
    record: Vec<u8>,
    ended: bool,
}

impl SampleFile {
    fn open(directory: &Path, problems: &mut Problems) -> io::Result<Option<SampleFile>> {
        let file = match regular::open(&directory.join(SAMPLES_NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                problems.add(format!("{SAMPLES_NAME} is missing: no resident memory, no names of threads"));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut reader = BufReader::new(file);
        let mut record = Vec::new();
        let length = samples_head().len();
        reader.by_ref().take(length as u64).read_to_end(&mut record)?;
        let ended = record.len() < length;
        if ended {
            problems.add(format!("{SAMPLES_NAME} is cut off in its head"));
        }
        Ok(Some(SampleFile { reader, record, ended }))
    }

    fn next(&mut self, problems: &mut Problems) -> io::Result<Option<Sample>> {
        let head = samples_head().len();
        while !self.ended {
            self.record.truncate(head);
            self.reader.by_ref().take(2).read_to_end(&mut self.record)?;
            if self.record.len() == head {
                break;
            }
            if let Some(&length) = self.record.get(head + 1) {
                self.reader.by_ref().take(u64::from(length)).read_to_end(&mut self.record)?;
            }
            let mut at = 0;
            match read_sample(&self.record, &mut at) {
                Ok(Some(record)) => return Ok(Some(own(&record))),
                Ok(None) => {}
                Err(fault) => {
                    problems.add(format!("{SAMPLES_NAME}: {fault}: what follows is not read"));
                    self.ended = true;
                }
            }
        }
        self.ended = true;
        Ok(None)
    }
}

fn own(record: &SampleRecord<'_>) -> Sample {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match *record {
        SampleRecord::Resident { elapsed_us, pid, resident_bytes } => {
            Sample::Resident { elapsed_us, pid, resident_bytes }
        }
        SampleRecord::ThreadName { elapsed_us, pid, tid, name } => {
            // Bytes that are not UTF-8 become three bytes each; a name in a trace has at most 255.
            let mut name = text(name);
            while name.len() > 255 {
                name.pop();
            }
            Sample::ThreadName { elapsed_us, pid, tid, name }
        }
        SampleRecord::ProcessGone { elapsed_us, pid, status } => {
            Sample::ProcessGone { elapsed_us, pid, status }
        }
        SampleRecord::Fact { pid, text: fact } => Sample::Fact { pid, text: text(fact) },
        SampleRecord::ThreadGone { .. } => Sample::Other,
    }
}
