//! What holds for logs of every kind: how each is recognised, and what happens to one that is cut off or
//! hostile.

use super::*;

#[test]
fn every_kind_is_told_by_its_content_in_every_container() {
    for (kind, log) in logs() {
        let gzip = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&log).unwrap();
            encoder.finish().unwrap()
        };
        let zstd = zstd::stream::encode_all(log.as_slice(), 1).unwrap();
        let zip = zip_of(&[("log", &log)]);
        for bytes in [&log, &gzip, &zstd, &zip] {
            let imported = import_bytes(bytes, None).unwrap();
            assert_eq!(imported.report.kind, kind);
            assert!(!imported.events.is_empty());
            assert_eq!(imported.report.header.source, kind.name());
        }
    }
}

/// The content in each stream compression.
fn compressed(content: &[u8]) -> [Vec<u8>; 2] {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    [encoder.finish().unwrap(), zstd::stream::encode_all(content, 1).unwrap()]
}

#[test]
fn a_compressed_log_that_was_cut_off_gives_what_stands_before_the_cut() {
    for (kind, log) in logs() {
        let whole = import_bytes(&log, Some(kind)).unwrap();
        // Separate blocks, as written by a tool that flushes; otherwise a small log would be readable as a
        // whole or not at all.
        for (of, file) in ["gzip", "zstd"].iter().zip(flushed(&log)) {
            let mut parts = 0;
            for length in (0..file.len()).rev().step_by(5) {
                match import_bytes(&file[..length], Some(kind)) {
                    Ok(part) => {
                        let warnings = part.report.warnings.join("; ");
                        assert!(
                            warnings.contains("the compressed log was cut off"),
                            "{of} {kind:?}: {warnings}"
                        );
                        assert!(part.events.len() <= whole.events.len(), "{of} {kind:?} {length}");
                        parts += 1;
                    }
                    Err(
                        ImportError::NoEvents { .. } | ImportError::Io { .. } | ImportError::Malformed { .. },
                    ) => {}
                    Err(error) => panic!("{of} {kind:?} {length}: {error}"),
                }
            }
            assert!(parts > 1, "{of} {kind:?}");
        }
        for file in compressed(&log) {
            let padded = import_bytes(&[file.as_slice(), &[0; 700]].concat(), Some(kind)).unwrap();
            assert_eq!(
                (padded.events, padded.report.warnings),
                (whole.events.clone(), whole.report.warnings.clone())
            );
        }
    }
}

/// The content in each stream compression, flushed from time to time.
fn flushed(content: &[u8]) -> [Vec<u8>; 2] {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut zstd = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    for part in content.chunks(content.len().div_ceil(8)) {
        gzip.write_all(part).unwrap();
        gzip.flush().unwrap();
        zstd.write_all(part).unwrap();
        // A separate block, because zstd is read in whole blocks.
        zstd.flush().unwrap();
    }
    [gzip.finish().unwrap(), zstd.finish().unwrap()]
}

#[test]
fn a_byte_order_mark_before_a_text_is_passed_over() {
    for (kind, log) in logs() {
        let marked = [UTF_8_MARK, &log].concat();
        if !kind.is_text() {
            continue;
        }
        let whole = import_bytes(&log, None).unwrap();
        for bytes in [marked.clone(), compressed(&marked)[0].clone()] {
            for named in [None, Some(kind)] {
                let found = import_bytes(&bytes, named).unwrap();
                assert_eq!((found.report.kind, found.events), (kind, whole.events.clone()));
            }
        }
        let wide: Vec<u8> =
            [&[0xff, 0xfe][..], &log.iter().flat_map(|&byte| [byte, 0]).collect::<Vec<_>>()].concat();
        assert!(message(&wide, None).contains("is UTF-16: make it UTF-8 first"), "{kind:?}");
    }
}

#[test]
fn a_log_without_an_event_says_what_was_expected() {
    let idle: [(Kind, &[u8]); 7] = [
        (Kind::Android, b""),
        (Kind::Heaptrack, b"v 10400 3\nX ./demo\n"),
        (Kind::Valgrind, b"==7== Memcheck, a memory error detector\n==7== HEAP SUMMARY:\n"),
        (Kind::Mtrace, b"= Start\n= End\n"),
        (Kind::Logalloc, b""),
        (Kind::MallocBench, b""),
        (Kind::Webkit, b""),
    ];
    for (kind, log) in idle {
        let text = message(log, Some(kind));
        let begin = format!("log.txt: holds no event; in a {} log, ", kind.name());
        assert!(text.starts_with(&begin) && text.contains("was expected"), "{text}");
        assert!(text.ends_with(&format!("(--from takes {})", Kind::names())), "{text}");
    }
}

