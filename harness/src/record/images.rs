//! The images that recorded processes have started, with their first pages mapped while they run.
//!
//! A starting process makes a file; images of its forked children are listed on the file's first page. An image gets
//! its number a moment before it can be seen. If an image never appears, because its process was killed in between,
//! those after it are still found.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use heaplab_raw::{Image, ImageId, ImageState};
use rustix::fs::{FallocateFlags, OFlags, fallocate};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use super::directory::Directory;
use super::page::SharedPage;

/// The intervals at which images that have a number but have not appeared yet are searched for: the first, from which
/// each is twice the one before, and the longest. Most appear a moment later, but some never will: only one more that is
/// missing begins anew.
const RETRY_STEPS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(100)];
/// Room that is made in the file of a process that may not extend it: as much as the library makes elsewhere.
const FIRST_ROOM_BYTES: u64 = 1 << 20;
/// Zeros that are written at once where the file system cannot reserve bytes.
const ZEROS_BYTES: usize = 256 << 10;

/// Files of programs that have exited are kept until there are this many: a child that they forked may still
/// start an image.
const MOST_FILES: usize = 10_000;

/// All images of a recording whose processes may still run.
#[derive(Default)]
pub(super) struct Images {
    files: Vec<ImageFile>,
    known: BTreeSet<ImageId>,
    /// The numbers that had been assigned when everything was last seen.
    seen_ordinals: u64,
    next_retry: Duration,
    retry_step: Duration,
}

/// A file of images.
pub(super) struct ImageFile {
    pub(super) path: PathBuf,
    pub(super) copies: PathBuf,
    /// The pages of its images that may still run, and the file's first page.
    pages: Vec<Page>,
    /// Whether any of them may still run.
    pub(super) is_awake: bool,
    /// Offset of the last forked image that was seen.
    linked: Option<u64>,
    /// Forked images that could not be mapped yet: the list from this offset until that one.
    unread: Vec<(u64, Option<u64>)>,
}

/// The first page of an image.
pub(super) struct Page {
    pub(super) id: ImageId,
    page: SharedPage,
}

impl Page {
    /// None if its mark is gone.
    pub(super) fn image(&self) -> Option<Image<'_>> {
        Image::open(self.page.words()).ok()
    }

    /// Whether its process may still record.
    fn is_running(&self) -> bool {
        let Some(image) = self.image() else { return false };
        let is_there = |process: u32| {
            let process = i32::try_from(process).ok().and_then(Pid::from_raw);
            process.is_some_and(|process| test_kill_process(process) != Err(Errno::SRCH))
        };
        image.state() == Some(ImageState::Running) && image.host_process().is_none_or(is_there)
    }
}

impl Images {
    /// Adds new images, `ordinals` of which have been started, and returns them; drops those that have ended.
    pub(super) fn find(&mut self, elapsed: Duration, ordinals: u64, directory: &Directory) -> Vec<ImageId> {
        if self.missing(ordinals) == 0 || (ordinals == self.seen_ordinals && elapsed < self.next_retry) {
            return Vec::new();
        }
        let missing_before = self.missing(self.seen_ordinals);
        self.seen_ordinals = ordinals;
        self.files.iter_mut().for_each(ImageFile::let_go);
        if self.files.len() > MOST_FILES {
            self.files.retain(|file| file.is_awake);
        }
        let mut fresh = Vec::new();
        // A directory that cannot be read now is read the next time.
        for id in directory.files().unwrap_or_default() {
            if !self.known.contains(&id)
                && let Some(file) = ImageFile::open(id, directory)
            {
                fresh.push(id);
                self.files.push(file);
            }
        }
        self.files.iter_mut().for_each(|file| fresh.extend(file.find_forked()));
        self.known.extend(&fresh);
        let [first, longest] = RETRY_STEPS;
        let is_awaited = self.missing(ordinals) > missing_before;
        self.retry_step = if is_awaited { first } else { (2 * self.retry_step).min(longest) };
        self.next_retry = elapsed.saturating_add(self.retry_step);
        fresh
    }

    /// How many of that many images have not appeared.
    fn missing(&self, ordinals: u64) -> u64 {
        ordinals.saturating_sub(self.known.len() as u64)
    }

