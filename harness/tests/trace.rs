//! `heaplab trace` as a process: stdout, stderr and exit status of each command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use heaplab_raw::{Allocation, Event as RawEvent, ImageHead, ImageId, Text};
use heaplab_trace::{Action, Event, Header, Record, TraceFile};
use heaplab_workloads::import::raw::RawWriter;

const LOG: &str = "\
12: malloc 0x7b40001000 48
12: calloc 0x7b40002000 16 24
15: memalign 0x7b40004000 64 70000
15: realloc 0x7b40003000 0x7b40001000 200
15: realloc 0x7b40005000 0x0 32
15: free 0x7b40002000
12: free 0x0
15: realloc 0x0 0x7b40005000 0
15: thread_done 0x0
";

const LACKS_TIMES: &str = "times (an event's index is used as its time; only --pace max can be measured)";
const KINDS: &str = "android, heaptrack, valgrind, mtrace, logalloc, malloc-bench, webkit, raw";

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The trace of `log`.
    fn import(&self, log: &str) -> PathBuf {
        let output = self.path("out.hlt");
        let log = self.write("log.txt", log);
        let done = trace(&["import", text(&log), "-o", text(&output)]);
        assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
        output
    }

    /// A trace of three chunks.
    fn long_trace(&self) -> PathBuf {
        let path = self.path("long.hlt");
        let header = Header { source: "test".into(), has_times: true, ..Header::default() };
        let mut file = TraceFile::create(&path, &header).unwrap();
        for object in 0..140_000 {
            let action = Action::Malloc { object, size: 10 };
            file.push(&Record::Event(Event { time_ns: object * 1000, thread: 0, action })).unwrap();
        }
        file.finish().unwrap();
        path
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn trace(arguments: &[&str]) -> Output {
    Command::new(assert_cmd::cargo::cargo_bin!("heaplab")).arg("trace").args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// The value of the row `name` of a table.
fn row<'a>(table: &'a str, name: &str) -> Option<&'a str> {
    table.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then_some(value.trim_start())
    })
}

#[test]
fn import_prints_exact_counts() {
    let place = Place::new();
    let (log, output) = (place.write("log.txt", LOG), place.path("out.hlt"));
    let done = trace(&["import", text(&log), "-o", text(&output)]);
    assert_eq!((done.status.code(), stderr(&done)), (Some(0), ""));
    let expected = [
        ("trace", text(&output)),
        ("source", "android"),
        ("lacks", LACKS_TIMES),
        ("events", "9"),
        ("threads", "2"),
        ("malloc", "1"),
        ("calloc", "1"),
        ("aligned_alloc", "1"),
        ("realloc", "3"),
        ("realloc_null", "1"),
        ("free", "2"),
        ("free_null", "1"),
        ("thread_ends", "1"),
        ("cross_thread", "2"),
        ("live_at_end", "2"),
        ("live_at_end_bytes", "70200 (68.55 KiB)"),
    ];
    for (name, value) in expected {
        assert_eq!(row(stdout(&done), name), Some(value), "{name}");
    }
}

#[test]
fn info_says_the_same_in_both_formats() {
    let place = Place::new();
    let file = place.import(LOG);
    let table = trace(&["info", text(&file)]);
    assert_eq!((table.status.code(), stderr(&table)), (Some(0), ""));
    let json = trace(&["info", text(&file), "--format", "json"]);
    assert_eq!((json.status.code(), stderr(&json)), (Some(0), ""));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["header"]["source"], "android");
    assert_eq!(json["header"]["notes"][0]["value"], "log.txt");
    assert_eq!(json["truncated"], false);
    let totals = json["summary"].as_object().unwrap();
    assert_eq!(totals.len(), 34);
    for (name, value) in totals {
        let of_recordings = ["touched", "explained", "resident_mean", "resident_peak"];
        if of_recordings.iter().any(|begin| name.starts_with(begin)) {
            assert_eq!((value.as_u64(), row(stdout(&table), name)), (Some(0), None), "no log knows {name}");
            continue;
        }
        let shown = row(stdout(&table), name).unwrap_or_else(|| panic!("{name} is not in the table"));
        assert_eq!(shown.split(' ').next(), Some(value.to_string().as_str()), "{name}");
    }
    assert_eq!(row(stdout(&table), "truncated"), Some("no"));
    assert_eq!(row(stdout(&table), "lacks"), Some(LACKS_TIMES));
}

