//! Whole logs, written by hand, and the traces that they must become.

use std::io::Write;
use std::path::PathBuf;

use heaplab_trace::{Action, Call, Event, IgnoredReason, Record, TraceReader, verify};
use proptest::prelude::*;

use super::*;

mod formats;

struct Imported {
    report: ImportReport,
    events: Vec<Event>,
    /// Times and names.
    marks: Vec<(u64, String)>,
}

/// Imports a file of `bytes` and reads the trace back.
fn import_bytes(bytes: &[u8], kind: Option<Kind>) -> Result<Imported, ImportError> {
    let directory = tempfile::tempdir().unwrap();
    let (log, output) = (directory.path().join("log.txt"), directory.path().join("out.hlt"));
    fs::write(&log, bytes).unwrap();
    let report = import(&log, &Options { kind, ..Options::default() }, &output, &mut |_| {});
    if report.is_err() {
        assert!(!output.exists(), "an import that fails leaves nothing");
    }
    let report = report?;
    assert_eq!(verify(&output).unwrap().summary, report.summary);
    let mut imported = Imported { report, events: Vec::new(), marks: Vec::new() };
    for record in TraceReader::open(&output).unwrap() {
        match record.unwrap() {
            Record::Event(event) => imported.events.push(event),
            Record::Mark(mark) => imported.marks.push((mark.time_ns, mark.name)),
            other => panic!("{other:?}"),
        }
    }
    Ok(imported)
}

fn import_text(text: &str) -> Imported {
    import_bytes(text.as_bytes(), None).unwrap()
}

fn actions(imported: &Imported) -> Vec<(u32, Action)> {
    imported.events.iter().map(|event| (event.thread, event.action)).collect()
}

fn message(bytes: &[u8], kind: Option<Kind>) -> String {
    let error = import_bytes(bytes, kind).err().expect("the log should be refused");
    let text = error.to_string();
    text[text.find("log.txt").expect("the message names the file")..].to_string()
}

#[test]
fn each_call_becomes_an_event() {
    let imported = import_text(concat!(
        "4211: malloc 0x7b40001000 48\n",
        "4211: calloc 0x7b40002000 16 24\n",
        "4212: memalign 0x7b40004000 64 256\n",
        "4212: realloc 0x7b40003000 0x7b40001000 200\n",
        "4212: realloc 0x7b40005000 0x0 32\n",
        "4212: free 0x7b40002000\n",
        "4211: free 0x0\n",
        "4212: realloc 0x0 0x7b40005000 0\n",
        "4212: thread_done 0x0\n",
    ));
    let expected = [
        (0, Action::Malloc { object: 0, size: 48 }),
        (0, Action::Calloc { object: 1, size: 384 }),
        (1, Action::AlignedAlloc { object: 2, size: 256, alignment: 64 }),
        (1, Action::Realloc { object: 0, size: 200 }),
        (1, Action::ReallocNull { object: 3, size: 32 }),
        (1, Action::Free { object: 1 }),
        (0, Action::FreeNull),
        (1, Action::ReallocFree { object: 3 }),
        (1, Action::ThreadEnd),
    ];
    assert_eq!(actions(&imported), expected);
    let times: Vec<u64> = imported.events.iter().map(|event| event.time_ns).collect();
    assert_eq!(times, [0, 1, 2, 3, 4, 5, 6, 7, 8], "without times the index stands for time");
    let summary = imported.report.summary;
    assert_eq!((summary.events, summary.threads, summary.cross_thread), (9, 2, 2));
    assert_eq!((summary.malloc, summary.calloc, summary.aligned_alloc), (1, 1, 1));
    assert_eq!((summary.realloc, summary.realloc_null, summary.free, summary.free_null), (3, 1, 2, 1));
    assert_eq!((summary.live_at_end, summary.live_at_end_bytes, summary.requested_peak_bytes), (2, 456, 872));
    let header = imported.report.header;
    assert_eq!((header.source.as_str(), header.has_times, header.has_threads), ("android", false, true));
}

#[test]
fn times_are_starts_relative_to_the_first_and_never_go_back() {
    let imported = import_text(concat!(
        "1: malloc 0x10 8 1000 1010\n",
        "2: malloc 0x20 8 1050 1060\n",
        "1: free 0x10 1040 1090\n",
        "1: thread_done 0x0 1200\n",
        "2: free 0x20 900 1300\n",
        "2: free 0x0 1250 1300\n",
    ));
    let times: Vec<u64> = imported.events.iter().map(|event| event.time_ns).collect();
    assert_eq!(times, [0, 50, 50, 200, 200, 250]);
    assert_eq!(imported.report.summary.times_raised, 2);
    assert!(imported.report.header.has_times);
}

