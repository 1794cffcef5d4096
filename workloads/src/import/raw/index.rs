//! Which images and chunks a file and its copies hold: reads only their heads, and reports whatever is wrong
//! with them.
//!
//! A chunk that was taken and never started is pages of zeros, and no loss: nothing was recorded there.
//! Anything else that is not a chunk of one of the file's images is skipped page by page, and reported.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use heaplab_raw::{ChunkHead, Fault, Image, ImageId, PAGE_BYTES, PAGE_WORDS, copies_name};

use super::{ImportError, Problems, regular};

/// A chunk and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) head: ChunkHead,
    /// Which of the two files it is in.
    pub(super) place: Place,
    pub(super) offset: u64,
    /// How much of it the file holds, from its start; less than its length in a file that was cut off.
    pub(super) held_bytes: u32,
}

/// One of the two files that chunks are in. The buffer comes before its copy, because it is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Own,
    Copies,
}

/// A page of words.
pub(super) type Page = Box<[AtomicU64; PAGE_WORDS]>;

/// The file that an image started, which its forked children share, and the file of its copies, if there is
/// one.
#[derive(Debug)]
pub(super) struct Sources {
    pub(super) path: PathBuf,
    own: File,
    copies: Option<File>,
    /// What has the name of the file of copies and is none.
    stranger: Option<PathBuf>,
}

impl Sources {
    /// Opens the files of the image `first` of the recording in `directory`.
    pub(super) fn open(directory: &Path, path: PathBuf, first: ImageId) -> Result<Sources, ImportError> {
        let fail = |path: &Path| {
            let path = path.to_path_buf();
            |source| ImportError::Io { path, doing: "open", source }
        };
        let own = regular::open(&path).map_err(fail(&path))?;
        let (name, length) = copies_name(first);
        let beside = directory.join(String::from_utf8_lossy(&name[..length]).as_ref());
        let (copies, stranger) = match regular::open(&beside) {
            Ok(file) => (Some(file), None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            Err(error) if regular::is_irregular(&error) => (None, Some(beside)),
            Err(error) => return Err(fail(&beside)(error)),
        };
        Ok(Sources { path, own, copies, stranger })
    }

    /// Reads as much of `buffer` as a file holds from `offset` on; the rest stays as it is.
    pub(super) fn read_at_most(&self, place: Place, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match (place, &self.copies) {
            (Place::Own, _) => read_at_most(&self.own, buffer, offset),
            (Place::Copies, Some(copies)) => read_at_most(copies, buffer, offset),
            (Place::Copies, None) => Ok(0),
        }
    }
}

/// All that the two files hold.
#[derive(Debug)]
pub(super) struct Contents {
    pages: BTreeMap<ImageId, Page>,
    chunks: BTreeMap<ImageId, Vec<Chunk>>,
    /// What is wrong with the files themselves, rather than with one image's chunks.
    pub(super) problems: Problems,
}

/// The first page of an image and its chunks in the order of threads, each thread's in its own order.
pub(super) struct Index<'a> {
    /// The words of the first page; none if it is no image's head.
    page: Option<&'a Page>,
    pub(super) chunks: Vec<Chunk>,
    /// Length of the chunks together.
    pub(super) chunk_bytes: u64,
}

