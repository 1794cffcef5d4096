//! The laws of the file format: what is written is read, a file that is cut off gives its whole
//! chunks, and no byte of it can be wrong without being noticed.

use heaplab_trace::{
    Action, Call, Event, Fault, Header, IgnoredReason, Mark, Note, Record, ResidentSample, SourceCounts,
    TraceError, TraceFile, TraceReader, TraceWriter, summary, summary_of_bytes, verify,
};
use proptest::prelude::*;

/// One step of a made-up trace, before it is known which objects are live.
type Step = (u8, u32, u64, u64, u16);

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![0u64..4096, any::<u64>()];
    let time = prop_oneof![Just(0u64), Just(1), 0u64..1_000_000];
    proptest::collection::vec((0u8..22, 0u32..6, size, time, any::<u16>()), 0..most)
}

/// Turns steps into records that obey every law.
fn records(steps: &[Step]) -> Vec<Record> {
    let (mut live, mut next, mut time_ns, mut threads) = (Vec::new(), 0u64, 0u64, Vec::new());
    let mut works = 0u32;
    let mut records = Vec::new();
    for &(kind, thread, size, delta_ns, pick) in steps {
        time_ns += delta_ns;
        let mut thread = thread.min(threads.len() as u32);
        if threads.get(thread as usize) == Some(&false) {
            thread = threads.len() as u32;
        }
        let starts = thread as usize == threads.len();
        if starts {
            threads.push(true);
        }
        let mut new = |live: &mut Vec<u64>| {
            live.push(next);
            next += 1;
            next - 1
        };
        let picked = usize::from(pick) % live.len().max(1);
        let action = match kind {
            0 if starts => Action::ThreadStart,
            1 => {
                threads[thread as usize] = false;
                Action::ThreadEnd
            }
            2..=4 => Action::Malloc { object: new(&mut live), size },
            5 => Action::Calloc { object: new(&mut live), size },
            6 => Action::AlignedAlloc { object: new(&mut live), size, alignment: 1 << (pick % 64) },
            7 => Action::ReallocNull { object: new(&mut live), size },
            8 | 9 if !live.is_empty() => Action::Realloc { object: live[picked], size },
            10 if !live.is_empty() => Action::ReallocFree { object: live.swap_remove(picked) },
            11..=13 if !live.is_empty() => Action::Free { object: live.swap_remove(picked) },
            14 if !live.is_empty() => Action::FreeMissed { object: live.swap_remove(picked) },
            20 if !live.is_empty() => {
                works += 1;
                Action::Work { object: live[picked], bytes: 0, repeats: works.rotate_right(3) }
            }
            21 if !live.is_empty() => Action::Touched { object: live[picked], bytes: size },
            15 => Action::Ignored { call: Call::Realloc, reason: IgnoredReason::Failed, size },
            16 => Action::Ignored { call: Call::Free, reason: IgnoredReason::Unseen, size: 0 },
            _ => Action::FreeNull,
        };
        match kind {
            17 => records.push(Record::Resident(ResidentSample { time_ns, resident_bytes: size })),
            18 => records.push(Record::Mark(Mark { time_ns, name: format!("phase ä {pick}") })),
            19 => records.push(Record::ThreadName { thread, name: "w".repeat(usize::from(pick) % 256) }),
            _ => {}
        }
        records.push(Record::Event(Event { time_ns, thread, action }));
    }
    records
}

fn header() -> Header {
    let notes = vec![Note { name: "seed".into(), value: "7".into() }];
    Header { source: "test".into(), has_times: true, cpus: Some(8), notes, ..Header::default() }
}

