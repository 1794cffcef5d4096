//! The processes of a recording: the program's own and all that descend from it, recorded or not, while they run and
//! after they exit. Orphans among them are adopted by this process.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heaplab_raw::{ImageId, SampleRecord, Text, write_sample};

use super::diagnosis;
use super::images::{Images, Page};
use super::shared::SharedOverTime;
use super::strangers::Strangers;
use super::tree::{self, Member};
use crate::sharing::Sharing;
use crate::sharing::family::{Starter, is_borrowing, started_below};

/// An unchanged figure is stored at least this often.
const RESIDENT_MOST: Duration = Duration::from_secs(1);
/// How long a program may run before the library must be in its mappings.
const LOADING: Duration = Duration::from_millis(50);

/// All processes that were seen, in order.
pub(super) struct Processes {
    all: Vec<Process>,
    /// The process that was started.
    program: u32,
    strangers: Strangers,
    /// When processes were last searched for, and the time before.
    searched: [Duration; 2],
    /// The file name of the recorder's library.
    library: String,
    /// Bytes of all processes at the last sample.
    tree_bytes: u64,
    sampled: Option<Duration>,
    /// Bytes of all processes, times microseconds.
    tree_byte_us: u128,
    sharing: Sharing,
    shared: SharedOverTime,
}

/// One process.
pub(super) struct Process {
    pub(super) member: Member,
    /// When the last search but one took place that did not see it: it had not started then. A single search may miss a
    /// process whose parent exits meanwhile.
    not_before: Duration,
    /// When it was first seen, and when it was first missing.
    pub(super) began: Duration,
    pub(super) ended: Option<Duration>,
    /// As wait(2) returns it, if this process had to wait for it.
    pub(super) status: Option<u32>,
    /// What it runs, or ran last.
    pub(super) program: Option<PathBuf>,
    /// Since when it runs that.
    since: Duration,
    is_checked: bool,
    /// Why the program that it runs is not recorded.
    pub(super) not_recorded: Option<String>,
    pub(super) images: Vec<ImageId>,
    /// The images that their files are named after.
    files: Vec<ImageId>,
    /// What started it, for as long as it may run in that process's memory.
    lender: Option<Starter>,
    pub(super) peak_bytes: u64,
    statm: File,
    /// That of a thread, where the first one has exited before the others.
    of_thread: Option<File>,
    resident_bytes: u64,
    stored: Option<Duration>,
    sampled: Option<Duration>,
    names: BTreeMap<u32, String>,
    /// Its bytes, times microseconds.
    byte_us: u128,
}

/// Where an image comes from.
struct Origin {
    id: ImageId,
    /// The image that its file is named after.
    file: ImageId,
    /// The process that forked it.
    parent: Option<u32>,
    /// When it began.
    begin: Duration,
}

/// What a process maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maps {
    /// The image's file.
    Image,
    /// Not that file although it would if the image were its own, or that file for another image.
    Other,
    Unknown,
}

impl Processes {
    pub(super) fn new(library: &Path) -> Processes {
        let library = library.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Processes {
            all: Vec::new(),
            program: 0,
            strangers: Strangers::default(),
            searched: [Duration::ZERO; 2],
            library,
            tree_bytes: 0,
            sampled: None,
            tree_byte_us: 0,
            sharing: Sharing::default(),
            shared: SharedOverTime::default(),
        }
    }

    /// The processes, in the order in which they were seen.
    pub(super) fn all(&self) -> &[Process] {
        &self.all
    }

    /// Takes note of the processes that run before the program starts: they, and what they start, are not its tree's.
    pub(super) fn note_strangers(&mut self) {
        self.strangers.note_present();
    }

    /// Begins with the program's process.
    pub(super) fn begin_tree(&mut self, program: u32) {
        self.program = program;
    }

    /// Whether a process below this one does not belong to the tree.
    pub(super) fn is_stranger(&self, number: u32) -> bool {
        self.strangers.contains(number)
    }

