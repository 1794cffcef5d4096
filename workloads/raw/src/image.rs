//! The first page of an image: who it is, and the counters that its process keeps.
//!
//! An image that a start or an exec began stands at the beginning of a file of its own, which its process has mapped
//! whole, longer than the file is: threads carve chunks from it without asking anybody, as far as the file has room,
//! which the command makes more of in time. A forked child inherits that mapping, and its image begins with a page
//! carved from the parent's file: it needs nothing of the system, whatever rights it has given up.
//!
//! ```text
//! word  0  magic            "HLRIMAG\n"; written last
//!       1  version u32, 0 u32
//!       2  pid u32, ordinal u32            the ordinal counts the recording's images from 0
//!       3  parent's pid u32, ordinal u32   of the image that forked it; zeros: none, a start or an exec
//!       4  tick at begin
//!       5  next offset       of a chunk in the file       each chunk adds its length; first image of a file
//!       6  next thread       ordinal                      each thread adds 1
//!       7  lost              events                       added to where one is lost
//!       8  bootstrap         calls served before the allocator was found, recorded nowhere
//!       9  state             see `ImageState`
//!      10  failure           errno of what stopped this image's recording; 0: nothing
//!      11  cpus online u32, cpus allowed u32
//!      12  affinity          1,024 bits, CPU 0 the lowest of the first word
//!      28  mmap calls        the program's own, as are all up to 35
//!      29  mmap bytes
//!      30  munmap calls
//!      31  munmap bytes
//!      32  mremap calls
//!      33  mremap bytes      of the new sizes
//!      34  brk calls         brk and sbrk that moved the break
//!      35  brk bytes         by which it grew
//!      36  begin of the machine's clock: CLOCK_MONOTONIC, ns
//!      37  next place       for a full buffer            each thread that fills buffers adds 1
//!      38  room             bytes of the file that can be written to; first image of a file, as are 39 and 41 to 42
//!      39  shortage         errno of why there is no more room; 0: more will come
//!      41  next copy        offset in the file of copies         each copy adds its length
//!      42  last image       offset of the page of the last forked image; 0: none
//!      43  image before     offset of the page of the forked image before this one; 0: none
//!      44  process          its number where the command runs, which stores it; 0: not known
//!      45  fork             of a forked image, the number of the fork that its parent's mark has; 0: not known
//!      40  lengths of the texts below, 16 bits each: program, allocator, command
//! byte 512   program         path of the executable
//!     1536   allocator       path of the object that the next malloc lies in
//!     2560   command         the command line, a zero byte after each argument
//!     3584   full buffers    64 places, a word each, see `full`
//! ```
//!
//! Texts are cut to what fits: 1,024 bytes.

use crate::sync::{AtomicU64, Ordering};

use crate::{Fault, PAGE_BYTES, PAGE_WORDS, RAW_VERSION, Tick};

const MAGIC: u64 = u64::from_le_bytes(*b"HLRIMAG\n");
const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 1;
const AT_ID: usize = 2;
const AT_PARENT: usize = 3;
const AT_TICK: usize = 4;
pub(crate) const AT_NEXT_OFFSET: usize = 5;
const AT_NEXT_THREAD: usize = 6;
const AT_LOST: usize = 7;
const AT_BOOTSTRAP: usize = 8;
const AT_STATE: usize = 9;
const AT_FAILURE: usize = 10;
const AT_CPUS: usize = 11;
const AT_AFFINITY: usize = 12;
const AT_MMAP: usize = 28;
const AT_CLOCK: usize = 36;
const AT_LENGTHS: usize = 40;
const AT_HOST_PROCESS: usize = 44;
const AT_FORK: usize = 45;

/// Names an image within a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ImageId {
    /// The process.
    pub pid: u32,
    /// Of the image, counted from 0 over the whole recording.
    pub ordinal: u32,
}

/// How far an image is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ImageState {
    /// It runs, or was killed.
    Running = 1,
    /// The process ended by itself.
    Exited = 2,
    /// The process became another program.
    Replaced = 3,
}

/// The texts of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// Path of the executable.
    Program,
    /// Path of the object that the next `malloc` lies in.
    Allocator,
    /// The command line, a zero byte after each argument.
    Command,
}

impl Text {
    /// Words of the page that hold texts.
    const FIRST_WORD: usize = 512 / 8;
    const END_WORD: usize = 3584 / 8;

