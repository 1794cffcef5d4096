//! Recordings in progress, or what a crash left of one: a directory of raw files in, traces out.
//!
//! The parts, in the order in which data goes through them: `index` finds the images and chunks of a file,
//! `stream` reads each thread's records as steps, `merge` takes them tick by tick, `order` settles each tick
//! over `heap`, which knows what is live at which address; `samples` and `header` add what the command saw.
//!
//! What can be read is read: everything that is missing or damaged is reported as a problem, with its place.

mod header;
mod heap;
mod index;
mod job;
mod lineage;
mod listing;
mod merge;
mod order;
mod regular;
mod samples;
mod stream;
mod writer;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use heaplab_raw::{CONTROL_NAME, Control, Image, ImageId, image_name, parse_image_name};
use heaplab_trace::{Header, Note, Summary};

use super::{ImportError, ImportReport, Kind, Progress};
use index::{Contents, Sources};
use job::Job;
use lineage::Ancestor;
use listing::Listed;
use samples::Facts;

pub use header::allocator_name;
pub use regular::hash_library;
pub use writer::RawWriter;

/// What was found missing or damaged, in words: the first problems, and how many more there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Problems {
    told: Vec<String>,
    more: u64,
    /// The first of them by which records are missing, and how many more there are.
    unread: Option<(String, u64)>,
}

impl Problems {
    /// Problems beyond this number are counted and not described.
    const TOLD_MOST: usize = 20;

    fn add(&mut self, problem: String) {
        if self.told.len() < Problems::TOLD_MOST {
            self.told.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Adds a problem by which records are missing: the trace has a gap.
    fn add_unread(&mut self, problem: String) {
        match &mut self.unread {
            Some((_, more)) => *more += 1,
            None => self.unread = Some((problem.clone(), 0)),
        }
        self.add(problem);
    }

    fn append(&mut self, others: &Problems) {
        others.told.iter().for_each(|problem| self.add(problem.clone()));
        self.more += others.more;
        self.unread = match (self.unread.take(), &others.unread) {
            (Some((first, more)), Some((_, others))) => Some((first, more + others + 1)),
            (own, others) => own.or_else(|| others.clone()),
        };
    }

    /// The problems by which records are missing, in a few words; none if there are none.
    fn unread(&self) -> Option<String> {
        let (first, more) = self.unread.as_ref()?;
        Some(if *more == 0 { first.clone() } else { format!("{first}; and {more} more") })
    }

    /// The problems in words; the last entry counts those that are not described.
    fn told(&self) -> Vec<String> {
        let mut told = self.told.clone();
        if self.more > 0 {
            told.push(format!("{} more of this kind", self.more));
        }
        told
    }
}

/// The result of importing an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReport {
    /// The header of the trace.
    pub header: Header,
    /// Its totals.
    pub summary: Summary,
    /// What was missing or damaged, in words.
    pub problems: Vec<String>,
    /// Allocations and frees within `pthread_create`, which a replay makes for itself.
    pub machinery: u64,
    /// What the image inherited, where its trace includes that.
    pub inherited: Option<Inherited>,
}

/// An image that was imported, and its trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The image.
    pub image: ImageId,
    /// The trace's file.
    pub path: PathBuf,
    /// The result of the import.
    pub report: ImageReport,
}

/// The history of a forked image: what the processes that it descends from did until each forked the next.
/// The trace starts with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inherited {
    /// The image that forked it.
    pub parent: ImageId,
    /// When the trace begins, in microseconds on the recording's clock.
    pub begin_us: u64,
    /// When the image was forked.
    pub forked_us: u64,
    /// Events of the trace until then.
    pub events: u64,
}

/// The most records of inherited history in all traces of a recording together. Without a limit, a server
/// with a thousand children, or a parent that works for days, would multiply them without bound.
const INHERITED_MOST: u64 = 32 << 20;

/// Whether `input` is a raw recording: a directory that holds one, or the file of an image.
pub(super) fn recognises(input: &Path) -> bool {
    if input.is_dir() {
        return true;
    }
    let name = input.file_name().and_then(|name| name.to_str());
    let is_image = || {
        let page = index::read_page(&regular::open(input).ok()?).ok()?;
        Image::open(&page).ok().map(|image| image.head().id)
    };
    name.and_then(parse_image_name).is_some_and(|id| is_image() == Some(id))
}