#[test]
fn frees_of_what_was_never_seen_stay_without_effect() {
    let imported =
        import_text("1: free 0x10\n1: realloc 0x0 0x10 0\n1: realloc 0x20 0x10 64\n1: free 0x20\n");
    let expected = [
        (0, Action::Ignored { call: Call::Free, reason: IgnoredReason::Unseen, size: 0 }),
        (0, Action::Ignored { call: Call::Realloc, reason: IgnoredReason::Unseen, size: 0 }),
        (0, Action::ReallocNull { object: 0, size: 64 }),
        (0, Action::Free { object: 0 }),
    ];
    assert_eq!(actions(&imported), expected);
    let summary = imported.report.summary;
    assert_eq!((summary.unseen_frees, summary.unseen_reallocs, summary.realloc, summary.free), (2, 1, 2, 2));
}

#[test]
fn calls_that_failed_stay_without_effect() {
    let imported = import_text(concat!(
        "1: malloc 0x0 99\n",
        "1: malloc 0x10 8\n",
        "1: realloc 0x0 0x10 70000\n",
        "1: calloc 0x0 9223372036854775808 2\n",
        "1: realloc 0x0 0x0 0\n",
        "1: free 0x10\n",
    ));
    let failed = |call, size| (0, Action::Ignored { call, reason: IgnoredReason::Failed, size });
    let expected = [
        failed(Call::Malloc, 99),
        (0, Action::Malloc { object: 0, size: 8 }),
        failed(Call::Realloc, 70000),
        failed(Call::Calloc, u64::MAX),
        failed(Call::Realloc, 0),
        (0, Action::Free { object: 0 }),
    ];
    assert_eq!(actions(&imported), expected);
    assert_eq!(imported.report.summary.failed, 4);
}

#[test]
fn a_free_that_was_logged_late_is_moved_before_the_allocation() {
    let imported = import_text(concat!(
        "1: malloc 0x10 8\n",
        "2: malloc 0x10 16\n",
        "2: malloc 0x20 1\n",
        "1: free 0x10\n",
        "2: free 0x10\n",
    ));
    let expected = [
        (0, Action::Malloc { object: 0, size: 8 }),
        (0, Action::Free { object: 0 }),
        (1, Action::Malloc { object: 1, size: 16 }),
        (1, Action::Malloc { object: 2, size: 1 }),
        (1, Action::Free { object: 1 }),
    ];
    assert_eq!(actions(&imported), expected);
    let summary = imported.report.summary;
    assert_eq!((summary.events, summary.frees_hoisted, summary.frees_missed), (5, 1, 0));
    assert!(imported.events.windows(2).all(|pair| pair[0].time_ns + 1 == pair[1].time_ns));
}

#[test]
fn a_realloc_that_was_logged_late_is_moved_too() {
    let imported =
        import_text("1: malloc 0x10 8\n2: malloc 0x10 16\n1: realloc 0x30 0x10 99\n1: free 0x30\n");
    let expected = [
        (0, Action::Malloc { object: 0, size: 8 }),
        (0, Action::Realloc { object: 0, size: 99 }),
        (1, Action::Malloc { object: 1, size: 16 }),
        (0, Action::Free { object: 0 }),
    ];
    assert_eq!(actions(&imported), expected);
}

#[test]
fn late_calls_may_depend_on_late_calls() {
    // Thread 2 got the block that thread 1 had exchanged for the one that thread 3 had freed.
    let text = concat!(
        "1: malloc 0x10 8\n",
        "3: malloc 0x30 8\n",
        "2: malloc 0x10 16\n",
        "1: realloc 0x30 0x10 99\n",
        "3: free 0x30\n",
    );
    let imported = import_text(text);
    let expected = [
        (0, Action::Malloc { object: 0, size: 8 }),
        (1, Action::Malloc { object: 1, size: 8 }),
        (1, Action::Free { object: 1 }),
        (0, Action::Realloc { object: 0, size: 99 }),
        (2, Action::Malloc { object: 2, size: 16 }),
    ];
    assert_eq!(actions(&imported), expected);
    assert_eq!(imported.report.summary.frees_hoisted, 2);
}