#[test]
fn times_are_shown_in_seconds_beside_the_integer() {
    let place = Place::new();
    let file = place.import("1: malloc 0x10 8 5000000000 5000000100\n1: free 0x10 6500000000 6500000100\n");
    let done = trace(&["info", text(&file)]);
    assert_eq!(row(stdout(&done), "last_time_ns"), Some("1500000000 (1.500 s)"));
    assert_eq!(row(stdout(&done), "lacks"), None);
}

#[test]
fn import_warns_of_what_it_mended() {
    let place = Place::new();
    let log = "1: malloc 0x10 8\n2: malloc 0x10 9\n2: free 0x30\n2: realloc 0x50 0x40 8\n1: malloc 0x50 3\n2: free 0x50\n";
    let (log, output) = (place.write("log.txt", log), place.path("out.hlt"));
    let done = trace(&["import", "--from", "android", text(&log), "-o", text(&output)]);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(row(stdout(&done), "events"), Some("6"));
    let warnings: Vec<&str> = stderr(&done).lines().collect();
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert!(
        warnings.iter().all(|line| line.starts_with(&format!("heaplab: warning: {}: 1 ", log.display())))
    );
    for (warning, what) in
        warnings.iter().zip(["frees of", "reallocs of", "frees logged late", "allocations at a live"])
    {
        assert!(warning.contains(what), "{warning}");
    }
    let verified = trace(&["verify", text(&output)]);
    assert_eq!((verified.status.code(), stderr(&verified)), (Some(0), ""));
}

#[test]
fn import_that_fails_leaves_an_older_trace_alone() {
    let place = Place::new();
    let file = place.import(LOG);
    let before = fs::read(&file).unwrap();
    let log = place.write("bad.txt", "1: malloc 0x10 8\n1: free 10\n");
    let done = trace(&["import", text(&log), "-o", text(&file)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(1), ""));
    let expected = format!(
        "heaplab: {}:2: expected a hexadecimal pointer that begins with 0x, found \"1: free 10\"\n",
        log.display()
    );
    assert_eq!(stderr(&done), expected);
    assert_eq!(fs::read(&file).unwrap(), before);
    assert_eq!(fs::read_dir(place.directory.path()).unwrap().count(), 3, "nothing temporary is left");
}

#[test]
fn an_unknown_kind_is_a_usage_error_with_the_list() {
    let place = Place::new();
    let (log, output) = (place.write("log.txt", LOG), place.path("out.hlt"));
    let done = trace(&["import", "--from", "bogus", text(&log), "-o", text(&output)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(2), ""));
    assert_eq!(stderr(&done), format!("heaplab: unknown kind of log \"bogus\": the kinds are {KINDS}\n"));
    let other = place.write("other.txt", "hello\n");
    let done = trace(&["import", text(&other), "-o", text(&output)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(1), ""));
    let expected = format!(
        "heaplab: {}: no known kind of log begins like this (its first 6 bytes were examined; they begin with \"hello\\n\"): name its kind with --from ({KINDS})\n",
        other.display()
    );
    assert_eq!(stderr(&done), expected);
    assert!(!output.exists());
}

#[test]
fn verify_says_that_a_whole_trace_is_whole() {
    let place = Place::new();
    let file = place.long_trace();
    let done = trace(&["verify", text(&file)]);
    assert_eq!((done.status.code(), stderr(&done)), (Some(0), ""));
    let bytes = fs::metadata(&file).unwrap().len();
    let expected = format!(
        "{}: whole: 140000 events in 3 chunks, {bytes} bytes; every checksum, law and total holds\n",
        file.display()
    );
    assert_eq!(stdout(&done), expected);
}

