//! The processes of a recording: all that descend from this one, recorded or not, as long as they are there and as they
//! were.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heaplab_raw::{ImageId, SampleRecord, Text, write_sample};

use super::diagnosis;
use super::images::{Images, Page};
use super::tree::{self, Member};
use crate::sharing::Sharing;

/// An unchanged figure is stored this often all the same.
const RESIDENT_MOST: Duration = Duration::from_secs(1);
/// How long a program may run before its mappings must show the library.
const LOADING: Duration = Duration::from_millis(50);

/// All processes that were seen, in the order in which they were.
pub(super) struct Processes {
    all: Vec<Process>,
    /// The file name of the recorder's library.
    library: String,
    /// Bytes of all processes at the last look.
    tree_bytes: u64,
    looked: Option<Duration>,
    /// Bytes of all processes, times microseconds.
    tree_byte_us: u128,
    sharing: Sharing,
}

/// One process.
pub(super) struct Process {
    pub(super) member: Member,
    /// When it was seen first, and when it was missed.
    pub(super) began: Duration,
    pub(super) ended: Option<Duration>,
    /// As wait(2) gives it, where it was this process's to wait for.
    pub(super) status: Option<u32>,
    /// What it runs, or ran last.
    pub(super) program: Option<PathBuf>,
    /// Since when it runs that.
    since: Duration,
    is_checked: bool,
    /// Why what it runs is not recorded.
    pub(super) not_recorded: Option<String>,
    pub(super) images: Vec<ImageId>,
    pub(super) peak_bytes: u64,
    statm: File,
    resident_bytes: u64,
    stored: Option<Duration>,
    looked: Option<Duration>,
    names: BTreeMap<u32, String>,
    /// Its bytes, times microseconds.
    byte_us: u128,
}

impl Processes {
    pub(super) fn new(library: &Path) -> Processes {
        let library = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Processes {
            all: Vec::new(),
            library,
            tree_bytes: 0,
            looked: None,
            tree_byte_us: 0,
            sharing: Sharing::default(),
        }
    }

    /// The processes, in the order in which they were seen.
    pub(super) fn all(&self) -> &[Process] {
        &self.all
    }

    /// Takes in processes that are new below this one.
    pub(super) fn find(&mut self, elapsed: Duration) {
        for number in tree::descendants(std::process::id()) {
            if self.running(number).is_none()
                && let Some(process) = Process::open(number, elapsed)
            {
                self.all.push(process);
            }
        }
    }

    /// Takes in images, and says on their pages which numbers their processes have here. An image whose process has
    /// ended before it was seen has none.
    pub(super) fn take_images(&mut self, images: &Images, fresh: &[ImageId]) {
        // Parents first: of two processes that have one number in name spaces of their own, the parent tells which is meant.
        let mut pages: Vec<&Page> = images.pages().filter(|page| fresh.contains(&page.id)).collect();
        pages.sort_by_key(|page| page.id.ordinal);
        for page in pages {
            let Some(image) = page.image() else { continue };
            let parent = image
                .head()
                .parent
                .and_then(|parent| self.of_image(parent))
                .map(|at| self.all[at].member.number);
            if let Some(at) = self.choose(page.id, parent) {
                image.set_host_process(self.all[at].member.number);
                let program: Vec<u8> = image.text(Text::Program).collect();
                self.all[at].take_image(page.id, Path::new(OsStr::from_bytes(&program)));
            }
        }
    }

    fn of_image(&self, image: ImageId) -> Option<usize> {
        self.all.iter().position(|process| process.images.contains(&image))
    }

    /// The process of an image, by the number that it gave itself.
    fn choose(&self, image: ImageId, parent: Option<u32>) -> Option<usize> {
        let candidates =
            self.all.iter().enumerate().rev().filter(|(_, process)| process.member.inner == image.pid);
        let rank = |process: &Process| {
            (
                process.ended.is_none(),
                parent.is_some_and(|parent| process.member.parent == parent),
                process.images.is_empty(),
            )
        };
        candidates.max_by_key(|(at, process)| (rank(process), *at)).map(|(at, _)| at)
    }