#[test]
fn a_free_that_was_never_logged_ends_its_object_and_is_no_event() {
    for text in [
        // Nobody frees it later; the same thread does, but its lines are in order; it is freed only after the
        // next allocation.
        "1: malloc 0x10 8\n2: malloc 0x10 16\n",
        "1: malloc 0x10 8\n2: malloc 0x10 16\n2: free 0x10\n",
        "1: malloc 0x10 8\n2: malloc 0x10 16\n2: malloc 0x10 7\n1: free 0x10\n",
        // Its thread has made another call since, and its lines are in order.
        "1: malloc 0x10 8\n2: malloc 0x10 16\n1: malloc 0x20 1\n1: free 0x10\n",
        // With times: it began after the allocation had ended.
        "1: malloc 0x10 8 100 110\n2: malloc 0x10 16 200 210\n1: free 0x10 211 220\n",
    ] {
        let imported = import_text(text);
        assert_eq!(imported.events[1].action, Action::FreeMissed { object: 0 }, "{text}");
        assert_eq!(imported.events[1].time_ns, imported.events[2].time_ns, "{text}");
        let summary = imported.report.summary;
        assert_eq!(summary.events, text.lines().count() as u64, "{text}");
        assert!(summary.frees_missed >= 1, "{text}");
    }
    let timed = import_text("1: malloc 0x10 8 100 110\n2: malloc 0x10 16 200 230\n1: free 0x10 220 240\n");
    assert_eq!(timed.report.summary.frees_hoisted, 1, "it began before the allocation had ended");
    assert_eq!(timed.events[1].time_ns, 100, "and takes the allocation's time");
}

#[test]
fn a_thread_logs_late_only_what_it_does_first() {
    // The free of thread 1's first object was missed; later it frees the younger one.
    let own = |call: &str| {
        (0..50).map(|at| format!("1: {call}\n").replace('N', &at.to_string())).collect::<String>()
    };
    let text = [
        "1: malloc 0x1000 100\n",
        &own("malloc 0x2N0 8"),
        "2: malloc 0x1000 200\n",
        &own("free 0x2N0"),
        "1: free 0x1000\n",
    ];
    let summary = import_text(&text.concat()).report.summary;
    assert_eq!((summary.frees_hoisted, summary.frees_missed, summary.live_at_end), (0, 1, 0));
    // A call that was moved stays the first: thread 3 freed the second block after it was handed out.
    let imported = import_text(concat!(
        "1: malloc 0x10 8\n",
        "1: malloc 0x20 8\n",
        "2: malloc 0x10 16\n",
        "2: malloc 0x20 16\n",
        "3: free 0x10\n",
        "3: free 0x20\n",
    ));
    let summary = imported.report.summary;
    assert_eq!((summary.frees_hoisted, summary.frees_missed), (1, 1));
    assert_eq!(imported.events.last().unwrap().action, Action::Free { object: 3 });
    // With times, lines may be in the order in which calls began.
    let timed = import_text(concat!(
        "1: malloc 0x10 8 100 110\n",
        "2: malloc 0x10 16 200 290\n",
        "1: malloc 0x20 1 210 220\n",
        "1: free 0x10 230 240\n",
    ));
    assert_eq!(timed.report.summary.frees_hoisted, 1);
}

#[test]
fn a_late_free_is_found_only_near() {
    let filler = "3: free 0x0\n".repeat(ledger::LOOK_AHEAD);
    let far = import_text(&format!("1: malloc 0x10 8\n2: malloc 0x10 16\n{filler}1: free 0x10\n"));
    assert_eq!((far.report.summary.frees_hoisted, far.report.summary.frees_missed), (0, 1));
    let near = import_text(&format!("1: malloc 0x10 8\n2: malloc 0x10 16\n{}1: free 0x10\n", &filler[12..]));
    assert_eq!((near.report.summary.frees_hoisted, near.report.summary.frees_missed), (1, 0));
}

#[test]
fn a_thread_that_comes_back_is_a_new_one() {
    let imported = import_text("7: malloc 0x10 8\n7: thread_done 0x0\n7: free 0x10\n7: thread_done 0x0\n");
    let threads: Vec<u32> = imported.events.iter().map(|event| event.thread).collect();
    assert_eq!(threads, [0, 0, 1, 1]);
    let summary = imported.report.summary;
    assert_eq!((summary.threads, summary.thread_ends, summary.cross_thread), (2, 2, 1));
}

#[test]
fn line_ends_do_not_matter() {
    assert_eq!(import_text("1: malloc 0x10 8\r\n1: free 0x10\r\n").events.len(), 2);
}

#[test]
fn a_call_that_was_cut_off_and_is_still_a_call_is_left_out() {
    let text = "1: malloc 0x7b40002000 8\n1: free 0x7b40";
    for bytes in [text.as_bytes().to_vec(), compress(text)] {
        let imported = import_bytes(&bytes, None).unwrap();
        assert_eq!(actions(&imported), [(0, Action::Malloc { object: 0, size: 8 })]);
        let [warning] = &imported.report.warnings[..] else { panic!("{:?}", imported.report.warnings) };
        assert!(warning.starts_with("line 2, the last, has no line feed"), "{warning}");
    }
    let nothing = message(b"1: free 0x0", Some(Kind::Android));
    assert!(
        nothing.contains("holds no event") && nothing.contains("; line 1, the last, has no"),
        "{nothing}"
    );
}