#[test]
fn a_log_that_may_be_of_two_kinds_is_refused() {
    let both = "v 10400 3\n--7-- malloc(48) = 0x10\n";
    let expected = format!(
        "log.txt: by its first 34 bytes the log may be of several kinds (heaptrack, valgrind): name its kind with --from (of all there are: {})",
        Kind::names()
    );
    assert_eq!(message(both.as_bytes(), None), expected);
    let valgrind = import_bytes(both.as_bytes(), Some(Kind::Valgrind)).unwrap();
    assert_eq!(deeds(&valgrind), [malloc(0, 48)]);
    assert!(import_bytes(both.as_bytes(), Some(Kind::Heaptrack)).is_err());
}

#[test]
fn a_log_that_is_cut_off_anywhere_keeps_what_was_before() {
    for (kind, log) in logs() {
        let whole = import_bytes(&log, Some(kind)).unwrap();
        for length in (0..log.len()).step_by(7) {
            let lines = log[..length].iter().filter(|&&byte| byte == b'\n').count();
            let text = !matches!(kind, Kind::MallocBench | Kind::Webkit);
            match import_bytes(&log[..length], Some(kind)) {
                Ok(part) => {
                    assert!(part.events.len() <= whole.events.len(), "{kind:?} {length}");
                    assert!(!text || part.events.len() <= lines, "{kind:?} {length}");
                    // What is imported is the beginning of the whole, but for calls whose result was cut off.
                    let told = part.report.warnings.iter().any(|warning| warning.contains("no line feed"));
                    assert_eq!(told, text && !log[..length].ends_with(b"\n"), "{kind:?} {length}");
                    let same = part.events.iter().zip(&whole.events).take_while(|(one, other)| one == other);
                    assert!(!text || same.count() + 2 > part.events.len(), "{kind:?} {length}");
                }
                // Nothing is known about a log that is cut off before its first event, and the error says so.
                Err(ImportError::NoEvents { kind: named, .. }) => assert_eq!(named, kind.name()),
                Err(error) => panic!("{kind:?} cut off at byte {length}: {error}"),
            }
        }
    }
}

#[test]
fn what_would_fill_memory_is_refused() {
    // As a line, a table or a set of live objects, each would take gigabytes; as a file each is small.
    let bomb = |begin: &str, repeated: &str, times: usize| {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.write_all(begin.as_bytes()).unwrap();
        for _ in 0..times {
            encoder.write_all(repeated.as_bytes()).unwrap();
        }
        encoder.finish().unwrap()
    };
    let line = bomb("1: malloc 0x10 8\n", "1111111111111111", 1 << 20);
    assert!(message(&line, None).contains("log.txt:2: expected a line of at most 64 KiB"));
    let live = bomb("v 10400 3\na 8 1\n", "+ 0\n", ledger::LIVE_MOST + 2);
    assert!(message(&live, None).contains(" objects live at once after event "));
    let threads = bomb("1: malloc 0x10 8\n", "1: thread_done 0x0\n", ledger::THREADS_MOST as usize + 1);
    assert!(message(&threads, None).contains(" threads after event "));
    let infos = bomb("v 10400 3\n", "a 8 1\n", heaptrack::INFOS_MOST + 1);
    assert!(message(&infos, None).contains("lines of kind a: no program is known to have so many"));
    let open = bomb("--7-- malloc(1)\n", "--7-- malloc(1)free(0x0)\n", 5000);
    assert!(message(&open, Some(Kind::Valgrind)).contains("the results of 4096 calls before"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for &kind in Kind::ALL {
            let _ = import_bytes(&bytes, Some(kind));
        }
        let _ = import_bytes(&bytes, None);
    }

    /// A real log in which some bytes are changed, some are missing and some are repeated.
    #[test]
    fn a_damaged_log_is_answered(which in 0usize..8, damage in proptest::collection::vec((any::<u16>(), any::<u8>(), 0u8..3), 1..8)) {
        let (kind, mut log) = logs().swap_remove(which);
        for (at, byte, how) in damage {
            let at = usize::from(at) % log.len().max(1);
            match how {
                0 if at < log.len() => log[at] = byte,
                1 => log.truncate(at),
                _ => log.extend_from_within(at.min(log.len())..),
            }
        }
        let _ = import_bytes(&log, Some(kind));
        let _ = import_bytes(&log, None);
    }
}
