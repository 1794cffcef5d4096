//! Full buffers of recorded threads: copied to the files behind, so that the threads need not do it.
//!
//! Nothing depends on it. A thread that finds its buffer still full when it has filled the other one copies that
//! itself, and so does every thread when this process is gone or cannot write.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use heaplab_raw::{Control, Full, Image, ImageId, ImageState};
use nix::sys::resource::{Resource, getrlimit};
use rustix::process::{Pid, test_kill_process};

use super::directory::Directory;
use super::page::SharedPage;

/// How long the clock is kept waiting at most.
const MOST: Duration = Duration::from_micros(500);
/// How often new images are looked for, while there are any.
const LIST_STEP: Duration = Duration::from_millis(10);
/// A longer buffer is none of ours.
const BUFFER_MOST_BYTES: u64 = 1 << 20;

/// The images whose buffers are copied.
pub(super) struct Drain {
    images: Vec<Source>,
    next_ordinal: u64,
    next_list: Duration,
    copier: Copier,
}

struct Source {
    id: ImageId,
    path: PathBuf,
    page: SharedPage,
}

/// What a buffer is copied with.
struct Copier {
    /// The longest file that this process may write: beyond it, a write is a signal.
    file_most_bytes: u64,
    buffer: Vec<u8>,
    zeros: Vec<u8>,
}

impl Drain {
    pub(super) fn new() -> Drain {
        let file_most_bytes = getrlimit(Resource::RLIMIT_FSIZE).map_or(0, |(soft, _)| soft);
        let copier = Copier { file_most_bytes, buffer: Vec::new(), zeros: Vec::new() };
        Drain { images: Vec::new(), next_ordinal: 0, next_list: Duration::ZERO, copier }
    }

    /// Copies buffers that are full, as many as the time allows. An image that cannot be written is left to its
    /// process, which says what is wrong.
    pub(super) fn copy_full(&mut self, elapsed: Duration, control: Control<'_>, directory: &Directory) {
        self.find_images(elapsed, control.ordinals(), directory);
        let begin = Instant::now();
        let has_time = || begin.elapsed() < MOST;
        self.images.retain(|source| self.copier.copy_full(source, control, &has_time).is_ok());
        // Each has its turn to be the first.
        if let Some(first) = self.images.len().checked_sub(1) {
            self.images.rotate_right(first);
        }
    }

    /// Takes in new images, and lets go of those whose process is gone.
    fn find_images(&mut self, elapsed: Duration, ordinals: u64, directory: &Directory) {
        if elapsed < self.next_list || ordinals == self.next_ordinal {
            return;
        }
        self.next_list = elapsed + LIST_STEP;
        self.images.retain(Source::is_running);
        let Ok(found) = directory.images() else { return };
        let fresh = found.iter().filter(|image| u64::from(image.ordinal) >= self.next_ordinal);
        // An image has its number a moment before its file: until that is there, the next look tries again.
        let opened: Vec<Source> = fresh.map_while(|&id| Source::open(id, directory.image_file(id))).collect();
        if let Some(last) = opened.last() {
            self.next_ordinal = u64::from(last.id.ordinal) + 1;
        }
        self.images.extend(opened);
    }
}

impl Source {
    /// None as long as the image has no head.
    fn open(id: ImageId, path: PathBuf) -> Option<Source> {
        let file = OpenOptions::new().read(true).write(true).open(&path).ok()?;
        let page = SharedPage::map(&file).ok()?;
        let is_head = Image::open(page.words()).is_ok_and(|image| image.head().id == id);
        is_head.then_some(Source { id, path, page })
    }

    fn is_running(&self) -> bool {
        let state = Image::open(self.page.words()).ok().and_then(|image| image.state());
        let process = i32::try_from(self.id.pid).ok().and_then(Pid::from_raw);
        state == Some(ImageState::Running)
            && process.is_some_and(|process| test_kill_process(process) != Err(rustix::io::Errno::SRCH))
    }
}

impl Copier {
    /// Copies full buffers of an image as long as there is time.
    fn copy_full(
        &mut self,
        source: &Source,
        control: Control<'_>,
        has_time: &impl Fn() -> bool,
    ) -> io::Result<()> {
        let Ok(image) = Image::open(source.page.words()) else { return Ok(()) };
        for (place, full) in image.full().take_while(|_| has_time()) {
            self.copy(source, image, full, control)?;
            image.set_free(place);
        }
        Ok(())
    }