    /// Adds new processes of the tree.
    pub(super) fn find(&mut self, elapsed: Duration) {
        self.strangers.forget_gone();
        let [last, not_before] = self.searched;
        self.searched = [elapsed, last];
        let own = std::process::id();
        for (number, starter) in started_below(own) {
            if self.strangers.contains(number) || self.running(number).is_some() {
                continue;
            }
            let is_adopted = || {
                starter.process == own
                    && number != self.program
                    && self.strangers.is_adopted(number, self.library.as_ref())
            };
            if self.strangers.contains(starter.process) || is_adopted() {
                self.strangers.add(number);
            } else if let Some(process) = Process::open(number, starter, elapsed) {
                self.all.push(Process { not_before, ..process });
            }
        }
    }

    /// Adds images, and writes onto their pages the PIDs that their processes have here. An image whose process
    /// exited before it was seen has none.
    pub(super) fn take_images(&mut self, images: &Images, fresh: &[ImageId]) {
        // Parents first: if two processes have the same PID in their own namespaces, the parent shows which
        // one is meant.
        let is_fresh = |(_, page): &(ImageId, &Page)| fresh.contains(&page.id);
        let mut pages: Vec<_> = images.pages().filter(is_fresh).collect();
        pages.sort_by_key(|(_, page)| page.id.ordinal);
        for (file, page) in pages {
            let Some(image) = page.image() else { continue };
            let head = image.head();
            let parent = head.parent.and_then(|parent| self.of_image(parent));
            let origin = Origin {
                id: page.id,
                file,
                parent: parent.map(|at| self.all[at].member.number),
                begin: Duration::from_micros(head.tick.elapsed_us()),
            };
            if let Some(at) = self.choose(&origin) {
                image.set_host_process(self.all[at].member.number);
                let program: Vec<u8> = image.text(Text::Program).collect();
                self.all[at].take_image(&origin, Path::new(OsStr::from_bytes(&program)));
            }
        }
    }

    fn of_image(&self, image: ImageId) -> Option<usize> {
        self.all.iter().position(|process| process.images.contains(&image))
    }

    /// The process of an image, by the PID that it has for itself. Where several have that PID, each in its own
    /// namespace, it is the one that maps the image's file; what follows tells of those that map no such file any more,
    /// and of two that were forked by the same program.
    fn choose(&self, image: &Origin) -> Option<usize> {
        let rank = |at: usize, process: &Process| {
            let maps = process.maps(image);
            let lived = process.lived_at(image.begin);
            let is_possible = maps == Maps::Image || (lived && maps != Maps::Other);
            let by_image = (maps == Maps::Image, lived, image.parent == Some(process.member.parent));
            let by_state = (process.ended.is_none(), process.images.is_empty());
            // The latest, and of those that were first seen at the same time the first: images are in order too.
            is_possible.then_some((by_image, by_state, process.not_before, Reverse(at)))
        };
        let of_number =
            self.all.iter().enumerate().filter(|(_, process)| process.member.inner == image.id.pid);
        of_number.filter_map(|(at, process)| rank(at, process)).max().map(|(.., Reverse(at))| at)
    }

    fn running(&mut self, number: u32) -> Option<&mut Process> {
        self.all.iter_mut().find(|process| process.member.number == number && process.ended.is_none())
    }

    /// Samples the resident memory of all processes, and writes what changed.
    pub(super) fn read_resident(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        self.add_up(elapsed);
        let running = self.all.iter_mut().filter(|process| process.ended.is_none());
        self.tree_bytes = running.map(|process| process.read_resident(elapsed, records)).sum();
    }

    /// Reads what the processes share, if it is time.
    pub(super) fn read_shared(&mut self, elapsed: Duration) {
        let running = self.all.iter().filter(|process| process.ended.is_none() && process.lender.is_none());
        if let Some(shared) = self.sharing.sample(elapsed, running.map(|process| process.member.number)) {
            self.shared.push(elapsed, shared);
        }
    }