    fn running(&mut self, number: u32) -> Option<&mut Process> {
        self.all.iter_mut().find(|process| process.member.number == number && process.ended.is_none())
    }

    /// Reads resident memory of all, and writes down what changed.
    pub(super) fn read_resident(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        self.add_up(elapsed);
        let running = self.all.iter_mut().filter(|process| process.ended.is_none());
        self.tree_bytes = running.map(|process| process.read_resident(elapsed, records)).sum();
    }

    /// Reads what the processes share, if it is time.
    pub(super) fn read_shared(&mut self, elapsed: Duration) {
        let running = self.all.iter().filter(|process| process.ended.is_none());
        self.sharing.sample(elapsed, running.map(|process| process.member.number));
    }

    /// What the processes shared over time.
    pub(super) fn sharing(&self) -> &Sharing {
        &self.sharing
    }

    /// What was resident since the last look.
    fn add_up(&mut self, elapsed: Duration) {
        let held = self.looked.map_or(0, |looked| elapsed.saturating_sub(looked).as_micros());
        self.looked = Some(elapsed);
        self.tree_byte_us += u128::from(self.tree_bytes) * held;
        for process in self.all.iter_mut().filter(|process| process.ended.is_none()) {
            process.byte_us += u128::from(process.resident_bytes) * held;
        }
    }

    /// The share of all processes' memory over time that one had; none where there was none.
    pub(super) fn share_of(&self, process: &Process) -> Option<f64> {
        (self.tree_byte_us > 0).then(|| process.byte_us as f64 / self.tree_byte_us as f64)
    }

    /// The process whose trace stands for the recording: the one that was started, unless it started another that
    /// is recorded and had more than twice the memory over time. A launcher stands for nothing.
    pub(super) fn choose_main(&self, started: u32) -> u32 {
        let recorded = self.all.iter().filter(|process| !process.images.is_empty());
        let of_started = recorded.clone().find(|process| process.member.number == started);
        let most = recorded.max_by_key(|process| process.byte_us);
        match (of_started, most) {
            (Some(own), Some(most)) if most.byte_us <= 2 * own.byte_us => own.member.number,
            (_, Some(most)) => most.member.number,
            (_, None) => started,
        }
    }

    /// Reads names of threads, and writes down what changed.
    pub(super) fn read_names(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        self.all
            .iter_mut()
            .filter(|process| process.ended.is_none())
            .for_each(|process| process.read_names(elapsed, records));
    }

    /// Looks what each process runs, and whether that can be recorded.
    pub(super) fn check_programs(&mut self, elapsed: Duration) {
        for process in self.all.iter_mut().filter(|process| process.ended.is_none()) {
            process.check_program(elapsed, &self.library);
        }
    }

    /// Takes down the end of a process that this one waited for.
    pub(super) fn end(&mut self, number: u32, status: u32, elapsed: Duration, records: &mut Vec<u8>) {
        // One that has no memory any more was missed before it was waited for.
        if let Some(process) = self.all.iter_mut().rev().find(|process| process.member.number == number) {
            process.status = Some(status);
            if process.ended.is_none() {
                process.end(elapsed, records);
            }
        }
        let elapsed_us = micros(elapsed);
        append(records, &SampleRecord::ProcessGone { elapsed_us, pid: number, status });
    }

    /// How many processes are still there, but for one, that are recorded as soon as they allocate.
    pub(super) fn count_running(&self, but: u32) -> usize {
        let others = self.all.iter().filter(|process| process.member.number != but);
        let recorded = others.filter(|process| process.ended.is_none() && process.not_recorded.is_none());
        recorded.filter(|process| process.is_running()).count()
    }

    /// Stores the last look at each, which found nothing new: until then it had that memory.
    pub(super) fn store_last(&mut self, records: &mut Vec<u8>) {
        self.all.iter_mut().for_each(|process| process.store_last(records));
    }
}

