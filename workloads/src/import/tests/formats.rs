//! A log of each kind, written by hand, with whatever is difficult about its format.

use super::*;

mod every_kind;

/// The heaptrack log of a small program, as `--raw` leaves it.
const HEAPTRACK_RAW: &str = "\
v 10400 3
x d /usr/bin/demo
X ./demo --serve
I 1000 7d0a11
m 1 -
m 1 x 55ddf3070000 0 910
t 55d0c0de1234 0
+ 30 1 55d0d0002a0
S 4 leak
c a
R 4b2

# a remark
+ c8 1 55d0d000300
c 14
- 55d0d0002a0
- 55d0d0009990
";

const HEAPTRACK_INTERPRETED: &str = "\
v 10400 3
X ./demo
s 4 demo
i 55d0c0de1234 1 0
t 1 0
a 30 1
+ 0
a c8 1
+ 1
+ 0
c a
- 0
- 1
- 1
";

const VALGRIND: &str = "\
==9102== Memcheck, a memory error detector
==9102== Command: ./demo --serve
==9102== \n\
the program's own words: malloc(1) = 0x1
--9102-- REDIR: 0x401f8c0 (ld-linux-x86-64.so.2:strlen) redirected to 0x580c9ce2
--9102-- malloc(48) = 0x4A8C040
--9102-- _Znwm(72) = 0x4A8C0B0
--9102-- calloc(4,16) = 0x4A8C140
--9102-- realloc(0x4A8C040,200) = 0x4A8C1C0
--9102-- realloc(0x0,32)malloc(32) = 0x4A8C2D0
--9102-- memalign(al 64, size 256) = 0x4A8C340
--9102-- calloc(4611686018427387904,16)malloc(9223372036854775797) = 0x0
--9102-- malloc_usable_size(0x4A8C340) = 256
--9103-- malloc(5) = 0x4A8C040
--9102-- realloc(0x4A8C2D0,0)free(0x4A8C2D0)
--9102--  = 0
--9102-- _ZdlPv(0x4A8C0B0)
--9102-- free(0x0)
==9102== HEAP SUMMARY:
";

const MTRACE: &str = "\
= Start
@ ./demo:(load+0x1d)[0x401196] + 0x55c2a0 0x30
@ ./demo:[0x4011b2] + 0x55c2e0 0x180
@ ./demo:(grow+0x9)[0x4011d0] < 0x55c2a0
@ ./demo:(grow+0x9)[0x4011d0] > 0x55c470 0xc8
@ ./demo:(x+0x4)[0x4011f0] ! 0x55c470 0x7fffffffffff
@ ./demo:[0x401210] + (nil) 0x7fffffffffff
@ ./demo:[0x401210] - 0x55c2e0
@ ./demo:[0x401230] + 0x55c2e0 0
@ ./demo:[0x401230] - 0x55c999
= End
";

const LOGALLOC: &str = "\
18545 140257012340480 malloc(48)=0x7f90ab000040
18545 140257012340480 calloc(4,16)=0x7f90ab000080
18545 140257001118464 realloc(0x7f90ab000040,200)=0x7f90ab100000
18545 140257001118464 memalign(64,256)=0x7f90ab100100
18546 140257001118464 free(0x7f90ab100100)
18545 140257012340480 free(0x7f90ab000080)
18545 140257012340480 free(0x0)
18545 140257012340480 realloc(0x0,0)=0x7f90ab000080
18545 140257012340480 jemalloc_stats()
18545 140257012340480 malloc(18446744073709551615)=(nil)
";

const MALLOC_BENCH: &[u8] = &[
    0x0a, 0x06, 0x0a, 0x04, 0x08, 0x00, 0x10, 0x30, // malloc: id 0 = 48
    0x0a, 0x08, 0x22, 0x06, 0x08, 0x01, 0x10, 0x04, 0x18, 0x08, // calloc: id 1 = 4 x 8
    0x0a, 0x09, 0x1a, 0x07, 0x08, 0x00, 0x10, 0x00, 0x18, 0xc8, 0x01, // realloc: id 0, 200
    0x0a, 0x04, 0x12, 0x02, 0x08, 0x01, // free: id 1
    0x0a, 0x02, 0x12, 0x00, // free(NULL)
    0x0a, 0x08, 0x0a, 0x06, 0x08, 0x01, 0x10, 0x05, 0x18, 0x40, // malloc: id 1 = 5, aligned to 64
    0x0a, 0x04, 0x12, 0x02, 0x08, 0x00, // free: id 0
    0x10, 0x02, // at most 2 at once
];

