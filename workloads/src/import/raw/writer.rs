//! Writes a raw recording as a recorder leaves it, from given events: tests and benchmarks make their
//! recordings with it. It holds the whole file in memory.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use heaplab_raw::{
    CHUNK_BYTES, CHUNK_HEAD_BYTES, CONTROL_NAME, ChunkHead, Control, Event, FIRST_CHUNK_BYTES, Image,
    ImageHead, ImageId, PAGE_BYTES, PAGE_WORDS, RECORD_ROOM_BYTES, SAMPLES_NAME, SampleRecord, State, Text,
    Tick, encode, image_name, samples_head, write_sample,
};

/// One image of a recording that is being made, with those that it forks.
pub struct RawWriter {
    head: ImageHead,
    page: Box<[AtomicU64; PAGE_WORDS]>,
    threads: Vec<Thread>,
    /// Content of the file after its first page.
    chunks: Vec<u8>,
    samples: Vec<u8>,
}

struct Thread {
    image: ImageId,
    /// Its number in the image.
    number: u32,
    tid: u32,
    tick: Tick,
    last_address: u64,
    sequence: u32,
    /// The open chunk: where it begins in `chunks`, and how much of it has been written. None before the
    /// first event.
    open: Option<(usize, usize)>,
}

impl RawWriter {
    /// Begins the image that `head` describes, with its texts.
    pub fn new(head: ImageHead, texts: &[(Text, &[u8])]) -> RawWriter {
        let page = Box::new([0; PAGE_WORDS].map(AtomicU64::new));
        Image::publish(&page, &head, texts);
        let samples = samples_head().to_vec();
        RawWriter { head, page, threads: Vec::new(), chunks: Vec::new(), samples }
    }

    /// The image's first page.
    pub fn image(&self) -> Option<Image<'_>> {
        Image::open(&self.page).ok()
    }

    /// A new thread, by its number from 0.
    pub fn add_thread(&mut self, tid: u32) -> usize {
        self.add_thread_of(self.head.id, tid)
    }

    /// A new thread of an image that was forked.
    pub fn add_thread_of(&mut self, image: ImageId, tid: u32) -> usize {
        let number = self.threads.iter().filter(|thread| thread.image == image).count() as u32;
        self.threads.push(Thread {
            image,
            number,
            tid,
            tick: Tick::default(),
            last_address: 0,
            sequence: 0,
            open: None,
        });
        self.threads.len() - 1
    }

    /// Begins an image that `head` describes and that the fork `number` began; none if that is not known.
    pub fn fork(&mut self, head: &ImageHead, number: Option<u32>) {
        let page = [0; PAGE_WORDS].map(AtomicU64::new);
        if let Ok(first) = Image::open(&self.page) {
            let image = Image::publish_fork(&page, head, first);
            if let Some(number) = number {
                image.set_fork(number);
            }
            first.link(image, (PAGE_BYTES + self.chunks.len()) as u64);
        }
        let words = page.iter().map(|word| word.load(std::sync::atomic::Ordering::Relaxed));
        self.chunks.extend(words.flat_map(u64::to_le_bytes));
    }

    /// Appends an event of `thread` that it recorded at `elapsed_us`, which never decreases.
    pub fn push(&mut self, thread: usize, elapsed_us: u64, event: Event) {
        let tick = Tick::new(elapsed_us, State::Recording);
        let own = &self.threads[thread];
        let full = own.open.is_none_or(|(begin, written)| {
            let length = if own.sequence == 1 { FIRST_CHUNK_BYTES } else { CHUNK_BYTES };
            begin + written + 2 * RECORD_ROOM_BYTES > begin + length
        });
        if full {
            self.open_chunk(thread, tick);
        }
        if self.threads[thread].tick != tick {
            self.threads[thread].tick = tick;
            self.store(thread, Event::Tick { elapsed_us });
        }
        self.store(thread, event);
    }

    /// Appends a record to the file of samples.
    pub fn push_sample(&mut self, record: &SampleRecord<'_>) {
        write_sample(record, &mut |bytes| self.samples.extend(bytes));
    }

    /// Writes the recording into `directory`, which exists.
    pub fn write(&self, directory: &Path) -> io::Result<()> {
        let words = Control::new_page(false, 1_700_000_000_000_000_000);
        let control: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        fs::write(directory.join(CONTROL_NAME), control)?;
        fs::write(directory.join(SAMPLES_NAME), &self.samples)?;
        let (name, length) = image_name(self.head.id);
        let mut file: Vec<u8> = self
            .page
            .iter()
            .flat_map(|word| word.load(std::sync::atomic::Ordering::Relaxed).to_le_bytes())
            .collect();
        file.extend(&self.chunks);
        fs::write(directory.join(String::from_utf8_lossy(&name[..length]).as_ref()), file)
    }

    fn open_chunk(&mut self, thread: usize, tick: Tick) {
        let own = &mut self.threads[thread];
        let bytes = if own.sequence == 0 { FIRST_CHUNK_BYTES } else { CHUNK_BYTES };
        let head = ChunkHead {
            image: own.image,
            bytes: bytes as u32,
            thread: own.number,
            tid: own.tid,
            sequence: own.sequence,
            tick,
            last_address: own.last_address,
        };
        own.sequence += 1;
        own.tick = tick;
        own.open = Some((self.chunks.len(), CHUNK_HEAD_BYTES));
        self.chunks.extend(head.to_words().iter().flat_map(|word| word.to_le_bytes()));
        self.chunks.resize(self.chunks.len() - CHUNK_HEAD_BYTES + bytes, 0);
        debug_assert!(self.chunks.len().is_multiple_of(PAGE_BYTES));
    }

    fn store(&mut self, thread: usize, event: Event) {
        let own = &mut self.threads[thread];
        let Some((begin, written)) = &mut own.open else { return };
        let encoded = encode(event, own.last_address);
        let both = u128::from(encoded.first) | u128::from(encoded.second) << 64;
        let at = *begin + *written;
        self.chunks[at..at + 16].copy_from_slice(&both.to_le_bytes());
        *written += encoded.bytes;
        own.last_address = event.address().unwrap_or(own.last_address);
    }
}