    /// What the processes shared over time.
    ///
    /// # Errors
    ///
    /// Why it is not known.
    pub(super) fn shared(&self) -> Result<&[(Duration, u64)], &str> {
        self.sharing.known().and_then(|()| self.shared.points())
    }

    /// Adds the memory that was resident since the last sample.
    fn add_up(&mut self, elapsed: Duration) {
        let held = self.sampled.map_or(0, |sampled| elapsed.saturating_sub(sampled).as_micros());
        self.sampled = Some(elapsed);
        self.tree_byte_us += u128::from(self.tree_bytes) * held;
        for process in self.all.iter_mut().filter(|process| process.ended.is_none()) {
            process.byte_us += u128::from(process.resident_bytes) * held;
        }
    }

    /// A process's share of the memory of all processes over time; none if there was no memory.
    pub(super) fn share_of(&self, process: &Process) -> Option<f64> {
        (self.tree_byte_us > 0).then(|| process.byte_us as f64 / self.tree_byte_us as f64)
    }

    /// The memory of all processes that were seen, in bytes times the microseconds that they were there.
    pub(super) fn tree_byte_us(&self) -> u128 {
        self.tree_byte_us
    }

    /// The process whose trace represents the recording: the one that was started, unless it started another
    /// one that is recorded and had more than twice the memory over time: then it was only a launcher.
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

    /// Reads the names of threads, and writes what changed.
    pub(super) fn read_names(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        self.all
            .iter_mut()
            .filter(|process| process.ended.is_none())
            .for_each(|process| process.read_names(elapsed, records));
    }

    /// Checks what each process runs, and whether that can be recorded.
    pub(super) fn check_programs(&mut self, elapsed: Duration) {
        for process in self.all.iter_mut().filter(|process| process.ended.is_none()) {
            process.check_program(elapsed, &self.library);
        }
    }

    /// Stores the end of a process that this one waited for.
    pub(super) fn end(&mut self, number: u32, status: u32, elapsed: Duration, records: &mut Vec<u8>) {
        if self.strangers.contains(number) {
            return;
        }
        // A process without memory was found missing before it was waited for.
        if let Some(process) = self.all.iter_mut().rev().find(|process| process.member.number == number) {
            process.status = Some(status);
            if process.ended.is_none() {
                process.end(elapsed, records);
            }
        }
        let elapsed_us = micros(elapsed);
        append(records, &SampleRecord::ProcessGone { elapsed_us, pid: number, status });
    }

    /// How many processes, except `process`, still run that are recorded as soon as they allocate.
    pub(super) fn count_running(&self, but: u32) -> usize {
        let others = self.all.iter().filter(|process| process.member.number != but);
        let recorded = others.filter(|process| process.ended.is_none() && process.not_recorded.is_none());
        recorded.filter(|process| process.is_running()).count()
    }

    /// Stores the last unchanged sample of each process: it had that memory until then.
    pub(super) fn store_last(&mut self, records: &mut Vec<u8>) {
        self.all.iter_mut().for_each(|process| process.store_last(records));
    }
}

impl Process {
    /// None for a process that has exited and waits to be reaped.
    fn open(number: u32, starter: Starter, elapsed: Duration) -> Option<Process> {
        let process = Process::read(number, starter, elapsed)?;
        process.is_running().then_some(process)
    }

    fn read(number: u32, starter: Starter, elapsed: Duration) -> Option<Process> {
        Some(Process {
            member: tree::read_member(number)?,
            not_before: Duration::ZERO,
            began: elapsed,
            ended: None,
            status: None,
            program: None,
            since: elapsed,
            is_checked: false,
            not_recorded: None,
            images: Vec::new(),
            files: Vec::new(),
            lender: Some(starter),
            peak_bytes: 0,
            statm: File::open(format!("/proc/{number}/statm")).ok()?,
            of_thread: None,
            resident_bytes: 0,
            stored: None,
            sampled: None,
            names: BTreeMap::new(),
            byte_us: 0,
        })
    }