    /// First byte of the text's place, and how many there are.
    const fn place(self) -> (usize, usize) {
        match self {
            Text::Program => (512, 1024),
            Text::Allocator => (1536, 1024),
            Text::Command => (2560, 1024),
        }
    }
}

/// What is known when an image begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImageHead {
    /// Who it is.
    pub id: ImageId,
    /// The one that forked it; none of an image that a start or an exec began.
    pub parent: Option<ImageId>,
    /// The tick at its beginning.
    pub tick: Tick,
    /// CPUs of the machine.
    pub cpus_online: u32,
    /// CPUs that the process may use.
    pub cpus_allowed: u32,
    /// Which: a bit each, CPU 0 the lowest of the first word.
    pub affinity: [u64; 16],
    /// CLOCK_MONOTONIC at its beginning.
    pub monotonic_ns: u64,
}

/// A counter of the page: a word that its process adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
enum Counter {
    Lost = AT_LOST,
    Bootstrap = AT_BOOTSTRAP,
    MmapCalls = AT_MMAP,
    MmapBytes,
    MunmapCalls,
    MunmapBytes,
    MremapCalls,
    MremapBytes,
    BrkCalls,
    BrkBytes,
}

/// The page, as process and reader see it.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    pub(crate) words: &'a [AtomicU64; PAGE_WORDS],
}

impl ImageHead {
    /// The page's words at the beginning of an image, its magic aside: [`Image::publish`] sets that once all
    /// else is stored.
    pub fn to_words(&self) -> [u64; PAGE_WORDS] {
        let mut words = [0; PAGE_WORDS];
        words[AT_VERSION] = u64::from(RAW_VERSION);
        words[AT_ID] = id_word(self.id);
        words[AT_PARENT] = self.parent.map_or(0, id_word);
        words[AT_TICK] = self.tick.0;
        words[AT_NEXT_OFFSET] = PAGE_BYTES as u64;
        words[AT_STATE] = ImageState::Running as u64;
        words[AT_CPUS] = u64::from(self.cpus_online) | u64::from(self.cpus_allowed) << 32;
        words[AT_CLOCK] = self.monotonic_ns;
        for (to, from) in words[AT_AFFINITY..].iter_mut().zip(self.affinity) {
            *to = from;
        }
        words
    }
}

impl<'a> Image<'a> {
    /// A page that was mapped or read; refused if it is not an image's head of this version.
    pub fn open(words: &'a [AtomicU64; PAGE_WORDS]) -> Result<Image<'a>, Fault> {
        if words[AT_MAGIC].load(Ordering::Acquire) != MAGIC {
            return Err(Fault::Magic { of: "the mark of an image" });
        }
        let found = words[AT_VERSION].load(Ordering::Relaxed) as u32;
        if found != RAW_VERSION {
            return Err(Fault::Version { of: "the image", found });
        }
        Ok(Image { words })
    }

    /// Makes a mapped page of zeros the head of an image.
    pub fn publish(
        words: &'a [AtomicU64; PAGE_WORDS],
        head: &ImageHead,
        texts: &[(Text, &[u8])],
    ) -> Image<'a> {
        for (to, from) in words.iter().zip(head.to_words()) {
            to.store(from, Ordering::Relaxed);
        }
        let image = Image { words };
        for (text, bytes) in texts {
            image.set_text(*text, bytes);
        }
        words[AT_MAGIC].store(MAGIC, Ordering::Release);
        image
    }

    /// What was known at its beginning.
    pub fn head(&self) -> ImageHead {
        let cpus = self.word(AT_CPUS);
        let mut affinity = [0; 16];
        for (at, to) in affinity.iter_mut().enumerate() {
            *to = self.word(AT_AFFINITY + at);
        }
        let parent = self.word(AT_PARENT);
        ImageHead {
            id: id_from(self.word(AT_ID)),
            parent: (parent != 0).then_some(id_from(parent)),
            tick: Tick(self.word(AT_TICK)),
            cpus_online: cpus as u32,
            cpus_allowed: (cpus >> 32) as u32,
            affinity,
            monotonic_ns: self.word(AT_CLOCK),
        }
    }

    /// The process's number where the command runs; none as long as it is not known.
    pub fn host_process(&self) -> Option<u32> {
        Some(self.word(AT_HOST_PROCESS) as u32).filter(|process| *process != 0)
    }