/// Imports the recording, or the one image of it, that `input` is. For a recording, the trace is that of its
/// main image, or of the last image of `process`; the traces of its other images are written beside it.
pub(super) fn import(
    input: &Path,
    process: Option<u64>,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<ImportReport, ImportError> {
    let (recording, image) = match input.file_name().and_then(|name| name.to_str()).and_then(parse_image_name)
    {
        Some(image) if !input.is_dir() => (Recording::open(&parent(input))?, Some(image)),
        _ => (Recording::open(input)?, None),
    };
    let image = match (image, process) {
        (None, Some(pid)) => Some(recording.last_image_of(pid)?),
        (image, _) => image,
    };
    let asked: &[ImageId] = image.as_ref().map_or(&recording.images, std::slice::from_ref);
    if !asked.iter().any(|image| recording.has_content(*image)) {
        return Err(Kind::Raw.no_events(input, &[]));
    }
    let main = image.unwrap_or(recording.main_image());
    let report = recording.import(main, output, progress)?;
    let ImageReport { mut header, summary, problems, .. } = report.clone();
    let name = input.file_name().unwrap_or(input.as_os_str()).to_string_lossy().into_owned();
    let mut warnings = [problems, super::list_repairs(&summary)].concat();
    let mut images = vec![Imported { image: main, path: output.to_path_buf(), report }];
    if image.is_none() {
        for other in recording.import_others(output, progress)? {
            let (path, events) = (other.path.display(), other.report.summary.events);
            warnings.push(format!("another image is in {path}: {events} events"));
            images.push(other);
        }
        warnings.extend(recording.omitted());
    }
    header.notes.push(Note { name: "imported_from".to_string(), value: name });
    Ok(ImportReport { kind: Kind::Raw, header, summary, warnings, images })
}

/// The directory that a file is in.
fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory.to_path_buf(),
        _ => PathBuf::from("."),
    }
}