    /// Adds an image that it started as `program`.
    fn take_image(&mut self, image: &Origin, program: &Path) {
        self.images.push(image.id);
        self.files.push(image.file);
        // NOTE: the library is loaded, whatever was seen before: on a busy machine loading may take longer than we
        // wait. A program that the process has executed since is a different one.
        if self.program.as_deref() == Some(program) {
            self.not_recorded = None;
        }
    }

    /// Whether its PID is its own in a namespace only: another process may have the same in another one.
    fn is_inside(&self) -> bool {
        self.member.inner != self.member.number
    }

    /// Whether it may have started an image then. Searches miss processes while others exit, so that a PID that no
    /// namespace changed counts for more.
    fn lived_at(&self, begin: Duration) -> bool {
        let has_started = !self.is_inside() || self.not_before <= begin;
        has_started && self.ended.is_none_or(|ended| begin <= ended)
    }

    /// What it maps, as far as that shows whether an image is its own: a PID that no namespace changed is enough.
    fn maps(&self, image: &Origin) -> Maps {
        // A fork begins one image in its parent's file, and an exec makes another file.
        if self.files.contains(&image.file) {
            return Maps::Other;
        }
        if !self.is_inside() || self.ended.is_some() {
            return Maps::Unknown;
        }
        // One that has no earlier image may have executed another program since it started this one.
        let has_begun = self.images.iter().any(|own| own.ordinal < image.id.ordinal);
        match tree::maps_image(self.member.number, image.file) {
            Some(true) => Maps::Image,
            Some(false) if has_begun => Maps::Other,
            _ => Maps::Unknown,
        }
    }

    fn end(&mut self, elapsed: Duration, records: &mut Vec<u8>) {
        self.store_last(records);
        self.ended = Some(elapsed);
    }

    fn read_resident(&mut self, elapsed: Duration, records: &mut Vec<u8>) -> u64 {
        let Some(resident_bytes) = self.resident_now() else {
            self.end(elapsed, records);
            return 0;
        };
        self.sampled = Some(elapsed);
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
            && let Some(sampled) = self.sampled.filter(|sampled| self.stored != Some(*sampled))
        {
            self.store(sampled, records);
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
            // A recording has the TIDs that threads have for themselves.
            let tid = if self.is_inside() { tree::inner_thread(number, task) } else { Some(task) };
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
            // Between its start and its exec a child of this process still runs this program.
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
        match tree::read_statm(&self.statm) {
            Some(figures) => figures.pages > 0 || tree::open_statm_of_thread(self.member.number).is_some(),
            None => false,
        }
    }

    /// Bytes of resident memory without file pages and shared pages: 0 while it runs in another process's memory, and
    /// none once no thread runs. The file of the process is that of its first thread, and cannot be read once the
    /// process was reaped: as long as it can, threads that are found by the PID are the process's own.
    fn resident_now(&mut self) -> Option<u64> {
        // NOTE: before its figures are read, so that those of a process that executes a program meanwhile are its own.
        self.lender = self.lender.filter(|lender| is_borrowing(self.member.number, *lender));
        let own = tree::read_statm(&self.statm)?;
        let figures = if own.pages > 0 {
            own
        } else {
            let of_thread = |file: &File| tree::read_statm(file).filter(|figures| figures.pages > 0);
            self.of_thread.as_ref().and_then(of_thread).or_else(|| {
                self.of_thread = tree::open_statm_of_thread(self.member.number);
                self.of_thread.as_ref().and_then(of_thread)
            })?
        };
        Some(if self.lender.is_some() { 0 } else { figures.anonymous * rustix::param::page_size() as u64 })
    }
}

fn append(records: &mut Vec<u8>, record: &SampleRecord<'_>) {
    write_sample(record, &mut |bytes| records.extend(bytes));
}

fn micros(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