    /// Copies a buffer to a new chunk, and makes zeros of it.
    fn copy(
        &mut self,
        source: &Source,
        image: Image<'_>,
        full: Full,
        control: Control<'_>,
    ) -> io::Result<()> {
        if full.bytes == 0 || full.bytes > BUFFER_MOST_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let bytes = full.bytes as usize;
        self.buffer.resize(bytes, 0);
        self.zeros.resize(bytes, 0);
        let file = OpenOptions::new().read(true).write(true).open(&source.path)?;
        file.read_exact_at(&mut self.buffer, full.offset)?;
        let offset = image.take_chunk(full.bytes);
        control.add_taken(full.bytes);
        if offset.saturating_add(full.bytes) > self.file_most_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        file.write_all_at(&self.buffer, offset)?;
        // From the first of these zeros on the copy is the chunk.
        file.write_all_at(&self.zeros, full.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use heaplab_raw::{ImageHead, PAGE_BYTES, PAGE_WORDS, Place};
    use std::fs::{self, File};
    use std::sync::atomic::AtomicU64;

    const BYTES: u64 = 64 << 10;

    /// A recording with one image, of this process: its head, and behind it two buffers of ones.
    struct Scene {
        _place: tempfile::TempDir,
        directory: Directory,
        control: Box<[AtomicU64; PAGE_WORDS]>,
        image: PathBuf,
        page: SharedPage,
        drain: Drain,
    }

    impl Scene {
        fn new() -> Scene {
            let place = tempfile::tempdir().expect("a directory");
            let directory = Directory::create(&place.path().join("x.hlt")).expect("a directory");
            let control = Box::new(Control::new_page(false, 0).map(AtomicU64::new));
            let id = ImageId { pid: std::process::id(), ordinal: 0 };
            assert_eq!(Control::open(&control).expect("a page").take_ordinal(), id.ordinal);
            let image = directory.image_file(id);
            fs::write(&image, vec![1; PAGE_BYTES + 2 * BYTES as usize]).expect("a file");
            let file = File::options().read(true).write(true).open(&image).expect("a file");
            file.write_all_at(&[0; PAGE_BYTES], 0).expect("a page of zeros");
            let page = SharedPage::map(&file).expect("a page");
            let head = Image::publish(page.words(), &ImageHead { id, ..ImageHead::default() }, &[]);
            head.take_chunk(2 * BYTES);
            Scene { _place: place, directory, control, image, page, drain: Drain::new() }
        }

        /// Hands a buffer over; gives whether its place is free behind the command's look.
        fn hand_over(&mut self, offset: u64) -> bool {
            let (image, control) = (Image::open(self.page.words()), Control::open(&self.control));
            let (image, control) = (image.expect("a head"), control.expect("a page"));
            let place: Place = image.take_place().expect("a place");
            image.hand_over(place, Full { offset, bytes: BYTES });
            self.drain.copy_full(Duration::from_secs(1), control, &self.directory);
            image.is_free(place)
        }

        fn taken_bytes(&self) -> u64 {
            Control::open(&self.control).expect("a page").taken_bytes()
        }
    }

    #[test]
    fn a_full_buffer_is_copied_behind_and_made_zeros() {
        let mut scene = Scene::new();
        let begin = PAGE_BYTES + BYTES as usize;
        assert!(scene.hand_over(begin as u64));
        let bytes = fs::read(&scene.image).expect("a file");
        let (kept, rest) = bytes[PAGE_BYTES..].split_at(BYTES as usize);
        assert!(kept.iter().all(|&byte| byte == 1), "another buffer is not touched");
        let (emptied, copy) = rest.split_at(BYTES as usize);
        assert!(emptied.iter().all(|&byte| byte == 0));
        assert!(copy.len() == BYTES as usize && copy.iter().all(|&byte| byte == 1));
        assert_eq!(scene.taken_bytes(), BYTES, "it counts for --max-bytes");
        assert!(scene.hand_over(PAGE_BYTES as u64), "and again");
    }

    #[test]
    fn what_cannot_be_copied_stays_with_its_process() {
        let mut scene = Scene::new();
        assert!(!scene.hand_over(1 << 40), "no buffer is there");
        assert!(scene.drain.images.is_empty(), "nor is it tried again");
        let mut scene = Scene::new();
        scene.drain.copier.file_most_bytes = PAGE_BYTES as u64 + 2 * BYTES;
        assert!(!scene.hand_over(PAGE_BYTES as u64), "beyond the limit a write is a signal");
        assert_eq!(fs::read(&scene.image).expect("a file").len() as u64, scene.drain.copier.file_most_bytes);
    }

    #[test]
    fn a_process_that_has_ended_is_let_go() {
        let mut scene = Scene::new();
        assert!(scene.hand_over(PAGE_BYTES as u64));
        assert_eq!(scene.drain.images.len(), 1);
        let image = Image::open(scene.page.words()).expect("a head");
        image.set_state(ImageState::Exited);
        let control = Control::open(&scene.control).expect("a page");
        control.take_ordinal();
        scene.drain.copy_full(Duration::from_secs(2), control, &scene.directory);
        assert!(scene.drain.images.is_empty());
    }
}