    /// The files of images that may still run.
    pub(super) fn files(&mut self) -> &mut Vec<ImageFile> {
        &mut self.files
    }

    /// The images that may still run, each with the one that its file is named after.
    pub(super) fn pages(&self) -> impl Iterator<Item = (ImageId, &Page)> {
        let files = self.files.iter().filter_map(|file| Some((file.pages.first()?.id, file)));
        files.flat_map(|(first, file)| file.pages.iter().map(move |page| (first, page)))
    }
}

impl ImageFile {
    /// Opens a file; none as long as it has no image.
    fn open(first: ImageId, directory: &Directory) -> Option<ImageFile> {
        let path = directory.image_file(first);
        let file = open(&path).ok()?;
        if file.metadata().ok()?.len() == 0 {
            // Its process may not write a file of that length, and waits; or it is about to write one.
            let _ = extend(&path, 0, FIRST_ROOM_BYTES);
        }
        let page = SharedPage::map(&file).ok()?;
        let is_head = Image::open(page.words()).is_ok_and(|image| image.head().id == first);
        let copies = directory.copies_file(first);
        let pages = vec![Page { id: first, page }];
        is_head.then_some(ImageFile { path, copies, pages, is_awake: true, linked: None, unread: Vec::new() })
    }

    /// The first image, whose page is the file's.
    pub(super) fn image(&self) -> Option<Image<'_>> {
        self.pages.first()?.image()
    }

    /// Its images that may still run.
    pub(super) fn pages(&self) -> &[Page] {
        &self.pages
    }

    /// Adds images that have been forked since the last call.
    fn find_forked(&mut self) -> Vec<ImageId> {
        let Some(last) = self.image().and_then(|image| image.last_image()) else { return Vec::new() };
        if Some(last) != self.linked {
            self.unread.push((last, self.linked));
            self.linked = Some(last);
        }
        if self.unread.is_empty() {
            return Vec::new();
        }
        let Ok(file) = open(&self.path) else { return Vec::new() };
        let mut fresh = Vec::new();
        // The offsets of a damaged list may form a ring.
        let mut walked = BTreeSet::new();
        for (from, until) in std::mem::take(&mut self.unread) {
            let mut next = Some(from);
            while let Some(offset) = next.filter(|offset| Some(*offset) != until && walked.insert(*offset)) {
                let Some((page, id, before)) = map_image(&file, offset) else {
                    self.unread.push((offset, until));
                    break;
                };
                fresh.push(id);
                self.pages.push(Page { id, page });
                next = before;
            }
        }
        self.is_awake |= !fresh.is_empty();
        fresh
    }

    /// Drops images that have ended.
    fn let_go(&mut self) {
        let mut at = 0;
        let mut running = 0;
        self.pages.retain(|page| {
            let is_first = at == 0;
            at += 1;
            let is_running = page.is_running();
            running += usize::from(is_running);
            is_first || is_running
        });
        self.is_awake = running > 0;
    }
}

/// An image's page, its number, and where the page of the image that was forked before it is.
fn map_image(file: &File, offset: u64) -> Option<(SharedPage, ImageId, Option<u64>)> {
    let page = SharedPage::map_at(file, offset).ok()?;
    let (id, before) = Image::open(page.words()).ok().map(|image| (image.head().id, image.image_before()))?;
    Some((page, id, before))
}

/// Opens a file of the recording.
pub(super) fn open(path: &Path) -> io::Result<File> {
    open_with(OpenOptions::new().read(true).write(true), path)
}

/// Opens a file of the recording with some options. Others may write into the directory: it follows no link, waits for
/// no pipe's other end, and opens nothing but regular files.
pub(super) fn open_with(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = options.custom_flags(flags.bits() as i32).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// Makes a file of the recording at least `to` bytes long, and reserves its bytes from `from` on, so that writing there
/// cannot fail later. What is there already stays: processes may extend the file at the same time, and use what they
/// added.
pub(super) fn extend(path: &Path, from: u64, to: u64) -> io::Result<()> {
    match fallocate(open(path)?, FallocateFlags::empty(), from, to.saturating_sub(from)) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => append_zeros(path, to),
        other => Ok(other?),
    }
}