    /// Says which number the process has where the command runs.
    pub fn set_host_process(&self, process: u32) {
        self.words[AT_HOST_PROCESS].store(u64::from(process), Ordering::Release);
    }

    /// The number of the fork that created it, as in the [mark](crate::MarkKind::Fork) of its parent's thread; none
    /// if it started otherwise, or by a system call that the recorder does not see.
    pub fn fork(&self) -> Option<u32> {
        Some(self.word(AT_FORK) as u32).filter(|number| *number != 0)
    }

    /// States which fork created it.
    pub fn set_fork(&self, number: u32) {
        self.words[AT_FORK].store(u64::from(number), Ordering::Release);
    }

    /// Makes a page of zeros the head of a forked image of the same program: what the parent's page says of it is
    /// said here too.
    pub fn publish_fork(
        words: &'a [AtomicU64; PAGE_WORDS],
        head: &ImageHead,
        parent: Image<'_>,
    ) -> Image<'a> {
        let is_of_program = |at: usize| at == AT_LENGTHS || (Text::FIRST_WORD..Text::END_WORD).contains(&at);
        for (at, (to, (own, same))) in
            words.iter().zip(head.to_words().into_iter().zip(parent.words)).enumerate()
        {
            let word = if is_of_program(at) { same.load(Ordering::Relaxed) } else { own };
            to.store(word, Ordering::Relaxed);
        }
        words[AT_MAGIC].store(MAGIC, Ordering::Release);
        Image { words }
    }

    /// Takes the ordinal of the next thread.
    pub fn take_thread(&self) -> u32 {
        self.words[AT_NEXT_THREAD].fetch_add(1, Ordering::Relaxed) as u32
    }

    /// Threads that have recorded.
    pub fn threads(&self) -> u64 {
        self.word(AT_NEXT_THREAD)
    }

    /// Counts events that could not be recorded.
    pub fn add_lost(&self, events: u64) {
        self.add(Counter::Lost, events);
    }

    /// Events that could not be recorded.
    pub fn lost(&self) -> u64 {
        self.word(AT_LOST)
    }

    /// Counts a call that was served before the allocator was found.
    pub fn add_bootstrap(&self, calls: u64) {
        self.add(Counter::Bootstrap, calls);
    }

    /// Calls that were served before the allocator was found.
    pub fn bootstrap(&self) -> u64 {
        self.word(AT_BOOTSTRAP)
    }

    /// Counts a mapping that the program made itself.
    pub fn add_mmap(&self, bytes: u64) {
        self.add(Counter::MmapCalls, 1);
        self.add(Counter::MmapBytes, bytes);
    }

    /// Counts a mapping that the program took back itself.
    pub fn add_munmap(&self, bytes: u64) {
        self.add(Counter::MunmapCalls, 1);
        self.add(Counter::MunmapBytes, bytes);
    }

    /// Counts a mapping that the program moved or resized itself, with its new size.
    pub fn add_mremap(&self, bytes: u64) {
        self.add(Counter::MremapCalls, 1);
        self.add(Counter::MremapBytes, bytes);
    }

    /// Counts a move of the break by the program itself; `bytes` 0 if it did not grow.
    pub fn add_brk(&self, bytes: u64) {
        self.add(Counter::BrkCalls, 1);
        self.add(Counter::BrkBytes, bytes);
    }

    /// The program's own calls by name, with their number and their bytes.
    pub fn mappings(&self) -> [(&'static str, u64, u64); 4] {
        let pair = |name, calls: Counter| (name, self.word(calls as usize), self.word(calls as usize + 1));
        [
            pair("mmap", Counter::MmapCalls),
            pair("munmap", Counter::MunmapCalls),
            pair("mremap", Counter::MremapCalls),
            pair("brk", Counter::BrkCalls),
        ]
    }

    /// Says how the image ends.
    pub fn set_state(&self, state: ImageState) {
        self.words[AT_STATE].store(state as u64, Ordering::Release);
    }

    /// How far it is; none for a number that no version has.
    pub fn state(&self) -> Option<ImageState> {
        [ImageState::Running, ImageState::Exited, ImageState::Replaced]
            .into_iter()
            .find(|state| *state as u64 == self.word(AT_STATE))
    }

    /// Says that this image had to stop recording; the first errno stays.
    pub fn set_failure(&self, errno: i32) {
        let number = u64::from(errno as u32);
        let failure = &self.words[AT_FAILURE];
        let _ = failure.compare_exchange(0, number, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// What stopped this image's recording, as errno; none if nothing did.
    pub fn failure(&self) -> Option<i32> {
        match self.word(AT_FAILURE) as i32 {
            0 => None,
            errno => Some(errno),
        }
    }

    /// Stores a text, cut to what fits. Not by two threads at once.
    pub fn set_text(&self, text: Text, bytes: &[u8]) {
        let (from, most) = text.place();
        let bytes = bytes.get(..most).unwrap_or(bytes);
        for (at, eight) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(eight) {
                *to = *from;
            }
            self.words[from / 8 + at].store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        let shift = 16 * text as u32;
        let lengths = self.word(AT_LENGTHS) & !(0xffff << shift);
        self.words[AT_LENGTHS].store(lengths | (bytes.len() as u64) << shift, Ordering::Release);
    }

    /// The bytes of a text; empty if it was never stored.
    pub fn text(&self, text: Text) -> impl Iterator<Item = u8> + use<'a> {
        let (from, most) = text.place();
        let length = (self.words[AT_LENGTHS].load(Ordering::Acquire) >> (16 * text as u32)) as u16;
        let words = &self.words[from / 8..];
        words
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .take(usize::from(length).min(most))
    }

    pub(crate) fn word(&self, at: usize) -> u64 {
        self.words[at].load(Ordering::Relaxed)
    }

    fn add(&self, counter: Counter, number: u64) {
        self.words[counter as usize].fetch_add(number, Ordering::Relaxed);
    }
}

const fn id_word(id: ImageId) -> u64 {
    id.pid as u64 | (id.ordinal as u64) << 32
}

const fn id_from(word: u64) -> ImageId {
    ImageId { pid: word as u32, ordinal: (word >> 32) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn zeros() -> [AtomicU64; PAGE_WORDS] {
        [0; PAGE_WORDS].map(AtomicU64::new)
    }

    fn head() -> ImageHead {
        ImageHead {
            id: ImageId { pid: 4211, ordinal: 1 },
            parent: Some(ImageId { pid: 4211, ordinal: 0 }),
            tick: Tick(77),
            cpus_online: 32,
            cpus_allowed: 2,
            affinity: [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
            monotonic_ns: 123_456_789,
        }
    }

    #[test]
    fn a_page_is_read_by_the_other_side() {
        let page = zeros();
        assert!(matches!(Image::open(&page), Err(Fault::Magic { .. })));
        let long = [b'x'; 3000];
        let texts: [(Text, &[u8]); 3] =
            [(Text::Program, b"/bin/true"), (Text::Allocator, &long), (Text::Command, b"true\0-v\0")];
        Image::publish(&page, &head(), &texts);
        let image = Image::open(&page).unwrap();
        assert_eq!(image.head(), head());
        assert_eq!(image.text(Text::Program).collect::<Vec<u8>>(), b"/bin/true");
        assert_eq!(image.text(Text::Allocator).collect::<Vec<u8>>(), &long[..1024]);
        assert_eq!(image.text(Text::Command).collect::<Vec<u8>>(), b"true\0-v\0");
        assert_eq!((image.take_thread(), image.take_thread(), image.threads()), (0, 1, 2));
        image.add_mmap(100);
        image.add_mmap(50);
        image.add_brk(8);
        assert_eq!(image.mappings(), [("mmap", 2, 150), ("munmap", 0, 0), ("mremap", 0, 0), ("brk", 1, 8)]);
        assert_eq!(image.state(), Some(ImageState::Running));
        image.set_state(ImageState::Exited);
        assert_eq!((image.state(), image.failure()), (Some(ImageState::Exited), None));
    }

    proptest! {
        #[test]
        fn any_page_is_answered(words in proptest::collection::vec(any::<u64>(), PAGE_WORDS)) {
            let page: [AtomicU64; PAGE_WORDS] = core::array::from_fn(|at| AtomicU64::new(words[at]));
            page[AT_MAGIC].store(MAGIC, Ordering::Relaxed);
            page[AT_VERSION].store(u64::from(RAW_VERSION), Ordering::Relaxed);
            let image = Image::open(&page).unwrap();
            let _ = (image.head(), image.state(), image.failure());
            prop_assert!(image.text(Text::Command).count() <= 1024);
        }
    }
}