#[test]
fn a_truncated_trace_fails_verify_and_is_used_by_info() {
    let place = Place::new();
    let file = place.long_trace();
    let bytes = fs::read(&file).unwrap();
    let chunks: Vec<usize> = (0..bytes.len() - 4).filter(|&at| &bytes[at..at + 4] == b"CHNK").collect();
    let cut = place.write("cut.hlt", &bytes[..chunks[2] + 60]);
    let message = format!(
        "{}: cut off: its whole part ends at byte {} of {}; 2 chunks with 131072 events can be used\n",
        cut.display(),
        chunks[2],
        chunks[2] + 60
    );
    let done = trace(&["verify", text(&cut)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(1), ""));
    assert_eq!(stderr(&done), format!("heaplab: {message}"));
    let done = trace(&["info", text(&cut)]);
    assert_eq!(done.status.code(), Some(0));
    assert_eq!(stderr(&done), format!("heaplab: warning: {message}"));
    assert_eq!(row(stdout(&done), "events"), Some("131072"));
    assert_eq!(row(stdout(&done), "truncated"), Some(format!("yes, at byte {}", chunks[2]).as_str()));
}

#[test]
fn a_damaged_chunk_is_an_error_with_its_offset() {
    let place = Place::new();
    let file = place.long_trace();
    let mut bytes = fs::read(&file).unwrap();
    let chunk = (1..bytes.len()).filter(|&at| bytes[at..].starts_with(b"CHNK")).nth(1).unwrap();
    bytes[chunk + 60] ^= 1;
    let damaged = place.write("damaged.hlt", &bytes);
    let done = trace(&["verify", text(&damaged)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(1), ""));
    let expected = format!(
        "heaplab: {}: damaged at byte {chunk}: the checksum of the chunk's payload does not fit\n",
        damaged.display()
    );
    assert_eq!(stderr(&done), expected);
}

#[test]
fn what_is_no_trace_is_refused() {
    let place = Place::new();
    let log = place.write("log.txt", LOG);
    let directory = place.directory.path().to_path_buf();
    let cases = [
        (place.path("none.hlt"), "cannot open: No such file or directory (os error 2)"),
        (log, "not a heaplab trace (a foreign log must be imported first: heaplab trace import)"),
        (
            place.write("empty.hlt", ""),
            "not a heaplab trace (a foreign log must be imported first: heaplab trace import)",
        ),
        (directory.clone(), "cannot read: Is a directory (os error 21)"),
    ];
    for (path, what) in cases {
        for command in ["info", "verify"] {
            let done = trace(&[command, text(&path)]);
            assert_eq!((done.status.code(), stdout(&done)), (Some(1), ""));
            assert_eq!(stderr(&done), format!("heaplab: {}: {what}\n", path.display()));
        }
    }
    for (log, output) in [
        (place.path("none.txt"), place.path("out.hlt")),
        (directory.clone(), place.path("out.hlt")),
        (place.path("log.txt"), directory),
    ] {
        let done = trace(&["import", text(&log), "-o", text(&output)]);
        assert_eq!((done.status.code(), stdout(&done)), (Some(1), ""));
        assert!(stderr(&done).starts_with("heaplab: /"), "{}", stderr(&done));
    }
}

/// What a killed recorder leaves: two images, the second of a child.
fn raw_recording(place: &Place) -> PathBuf {
    let directory = place.path("demo.hlt.raw");
    fs::create_dir(&directory).unwrap();
    for (pid, ordinal) in [(100, 0), (101, 1)] {
        let id = ImageId { pid, ordinal };
        let head = ImageHead { id, cpus_allowed: 2, ..ImageHead::default() };
        let mut writer = RawWriter::new(head, &[(Text::Command, b"demo\0--serve\0")]);
        let thread = writer.add_thread(pid);
        for address in [0x1000, 0x2000, 0x1000] {
            let event = RawEvent::Allocate { by: Allocation::Malloc, address, size: 24 };
            writer.push(thread, 1500, event);
        }
        writer.write(&directory).unwrap();
    }
    directory
}