fn webkit() -> Vec<u8> {
    let record = |opcode: u32, thread: u16, log2: u16, slot: u64, size: u64| {
        [
            &opcode.to_le_bytes()[..],
            &thread.to_le_bytes(),
            &log2.to_le_bytes(),
            &slot.to_le_bytes(),
            &size.to_le_bytes(),
        ]
        .concat()
    };
    [
        record(0, 0, 0, 0, 48),
        record(3, 1, 6, 1, 256),
        record(2, 1, 0, 0, 200),
        record(1, 0, 0, 1, 0),
        record(1, 0, 0, 1, 0),
        record(0, 0, 0, 0, 9),
    ]
    .concat()
}

/// Every kind's log.
fn logs() -> Vec<(Kind, Vec<u8>)> {
    vec![
        (Kind::Android, b"1: malloc 0x10 8\n1: free 0x10\n".to_vec()),
        (Kind::Heaptrack, HEAPTRACK_RAW.into()),
        (Kind::Heaptrack, HEAPTRACK_INTERPRETED.into()),
        (Kind::Valgrind, VALGRIND.into()),
        (Kind::Mtrace, MTRACE.into()),
        (Kind::Logalloc, LOGALLOC.into()),
        (Kind::MallocBench, MALLOC_BENCH.to_vec()),
        (Kind::Webkit, webkit()),
    ]
}

fn malloc(object: u64, size: u64) -> Action {
    Action::Malloc { object, size }
}

fn free(object: u64) -> Action {
    Action::Free { object }
}

fn ignored(call: Call, reason: IgnoredReason, size: u64) -> Action {
    Action::Ignored { call, reason, size }
}

/// What was done, whoever did it.
fn deeds(imported: &Imported) -> Vec<Action> {
    imported.events.iter().map(|event| event.action).collect()
}

fn note(imported: &Imported, name: &str) -> Option<String> {
    let notes = &imported.report.header.notes;
    notes.iter().find(|note| note.name == name).map(|note| note.value.clone())
}

/// Whether the header claims times, threads and alignment.
fn claims(imported: &Imported) -> (bool, bool, bool) {
    let header = &imported.report.header;
    (header.has_times, header.has_threads, header.has_alignment)
}

#[test]
fn a_raw_heaptrack_log() {
    let imported = import_text(HEAPTRACK_RAW);
    assert_eq!(imported.report.kind, Kind::Heaptrack);
    assert_eq!(
        deeds(&imported),
        [malloc(0, 48), malloc(1, 200), free(0), ignored(Call::Free, IgnoredReason::Unseen, 0)]
    );
    let times: Vec<u64> = imported.events.iter().map(|event| event.time_ns).collect();
    assert_eq!(times, [0, 10_000_000, 20_000_000, 20_000_000]);
    assert_eq!(claims(&imported), (true, false, false));
    assert_eq!(imported.report.header.program, "./demo --serve");
    assert_eq!(note(&imported, "form").as_deref(), Some("raw"));
    assert_eq!(note(&imported, "object_identity"), None);
    assert_eq!(imported.report.warnings, ["1 frees of an object that was never seen: without effect"]);
}

#[test]
fn a_command_line_of_heaptrack_may_have_several_lines() {
    for (raw, rest) in [(true, "x 1 a\n+ 30 1 10\n- 10\n"), (false, "a 30 1\n+ 0\n- 0\n")] {
        // Each would be a line of another kind, or of none.
        let command = "python3 -c import this\nb c\n- 10\nI am\n+ 8 1 10\na 1 1\n\nlast";
        let imported = import_text(&format!("v 10400 3\nX {command}\nI 1000 7d0a11\n{rest}"));
        assert_eq!(deeds(&imported), [malloc(0, 48), free(0)], "{raw}");
        assert_eq!(imported.report.header.program, command);
    }
    let long = "word\n".repeat(819);
    let imported = import_text(&format!("v 10400 3\nX {long}\nI 1000 7d0a11\nx 1 a\n+ 30 1 10\n"));
    assert_eq!(deeds(&imported), [malloc(0, 48)]);
    // Another program may write no such line: then the command line is one line.
    let without = format!("v 10400 3\nX ./demo\n{}I 1000 7d0a11\n", "+ 30 1 10\n- 10\n".repeat(400));
    assert_eq!(import_text(&without).events.len(), 800);
}

