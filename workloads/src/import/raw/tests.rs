//! Recordings with known content, whole and damaged: what can be read is read, what is missing is reported.

use std::fs;
use std::path::{Path, PathBuf};

use heaplab_raw::{
    Allocation, CHUNK_HEAD_BYTES, Call, ChunkHead, Event, FIRST_CHUNK_BYTES, ImageHead, ImageId, MarkKind,
    PAGE_BYTES, RAW_VERSION, SampleRecord, State, Text, Tick,
};
use heaplab_trace::{Action, Coverage, Gap, IgnoredReason, Record, TraceReader};
use proptest::prelude::*;

use super::{ImageReport, Inherited, RawWriter, Recording};

mod disputes;
mod inherited;
mod namespaces;
mod omitted;
mod touched;

const ID: ImageId = ImageId { pid: 100, ordinal: 0 };

fn head() -> ImageHead {
    ImageHead {
        id: ID,
        tick: Tick::new(1000, State::Recording),
        cpus_online: 32,
        cpus_allowed: 2,
        affinity: [0b11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ..ImageHead::default()
    }
}

fn writer() -> RawWriter {
    let texts: [(Text, &[u8]); 3] = [
        (Text::Program, b"/usr/bin/demo"),
        (Text::Allocator, b"/nowhere/libc.so.6"),
        (Text::Command, b"demo\0--serve\0"),
    ];
    RawWriter::new(head(), &texts)
}

fn malloc(address: u64, size: u64) -> Event {
    Event::Allocate { by: Allocation::Malloc, address, size }
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new(writer: &RawWriter) -> Place {
        let directory = tempfile::tempdir().unwrap();
        writer.write(directory.path()).unwrap();
        Place { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn raw(&self) -> PathBuf {
        self.path().join("100-0.raw")
    }

    fn import(&self) -> (ImageReport, Vec<Record>) {
        let recording = Recording::open(self.path()).unwrap();
        let output = self.path().join("out.hlt");
        let report = recording.import(recording.main_image(), &output, &mut |_| {}).unwrap();
        let records = TraceReader::open(&output).unwrap().map(Result::unwrap).collect();
        (report, records)
    }

    /// Changes the raw file's bytes.
    fn damage(&self, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.raw()).unwrap();
        change(&mut bytes);
        fs::write(self.raw(), bytes).unwrap();
    }
}

/// The events' actions, with their times in microseconds and threads.
fn actions(records: &[Record]) -> Vec<(u64, u32, Action)> {
    let events = records.iter().filter_map(|record| match record {
        Record::Event(event) => Some((event.time_ns / 1000, event.thread, event.action)),
        _ => None,
    });
    events.collect()
}

#[test]
fn every_event_becomes_what_it_was() {
    let mut writer = writer();
    let main = writer.add_thread(100);
    let pool = writer.add_thread(101);
    let events = [
        (1000, Event::ThreadBegin),
        (1000, malloc(0x1000, 48)),
        (1000, Event::Allocate { by: Allocation::Calloc, address: 0x2000, size: 96 }),
        (2000, Event::Aligned { address: 0x3000, size: 70_000, alignment_log2: 6 }),
        (2000, Event::Allocate { by: Allocation::ReallocNull, address: 0x4000, size: 5 }),
        (2000, Event::ReallocBegin { address: 0x1000 }),
        (3000, Event::ReallocEnd { address: 0x1000, size: 50 }),
        (3000, Event::ReallocBegin { address: 0x1000 }),
        (3000, Event::ReallocEnd { address: 0x5000, size: 500 }),
        (3000, Event::ReallocBegin { address: 0x4000 }),
        (3000, Event::ReallocFreed),
        (3000, Event::ReallocBegin { address: 0x5000 }),
        (3000, Event::Failed { call: Call::Realloc, size: 1 << 60 }),
        (4000, Event::Mark { kind: MarkKind::MallocTrim, argument: 0, detail: 0 }),
        (4000, Event::Mark { kind: MarkKind::Mallopt, argument: 1 << 25, detail: -3 }),
        (4000, Event::FreeNull),
    ];
    for (at, event) in events {
        writer.push(main, at, event);
    }
    for (at, event) in [
        (5000, Event::ThreadBegin),
        (5000, Event::Free { address: 0x5000 }),
        (6000, Event::ThreadEnd),
        (7000, Event::Free { address: 0x2000 }),
    ] {
        writer.push(pool, at, event);
    }
    let name = SampleRecord::ThreadName { elapsed_us: 5500, pid: 100, tid: 101, name: b"pool-1" };
    writer.push_sample(&name);
    for (pid, text) in [(0, "allocator.name=ptmalloc2"), (100, "allocator.hash=abc"), (0, "thp=madvise")] {
        writer.push_sample(&SampleRecord::Fact { pid, text: text.as_bytes() });
    }
    for (elapsed_us, pid) in [(1500, 100), (2500, 7), (3000, 100), (9000, 100)] {
        let resident_bytes = elapsed_us * 10;
        writer.push_sample(&SampleRecord::Resident { elapsed_us, pid, resident_bytes });
    }
    let (report, records) = Place::new(&writer).import();
    assert_eq!(report.problems, [] as [String; 0]);
    let expected = [
        (0, 0, Action::ThreadStart),
        (0, 0, Action::Malloc { object: 0, size: 48 }),
        (0, 0, Action::Calloc { object: 1, size: 96 }),
        (1000, 0, Action::AlignedAlloc { object: 2, size: 70_000, alignment: 64 }),
        (1000, 0, Action::ReallocNull { object: 3, size: 5 }),
        (2000, 0, Action::Realloc { object: 0, size: 50 }),
        (2000, 0, Action::Realloc { object: 0, size: 500 }),
        (2000, 0, Action::ReallocFree { object: 3 }),
        (2000, 0, failed(heaplab_trace::Call::Realloc, 1 << 60)),
        (3000, 0, Action::FreeNull),
        (4000, 1, Action::ThreadStart),
        (4000, 1, Action::Free { object: 0 }),
        (6000, 1, Action::Free { object: 1 }),
        (6000, 1, Action::ThreadEnd),
    ];
    assert_eq!(actions(&records), expected);
    let beside: Vec<String> = records
        .iter()
        .filter_map(|record| match record {
            Record::Event(_) => None,
            Record::Resident(sample) => Some(format!("{} {}", sample.time_ns, sample.resident_bytes)),
            Record::Mark(mark) => Some(format!("{} {}", mark.time_ns, mark.name)),
            Record::ThreadName { thread, name } => Some(format!("{thread} {name}")),
        })
        .collect();
    let place = |wanted: fn(&Record) -> bool| records.iter().position(wanted).expect("there is one");
    let looked = place(|record| matches!(record, Record::Resident(sample) if sample.time_ns == 2_000_000));
    let acted = place(|record| matches!(record, Record::Event(event) if event.time_ns == 2_000_000));
    assert!(looked < acted, "a sample at the start of a tick is before its events");
    assert_eq!(
        beside,
        [
            "0 demo",
            "500000 15000",
            "2000000 30000",
            "3000000 malloc_trim(0)",
            "3000000 mallopt(-3, 33554432)",
            "1 pool-1",
            "8000000 90000"
        ]
    );
    let header = &report.header;
    assert_eq!((header.source.as_str(), header.program.as_str()), ("recorder", "demo --serve"));
    assert_eq!((header.has_times, header.has_threads, header.has_alignment), (true, true, true));
    assert_eq!(header.cpus, Some(2));
    let allocator = header.allocator.as_ref().unwrap();
    assert_eq!((allocator.name.as_str(), allocator.hash.as_str()), ("ptmalloc2", "abc"));
    let note =
        |name: &str| header.notes.iter().find(|note| note.name == name).map(|note| note.value.as_str());
    assert_eq!(note("affinity"), Some("0-1"));
    assert_eq!(note("thp"), Some("madvise"));
    assert_eq!(note("mmap_calls"), Some("0"));
    assert_eq!(note("ended"), Some("not by itself: killed, or still running"));
}

fn failed(call: heaplab_trace::Call, size: u64) -> Action {
    Action::Ignored { call, reason: IgnoredReason::Failed, size }
}

#[test]
fn what_pthread_create_allocates_is_in_no_trace() {
    let mut writer = writer();
    let main = writer.add_thread(100);
    let other = writer.add_thread(101);
    let tls = Event::Allocate { by: Allocation::Calloc, address: 0x8000, size: 288 };
    for event in [Event::CreateEnter, tls, Event::CreateLeave, malloc(0x1000, 8)] {
        writer.push(main, 1000, event);
    }
    writer.push(other, 2000, Event::Free { address: 0x8000 });
    writer.push(other, 2000, Event::Free { address: 0x1000 });
    let (report, records) = Place::new(&writer).import();
    assert_eq!(
        actions(&records),
        [(0, 0, Action::Malloc { object: 0, size: 8 }), (1000, 1, Action::Free { object: 0 })]
    );
    assert_eq!((report.machinery, report.summary.unseen_frees), (2, 0));
}

#[test]
fn an_address_used_by_two_threads_in_a_tick_alternates() {
    let mut writer = writer();
    let (one, other) = (writer.add_thread(100), writer.add_thread(101));
    // The first thread's second allocation can only be after the second thread's free of the first.
    for event in [malloc(0x1000, 1), malloc(0x1000, 2), malloc(0x2000, 3)] {
        writer.push(one, 1000, event);
    }
    for event in [Event::Free { address: 0x1000 }, Event::Free { address: 0x1000 }, malloc(0x1000, 4)] {
        writer.push(other, 1000, event);
    }
    let (report, records) = Place::new(&writer).import();
    assert_eq!((report.summary.order_guessed, report.summary.frees_missed), (0, 0));
    let sizes: Vec<u64> = actions(&records)
        .iter()
        .filter_map(|(.., action)| action.allocated())
        .map(|(_, size)| size)
        .collect();
    let at = |size| sizes.iter().position(|&found| found == size).unwrap();
    assert!(at(1) < at(2) && at(2) < at(4), "{sizes:?}");
    assert_eq!((report.summary.free, report.summary.live_at_end_bytes), (2, 7));
}

#[test]
fn frees_that_were_never_recorded_are_made_up_and_strangers_stay_without_effect() {
    let mut writer = writer();
    let main = writer.add_thread(100);
    for event in [
        malloc(0x1000, 1),
        malloc(0x1000, 2),
        Event::Free { address: 0x9000 },
        Event::ReallocBegin { address: 0x9100 },
        Event::ReallocEnd { address: 0x9100, size: 9 },
        Event::ReallocBegin { address: 0x9200 },
        Event::ReallocEnd { address: 0x9300, size: 10 },
        Event::Lost { count: 7 },
    ] {
        writer.push(main, 1000, event);
    }
    let (report, records) = Place::new(&writer).import();
    let unseen = Action::Ignored { call: heaplab_trace::Call::Free, reason: IgnoredReason::Unseen, size: 0 };
    let expected = [
        Action::Malloc { object: 0, size: 1 },
        Action::FreeMissed { object: 0 },
        Action::Malloc { object: 1, size: 2 },
        unseen,
        Action::ReallocNull { object: 2, size: 9 },
        Action::ReallocNull { object: 3, size: 10 },
    ];
    assert_eq!(actions(&records), expected.map(|action| (0, 0, action)));
    assert_eq!((report.summary.lost, report.summary.unseen_reallocs), (7, 2));
}

/// Mallocs of two threads over many chunks, one every 10 us.
fn long() -> RawWriter {
    let mut writer = writer();
    let (one, other) = (writer.add_thread(100), writer.add_thread(101));
    for index in 0..60_000u64 {
        let thread = if index % 3 == 1 { other } else { one };
        writer.push(thread, 1000 + index * 10 / 1000 * 1000, malloc(0x10_0000 + index * 64, 40));
    }
    writer
}

#[test]
fn a_whole_recording_of_many_chunks_is_read() {
    let (report, _) = Place::new(&long()).import();
    assert_eq!((report.problems.len(), report.summary.malloc), (0, 60_000));
    assert_eq!(report.summary.requested_peak_bytes, 2_400_000);
}

#[test]
fn a_file_that_was_cut_off_is_read_up_to_there() {
    let place = Place::new(&long());
    place.damage(|bytes| bytes.truncate(150_001));
    let (report, _) = place.import();
    assert!(
        report.problems.iter().any(|problem| problem.contains("is cut off after")),
        "{:?}",
        report.problems
    );
    assert!((1000..60_000).contains(&report.summary.malloc), "{}", report.summary.malloc);
    assert!(report.header.notes.iter().any(|note| note.name == "missing"));
    assert!(!Coverage::of(&report.header, &report.summary).is_whole());
}

#[test]
fn a_damaged_head_costs_its_chunk_alone() {
    let place = Place::new(&long());
    // The first thread's second chunk begins after two first chunks.
    let second = PAGE_BYTES + 2 * FIRST_CHUNK_BYTES;
    place.damage(|bytes| bytes[second + 20] ^= 1);
    let (report, _) = place.import();
    let told = report.problems.join("\n");
    assert!(
        told.contains(&format!("at byte {second}: the chunk's head does not match its checksum")),
        "{told}"
    );
    assert!((1000..60_000).contains(&report.summary.malloc), "{}", report.summary.malloc);
}

#[test]
fn pages_of_zeros_are_no_loss() {
    let place = Place::new(&long());
    let (whole, _) = place.import();
    place.damage(|bytes| {
        let zeros = vec![0; 3 * PAGE_BYTES];
        bytes.splice(PAGE_BYTES..PAGE_BYTES, zeros.iter().copied());
        bytes.extend(zeros);
    });
    let (report, _) = place.import();
    assert_eq!((report.problems.len(), report.summary), (0, whole.summary));
}

#[test]
fn a_chunk_of_another_image_or_twice_the_same_is_passed_over() {
    let place = Place::new(&long());
    let (whole, _) = place.import();
    let mut stranger = RawWriter::new(ImageHead { id: ImageId { pid: 9, ordinal: 4 }, ..head() }, &[]);
    let thread = stranger.add_thread(9);
    stranger.push(thread, 1000, malloc(0x1000, 1));
    let strange = Place { directory: tempfile::tempdir().unwrap() };
    stranger.write(strange.path()).unwrap();
    let strange = fs::read(strange.path().join("9-4.raw")).unwrap();
    place.damage(|bytes| {
        let chunk = |bytes: &[u8], head: ChunkHead| {
            let head = head.to_words().into_iter().flat_map(u64::to_le_bytes);
            head.chain(bytes[CHUNK_HEAD_BYTES..].iter().copied()).collect::<Vec<u8>>()
        };
        let first = bytes[PAGE_BYTES..PAGE_BYTES + FIRST_CHUNK_BYTES].to_vec();
        let head = ChunkHead {
            image: ID,
            bytes: FIRST_CHUNK_BYTES as u32,
            thread: 0,
            tid: 100,
            sequence: 0,
            tick: Tick::new(1000, State::Recording),
            last_address: 0,
        };
        assert_eq!(chunk(&first, head), first);
        bytes.extend(&strange[PAGE_BYTES..]);
        bytes.extend(&first);
        bytes.extend(chunk(&first, ChunkHead { tick: Tick::new(2000, State::Recording), ..head }));
    });
    let (report, _) = place.import();
    let told = report.problems.join("\n");
    assert_eq!(report.problems.len(), 2, "a buffer's copy is no problem: {told}");
    assert!(told.contains("a chunk of image 9-4"), "{told}");
    assert!(told.contains("chunk 0 of thread 0 is there twice"), "{told}");
    assert_eq!(report.summary, whole.summary);
}

#[test]
fn a_chunk_that_is_missing_is_told() {
    let place = Place::new(&long());
    place.damage(|bytes| bytes[PAGE_BYTES..PAGE_BYTES + FIRST_CHUNK_BYTES].fill(0));
    let (report, _) = place.import();
    let told = report.problems.join("\n");
    assert!(told.contains("thread 0: 1 chunks before its chunk 1 are missing"), "{told}");
    let gaps = Coverage::of(&report.header, &report.summary).sentences();
    assert!(gaps.len() == 1 && gaps[0].contains("1 chunks before its chunk 1"), "{gaps:?}");
}

#[test]
fn a_byte_that_no_record_begins_with_ends_its_chunk() {
    let place = Place::new(&long());
    let at = PAGE_BYTES + 64 + 3000;
    place.damage(|bytes| bytes[at..at + 64].fill(0xfc));
    let (report, _) = place.import();
    let told = report.problems.join("\n");
    assert!(told.contains("bytes of a chunk are not read"), "{told}");
    assert!(report.summary.malloc > 50_000);
    assert_eq!(Coverage::of(&report.header, &report.summary).gaps, [Gap::Lost(1)], "at least one event");
}

#[test]
fn what_stands_beside_the_images_may_be_missing() {
    let place = Place::new(&long());
    for name in ["control", "samples"] {
        fs::remove_file(place.path().join(name)).unwrap();
    }
    place.damage(|bytes| bytes[..PAGE_BYTES].fill(0));
    let (report, _) = place.import();
    let told = report.problems.join("\n");
    assert!(told.contains("control is missing") && told.contains("samples is missing"), "{told}");
    assert!(told.contains("the first page cannot be used"), "{told}");
    assert_eq!((report.summary.malloc, report.header.cpus), (60_000, None));
}

#[test]
fn another_version_and_a_directory_of_something_else_are_refused() {
    let place = Place::new(&long());
    place.damage(|bytes| bytes[8] = 9);
    let recording = Recording::open(place.path()).unwrap();
    let refused = recording.import(ID, &place.path().join("out.hlt"), &mut |_| {}).unwrap_err();
    let why = format!("version 9, and this heaplab reads version {RAW_VERSION}");
    assert!(refused.to_string().contains(&why), "{refused}");
    let empty = tempfile::tempdir().unwrap();
    let refused = Recording::open(empty.path()).unwrap_err();
    assert!(refused.to_string().contains("holds no raw recording"), "{refused}");
}

#[test]
fn a_clock_that_stands_still_is_one_tick_of_any_length() {
    let mut writer = writer();
    let (one, other) = (writer.add_thread(100), writer.add_thread(101));
    let rounds = 200_000u64;
    for index in 0..rounds {
        let address = 0x1000 + index % 500 * 64;
        writer.push(one, 1000, malloc(address, 40));
        writer.push(other, 1000, Event::Free { address });
    }
    let (report, _) = Place::new(&writer).import();
    let summary = report.summary;
    assert_eq!((summary.malloc, summary.free, summary.live_at_end), (rounds, rounds, 0));
    assert_eq!((summary.order_guessed, summary.frees_missed, summary.unseen_frees), (0, 0, 0));
}

#[test]
fn of_several_images_the_process_itself_at_its_end_is_the_main_one() {
    let place = Place::new(&long());
    for id in [ImageId { pid: 7, ordinal: 1 }, ImageId { pid: 100, ordinal: 2 }] {
        let mut writer = RawWriter::new(ImageHead { id, ..head() }, &[]);
        let thread = writer.add_thread(id.pid);
        writer.push(thread, 1000, malloc(0x1000, 1));
        writer.write(place.path()).unwrap();
    }
    let recording = Recording::open(place.path()).unwrap();
    assert_eq!(recording.images().len(), 3);
    assert_eq!(recording.main_image(), ImageId { pid: 100, ordinal: 2 });
    let output = Path::new("/tmp/out.hlt");
    assert_eq!(recording.output_of(recording.main_image(), output), output);
    assert_eq!(recording.output_of(recording.images()[1], output), Path::new("/tmp/out.7-1.hlt"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever is done to a file's bytes, the result is a trace or an error, never a panic.
    #[test]
    fn any_damage_is_answered(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..40),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut writer = writer();
        let threads = [writer.add_thread(100), writer.add_thread(101)];
        for index in 0..3000u64 {
            let address = 0x1000 + index % 97 * 64;
            let at = 1000 + index / 100 * 1000;
            writer.push(threads[(index % 2) as usize], at, malloc(address, index));
            writer.push(threads[(index / 7 % 2) as usize], at, Event::Free { address });
        }
        let place = Place::new(&writer);
        place.damage(|bytes| {
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            if cut {
                bytes.truncate(length.index(bytes.len()));
            }
        });
        let recording = Recording::open(place.path()).unwrap();
        let _ = recording.import(ID, &place.path().join("out.hlt"), &mut |_| {});
    }
}