/// Imports the image `image` of the recording in `directory`: see [`Recording::import`].
pub fn import_image(
    directory: &Path,
    image: ImageId,
    output: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<ImageReport, ImportError> {
    Recording::open(directory)?.import(image, output, progress)
}

/// A directory that a recorder writes, or wrote.
#[derive(Debug)]
pub struct Recording {
    directory: PathBuf,
    /// In the order in which they began.
    images: Vec<ImageId>,
    /// Where each image is.
    listed: BTreeMap<ImageId, Listed>,
    /// What files hold, by their first image; read once.
    opened: RefCell<BTreeMap<ImageId, Rc<(Sources, Contents)>>>,
    /// What the command saw, with any problems in it; read once.
    facts: OnceCell<(Facts, Problems)>,
    /// The process that the command started, if the control page says so.
    process: Option<u32>,
    wall_clock_ns: Option<u64>,
    /// Records of inherited history that further traces may still have.
    inherited_left: Cell<u64>,
    problems: Problems,
}

impl Recording {
    /// Finds the images that `directory` holds. A directory without any is refused.
    pub fn open(directory: &Path) -> Result<Recording, ImportError> {
        let fail = |doing| move |source| ImportError::Io { path: directory.to_path_buf(), doing, source };
        let mut recording = Recording {
            directory: directory.to_path_buf(),
            images: Vec::new(),
            listed: BTreeMap::new(),
            opened: RefCell::default(),
            facts: OnceCell::new(),
            process: None,
            wall_clock_ns: None,
            inherited_left: Cell::new(INHERITED_MOST),
            problems: Problems::default(),
        };
        for entry in fs::read_dir(directory).map_err(fail("open"))? {
            let name = entry.map_err(fail("read"))?.file_name();
            let Some(first) = name.to_str().and_then(parse_image_name) else { continue };
            let path = recording.path_of(first);
            match listing::list(&path, first) {
                Ok(listed) => recording.listed.extend(listed),
                // No process that is recorded makes one.
                Err(error) if regular::is_irregular(&error) => {
                    recording.problems.add(format!("{}: {error}: it is not read", path.display()));
                }
                Err(source) => return Err(ImportError::Io { path, doing: "read", source }),
            }
        }
        if recording.listed.is_empty() {
            return Err(ImportError::Raw {
                path: directory.to_path_buf(),
                problem: "holds no raw recording: a file PID-ORDINAL.raw for each process is expected"
                    .to_string(),
            });
        }
        recording.images.extend(recording.listed.keys());
        recording.images.sort_by_key(|image| (image.ordinal, image.pid));
        recording.read_control().map_err(fail("read"))?;
        Ok(recording)
    }

    /// Its images, in the order in which they began.
    pub fn images(&self) -> &[ImageId] {
        &self.images
    }

    /// Whether an image began with a fork rather than with the start of a program.
    pub fn is_forked(&self, image: ImageId) -> bool {
        // A forked child begins in its parent's file, a program in its own.
        self.first_of(image) != image
    }

    /// The image that the recording is about: the last image of the process that the command started, among
    /// those that recorded anything.
    pub fn main_image(&self) -> ImageId {
        // Processes of other PID namespaces may have its number too: the first image is that of the command's process.
        let is_own = |image: &&ImageId| self.process.is_none_or(|process| image.pid == process);
        let started = self.images.iter().find(is_own).copied().unwrap_or(self.images[0]);
        self.last_image(|image| self.is_same_process(started, image)).unwrap_or(started)
    }

    /// The last image of the process `pid` that holds anything. If no process has this PID where the command ran, it
    /// is one that a process has for itself.
    fn last_image_of(&self, pid: u64) -> Result<ImageId, ImportError> {
        let found = self.last_image(|image| u64::from(self.number_of(image)) == pid);
        found.or_else(|| self.last_image(|image| u64::from(image.pid) == pid)).ok_or_else(|| {
            let mut known: Vec<String> =
                self.images.iter().map(|image| self.number_of(*image).to_string()).collect();
            known.dedup();
            let (path, found) = (self.directory.clone(), known.join(", "));
            ImportError::UnknownProcess { path, wanted: pid, found }
        })
    }

    /// The last image among some that holds anything, or else the last of them.
    fn last_image(&self, is_meant: impl Fn(ImageId) -> bool) -> Option<ImageId> {
        let own = || self.images.iter().rev().copied().filter(|image| is_meant(*image));
        own().find(|image| self.has_content(*image)).or_else(|| own().next())
    }

    /// The PID of an image's process where the command ran; the one that it has for itself if that is not known.
    fn number_of(&self, image: ImageId) -> u32 {
        self.listed.get(&image).and_then(|listed| listed.host_process).unwrap_or(image.pid)
    }

    /// Whether two images are of one process. Its PID in its innermost namespace is not enough: the first process of
    /// every namespace has the number 1.
    fn is_same_process(&self, one: ImageId, other: ImageId) -> bool {
        one.pid == other.pid && self.number_of(one) == self.number_of(other)
    }

    /// The first image of the file that an image is in.
    fn first_of(&self, image: ImageId) -> ImageId {
        self.listed.get(&image).map_or(image, |listed| listed.first)
    }

    /// Whether the image holds more than its head.
    pub fn has_content(&self, image: ImageId) -> bool {
        self.contents_of(image)
            .is_ok_and(|found| !found.1.index(image, &mut Problems::default()).chunks.is_empty())
    }

    /// What is wrong with the images that have no trace because nothing of theirs can be read.
    pub fn omitted(&self) -> Vec<String> {
        let mut omitted = Vec::new();
        for &image in self.images.iter().filter(|image| !self.has_content(**image)) {
            let first = self.first_of(image);
            let problems = match self.contents_of(image) {
                // A file that cannot be read is named once.
                Err(_) if image != first => Vec::new(),
                Err(error) => vec![error.to_string()],
                Ok(found) => {
                    // The problems of a file are those of its first image.
                    let mut problems =
                        if image == first { found.1.problems.clone() } else { Problems::default() };
                    found.1.index(image, &mut problems);
                    problems.told()
                }
            };
            let (pid, ordinal) = (image.pid, image.ordinal);
            omitted
                .extend(problems.into_iter().map(|why| format!("image {pid}-{ordinal} has no trace: {why}")));
        }
        omitted
    }

    /// What is known about an image from its first page; none if that cannot be read.
    pub fn facts_of<T>(&self, image: ImageId, look: impl FnOnce(Image<'_>) -> T) -> Option<T> {
        let Listed { first, offset, .. } = *self.listed.get(&image)?;
        let page = index::read_page_at(&regular::open(&self.path_of(first)).ok()?, offset).ok()?;
        let found = Image::open(&page).ok().filter(|found| found.head().id == image);
        found.map(look)
    }

    /// What the image's file holds.
    fn contents_of(&self, image: ImageId) -> Result<Rc<(Sources, Contents)>, ImportError> {
        let first = self.first_of(image);
        if let Some(found) = self.opened.borrow().get(&first) {
            return Ok(Rc::clone(found));
        }
        let sources = Sources::open(&self.directory, self.path_of(first), first)?;
        let contents = Contents::read(&sources, first)?;
        let read = Rc::new((sources, contents));
        self.opened.borrow_mut().insert(first, Rc::clone(&read));
        Ok(read)
    }

    /// What the command saw.
    fn facts(&self) -> Result<&(Facts, Problems), ImportError> {
        if let Some(read) = self.facts.get() {
            return Ok(read);
        }
        let mut problems = Problems::default();
        let facts = Facts::read(&self.directory, &mut problems).map_err(|source| ImportError::Io {
            path: self.directory.join(heaplab_raw::SAMPLES_NAME),
            doing: "read",
            source,
        })?;
        Ok(self.facts.get_or_init(|| (facts, problems)))
    }

    /// The path of the file that an image started.
    fn path_of(&self, image: ImageId) -> PathBuf {
        let (name, length) = image_name(image);
        self.directory.join(String::from_utf8_lossy(&name[..length]).as_ref())
    }

    /// Imports every other image that holds anything, beside `output`.
    fn import_others(
        &self,
        output: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Imported>, ImportError> {
        let main = self.main_image();
        let others = self.images.iter().filter(|image| **image != main && self.has_content(**image));
        let imports = others.map(|&image| {
            let path = self.output_of(image, output);
            Ok(Imported { image, report: self.import(image, &path, progress)?, path })
        });
        imports.collect()
    }

    /// The name of the trace of `image` where that of the main image is `output`: `NAME.PID-ORDINAL.hlt`.
    pub fn output_of(&self, image: ImageId, output: &Path) -> PathBuf {
        if image == self.main_image() {
            return output.to_path_buf();
        }
        output.with_extension(format!("{}-{}.hlt", image.pid, image.ordinal))
    }

    /// Writes the trace of `image` to `output`, which appears when it is complete.
    pub fn import(
        &self,
        image: ImageId,
        output: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImageReport, ImportError> {
        let found = self.contents_of(image)?;
        let (sources, contents) = &*found;
        let mut problems = self.problems.clone();
        if self.first_of(image) == image {
            problems.append(&contents.problems);
        }
        let index = contents.index(image, &mut problems);
        let (facts, missing) = self.facts()?;
        problems.append(missing);
        let number = index.image().and_then(|image| image.host_process()).unwrap_or(image.pid);
        let line: Vec<Ancestor<'_>> = self
            .line_of(image)
            .into_iter()
            .map(|(id, fork)| Ancestor { id, fork, index: contents.index(id, &mut problems) })
            .collect();
        let job = Job { recording: self, image, number, sources, index: &index, line: &line, facts };
        job.run(output, problems, progress)
    }

    fn read_control(&mut self) -> io::Result<()> {
        let words = match regular::open(&self.directory.join(CONTROL_NAME)) {
            Ok(file) => index::read_page(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.problems.add(format!("{CONTROL_NAME} is missing: when the recording began is unknown"));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        match Control::open(&words) {
            Ok(control) => {
                self.process = u32::try_from(control.process()).ok().filter(|pid| *pid != 0);
                self.wall_clock_ns = Some(control.wall_clock_ns()).filter(|time| *time != 0);
            }
            Err(fault) => self.problems.add(format!("{CONTROL_NAME} cannot be used: {fault}")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