#[test]
fn a_realloc_to_zero_that_heaptrack_did_not_log() {
    let text = "v 10400 3\nx 1 a\n+ 30 1 10\n+ 40 1 10\n- 10\n";
    let imported = import_text(text);
    let missed = Action::FreeMissed { object: 0 };
    assert_eq!(deeds(&imported), [malloc(0, 48), missed, malloc(1, 64), free(1)]);
}

#[test]
fn heaptrack_attached_to_a_process_that_ran_already() {
    let imported = import_text("v 10400 3\nA\nx 1 a\n- 10\n+ 40 1 10\n");
    assert_eq!(deeds(&imported), [ignored(Call::Free, IgnoredReason::Unseen, 0), malloc(0, 64)]);
    assert!(
        note(&imported, "attached").is_some_and(|note| note.starts_with("to a process that ran already"))
    );
}

#[test]
fn an_interpreted_heaptrack_log() {
    let imported = import_text(HEAPTRACK_INTERPRETED);
    let unseen = ignored(Call::Free, IgnoredReason::Unseen, 0);
    assert_eq!(deeds(&imported), [malloc(0, 48), malloc(1, 200), malloc(2, 48), free(2), free(1), unseen]);
    assert_eq!(note(&imported, "form").as_deref(), Some("interpreted"));
    assert!(note(&imported, "object_identity").is_some_and(|note| note.contains("youngest")));
}

#[test]
fn a_name_that_is_longer_than_a_line_may_be() {
    let name = "x".repeat(1 << 20);
    let text = format!("v 10400 3\ns 100000 {name}\na 30 1\n+ 0\n");
    assert_eq!(deeds(&import_text(&text)), [malloc(0, 48)]);
}

#[test]
fn a_valgrind_log() {
    let imported = import_text(VALGRIND);
    let failed = ignored(Call::Calloc, IgnoredReason::Failed, u64::MAX);
    let expected = [
        malloc(0, 48),
        malloc(1, 72),
        Action::Calloc { object: 2, size: 64 },
        Action::Realloc { object: 0, size: 200 },
        Action::ReallocNull { object: 3, size: 32 },
        Action::AlignedAlloc { object: 4, size: 256, alignment: 64 },
        failed,
        ignored(Call::Malloc, IgnoredReason::Failed, 9223372036854775797),
        Action::ReallocFree { object: 3 },
        free(1),
        Action::FreeNull,
    ];
    assert_eq!(deeds(&imported), expected);
    assert_eq!(claims(&imported), (false, false, true));
    assert_eq!(imported.report.header.program, "./demo --serve");
    assert_eq!(note(&imported, "process").as_deref(), Some("9102"));
    assert_eq!(
        imported.report.warnings,
        [
            "1 calls of other processes (9103) are left out: the trace is of process 9102 (another: --process ID)"
        ]
    );
}

#[test]
fn a_valgrind_log_that_ends_inside_a_call() {
    let imported = import_text("--7-- malloc(48) = 0x10\n--7-- malloc(5)\n");
    assert_eq!(deeds(&imported), [malloc(0, 48)]);
    assert_eq!(imported.report.warnings, ["1 calls of which the log has no result: left out"]);
}

#[test]
fn a_text_without_calls_is_no_valgrind_log() {
    let expected = format!(
        "log.txt: holds no event; in a valgrind log, a call as valgrind's --trace-malloc=yes writes it: `--PID-- malloc(SIZE) = 0xADDRESS` was expected: is the log of another kind? (--from takes {})",
        Kind::names()
    );
    assert_eq!(message(b"hello\nworld\n", Some(Kind::Valgrind)), expected);
}

#[test]
fn a_valgrind_log_with_time_stamps_is_the_same_without() {
    let stamp = |line: &str| {
        for mark in ["==", "--"] {
            if let Some(rest) = line.strip_prefix(mark) {
                return format!("{mark}00:00:01:02.345 {rest}\n");
            }
        }
        format!("{line}\n")
    };
    let stamped: String = VALGRIND.lines().map(stamp).collect();
    let (plain, stamped) = (import_text(VALGRIND), import_text(&stamped));
    assert_eq!(stamped.report.kind, Kind::Valgrind);
    assert_eq!(stamped.events, plain.events);
    assert_eq!(stamped.report.header, plain.report.header);
    assert_eq!(stamped.report.warnings, plain.report.warnings);
}

