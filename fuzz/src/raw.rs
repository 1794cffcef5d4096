//! Raw recordings, whole but for what an input says: a recording that can be opened becomes a trace that verifies, or
//! is refused.

use std::fs;
use std::path::Path;

use heaplab_raw::{
    Allocation, CHUNK_HEAD_BYTES, CHUNK_HEAD_WORDS, CONTROL_NAME, Call, ChunkHead, Event, FIRST_CHUNK_BYTES,
    Fault, Image, ImageHead, ImageId, MarkKind, PAGE_BYTES, PAGE_WORDS, SAMPLES_NAME, SampleRecord, State,
    Text, Tick, checksum, copies_name, image_name, samples_head,
};
use heaplab_trace::{Record, TraceReader, verify};
use heaplab_workloads::import::ImportError;
use heaplab_workloads::import::raw::{RawWriter, Recording};

use crate::with_place;

/// The image that an input is about.
const ID: ImageId = ImageId { pid: 100, ordinal: 0 };
/// The image that it forks.
const CHILD: ImageId = ImageId { pid: 101, ordinal: 1 };

/// A raw recording whose records are the input, and whose heads match. The input is cut into threads' chunks:
/// one byte says how many threads there are, the rest is dealt out in turns of 64 bytes.
pub fn import_raw(content: &[u8]) {
    let Some((&threads, records)) = content.split_first() else { return };
    let threads = usize::from(threads % 4) + 1;
    let mut image = image_page();
    let most = PAGE_BYTES * 2 - CHUNK_HEAD_BYTES;
    for thread in 0..threads {
        let own: Vec<u8> =
            records.chunks(64).skip(thread).step_by(threads).flatten().copied().take(most).collect();
        let head = ChunkHead {
            image: ID,
            bytes: 2 * PAGE_BYTES as u32,
            thread: thread as u32,
            tid: 100 + thread as u32,
            sequence: 0,
            tick: Tick::new(0, heaplab_raw::State::Recording),
            last_address: 0,
        };
        let begin = image.len();
        image.extend(head.to_words().iter().flat_map(|word| word.to_le_bytes()));
        image.extend(own);
        image.resize(begin + 2 * PAGE_BYTES, 0);
    }
    import_image(&image);
}

/// The file of an image of a raw recording.
pub fn import_image(content: &[u8]) {
    with_place(|place| {
        write(place, &file_name(image_name(ID)), content);
        import(place);
    });
}

/// A recording in which some words are changed: the input is changes of nine bytes, a place and what stands there.
/// Places are words that the recorder wrote, and the one after each. Checksums are made to match.
pub fn import_changed(content: &[u8]) {
    EXAMPLE.with(|example| {
        let mut bytes = example.bytes.clone();
        for change in content.chunks_exact(9) {
            let at = example.places[usize::from(change[0]) % example.places.len()];
            bytes[at..at + 8].copy_from_slice(&change[1..]);
        }
        bytes.chunks_exact_mut(PAGE_BYTES).for_each(seal_chunk);
        with_place(|place| {
            example.write(place, &bytes, &example.samples);
            import(place);
        });
    });
}