/// The trace of `records`, with a chunk ended before each index of `breaks`.
fn encode(records: &[Record], breaks: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, &header()).unwrap();
    for (index, record) in records.iter().enumerate() {
        if breaks.contains(&index) {
            writer.flush().unwrap();
        }
        writer.push(record).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

/// Everything that can be read of `bytes`, and how it ended.
fn decode(bytes: &[u8]) -> (Vec<Record>, Result<Option<u64>, TraceError>) {
    let mut reader = match TraceReader::new(bytes) {
        Ok(reader) => reader,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut records = Vec::new();
    loop {
        match reader.read_record() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return (records, Ok(reader.truncated().map(|cut| cut.offset))),
            Err(error) => {
                assert!(matches!(reader.read_record(), Ok(None)), "an error ends the stream");
                return (records, Err(error));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(steps in steps(400), breaks in proptest::collection::vec(0usize..400, 0..4)) {
        let records = records(&steps);
        let bytes = encode(&records, &breaks);
        let (read, end) = decode(&bytes);
        prop_assert_eq!(read, records);
        prop_assert_eq!(end.unwrap(), None);
    }

    #[test]
    fn a_cut_anywhere_leaves_the_whole_chunks(steps in steps(120), breaks in proptest::collection::vec(0usize..120, 3)) {
        let records = records(&steps);
        let bytes = encode(&records, &breaks);
        let mut longest = 0;
        for length in 0..bytes.len() {
            let (read, end) = decode(&bytes[..length]);
            match end {
                Ok(Some(offset)) => prop_assert!(offset <= length as u64),
                Ok(None) => prop_assert!(false, "a cut at {} of {} is not noticed", length, bytes.len()),
                Err(error) => prop_assert!(
                    matches!(error, TraceError::CutInHeader { .. }) || (length == 0 && matches!(error, TraceError::NotATrace { .. })),
                    "{}", error
                ),
            }
            prop_assert_eq!(&read[..], &records[..read.len()]);
            prop_assert!(read.len() >= longest, "a longer file gives no less");
            longest = read.len();
        }
        prop_assert_eq!(longest, records.len(), "the end can be lost without losing a record");
    }

    #[test]
    fn no_byte_is_wrong_unnoticed(steps in steps(60), breaks in proptest::collection::vec(0usize..60, 2), bit in 0u8..8) {
        let bytes = encode(&records(&steps), &breaks);
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 1 << bit;
            let (_, end) = decode(&wrong);
            prop_assert!(end.is_err(), "bit {} of byte {} of {}: {:?}", bit, at, bytes.len(), end);
        }
    }

    #[test]
    fn any_bytes_behind_a_header_are_answered(rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = encode(&[], &[]);
        let end = bytes.windows(4).position(|four| four == b"HEND").unwrap();
        bytes.truncate(end);
        bytes.extend(b"CHNK");
        bytes.extend(rest);
        let (read, end) = decode(&bytes);
        prop_assert!(read.is_empty() && !matches!(end, Ok(None)));
    }
}

#[test]
fn a_large_trace_has_many_chunks_and_verifies() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.hlt");
    let mut file = TraceFile::create(&path, &header()).unwrap();
    for index in 0..150_000u64 {
        let action = Action::Malloc { object: index, size: index % 300 };
        file.push(&Record::Event(Event { time_ns: index * 40, thread: 0, action })).unwrap();
    }
    file.set_source_counts(SourceCounts { times_raised: 3, lost: 9, ..SourceCounts::default() });
    let written = file.finish().unwrap();
    let verified = verify(&path).unwrap();
    assert_eq!((verified.chunks, verified.summary), (3, written));
    assert_eq!((written.times_raised, written.lost, written.events), (3, 9, 150_000));
    assert_eq!(summary(&path).unwrap(), Some(written));
    assert_eq!(summary_of_bytes(&std::fs::read(&path).unwrap()).unwrap(), Some(written));

    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert_eq!(summary(&path).unwrap(), None);
    assert_eq!(summary_of_bytes(&bytes[..bytes.len() - 1]).unwrap(), None);
    let cut = verify(&path).unwrap();
    assert_eq!(cut.truncation.map(|cut| (cut.events, cut.chunks)), Some((150_000, 3)));
    assert_eq!(cut.summary.events, 150_000);

    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let cut = verify(&path).unwrap();
    let at = cut.truncation.unwrap();
    assert_eq!((at.events, at.file_bytes), (65_536, bytes.len() as u64 / 2));
    assert_eq!(&bytes[at.offset as usize..at.offset as usize + 4], b"CHNK");
}

#[test]
fn verify_finds_a_free_of_a_dead_object_that_no_checksum_shows() {
    // Two chunks; the second one, whose head is lawful by itself, is put in twice.
    let event = |action| Record::Event(Event { time_ns: 0, thread: 0, action });
    let records = [event(Action::Malloc { object: 0, size: 8 }), event(Action::Free { object: 0 })];
    let bytes = encode(&records, &[1]);
    let chunks: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, four)| four == b"CHNK").map(|(at, _)| at).collect();
    let end = bytes.windows(4).position(|four| four == b"HEND").unwrap();
    let mut again = bytes[chunks[1]..end].to_vec();
    again[20] = 2; // its first event
    let checksum = crc32fast::hash(&again[..52]);
    again[52..56].copy_from_slice(&checksum.to_le_bytes());
    let mut doubled = bytes[..end].to_vec();
    doubled.extend(again);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("doubled.hlt");
    std::fs::write(&path, doubled).unwrap();
    match verify(&path) {
        Err(TraceError::Damaged { offset, fault, .. }) => {
            assert_eq!(offset, end as u64);
            assert_eq!(
                fault.to_string(),
                "record 0 of the chunk: frees, reallocates or works on object 0, which is not live"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_summary_that_lies_is_found() {
    let bytes = encode(&records(&[(2, 0, 8, 0, 0)]), &[]);
    let end = bytes.windows(4).position(|four| four == b"HEND").unwrap();
    let mut lying = bytes.clone();
    lying[end + 24] = 2; // events
    let summary_bytes = u32::from_le_bytes(bytes[end + 4..end + 8].try_into().unwrap()) as usize;
    let checksum = crc32fast::hash(&lying[end + 24..end + 24 + summary_bytes]);
    lying[end + 8..end + 12].copy_from_slice(&checksum.to_le_bytes());
    let checksum = crc32fast::hash(&lying[end..end + 20]);
    lying[end + 20..end + 24].copy_from_slice(&checksum.to_le_bytes());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lying.hlt");
    std::fs::write(&path, lying).unwrap();
    let fault = verify(&path).err().map(|error| error.to_string()).unwrap();
    assert!(fault.ends_with("the summary states events = 2, and the records give 1"), "{fault}");
}

#[test]
fn what_is_no_trace_or_too_new_says_so() {
    assert!(matches!(decode(b"202: malloc 0x1 2\n").1, Err(TraceError::NotATrace { .. })));
    assert!(matches!(decode(b"").1, Err(TraceError::NotATrace { .. })));
    let mut newer = encode(&[], &[]);
    newer[8] = 9;
    let message = decode(&newer).1.unwrap_err().to_string();
    assert_eq!(
        message,
        "<trace>: trace format version 9, and this heaplab reads up to 1: read it with a newer heaplab"
    );
    let mut longer = encode(&[], &[]);
    longer.push(0);
    assert!(matches!(decode(&longer).1, Err(TraceError::Damaged { fault: Fault::Trailing, .. })));
}

#[test]
fn a_law_is_kept_by_the_writer_and_the_trace_goes_on() {
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, &header()).unwrap();
    let event = |action| Record::Event(Event { time_ns: 4, thread: 0, action });
    writer.push(&event(Action::Malloc { object: 0, size: 1 })).unwrap();
    let refused = writer.push(&event(Action::Free { object: 3 })).unwrap_err().to_string();
    assert_eq!(
        refused,
        "<trace>: record 1 cannot be written: frees, reallocates or works on object 3, which is not live"
    );
    writer.push(&event(Action::Free { object: 0 })).unwrap();
    assert_eq!(writer.finish().unwrap().events, 2);
    assert_eq!(decode(&bytes).0.len(), 2);
}