#[test]
fn an_mtrace_log() {
    let imported = import_text(MTRACE);
    let expected = [
        malloc(0, 48),
        malloc(1, 384),
        Action::Realloc { object: 0, size: 200 },
        ignored(Call::Realloc, IgnoredReason::Failed, 0x7fffffffffff),
        ignored(Call::Malloc, IgnoredReason::Failed, 0x7fffffffffff),
        free(1),
        malloc(2, 0),
        ignored(Call::Free, IgnoredReason::Unseen, 0),
    ];
    assert_eq!(deeds(&imported), expected);
    assert_eq!(claims(&imported), (false, false, false));
    assert!(note(&imported, "not_in_log").is_some_and(|note| note.contains("calloc")));
}

#[test]
fn the_two_lines_of_a_realloc_may_stand_apart() {
    // Two threads reallocate at once; the second stays where it was, a third takes the block that the first
    // left.
    let text =
        "= Start\n+ 0x10 0x1\n+ 0x20 0x2\n< 0x10\n+ 0x10 0x3\n< 0x20\n> 0x20 0x22\n> 0x30 0x33\n= End\n";
    let expected = [
        malloc(0, 1),
        malloc(1, 2),
        Action::Realloc { object: 0, size: 0x33 },
        malloc(2, 3),
        Action::Realloc { object: 1, size: 0x22 },
    ];
    assert_eq!(deeds(&import_text(text)), expected);
    let cut = import_text("= Start\n+ 0x10 0x1\n< 0x10\n+ 0x20 0x2\n");
    assert_eq!(deeds(&cut), [malloc(0, 1), malloc(1, 2)]);
    assert_eq!(cut.report.warnings, ["1 reallocs of which the log has only the first line: left out"]);
    assert!(
        message(b"= Start\n> 0x10 0x1\n", None)
            .starts_with("log.txt:2: expected a line that begins with `<`")
    );
    let far = format!("= Start\n+ 0x10 0x1\n< 0x10\n{}> 0x20 0x2\n", "- 0x30\n".repeat(5000));
    assert!(message(far.as_bytes(), None).contains("of a realloc within 4096 lines"));
}

#[test]
fn without_threads_a_free_is_late_only_if_another_follows() {
    let late = import_text("= Start\n+ 0x10 0x1\n+ 0x10 0x2\n- 0x10\n- 0x10\n");
    assert_eq!(deeds(&late), [malloc(0, 1), free(0), malloc(1, 2), free(1)]);
    assert_eq!((late.report.summary.frees_hoisted, late.report.summary.frees_missed), (1, 0));
    let missed = import_text("= Start\n+ 0x10 0x1\n+ 0x10 0x2\n- 0x10\n+ 0x10 0x3\n- 0x10\n");
    let end = Action::FreeMissed { object: 0 };
    assert_eq!(deeds(&missed), [malloc(0, 1), end, malloc(1, 2), free(1), malloc(2, 3), free(2)]);
}

#[test]
fn a_logalloc_log() {
    let imported = import_text(LOGALLOC);
    let expected = [
        (0, malloc(0, 48)),
        (0, Action::Calloc { object: 1, size: 64 }),
        (1, Action::Realloc { object: 0, size: 200 }),
        (1, Action::AlignedAlloc { object: 2, size: 256, alignment: 64 }),
        (0, free(1)),
        (0, Action::FreeNull),
        (0, Action::ReallocNull { object: 3, size: 0 }),
        (0, ignored(Call::Malloc, IgnoredReason::Failed, u64::MAX)),
    ];
    assert_eq!(actions(&imported), expected);
    assert_eq!(imported.marks, [(6, "jemalloc_stats".to_string())]);
    assert_eq!(claims(&imported), (false, true, true));
    assert_eq!(imported.report.warnings.len(), 1, "the other process");
}

#[test]
fn a_realloc_that_logalloc_wrote_late() {
    let text = "1 1 malloc(8)=0x10\n1 2 malloc(16)=0x10\n1 1 realloc(0x10,99)=0x30\n";
    let expected = [(0, malloc(0, 8)), (0, Action::Realloc { object: 0, size: 99 }), (1, malloc(1, 16))];
    assert_eq!(actions(&import_text(text)), expected);
}