#[test]
fn a_raw_recording_is_imported_with_what_is_wrong_with_it() {
    let place = Place::new();
    let (directory, output) = (raw_recording(&place), place.path("demo.hlt"));
    fs::remove_file(directory.join("samples")).unwrap();
    let done = trace(&["import", text(&directory), "-o", text(&output)]);
    assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
    let warning = format!("heaplab: warning: {}:", directory.display());
    let expected = [
        format!("{warning} samples is missing: no resident memory, no names of threads"),
        format!(
            "{warning} 1 allocations at a live address whose free was never logged: the older object ends there"
        ),
        format!("{warning} another image is in {}: 3 events", place.path("demo.101-1.hlt").display()),
        format!("heaplab: {} says which processes there were", place.path("demo.tree.toml").display()),
    ];
    assert_eq!(stderr(&done).lines().collect::<Vec<_>>(), expected);
    for (name, value) in
        [("source", "recorder"), ("malloc", "3"), ("frees_missed", "1"), ("order_guessed", "0")]
    {
        assert_eq!(row(stdout(&done), name), Some(value), "{name}");
    }
    let info = trace(&["info", text(&output)]);
    assert_eq!(row(stdout(&info), "program"), Some("demo --serve"));
    assert_eq!(row(stdout(&info), "cpus"), Some("2"));
    assert_eq!(trace(&["verify", text(&place.path("demo.101-1.hlt"))]).status.code(), Some(0));
}

#[test]
fn one_image_of_a_raw_recording_is_imported_by_its_file_or_its_process() {
    let place = Place::new();
    let directory = raw_recording(&place);
    let file = directory.join("101-1.raw");
    for arguments in [
        vec!["import", text(&file)],
        vec!["import", "--from", "raw", text(&file)],
        vec!["import", "--from", "raw", "--process", "101", text(&directory)],
    ] {
        let output = place.path("out.hlt");
        let done = trace(&[&arguments[..], &["-o", text(&output)]].concat());
        assert_eq!(done.status.code(), Some(0), "{}", stderr(&done));
        assert_eq!(row(stdout(&done), "note"), Some("pid: 101"));
        assert!(!stderr(&done).contains("another image"), "{}", stderr(&done));
    }
    let done = trace(&["import", "--process", "7", text(&directory), "-o", text(&place.path("out.hlt"))]);
    assert_eq!(done.status.code(), Some(2));
    assert!(
        stderr(&done).contains("has no call of process 7: the processes are 100, 101"),
        "{}",
        stderr(&done)
    );
}

#[test]
fn export_writes_to_stdout_and_says_what_is_lost() {
    let place = Place::new();
    let file = place.import(LOG);
    let done = trace(&["export", "--to", "android", text(&file)]);
    assert_eq!(done.status.code(), Some(0));
    let expected = "\
1: malloc 0x10 48
1: calloc 0x20 1 384
2: memalign 0x30 64 70000
2: realloc 0x10 0x10 200
2: realloc 0x40 0x0 32
2: free 0x20
1: free 0x0
2: realloc 0x0 0x40 0
2: thread_done 0x0
";
    assert_eq!(stdout(&done), expected);
    let lost = "\
heaplab: not in the android text: addresses are made up (object N is at 16 (N + 1)) and obey no alignment
heaplab: not in the android text: the header: notes
";
    assert_eq!(stderr(&done), lost);
    // An exported log is a log like any other.
    let log = place.write("exported.txt", &done.stdout);
    let again = place.path("again.hlt");
    assert_eq!(trace(&["import", text(&log), "-o", text(&again)]).status.code(), Some(0));
    assert_eq!(stdout(&trace(&["export", "--to", "android", text(&again)])), expected);
}

