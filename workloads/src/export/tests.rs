//! Whole traces as text, and back.

use heaplab_trace::{
    Action, Call, Event, Header, IgnoredReason, Mark, Note, ResidentSample, TraceReader, TraceWriter,
};
use proptest::prelude::*;

use super::*;
use crate::import::{self, Kind, import};

fn trace(header: &Header, records: &[Record]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = TraceWriter::new(&mut bytes, header).unwrap();
    for record in records {
        writer.push(record).unwrap();
    }
    writer.finish().unwrap();
    bytes
}

fn text(trace: &[u8], format: Format) -> (String, Exported) {
    let mut out = Vec::new();
    let exported = export(&mut TraceReader::new(trace).unwrap(), format, &mut out, &mut |_| {}).unwrap();
    (String::from_utf8(out).unwrap(), exported)
}

/// One record of every kind, each with another time.
fn one_of_each() -> Vec<Record> {
    let ignored = |call, reason, size| (1, Action::Ignored { call, reason, size });
    let events = [
        (0, Action::ThreadStart),
        (0, Action::Malloc { object: 0, size: 48 }),
        (0, Action::Calloc { object: 1, size: 384 }),
        (1, Action::AlignedAlloc { object: 2, size: 256, alignment: 64 }),
        (1, Action::ReallocNull { object: 3, size: 32 }),
        (1, Action::Realloc { object: 0, size: 200 }),
        (1, Action::Realloc { object: 0, size: 0 }),
        (1, Action::ReallocFree { object: 3 }),
        (1, Action::Free { object: 1 }),
        (1, Action::FreeNull),
        (1, Action::FreeMissed { object: 2 }),
        (1, Action::Work { object: 0, bytes: 0, repeats: 3 }),
        (1, Action::Touched { object: 0, bytes: 4096 }),
        ignored(Call::Malloc, IgnoredReason::Failed, 99),
        ignored(Call::Calloc, IgnoredReason::Failed, u64::MAX),
        ignored(Call::AlignedAlloc, IgnoredReason::Failed, 9),
        ignored(Call::Realloc, IgnoredReason::Failed, 7),
        ignored(Call::Realloc, IgnoredReason::Failed, 0),
        ignored(Call::Realloc, IgnoredReason::Unseen, 0),
        ignored(Call::Free, IgnoredReason::Unseen, 0),
        (1, Action::ThreadEnd),
    ];
    let events = events.into_iter().enumerate();
    let event = |(index, (thread, action))| Record::Event(Event { time_ns: index as u64, thread, action });
    let mut records: Vec<Record> = events.map(event).collect();
    records.push(Record::Resident(ResidentSample { time_ns: 21, resident_bytes: 4096 }));
    records.push(Record::Mark(Mark { time_ns: 22, name: "load, \"peak\"".to_string() }));
    records.push(Record::ThreadName { thread: 0, name: "main".to_string() });
    records
}

#[test]
fn every_record_has_its_line_for_android_or_is_counted() {
    let header = Header { has_times: true, program: "demo".to_string(), ..Header::default() };
    let (text, exported) = text(&trace(&header, &one_of_each()), Format::Android);
    let expected = concat!(
        "1: malloc 0x10 48 1 1\n",
        "1: calloc 0x20 1 384 2 2\n",
        "2: memalign 0x30 64 256 3 3\n",
        "2: realloc 0x40 0x0 32 4 4\n",
        "2: realloc 0x10 0x10 200 5 5\n",
        "2: realloc 0x10 0x10 0 6 6\n",
        "2: realloc 0x0 0x40 0 7 7\n",
        "2: free 0x20 8 8\n",
        "2: free 0x0 9 9\n",
        "2: free 0x30 10 10\n",
        "2: malloc 0x0 99 13 13\n",
        "2: calloc 0x0 1 18446744073709551615 14 14\n",
        "2: memalign 0x0 1 9 15 15\n",
        "2: realloc 0x0 0x0 7 16 16\n",
        "2: realloc 0x0 0x0 0 17 17\n",
        "2: realloc 0x0 0x8 0 18 18\n",
        "2: free 0x8 19 19\n",
        "2: thread_done 0x0 20\n",
    );
    assert_eq!(text, expected);
    assert_eq!(exported.records, 18);
    assert_eq!(
        exported.lost,
        [
            "1 thread starts",
            "1 names of threads",
            "1 samples of resident memory",
            "1 marks",
            "1 pieces of work on objects",
            "1 statements of how much of an object was written to",
            "1 alignments of allocations that failed",
            "1 frees that nobody logged are lines like any other",
            "addresses are made up (object N is at 16 (N + 1)) and obey no alignment",
            "how long calls took was not in the trace: each ends when it starts",
            "that the trace lacks threads, alignment: what the text has of it is made up",
            "the header: program",
        ]
    );
}

