//! Which chunks an image's file holds: heads alone, and whatever is wrong with them.
//!
//! A chunk that was taken and never begun is pages of zeros, and no loss: nothing was recorded there.
//! Anything else that is no chunk of this image is passed over page by page, and told.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use heaplab_raw::{ChunkHead, Fault, Image, ImageId, PAGE_BYTES, PAGE_WORDS};

use super::{ImportError, Problems};

/// A chunk and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) head: ChunkHead,
    pub(super) offset: u64,
    /// How much of it the file holds, from its begin; less than its length in a file that was cut off.
    pub(super) held_bytes: u32,
}

/// The first page of an image and its chunks in the order of threads, each thread's in its own order.
pub(super) struct Index {
    /// The words of the first page; none if it is no image's head.
    pub(super) page: Option<Box<[AtomicU64; PAGE_WORDS]>>,
    pub(super) chunks: Vec<Chunk>,
    pub(super) file_bytes: u64,
}

impl Index {
    /// Reads the heads of the file at `path`, which has the name of the image `id`.
    pub(super) fn read(
        file: &File,
        path: &Path,
        id: ImageId,
        problems: &mut Problems,
    ) -> Result<Index, ImportError> {
        let fail = |source| ImportError::Io { path: path.to_path_buf(), doing: "read", source };
        let file_bytes = file.metadata().map_err(fail)?.len();
        let page = read_page(file).map_err(fail)?;
        let page = match Image::open(&page) {
            Ok(image) if image.head().id == id => Some(page),
            Ok(image) => {
                let found = image.head().id;
                problems.add(format!("the first page is that of image {}-{}", found.pid, found.ordinal));
                None
            }
            // Another version's chunks would be misread as well.
            Err(fault @ Fault::Version { .. }) => {
                return Err(ImportError::Raw { path: path.to_path_buf(), problem: fault.to_string() });
            }
            Err(fault) => {
                problems.add(format!("the first page cannot be used: {fault}"));
                None
            }
        };
        let mut scan = Scan { file, id, file_bytes, chunks: Vec::new(), stray: None, problems };
        scan.read_all().map_err(fail)?;
        let mut chunks = scan.chunks;
        chunks.sort_by_key(|chunk| (chunk.head.thread, chunk.head.sequence, chunk.offset));
        check_sequences(&mut chunks, problems);
        Ok(Index { page, chunks, file_bytes })
    }

    /// The image's head.
    pub(super) fn image(&self) -> Option<Image<'_>> {
        self.page.as_ref().and_then(|page| Image::open(page).ok())
    }
}

/// The first page of a file as words; zeros where the file is shorter.
pub(super) fn read_page(file: &File) -> io::Result<Box<[AtomicU64; PAGE_WORDS]>> {
    let mut bytes = [0; PAGE_BYTES];
    read_at_most(file, &mut bytes, 0)?;
    let words: [u64; PAGE_WORDS] = words(&bytes);
    Ok(Box::new(words.map(AtomicU64::new)))
}

/// The first `N` words of `bytes`; zeros where there are fewer.
fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    std::array::from_fn(|_| words.next().unwrap_or(0))
}

/// Reads as much of `buffer` as the file holds from `offset` on; the rest stays as it is.
pub(super) fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
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

struct Scan<'a> {
    file: &'a File,
    id: ImageId,
    file_bytes: u64,
    chunks: Vec<Chunk>,
    /// Where pages that are no chunk and not zeros began, and why the first of them is none.
    stray: Option<(u64, Fault)>,
    problems: &'a mut Problems,
}

impl Scan<'_> {
    fn read_all(&mut self) -> io::Result<()> {
        let mut offset = PAGE_BYTES as u64;
        while offset < self.file_bytes {
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
                    self.stray.get_or_insert((offset, fault));
                    PAGE_BYTES as u64
                }
            };
            offset += step;
        }
        self.end_stray(self.file_bytes);
        Ok(())
    }

    /// Takes the chunk at `offset`; gives how far the next one is.
    fn add(&mut self, head: ChunkHead, offset: u64) -> u64 {
        let bytes = u64::from(head.bytes);
        if head.image != self.id {
            self.problems.add(format!(
                "at byte {offset}: a chunk of image {}-{}: {bytes} bytes are not read",
                head.image.pid, head.image.ordinal
            ));
            return bytes;
        }
        let held = bytes.min(self.file_bytes - offset);
        if held < bytes {
            self.problems.add(format!(
                "at byte {offset}: a chunk of {bytes} bytes is cut off behind {held}: what is missing is lost"
            ));
        }
        self.chunks.push(Chunk { head, offset, held_bytes: held as u32 });
        bytes
    }

    fn end_stray(&mut self, end: u64) {
        if let Some((begin, fault)) = self.stray.take() {
            let bytes = end - begin;
            self.problems.add(format!("at byte {begin}: {fault}: {bytes} bytes are not read"));
        }
    }
}

/// Tells of chunks that a thread should have had, and drops those that are there twice. A thread that is
/// killed while it copies its full buffer away leaves the same chunk twice: the buffer, which stands first in
/// the file and is whole, and as much of the copy as there is.
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
            problems.add(format!("at byte {offset}: chunk {sequence} of thread {thread} is there twice"));
            return false;
        }
        if sequence > next {
            let missing = sequence - next;
            problems.add(format!(
                "thread {thread}: {missing} chunks before its chunk {sequence} are missing: what they held is lost"
            ));
        }
        expected = Some((thread, sequence.saturating_add(1)));
        true
    });
}