fn compress(text: &str) -> Vec<u8> {
    zstd::stream::encode_all(text.as_bytes(), 1).unwrap()
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let android = Some(Kind::Android);
    assert_eq!(
        message(b"1: malloc 0x10 8\n1: frea 0x10\n", None),
        "log.txt:2: expected malloc, calloc, memalign, realloc, free or thread_done, found \"1: frea 0x10\""
    );
    assert_eq!(
        message(b"1: malloc 0x10 8 5 6\n1: free 0x10\n", None),
        "log.txt:2: expected times, as on the lines before, found \"1: free 0x10\""
    );
    assert_eq!(
        message(b"1: malloc 0x10 8\n1: free 0x10 5 6\n", None),
        "log.txt:2: expected no times, as on the lines before, found \"1: free 0x10 5 6\""
    );
    assert_eq!(
        message(b"hello\n", None),
        format!(
            "log.txt: no known kind of log begins like this (its first 6 bytes were examined; they begin with \"hello\\n\"): name its kind with --from ({})",
            Kind::names()
        )
    );
    assert!(message(b"", None).contains("no known kind of log"));
    assert!(message(b"\x00\xff\x7f\n", android).starts_with("log.txt:1: expected `TID: CALL POINTER ...`"));
    assert!(message(b"\x89HLT\r\n\x1a\nrest", None).contains("is a heaplab trace already"));
}

fn zip_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let mut archive = zip::ZipWriter::new(&mut bytes);
    for (name, content) in members {
        archive.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap();
    bytes.into_inner()
}

#[test]
fn containers_are_taken_off() {
    let text = "1: malloc 0x10 8\n1: free 0x10\n".repeat(2000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(text.as_bytes(), 1).unwrap();
    let zip = zip_of(&[("log.txt", text.as_bytes())]);
    for container in [&gzip, &zstd, &zip] {
        assert_eq!(import_bytes(container, None).unwrap().events.len(), 4000);
    }
    // A zip file has its directory at its end.
    assert!(import_bytes(&zip[..zip.len() - 1], None).is_err());
    let two = zip_of(&[("a.txt", b"1: free 0x0\n"), ("b.txt", b"1: free 0x0\n")]);
    assert!(
        message(&two, None).ends_with(
            "the zip file holds 2 files (a.txt, b.txt), not one log: unpack it and import the log"
        )
    );
}

#[test]
fn a_log_is_not_replaced_by_its_trace() {
    let directory = tempfile::tempdir().unwrap();
    let log: PathBuf = directory.path().join("log.txt");
    fs::write(&log, "1: free 0x0\n").unwrap();
    let error =
        import(&log, &Options::default(), &directory.path().join("./log.txt"), &mut |_| {}).unwrap_err();
    assert!(matches!(error, ImportError::SameFile { .. }));
    assert_eq!(fs::read(&log).unwrap(), b"1: free 0x0\n");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is logged, every line is an event, and the trace obeys every law (`verify` says so).
    #[test]
    fn every_line_is_an_event(calls in proptest::collection::vec((0u8..6, 0u64..4, 0u64..6, 0u64..6, 0u64..50), 1..200)) {
        let mut text = String::new();
        for &(kind, thread, a, b, time) in &calls {
            let call = match kind {
                0 => format!("malloc {a:#x} {b}"),
                1 => format!("calloc {a:#x} {b} 3"),
                2 => format!("memalign {a:#x} {b} 9"),
                3 => format!("realloc {a:#x} {b:#x} {}", time % 3),
                4 => format!("free {a:#x}"),
                _ => "thread_done 0x0".to_string(),
            };
            let times = if kind == 5 { format!("{time}") } else { format!("{time} {}", time + 3) };
            text.push_str(&format!("{thread}: {call} {times}\n"));
        }
        let imported = import_bytes(text.as_bytes(), Some(Kind::Android)).unwrap();
        prop_assert_eq!(imported.report.summary.events, calls.len() as u64);
        let count = |kind| calls.iter().filter(|call| call.0 == kind).count() as u64;
        let summary = imported.report.summary;
        prop_assert_eq!((summary.malloc, summary.calloc, summary.aligned_alloc), (count(0), count(1), count(2)));
        prop_assert_eq!((summary.realloc, summary.free, summary.thread_ends), (count(3), count(4), count(5)));
    }
}