impl Contents {
    /// Reads the heads of the files of the image `first`.
    pub(super) fn read(sources: &Sources, first: ImageId) -> Result<Contents, ImportError> {
        let fail = |source| ImportError::Io { path: sources.path.clone(), doing: "read", source };
        let mut contents =
            Contents { pages: BTreeMap::new(), chunks: BTreeMap::new(), problems: Problems::default() };
        let page = read_page(&sources.own).map_err(fail)?;
        match Image::open(&page) {
            Ok(image) if image.head().id == first => _ = contents.pages.insert(first, page),
            Ok(image) => {
                let found = image.head().id;
                let problem = format!("the first page is that of image {}-{}", found.pid, found.ordinal);
                contents.problems.add(problem);
            }
            // Chunks of another version would be misread too.
            Err(fault @ Fault::Version { .. }) => {
                return Err(ImportError::Raw { path: sources.path.clone(), problem: fault.to_string() });
            }
            Err(fault) => contents.problems.add(format!("the first page cannot be used: {fault}")),
        }
        contents.scan(&sources.own, Place::Own, PAGE_BYTES as u64).map_err(fail)?;
        if let Some(copies) = &sources.copies {
            contents.scan(copies, Place::Copies, 0).map_err(fail)?;
        }
        if let Some(path) = &sources.stranger {
            let problem = format!("{}: it is not a regular file: there are no copies", path.display());
            contents.problems.add_unread(problem);
        }
        let strangers: Vec<ImageId> = contents
            .chunks
            .keys()
            .copied()
            .filter(|id| *id != first && !contents.pages.contains_key(id))
            .collect();
        for id in strangers {
            for chunk in contents.chunks.remove(&id).unwrap_or_default() {
                contents.problems.add_unread(format!(
                    "at byte {}: a chunk of image {}-{}: {} bytes are not read",
                    chunk.offset, id.pid, id.ordinal, chunk.head.bytes
                ));
            }
        }
        Ok(contents)
    }

    fn scan(&mut self, file: &File, place: Place, from: u64) -> io::Result<()> {
        let file_bytes = file.metadata()?.len();
        Scan { file, place, file_bytes, contents: self, stray: None }.read_all(from)
    }

    /// What the files hold of one image; reports what is wrong with its chunks.
    pub(super) fn index(&self, id: ImageId, problems: &mut Problems) -> Index<'_> {
        let mut chunks = self.chunks.get(&id).cloned().unwrap_or_default();
        chunks.sort_by_key(|chunk| (chunk.head.thread, chunk.head.sequence, chunk.place, chunk.offset));
        check_sequences(&mut chunks, problems);
        let chunk_bytes = chunks.iter().map(|chunk| u64::from(chunk.held_bytes)).sum();
        Index { page: self.pages.get(&id), chunks, chunk_bytes }
    }
}

impl<'a> Index<'a> {
    /// The image's head.
    pub(super) fn image(&self) -> Option<Image<'a>> {
        self.page.and_then(|page| Image::open(page).ok())
    }
}

/// The first page of a file as words; zeros where the file is shorter.
pub(super) fn read_page(file: &File) -> io::Result<Page> {
    read_page_at(file, 0)
}

/// Like [`read_page`], for the page at `offset`.
pub(super) fn read_page_at(file: &File, offset: u64) -> io::Result<Page> {
    let mut bytes = [0; PAGE_BYTES];
    read_at_most(file, &mut bytes, offset)?;
    Ok(page_of(&bytes))
}

fn page_of(bytes: &[u8; PAGE_BYTES]) -> Page {
    let words: [u64; PAGE_WORDS] = words(bytes);
    Box::new(words.map(AtomicU64::new))
}

/// The first `N` words of `bytes`; zeros where there are fewer.
fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    std::array::from_fn(|_| words.next().unwrap_or(0))
}

/// Reads as much of `buffer` as the file holds from `offset` on; the rest stays as it is.
fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Where data follows at `offset` or later; none if only a hole does. On a file system that knows no holes, data is
/// everywhere.
fn next_data(file: &File, offset: u64) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, SeekFrom::Data(offset)) {
        Ok(data) => Ok(Some(data)),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL) => Ok(Some(offset)),
        Err(error) => Err(error.into()),
    }
}

struct Scan<'a> {
    file: &'a File,
    place: Place,
    file_bytes: u64,
    contents: &'a mut Contents,
    /// Where pages that are neither a chunk nor zeros began, and why the first of them is not a chunk.
    stray: Option<(u64, Fault)>,
}