impl Process {
    /// None of a process that has ended, and waits to be waited for.
    fn open(number: u32, elapsed: Duration) -> Option<Process> {
        let process = Process::read(number, elapsed)?;
        process.is_running().then_some(process)
    }

    fn read(number: u32, elapsed: Duration) -> Option<Process> {
        Some(Process {
            member: tree::read_member(number)?,
            began: elapsed,
            ended: None,
            status: None,
            program: None,
            since: elapsed,
            is_checked: false,
            not_recorded: None,
            images: Vec::new(),
            peak_bytes: 0,
            statm: File::open(format!("/proc/{number}/statm")).ok()?,
            resident_bytes: 0,
            stored: None,
            looked: None,
            names: BTreeMap::new(),
            byte_us: 0,
        })
    }

    /// Takes in an image that it has begun as `program`.
    fn take_image(&mut self, image: ImageId, program: &Path) {
        self.images.push(image);
        // NOTE: the library is in it, whatever was seen before: on a busy machine loading may take longer than is waited.
        // What the process became since is another program.
        if self.program.as_deref() == Some(program) {
            self.not_recorded = None;
        }
    }

    fn end(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        self.store_last(records);
        self.ended = Some(elapsed);
    }

    fn read_resident(&mut self, elapsed: Duration, records: &mut Vec<u8>) -> u64 {
        let mut text = [0; 128];
        let Some(resident_bytes) = self
            .statm
            .read_at(&mut text, 0)
            .ok()
            .and_then(|length| resident_bytes(&text[..length], rustix::param::page_size() as u64))
        else {
            self.end(elapsed, records);
            return 0;
        };
        self.looked = Some(elapsed);
        self.peak_bytes = self.peak_bytes.max(resident_bytes);
        let is_due = self.stored.is_none_or(|stored| elapsed >= stored + RESIDENT_MOST);
        if resident_bytes != self.resident_bytes || is_due {
            self.resident_bytes = resident_bytes;
            self.store(elapsed, records);
        }
        resident_bytes
    }

    fn store(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        self.stored = Some(elapsed);
        let (elapsed_us, resident_bytes) = (micros(elapsed), self.resident_bytes);
        append(records, &SampleRecord::Resident { elapsed_us, pid: self.member.number, resident_bytes });
    }

    fn store_last(&mut self, records: &mut Vec<u8>) {
        if self.ended.is_none()
            && let Some(looked) = self.looked.filter(|looked| self.stored != Some(*looked))
        {
            self.store(looked, records);
        }
    }