/// Writes the checksum of a chunk's head, if the page begins with one whose checksum does not match.
fn seal_chunk(page: &mut [u8]) {
    let mut words = [0; CHUNK_HEAD_WORDS];
    for (word, bytes) in words.iter_mut().zip(page.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    if let Err(Fault::Checksum { .. }) = ChunkHead::from_words(&words) {
        page[CHUNK_HEAD_BYTES - 8..CHUNK_HEAD_BYTES].copy_from_slice(&checksum(&words[..7]).to_le_bytes());
    }
}

/// What the command saw of a whole recording: the file's head matches, the input is its records.
pub fn import_samples(content: &[u8]) {
    EXAMPLE.with(|example| {
        with_place(|place| {
            example.write(place, &example.bytes, &[&samples_head(), content].concat());
            import(place);
        });
    });
}

fn write(place: &Path, name: &str, content: &[u8]) {
    fs::write(place.join(name), content).expect("a file in memory");
}

fn file_name((name, length): (impl AsRef<[u8]>, usize)) -> String {
    String::from_utf8_lossy(&name.as_ref()[..length]).into_owned()
}

/// Imports every image of the recording at `place`, each as a trace of its own.
fn import(place: &Path) {
    let trace = place.join("out.hlt");
    let Ok(recording) = Recording::open(place) else { return };
    // The first ones: an input decides how many there are.
    for &image in recording.images().iter().take(4) {
        match recording.import(image, &trace, &mut |_| {}) {
            Ok(report) => {
                assert_eq!(verify(&trace).expect("what an import makes verifies").summary, report.summary);
            }
            // Records of any threads are put into an order that a trace may have.
            Err(error) => {
                assert!(!matches!(error, ImportError::Trace(_)), "the fault is the import's: {error}")
            }
        }
    }
}

/// The first page of an image.
fn image_page() -> Vec<u8> {
    let words: Vec<std::sync::atomic::AtomicU64> =
        (0..PAGE_WORDS).map(|_| std::sync::atomic::AtomicU64::new(0)).collect();
    let page: &[_; PAGE_WORDS] = words.as_slice().try_into().expect("a page");
    let head = ImageHead { id: ID, cpus_online: 2, cpus_allowed: 2, ..ImageHead::default() };
    Image::publish(page, &head, &[(Text::Program, b"/bin/demo")]);
    words.iter().flat_map(|word| word.load(std::sync::atomic::Ordering::Relaxed).to_le_bytes()).collect()
}

/// A recording with an event of each kind, of a process with two threads and of its forked child, whose
/// records have been copied out of a full buffer.
struct Example {
    /// The image's file, followed by the file of copies.
    bytes: Vec<u8>,
    /// How many of them are the image's file.
    own_bytes: usize,
    samples: Vec<u8>,
    control: Vec<u8>,
    places: Vec<usize>,
}

thread_local! {
    static EXAMPLE: Example = Example::new();
}

impl Example {
    fn new() -> Example {
        let head = |id, parent, elapsed_us| ImageHead {
            id,
            parent,
            tick: Tick::new(elapsed_us, State::Recording),
            cpus_online: 2,
            cpus_allowed: 2,
            ..ImageHead::default()
        };
        let mut writer = RawWriter::new(head(ID, None, 1000), &[(Text::Program, b"/bin/demo")]);
        let [first, second] = [writer.add_thread(100), writer.add_thread(102)];
        let malloc = |address, size| Event::Allocate { by: Allocation::Malloc, address, size };
        let mark = |kind, argument| Event::Mark { kind, argument, detail: 0 };
        let of_first = [
            Event::ThreadBegin,
            malloc(0x5000, 48),
            malloc(0x9000, 300_000),
            Event::Allocate { by: Allocation::Calloc, address: 0x5100, size: 384 },
            Event::ReallocBegin { address: 0x5000 },
            Event::ReallocEnd { address: 0x6000, size: 200 },
            Event::CreateEnter,
            malloc(0x7000, 272),
            Event::CreateLeave,
            mark(MarkKind::MallocTrim, 0),
            mark(MarkKind::Fork, 7),
            Event::Touched { address: 0x9000, bytes: 8192 },
            Event::Free { address: 0x9000 },
            Event::FreeNull,
        ];
        let of_second = [
            Event::ThreadBegin,
            Event::Aligned { address: 0x8000, size: 100, alignment_log2: 6 },
            Event::Failed { call: Call::Malloc, size: 1 << 40 },
            Event::Free { address: 0x5100 },
            Event::ReallocBegin { address: 0x8000 },
            Event::ReallocFreed,
            Event::Lost { count: 3 },
            Event::ThreadEnd,
        ];
        for (thread, events) in [(first, &of_first[..]), (second, &of_second[..])] {
            for (at, &event) in events.iter().enumerate() {
                writer.push(thread, 1000 + 100 * at as u64, event);
            }
        }
        writer.fork(&head(CHILD, Some(ID), 2500), Some(7));
        let child = writer.add_thread_of(CHILD, CHILD.pid);
        writer.push(child, 2500, Event::ThreadBegin);
        writer.push(child, 2600, malloc(0xa000, 64));
        for (elapsed_us, pid) in [(1500, ID.pid), (2600, CHILD.pid)] {
            writer.push_sample(&SampleRecord::Resident { elapsed_us, pid, resident_bytes: 1 << 20 });
        }
        let example = with_place(|place| {
            writer.write(place).expect("files in memory");
            let read = |name: &str| fs::read(place.join(name)).expect("a file in memory");
            let bytes = read(&file_name(image_name(ID)));
            let word = |at: usize| bytes[at..at + 8].iter().any(|&byte| byte != 0);
            let places: Vec<usize> =
                (8..bytes.len() - 8).step_by(8).filter(|&at| word(at) || word(at - 8)).collect();
            assert!(places.len() <= 256, "a byte names each of the {} places", places.len());
            let own_bytes = bytes.len() - FIRST_CHUNK_BYTES;
            Example { own_bytes, places, samples: read(SAMPLES_NAME), control: read(CONTROL_NAME), bytes }
        });
        example.check();
        example
    }

    /// Imports both images as they are: the child inherits, and its chunk is found among the copies.
    fn check(&self) {
        with_place(|place| {
            self.write(place, &self.bytes, &self.samples);
            let trace = place.join("out.hlt");
            let recording = Recording::open(place).expect("a recording");
            for (image, inherits, own) in [(ID, false, 300_000), (CHILD, true, 64)] {
                let report = recording.import(image, &trace, &mut |_| {}).expect("a trace");
                assert_eq!(report.inherited.is_some(), inherits, "{:?}", report.problems);
                let reader = TraceReader::open(&trace).expect("a trace");
                let has_own = reader.filter_map(Result::ok).any(|record| match record {
                    Record::Event(event) => event.action.allocated().is_some_and(|(_, size)| size == own),
                    _ => false,
                });
                assert!(has_own, "{:?}", report.problems);
            }
        });
    }

    /// Writes the recording's files, with these bytes instead of its own.
    fn write(&self, place: &Path, bytes: &[u8], samples: &[u8]) {
        let (own, copies) = bytes.split_at(self.own_bytes);
        write(place, &file_name(image_name(ID)), own);
        write(place, &file_name(copies_name(ID)), copies);
        write(place, SAMPLES_NAME, samples);
        write(place, CONTROL_NAME, &self.control);
    }
}