impl Scan<'_> {
    fn read_all(&mut self, from: u64) -> io::Result<()> {
        let mut offset = from;
        while offset < self.file_bytes {
            // A hole reads as zeros, and may be longer than any disk.
            let data = next_data(self.file, offset)?.unwrap_or(self.file_bytes).min(self.file_bytes);
            let zeros = (data - offset) / PAGE_BYTES as u64 * PAGE_BYTES as u64;
            if zeros > 0 {
                self.end_stray(offset);
                offset += zeros;
                continue;
            }
            let mut page = [0; PAGE_BYTES];
            read_at_most(self.file, &mut page, offset)?;
            let step = match ChunkHead::from_words(&words(&page)) {
                Ok(head) => {
                    self.end_stray(offset);
                    self.add(head, offset)
                }
                Err(Fault::Magic { .. }) if page.iter().all(|&byte| byte == 0) => {
                    self.end_stray(offset);
                    PAGE_BYTES as u64
                }
                Err(fault) => {
                    if self.add_image(&page) {
                        self.end_stray(offset);
                    } else {
                        self.stray.get_or_insert((offset, fault));
                    }
                    PAGE_BYTES as u64
                }
            };
            offset += step;
        }
        self.end_stray(self.file_bytes);
        Ok(())
    }

    /// Adds the page of a forked image; false if it is not one.
    fn add_image(&mut self, bytes: &[u8; PAGE_BYTES]) -> bool {
        let page = page_of(bytes);
        let Some(id) = Image::open(&page).ok().map(|image| image.head().id) else { return false };
        if self.place == Place::Copies || self.contents.pages.contains_key(&id) {
            return false;
        }
        self.contents.pages.insert(id, page);
        true
    }

    /// Adds the chunk at `offset`; returns the distance to the next one.
    fn add(&mut self, head: ChunkHead, offset: u64) -> u64 {
        let bytes = u64::from(head.bytes);
        let held = bytes.min(self.file_bytes - offset);
        let chunk = Chunk { head, place: self.place, offset, held_bytes: held as u32 };
        self.contents.chunks.entry(head.image).or_default().push(chunk);
        bytes
    }

    fn end_stray(&mut self, end: u64) {
        if let Some((begin, fault)) = self.stray.take() {
            let bytes = end - begin;
            self.contents
                .problems
                .add_unread(format!("at byte {begin}: {fault}: {bytes} bytes are not read"));
        }
    }
}

/// Reports chunks that a thread should have had, and drops those that are there twice. A thread that is
/// killed while it copies its full buffer away leaves the same chunk twice: the buffer, which comes first in
/// the file and is whole, and as much of the copy as was written.
fn check_sequences(chunks: &mut Vec<Chunk>, problems: &mut Problems) {
    let mut expected: Option<(u32, u32)> = None;
    let mut before: Option<ChunkHead> = None;
    chunks.retain(|chunk| {
        let (thread, sequence) = (chunk.head.thread, chunk.head.sequence);
        let next = expected.filter(|(of, _)| *of == thread).map_or(0, |(_, next)| next);
        let is_copy = before.is_some_and(|before| ChunkHead { bytes: chunk.head.bytes, ..before } == chunk.head);
        before = Some(chunk.head);
        if is_copy {
            return false;
        }
        if sequence < next {
            let offset = chunk.offset;
            problems.add_unread(format!("at byte {offset}: chunk {sequence} of thread {thread} is there twice"));
            return false;
        }
        let (offset, bytes, held) = (chunk.offset, chunk.head.bytes, chunk.held_bytes);
        if held < bytes {
            problems.add_unread(format!(
                "at byte {offset}: a chunk of {bytes} bytes is cut off after {held}: what is missing is lost"
            ));
        }
        if sequence > next {
            let missing = sequence - next;
            problems.add_unread(format!(
                "thread {thread}: {missing} chunks before its chunk {sequence} are missing: what they held is lost"
            ));
        }
        expected = Some((thread, sequence.saturating_add(1)));
        true
    });
}
