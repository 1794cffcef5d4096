//! What this process does for recorded threads: it extends their files ahead of them, and copies full
//! buffers.
//!
//! A process that has dropped its rights needs both: it carves from the room, and hands over full buffers. Any other
//! process does this itself if this one is late or gone.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{Duration, Instant};

use heaplab_raw::{Control, FullBuffer, Image};
use nix::sys::resource::{Resource, getrlimit};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::directory::Directory;
use super::images::{self, ImageFile, Images};

/// The longest time for which the clock may wait.
const MOST: Duration = Duration::from_micros(500);
/// The least and the most room that a file has beyond what is carved from it.
const AHEAD_LEAST_BYTES: u64 = 4 << 20;
const AHEAD_MOST_BYTES: u64 = 256 << 20;
/// The part of the disk's free space that may be taken as room ahead.
const AHEAD_PART: u64 = 16;
/// The recorder makes no longer buffer.
const BUFFER_MOST_BYTES: u64 = 1 << 20;

/// Makes room, and copies full buffers.
pub(super) struct Collector {
    /// The longest file that this process may write: beyond it, a write is a signal.
    file_most_bytes: u64,
    buffer: Vec<u8>,
    zeros: Vec<u8>,
}

impl Collector {
    pub(super) fn new() -> Collector {
        let file_most_bytes = getrlimit(Resource::RLIMIT_FSIZE).map_or(0, |(soft, _)| soft);
        Collector { file_most_bytes, buffer: Vec::new(), zeros: Vec::new() }
    }

    /// Makes room where little is left, and copies as many full buffers as the time allows. A file that cannot be
    /// written is left to its processes, which report the error when they need room.
    pub(super) fn collect(&mut self, images: &mut Images, control: Control<'_>, directory: &Directory) {
        let begin = Instant::now();
        let has_time = || begin.elapsed() < MOST;
        let files = images.files();
        for file in files.iter().filter(|file| file.is_awake) {
            self.make_room(file, directory);
            // If the file of copies has no room for a buffer, its contents stay where they are.
            let _ = self.copy_full(file, control, &has_time);
        }
        // Each file takes its turn at being the first.
        if let Some(first) = files.len().checked_sub(1) {
            files.rotate_right(first);
        }
    }

    /// Makes room ahead: more if a file is filled fast.
    fn make_room(&self, file: &ImageFile, directory: &Directory) {
        let Some(image) = file.image().filter(|image| image.shortage().is_none()) else { return };
        let (room, next) = (image.room(), image.next_offset());
        let ahead = next.clamp(AHEAD_LEAST_BYTES, AHEAD_MOST_BYTES);
        if room == 0 || room.saturating_sub(next) >= ahead / 2 {
            return;
        }
        let left = directory.left_bytes().map_or(u64::MAX, |left| left / AHEAD_PART);
        let end = room.max(next.saturating_add(ahead.min(left))).min(self.file_most_bytes);
        let end = end / PAGE * PAGE;
        if end <= room {
            if self.file_most_bytes / PAGE * PAGE <= room {
                image.set_shortage(Errno::FBIG.raw_os_error());
            }
            return;
        }
        match images::extend(&file.path, room, end) {
            Ok(()) => image.make_room(end),
            Err(error) => image.set_shortage(error.raw_os_error().unwrap_or(Errno::IO.raw_os_error())),
        }
    }

    /// Copies full buffers of a file's images while there is time. A place that is not one of a buffer is passed over:
    /// only its own process could have written it.
    fn copy_full(
        &mut self,
        file: &ImageFile,
        control: Control<'_>,
        has_time: &impl Fn() -> bool,
    ) -> io::Result<()> {
        let Some(first) = file.image() else { return Ok(()) };
        for image in file.pages().iter().filter_map(|page| page.image()) {
            for (place, full) in image.full().take_while(|_| has_time()) {
                match self.copy(file, first, full, control) {
                    Ok(()) => image.set_free(place),
                    Err(error) if is_misplaced(&error) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    /// Copies a buffer to the file of copies, and zeroes it.
    fn copy(
        &mut self,
        file: &ImageFile,
        first: Image<'_>,
        full: FullBuffer,
        control: Control<'_>,
    ) -> io::Result<()> {
        if full.bytes == 0 || full.bytes > BUFFER_MOST_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let bytes = full.bytes as usize;
        self.buffer.resize(bytes, 0);
        self.zeros.resize(bytes, 0);
        if first.copied_bytes().saturating_add(full.bytes) > self.file_most_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let own = images::open(&file.path)?;
        own.read_exact_at(&mut self.buffer, full.offset)?;
        let copies = open_copies(file, &own)?;
        let offset = first.take_copy(full.bytes);
        control.add_taken(full.bytes);
        copies.write_all_at(&self.buffer, offset)?;
        // Once the first of these zeros is written, the copy is the chunk.
        own.write_all_at(&self.zeros, full.offset)
    }
}

/// Opens the file of copies beside the file `own`, and makes it if the process has not. A file that belongs neither to
/// this process's user nor to that of the process was put there by somebody else.
///
/// NOTE: where everybody may write, kernels refuse to open another user's file with O_CREAT (protected_regular).
fn open_copies(file: &ImageFile, own: &File) -> io::Result<File> {
    let opened = images::open_with(OpenOptions::new().write(true), &file.copies);
    let copies = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            images::open_with(OpenOptions::new().write(true).create_new(true), &file.copies)?
        }
        opened => opened?,
    };
    let owner = copies.metadata()?.uid();
    if owner != geteuid().as_raw() && owner != own.metadata()?.uid() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    Ok(copies)
}

/// Whether a buffer's length is none, or its end is not in the file.
fn is_misplaced(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}

const PAGE: u64 = heaplab_raw::PAGE_BYTES as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::page::SharedPage;
    use heaplab_raw::{ImageHead, ImageId, PAGE_BYTES, PAGE_WORDS, Place};
    use std::fs;
    use std::path::PathBuf;
    use std::sync::atomic::AtomicU64;

    const BYTES: u64 = 64 << 10;

    /// A recording with one image, of this process: its head, and after it two buffers of ones.
    struct Scene {
        _place: tempfile::TempDir,
        directory: Directory,
        control: Box<[AtomicU64; PAGE_WORDS]>,
        image: PathBuf,
        page: SharedPage,
        images: Images,
        collector: Collector,
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
            head.make_room(PAGE_BYTES as u64 + 2 * BYTES);
            assert_eq!(head.carve(2 * BYTES, u64::MAX), Some(PAGE_BYTES as u64));
            let (images, collector) = (Images::default(), Collector::new());
            Scene { _place: place, directory, control, image, page, images, collector }
        }

        /// Hands over a buffer; returns whether its place is free after the collector's round.
        fn hand_over(&mut self, offset: u64) -> bool {
            let (image, control) = (Image::open(self.page.words()), Control::open(&self.control));
            let (image, control) = (image.expect("a head"), control.expect("a page"));
            let place: Place = image.take_place().expect("a place");
            image.hand_over(place, FullBuffer { offset, bytes: BYTES });
            self.images.find(Duration::from_secs(1), control.ordinals(), &self.directory);
            // A round has little time, and on a busy disk spends it on making room.
            for _ in 0..20 {
                self.collector.collect(&mut self.images, control, &self.directory);
            }
            image.is_free(place)
        }

        fn taken_bytes(&self) -> u64 {
            Control::open(&self.control).expect("a page").taken_bytes()
        }
    }