    fn read_names(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        let number = self.member.number;
        let Ok(tasks) = fs::read_dir(format!("/proc/{number}/task")) else { return };
        let mut gone = std::mem::take(&mut self.names);
        let (elapsed_us, pid) = (micros(elapsed), number);
        for task in tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse::<u32>().ok()) {
            let Ok(name) = fs::read_to_string(format!("/proc/{number}/task/{task}/comm")) else { continue };
            let name = name.trim_end_matches('\n').to_owned();
            // A recording has the numbers by which threads know themselves.
            let is_inside = self.member.inner != number;
            let tid = if is_inside { tree::inner_thread(number, task) } else { Some(task) };
            let Some(tid) = tid else { continue };
            if gone.remove(&tid).as_deref() != Some(name.as_str()) {
                append(records, &SampleRecord::ThreadName { elapsed_us, pid, tid, name: name.as_bytes() });
            }
            self.names.insert(tid, name);
        }
        for tid in gone.into_keys() {
            append(records, &SampleRecord::ThreadGone { elapsed_us, pid, tid });
        }
    }

    fn check_program(&mut self, elapsed: Duration, library: &str) {
        let number = self.member.number;
        let Some(program) = tree::program_of(number) else { return };
        if self.program.as_ref() != Some(&program) {
            self.since = elapsed;
            self.not_recorded = None;
            // Between its start and its exec a child of this process is this program still.
            let is_own = std::env::current_exe().is_ok_and(|own| own == program);
            if !is_own {
                self.not_recorded = diagnosis::explain_process(number, &program, "LD_PRELOAD", library);
            }
            self.is_checked = self.not_recorded.is_some();
            self.program = Some(program);
        } else if !self.is_checked && elapsed >= self.since + LOADING {
            self.is_checked = true;
            if tree::maps_file(number, library.as_ref()) == Some(false) {
                // Right after its exec a process shows no environment: now it does.
                let why = diagnosis::explain_process(number, &program, "LD_PRELOAD", library);
                let unknown = || format!("{}: the library was not loaded into it", program.display());
                self.not_recorded = Some(why.unwrap_or_else(unknown));
            }
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

    /// A process that is there: this one, under other numbers.
    fn process(number: u32, inner: u32, parent: u32) -> Process {
        let own = Process::open(std::process::id(), Duration::ZERO).expect("this process");
        Process { member: Member { number, inner, parent }, ..own }
    }

    #[test]
    fn an_image_is_of_the_process_that_knows_itself_by_its_number() {
        let mut processes = Processes::new(Path::new("/x/library.so"));
        processes.all =
            vec![process(100, 100, 1), process(200, 2, 100), process(300, 3, 200), process(400, 3, 100)];
        let of = |processes: &Processes, pid, parent| {
            processes.choose(ImageId { pid, ordinal: 0 }, parent).map(|at| processes.all[at].member.number)
        };
        assert_eq!(of(&processes, 100, None), Some(100));
        assert_eq!(of(&processes, 2, Some(100)), Some(200));
        assert_eq!(of(&processes, 3, Some(200)), Some(300), "the parent tells");
        assert_eq!(of(&processes, 3, None), Some(400), "else the latest");
        assert_eq!(of(&processes, 300, None), None, "a number from here is none from there");
        processes.all[2].ended = Some(Duration::ZERO);
        assert_eq!(of(&processes, 3, Some(200)), Some(400), "whoever has ended begins no image");
    }

    #[test]
    fn what_records_is_recorded_whatever_was_seen_before() {
        let mut late = process(1, 1, 0);
        late.not_recorded = Some("the library was not loaded into it".to_owned());
        late.program = Some("/x/server".into());
        late.take_image(ImageId { pid: 1, ordinal: 0 }, Path::new("/bin/sh"));
        assert!(late.not_recorded.is_some(), "what it was before");
        late.take_image(ImageId { pid: 1, ordinal: 1 }, Path::new("/x/server"));
        assert_eq!((late.images.len(), late.not_recorded), (2, None));
    }

    #[test]
    fn shares_of_memory_are_over_time() {
        let mut processes = Processes::new(Path::new("/x/library.so"));
        processes.all = vec![process(1, 1, 0), process(2, 2, 1)];
        let second = Duration::from_secs(1);
        for (at, bytes) in [(0, [10, 30]), (1, [30, 30]), (3, [0, 0])] {
            processes.add_up(second * at);
            (processes.all[0].resident_bytes, processes.all[1].resident_bytes) = (bytes[0], bytes[1]);
            processes.tree_bytes = bytes.iter().sum();
        }
        processes.all[0].images.push(ImageId { pid: 1, ordinal: 0 });
        assert_eq!(processes.choose_main(1), 1, "another that is not recorded stands for nothing");
        processes.all[1].images.push(ImageId { pid: 2, ordinal: 1 });
        assert_eq!((processes.choose_main(1), processes.choose_main(2)), (1, 2), "none has twice as much");
        processes.all[0].byte_us /= 2;
        assert_eq!(processes.choose_main(1), 2, "a launcher");
        processes.all[0].byte_us *= 2;
        let shares: Vec<_> = processes.all.iter().map(|process| processes.share_of(process)).collect();
        assert_eq!(shares, [Some(70.0 / 160.0), Some(90.0 / 160.0)]);
    }
}