#[test]
fn a_munged_and_an_old_logalloc_log() {
    let munged = import_text("1 1 malloc(32)=#1\n1 2 malloc(64)=#2\n1 1 free(#1)\n1 2 realloc(#2,8)=#1\n");
    let expected =
        [(0, malloc(0, 32)), (1, malloc(1, 64)), (0, free(0)), (1, Action::Realloc { object: 1, size: 8 })];
    assert_eq!(actions(&munged), expected);
    let old = import_text("13663 malloc(42)=0x7f0c33502040\n13663 free(0x7f0c33502040)\n");
    assert_eq!((deeds(&old), claims(&old)), (vec![malloc(0, 42), free(0)], (false, false, true)));
    let mixed = message(b"1 malloc(42)=0x10\n1 1 free(0x10)\n", None);
    assert!(mixed.starts_with("log.txt:2: expected no thread id after the process id"), "{mixed}");
}

#[test]
fn a_process_can_be_chosen() {
    let import_process = |log: &str, process| {
        let directory = tempfile::tempdir().unwrap();
        let (path, output) = (directory.path().join("log.txt"), directory.path().join("out.hlt"));
        fs::write(&path, log).unwrap();
        let options = Options { kind: None, process: Some(process) };
        let report = import(&path, &options, &output, &mut |_| {});
        assert_eq!(report.is_ok(), output.exists());
        report
    };
    assert_eq!(import_process(LOGALLOC, 18546).unwrap().summary.events, 1);
    assert_eq!(import_process(VALGRIND, 9103).unwrap().summary.requested_peak_bytes, 5);
    let error = import_process(LOGALLOC, 7).unwrap_err().to_string();
    assert!(error.ends_with("has no call of process 7: the processes are 18545, 18546"), "{error}");
    let error = import_process(MTRACE, 7).unwrap_err().to_string();
    assert!(
        error.ends_with("logs of kind mtrace do not tell processes apart: leave --process away"),
        "{error}"
    );
}

#[test]
fn a_trace_of_malloc_bench() {
    let expected = [
        malloc(0, 48),
        Action::Calloc { object: 1, size: 32 },
        Action::Realloc { object: 0, size: 200 },
        free(1),
        Action::FreeNull,
        Action::AlignedAlloc { object: 2, size: 5, alignment: 64 },
        free(0),
    ];
    let imported = import_bytes(MALLOC_BENCH, None).unwrap();
    assert_eq!((deeds(&imported), claims(&imported)), (expected.to_vec(), (false, false, true)));
    let cut = import_bytes(&MALLOC_BENCH[..22], None).unwrap();
    assert_eq!(deeds(&cut), expected[..2]);
    assert_eq!(cut.report.warnings, ["the log ends inside what begins at byte 18: that is left out"]);
    let bench = Some(Kind::MallocBench);
    assert_eq!(
        message(&[0x0a, 2, 0x12, 0, 0x1a, 0], bench),
        "log.txt: byte 4 of the content: expected a line (key 10) or max_simultaneous_allocs (key 16), found 1a"
    );
    assert!(
        message(&[0x0a, 0xff, 0xff, 0x7f], bench)
            .contains("byte 0 of the content: expected a line of at most")
    );
    assert!(message(&[0xff; 11], bench).contains("a number of at most 64 bits, found ff ff"));
    assert!(message(&[0x0a, 2, 0x12, 1], bench).contains("a TraceLine in protobuf's encoding, found 12 01"));
}

#[test]
fn a_log_of_webkit() {
    let expected = [
        (0, malloc(0, 48)),
        (1, Action::AlignedAlloc { object: 1, size: 256, alignment: 64 }),
        (1, Action::Realloc { object: 0, size: 200 }),
        (0, free(1)),
        (0, ignored(Call::Free, IgnoredReason::Unseen, 0)),
        (0, Action::FreeMissed { object: 0 }),
        (0, malloc(2, 9)),
    ];
    let imported = import_bytes(&webkit(), None).unwrap();
    assert_eq!((actions(&imported), claims(&imported)), (expected.to_vec(), (false, true, true)));
    let cut = import_bytes(&webkit()[..70], None).unwrap();
    assert_eq!(actions(&cut), expected[..2]);
    assert_eq!(cut.report.warnings, ["the log ends inside what begins at byte 48: that is left out"]);
    assert_eq!(
        message(&[[9; 24], [0; 24]].concat(), Some(Kind::Webkit)),
        "log.txt: byte 0 of the content: expected an opcode from 0 to 3, found \
         09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09 09"
    );
}