    #[test]
    fn a_full_buffer_is_copied_and_made_zeros() {
        let mut scene = Scene::new();
        let begin = PAGE_BYTES + BYTES as usize;
        assert!(scene.hand_over(begin as u64));
        let bytes = fs::read(&scene.image).expect("a file");
        let (kept, emptied) = bytes[PAGE_BYTES..PAGE_BYTES + 2 * BYTES as usize].split_at(BYTES as usize);
        assert!(kept.iter().all(|&byte| byte == 1), "another buffer is not touched");
        assert!(emptied.iter().all(|&byte| byte == 0));
        let copy = fs::read(scene.image.with_extension("copies")).expect("a file");
        assert!(copy.len() == BYTES as usize && copy.iter().all(|&byte| byte == 1));
        assert_eq!(scene.taken_bytes(), BYTES, "it counts for --max-bytes");
        assert!(scene.hand_over(PAGE_BYTES as u64), "and again");
    }

    #[test]
    fn what_cannot_be_copied_stays_with_its_process() {
        let mut scene = Scene::new();
        assert!(!scene.hand_over(1 << 40), "no buffer is there");
        assert!(scene.hand_over(PAGE_BYTES as u64), "those after it are copied");
        let mut scene = Scene::new();
        scene.collector.file_most_bytes = BYTES - 1;
        assert!(!scene.hand_over(PAGE_BYTES as u64), "beyond the limit a write is a signal");
        assert!(!scene.image.with_extension("copies").exists());
    }

    /// The name can be guessed, and others may write into the directory.
    #[test]
    fn what_others_have_put_in_the_place_of_the_copies_is_not_written_to() {
        let mut scene = Scene::new();
        let (copies, victim) = (scene.image.with_extension("copies"), scene.image.with_extension("victim"));
        fs::write(&victim, b"kept").expect("a file");
        std::os::unix::fs::symlink(&victim, &copies).expect("a link");
        assert!(!scene.hand_over(PAGE_BYTES as u64), "a link");
        fs::remove_file(&copies).expect("a link");
        if geteuid().is_root() {
            std::os::unix::fs::chown(&victim, Some(65_534), None).expect("root may");
            fs::rename(&victim, &copies).expect("ours");
            assert!(!scene.hand_over(PAGE_BYTES as u64), "a file of another user");
            assert_eq!(fs::read(&copies).expect("a file"), b"kept");
            std::os::unix::fs::chown(&scene.image, Some(65_534), None).expect("root may");
            assert!(scene.hand_over(PAGE_BYTES as u64), "a file of the process's user");
        } else {
            assert_eq!(fs::read(&victim).expect("a file"), b"kept");
        }
    }

    #[test]
    fn room_is_made_ahead_until_there_is_none() {
        let mut scene = Scene::new();
        let room = |scene: &Scene| Image::open(scene.page.words()).expect("a head").room();
        scene.hand_over(PAGE_BYTES as u64);
        let made = room(&scene);
        assert!(made >= AHEAD_LEAST_BYTES, "{made}");
        assert_eq!(fs::metadata(&scene.image).expect("a file").len(), made, "and can be written to");
        let take_all =
            |image: Image<'_>| image.carve(made - image.next_offset(), u64::MAX).expect("all of it");
        take_all(Image::open(scene.page.words()).expect("a head"));
        scene.collector.file_most_bytes = made;
        scene.hand_over(PAGE_BYTES as u64);
        let image = Image::open(scene.page.words()).expect("a head");
        assert_eq!((room(&scene), image.shortage()), (made, Some(Errno::FBIG.raw_os_error())));
    }
}