#[test]
fn every_record_has_its_row() {
    let note = Note { name: "seed".to_string(), value: "7".to_string() };
    let header = Header { cpus: Some(4), notes: vec![note], ..Header::default() };
    let (text, exported) = text(&trace(&header, &one_of_each()), Format::Csv);
    let expected = concat!(
        "record,time_ns,thread,object,bytes,alignment,repeats,name\n",
        "thread_start,0,0,,,,,\n",
        "malloc,1,0,0,48,,,\n",
        "calloc,2,0,1,384,,,\n",
        "aligned_alloc,3,1,2,256,64,,\n",
        "realloc_null,4,1,3,32,,,\n",
        "realloc,5,1,0,200,,,\n",
        "realloc,6,1,0,0,,,\n",
        "realloc_free,7,1,3,,,,\n",
        "free,8,1,1,,,,\n",
        "free_null,9,1,,,,,\n",
        "free_missed,10,1,2,,,,\n",
        "work,11,1,0,0,,3,\n",
        "touched,12,1,0,4096,,,\n",
        "failed,13,1,,99,,,malloc\n",
        "failed,14,1,,18446744073709551615,,,calloc\n",
        "failed,15,1,,9,,,aligned_alloc\n",
        "failed,16,1,,7,,,realloc\n",
        "failed,17,1,,0,,,realloc\n",
        "unseen,18,1,,,,,realloc\n",
        "unseen,19,1,,,,,free\n",
        "thread_end,20,1,,,,,\n",
        "resident,21,,,4096,,,\n",
        "mark,22,,,,,,\"load, \"\"peak\"\"\"\n",
        "thread_name,,0,,,,,main\n",
    );
    assert_eq!(text, expected);
    let lost = [
        "that the trace lacks times, threads, alignment: what the text has of it is made up",
        "the header: CPU count, notes",
    ];
    assert_eq!(exported.records, 24);
    assert_eq!(exported.lost, lost);
}

#[test]
fn an_empty_trace_is_an_empty_log_and_a_table_without_rows() {
    let empty = trace(&Header::default(), &[]);
    assert_eq!(text(&empty, Format::Android).0, "");
    assert_eq!(text(&empty, Format::Csv).0, "record,time_ns,thread,object,bytes,alignment,repeats,name\n");
}

#[test]
fn a_trace_that_was_cut_off_is_exported_up_to_there() {
    let whole = trace(&Header::default(), &one_of_each());
    let at = (0..whole.len()).find(|&at| whole[at..].starts_with(b"CHNK")).unwrap();
    let (text, exported) = text(&whole[..at + 60], Format::Android);
    assert_eq!((text.as_str(), exported.records), ("", 0));
    assert_eq!(
        exported.lost.last().unwrap(),
        &format!("the trace is cut off at byte {at}: what was after it")
    );
}

/// Imports Android's text and reads the trace's events back.
fn import_text(text: &str) -> (Vec<u8>, Vec<Event>) {
    let directory = tempfile::tempdir().unwrap();
    let (log, output) = (directory.path().join("log.txt"), directory.path().join("out.hlt"));
    std::fs::write(&log, text).unwrap();
    let options = import::Options { kind: Some(Kind::Android), process: None };
    import(&log, &options, &output, &mut |_| {}).unwrap();
    let events = TraceReader::open(&output).unwrap().map(|record| match record.unwrap() {
        Record::Event(event) => event,
        other => panic!("{other:?}"),
    });
    (std::fs::read(&output).unwrap(), events.collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is imported, exported and imported again is what it was; a free that nobody logged has become one.
    /// A log has at least one call: the import of an empty one is refused.
    #[test]
    fn android_there_and_back(calls in proptest::collection::vec((0u8..6, 0u64..4, 0u64..6, 0u64..6, 1u64..50), 1..120)) {
        let mut log = String::new();
        for &(kind, thread, a, b, size) in &calls {
            let call = match kind {
                0 => format!("malloc {a:#x} {size}"),
                1 => format!("calloc {a:#x} {b} 3"),
                2 => format!("memalign {a:#x} 16 {size}"),
                3 => format!("realloc {a:#x} {b:#x} {}", size % 3),
                4 => format!("free {a:#x}"),
                _ => "thread_done 0x0".to_string(),
            };
            log.push_str(&format!("{thread}: {call}\n"));
        }
        let (trace, before) = import_text(&log);
        let (text, _) = text(&trace, Format::Android);
        let (_, after) = import_text(&text);
        prop_assert_eq!(after.len(), before.len());
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            let action = match before.action {
                Action::FreeMissed { object } => Action::Free { object },
                other => other,
            };
            prop_assert_eq!((index, after.thread, after.action), (index, before.thread, action));
        }
    }
}