/// What the file system cannot reserve is written. The kernel places each piece at the end that the file has then: no
/// other writer's bytes are below zeros of this one.
fn append_zeros(path: &Path, to: u64) -> io::Result<()> {
    let mut file = open_with(OpenOptions::new().append(true), path)?;
    let zeros = vec![0; ZEROS_BYTES];
    loop {
        let missing = to.saturating_sub(file.metadata()?.len());
        if missing == 0 {
            return Ok(());
        }
        match file.write(&zeros[..ZEROS_BYTES.min(usize::try_from(missing).unwrap_or(ZEROS_BYTES))]) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heaplab_raw::{ImageHead, PAGE_BYTES};
    use std::fs;
    use std::io::Seek;
    use std::sync::atomic::Ordering;

    const STEP: Duration = Duration::from_secs(1);

    fn begin(directory: &Directory, id: ImageId) -> SharedPage {
        let path = directory.image_file(id);
        fs::write(&path, vec![0; 3 * PAGE_BYTES]).expect("a file");
        let page = SharedPage::map(&open(&path).expect("a file")).expect("a page");
        Image::publish(page.words(), &ImageHead { id, ..ImageHead::default() }, &[]);
        page
    }

    /// A recording with the image of a program, and the numbers of two images that it may fork.
    struct Scene {
        _place: tempfile::TempDir,
        directory: Directory,
        ids: [ImageId; 3],
        page: SharedPage,
        file: File,
    }

    impl Scene {
        fn new() -> Scene {
            let place = tempfile::tempdir().expect("a directory");
            let directory = Directory::create(&place.path().join("x.hlt")).expect("a directory");
            let ids = [0, 1, 2].map(|ordinal| ImageId { pid: 9, ordinal });
            let page = begin(&directory, ids[0]);
            let file = open(&directory.image_file(ids[0])).expect("a file");
            Scene { _place: place, directory, ids, page, file }
        }
    }

    /// Forks an image of `first`, whose page is number `at` of the file.
    fn fork(file: &File, first: Image<'_>, id: ImageId, at: usize) -> SharedPage {
        let page = SharedPage::map_at(file, (at * PAGE_BYTES) as u64).expect("a page");
        let head = ImageHead { id, ..ImageHead::default() };
        first.link(Image::publish_fork(page.words(), &head, first), (at * PAGE_BYTES) as u64);
        page
    }

    #[test]
    fn a_file_that_several_extend_keeps_what_is_there() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("file");
        fs::write(&path, b"ones").expect("a file");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for to in 1..=16 {
                        append_zeros(&path, to * 10_000).expect("room");
                        let mut file = open(&path).expect("a file");
                        let begin = file.seek(io::SeekFrom::Start((to - 1) * 10_000)).expect("a place");
                        assert!(file.metadata().expect("a length").len() >= begin + 10_000);
                        file.write_all(b"ones").expect("there is room");
                    }
                });
            }
        });
        append_zeros(&path, 5).expect("nothing to do");
        let bytes = fs::read(&path).expect("a file");
        let (own, zeros) = (bytes.chunks(10_000).take(16), &bytes[160_000..]);
        assert!(own.clone().all(|part| part.starts_with(b"ones") && part[4..].iter().all(|&byte| byte == 0)));
        assert!(own.count() == 16 && zeros.iter().all(|&byte| byte == 0));
        assert!(extend(&place.path().join("none"), 0, 1).is_err());
    }

    #[test]
    fn an_image_that_never_comes_hides_none_after_it() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Directory::create(&place.path().join("x.hlt")).expect("a directory");
        let ids = [0, 1, 2].map(|ordinal| ImageId { pid: std::process::id(), ordinal });
        fs::write(directory.image_file(ids[0]), b"").expect("a file without a head");
        let _first = begin(&directory, ids[1]);
        let mut images = Images::default();
        assert_eq!(images.find(STEP, 3, &directory), [ids[1]]);
        let _second = begin(&directory, ids[2]);
        assert_eq!(images.find(STEP, 3, &directory), [], "not at every moment");
        assert_eq!(images.find(2 * STEP, 3, &directory), [ids[2]]);
        assert_eq!(images.pages().map(|(_, page)| page.id).collect::<Vec<_>>(), ids[1..]);
        let _late = begin(&directory, ids[0]);
        assert_eq!(images.find(3 * STEP, 3, &directory), [ids[0]]);
    }

    #[test]
    fn an_image_that_comes_late_is_soon_found() {
        // Searches are after 1, 3, 7, 15, 31, 63 and 127 ms, and then every 100 ms.
        for (comes_ms, is_found_ms) in [(1, 1), (2, 3), (8, 15), (64, 127), (128, 227), (228, 327)] {
            let place = tempfile::tempdir().expect("a directory");
            let directory = Directory::create(&place.path().join("x.hlt")).expect("a directory");
            let id = ImageId { pid: std::process::id(), ordinal: 0 };
            let mut images = Images::default();
            let mut page = None;
            let found_ms = (0..400).find(|ms| {
                if *ms == comes_ms {
                    page = Some(begin(&directory, id));
                }
                images.find(Duration::from_millis(*ms), 1, &directory) == [id]
            });
            assert_eq!(found_ms, Some(is_found_ms), "it came after {comes_ms} ms");
        }
    }

    #[test]
    fn an_image_that_never_comes_is_no_more_often_searched_for_because_others_come() {
        let place = tempfile::tempdir().expect("a directory");
        let directory = Directory::create(&place.path().join("x.hlt")).expect("a directory");
        let mut images = Images::default();
        let mut pages = Vec::new();
        for ordinal in 0..12 {
            let now = Duration::from_millis(u64::from(ordinal));
            assert_eq!(images.find(now, u64::from(ordinal) + 1, &directory).len(), pages.len().min(1));
            assert!(ordinal < 8 || images.retry_step == RETRY_STEPS[1], "{ordinal}: {:?}", images.retry_step);
            pages.push(begin(&directory, ImageId { pid: std::process::id(), ordinal: ordinal + 1 }));
        }
    }

    #[test]
    fn forked_images_are_found_and_those_that_ended_let_go() {
        let Scene { _place, directory, ids, page, file } = Scene::new();
        let first = Image::open(page.words()).expect("a head");
        let mut images = Images::default();
        assert_eq!(images.find(STEP, 1, &directory), [ids[0]]);
        let forked = [1, 2].map(|at| fork(&file, first, ids[at], at));
        assert_eq!(images.find(STEP, 3, &directory), [ids[2], ids[1]]);
        first.set_state(ImageState::Exited);
        Image::open(forked[0].words()).expect("a head").set_state(ImageState::Exited);
        assert_eq!(images.find(2 * STEP, 4, &directory), []);
        assert_eq!(
            images.pages().map(|(_, page)| page.id).collect::<Vec<_>>(),
            [ids[0], ids[2]],
            "a file's own stays"
        );
        Image::open(forked[1].words()).expect("a head").set_state(ImageState::Exited);
        images.find(3 * STEP, 5, &directory);
        assert!(!images.files()[0].is_awake);
        // The child of a program that has exited.
        file.set_len(4 * PAGE_BYTES as u64).expect("a length");
        let id = ImageId { pid: 9, ordinal: 9 };
        let _late = fork(&file, first, id, 3);
        assert_eq!(images.find(4 * STEP, 6, &directory), [id]);
        assert!(images.files()[0].is_awake);
    }

    #[test]
    fn a_forked_image_that_cannot_be_mapped_is_tried_again() {
        let Scene { _place, directory, ids, page, file } = Scene::new();
        let first = Image::open(page.words()).expect("a head");
        let forked = [1, 2].map(|at| fork(&file, first, ids[at], at));
        let mark = forked[0].words()[0].swap(0, Ordering::Relaxed);
        let mut images = Images::default();
        assert_eq!(images.find(STEP, 3, &directory), [ids[0], ids[2]]);
        assert_eq!(images.find(2 * STEP, 3, &directory), []);
        forked[0].words()[0].store(mark, Ordering::Relaxed);
        assert_eq!(images.find(3 * STEP, 3, &directory), [ids[1]]);
        assert_eq!(images.find(4 * STEP, 3, &directory), []);
    }
}