#[test]
fn export_to_a_file_replaces_it_when_complete() {
    let place = Place::new();
    let file = place.import(LOG);
    let output = place.write("out.csv", "older");
    let done = trace(&["export", "--to", "csv", text(&file), "-o", text(&output)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(0), ""));
    let lost = "\
heaplab: not in the csv text: that the trace lacks times: what the text has of it is made up
heaplab: not in the csv text: the header: notes
";
    assert_eq!(stderr(&done), lost);
    let table = fs::read_to_string(&output).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "record,time_ns,thread,object,bytes,alignment,repeats,name",
            "malloc,0,0,0,48,,,",
            "calloc,1,0,1,384,,,"
        ]
    );
    assert_eq!(lines.len(), 10);

    let before = fs::read(&output).unwrap();
    let damaged = place.write("damaged.hlt", &fs::read(&file).unwrap()[..20]);
    let done = trace(&["export", "--to", "csv", text(&damaged), "-o", text(&output)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(1), ""));
    assert!(stderr(&done).contains("damaged.hlt"), "{}", stderr(&done));
    assert_eq!(fs::read(&output).unwrap(), before, "an export that fails leaves an older file alone");
    let done = trace(&["export", "--to", "csv", text(&file), "-o", text(&file)]);
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).ends_with("is the trace itself: name another output\n"), "{}", stderr(&done));
    let done = trace(&["export", "--to", "csv", text(&file), "-o", "/no/such/out.csv"]);
    let said = "heaplab: /no/such/out.csv: there is no directory /no/such: make it first\n";
    assert_eq!((done.status.code(), stderr(&done)), (Some(1), said));
    let done = trace(&["export", "--to", "bogus", text(&file)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(2), ""));
    assert_eq!(stderr(&done), "heaplab: unknown format \"bogus\": the formats are android, csv\n");
    let names: Vec<_> =
        fs::read_dir(place.directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| !name.to_str().unwrap().starts_with('.')), "{names:?}");
}

#[test]
fn a_process_is_chosen_or_refused() {
    let place = Place::new();
    let log = place.write("two.log", "7 1 malloc(48)=0x10\n8 1 malloc(5)=0x10\n7 1 free(0x10)\n");
    let output = place.path("out.hlt");
    let done = trace(&["import", text(&log), "-o", text(&output)]);
    let warning =
        "1 calls of other processes (8) are left out: the trace is of process 7 (another: --process ID)";
    assert_eq!(stderr(&done), format!("heaplab: warning: {}: {warning}\n", log.display()));
    assert_eq!((done.status.code(), row(stdout(&done), "events")), (Some(0), Some("2")));
    let done = trace(&["import", "--process", "8", text(&log), "-o", text(&output)]);
    assert_eq!(row(stdout(&done), "requested_peak_bytes"), Some("5"));
    let done = trace(&["import", "--process", "9", text(&log), "-o", text(&output)]);
    assert_eq!((done.status.code(), stdout(&done)), (Some(2), ""));
    let expected = format!("heaplab: {}: has no call of process 9: the processes are 7, 8\n", log.display());
    assert_eq!(stderr(&done), expected);
}

#[test]
fn every_kind_of_log_is_documented() {
    let document = include_str!("../../docs/importing.md");
    let help = trace(&["import", "--help"]);
    for kind in heaplab_workloads::import::Kind::ALL {
        assert!(document.contains(&format!("| `{}` |", kind.name())), "{}", kind.name());
        assert!(stdout(&help).contains(kind.name()), "{}", kind.name());
    }
}

#[test]
fn what_a_log_does_not_hold_is_said() {
    let place = Place::new();
    let file = place.import("= Start\n+ 0x10 0x30\n- 0x10\n= End\n");
    let done = trace(&["info", text(&file)]);
    let lacks = row(stdout(&done), "lacks").unwrap();
    for lack in ["times (an event's index", "threads (all events belong to one thread", "alignment (aligned"]
    {
        assert!(lacks.contains(lack), "{lacks}");
    }
    let notes: Vec<&str> = stdout(&done).lines().filter(|line| line.starts_with("note ")).collect();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes[1].contains("not_in_log: which function allocated"), "{notes:?}");
}
