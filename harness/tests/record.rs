//! `heaplab record` as a process: where it stops, what it says, and what it passes on.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::recording::{Recorded, compile, info};
use crate::support::{self, heaplab};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

mod hostile;
mod kin;
mod pauses;
mod refusals;

/// Runs `heaplab record` with `arguments`; its status and what it wrote to stderr.
fn record(arguments: &[&str]) -> (Option<i32>, String) {
    let output = heaplab().arg("record").args(arguments).output().expect("it runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_last_line_tells_events_threads_bytes_and_lost() {
    let run = Recorded::hazard("end.c", &[], &["_exit"]);
    run.assert_whole();
    let said = run.said();
    assert!(said.starts_with("heaplab: recorded ") && said.lines().count() == 1, "{said}");
    assert!(said.contains("trace.hlt: 2001 events, 1 thread, ") && said.contains(" 0 lost; "), "{said}");
}

#[test]
fn the_header_tells_where_and_on_what() {
    let run = Recorded::hazard("end.c", &[], &["_exit"]);
    let trace = run.trace();
    let header = &trace["header"];
    assert_eq!((&header["source"], &header["has_times"]), (&"recorder".into(), &true.into()));
    assert_eq!((&header["has_threads"], &header["has_alignment"]), (&true.into(), &true.into()));
    assert_eq!(header["allocator"]["name"], "ptmalloc2");
    assert_eq!(header["allocator"]["hash"].as_str().map(str::len), Some(64));
    assert!(header["cpus"].as_u64().is_some_and(|cpus| cpus > 0), "{header}");
    assert!(header["program"].as_str().is_some_and(|program| program.ends_with("/end _exit")), "{header}");
}

#[test]
fn a_status_is_passed_on_where_nobody_reads_what_is_said() {
    let directory = TempDir::new().expect("a directory");
    let trace = directory.path().join("trace.hlt");
    let mut child = Command::new(heaplab().get_program())
        .args(["record", "-o"])
        .arg(&trace)
        .args(["--", "sh", "-c", "sleep 0.2; exit 7"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stderr.take());
    assert_eq!(child.wait().expect("it ends").code(), Some(7));
    assert!(trace.exists());
}

#[test]
fn resident_memory_and_cpu_time_are_known_to_the_end() {
    let run = Recorded::hazard("idle_end.c", &[], &[]);
    let reader = heaplab_trace::TraceReader::open(&run.directory.path().join("trace.hlt")).expect("a trace");
    let looks = reader.filter_map(|record| match record.expect("a record") {
        heaplab_trace::Record::Resident(sample) => Some(sample),
        _ => None,
    });
    let last = looks.last().expect("looks");
    assert!(last.time_ns > 400_000_000 && last.resident_bytes > 8 << 20, "{last:?}");
    let notes = run.trace()["header"]["notes"].clone();
    let note = |name: &str| {
        let found = notes.as_array().expect("notes").iter().find(|note| note["name"] == name);
        found.and_then(|note| note["value"].as_str()?.parse::<u64>().ok()).expect(name)
    };
    let cpu_ns = note("cpu_user_ns") + note("cpu_system_ns");
    assert!((1..400_000_000).contains(&cpu_ns), "it slept: {cpu_ns} ns");
    // What recording costs is measured before, on this program itself.
    let cost = |name: &str| {
        let found = notes.as_array().expect("notes").iter().find(|note| note["name"] == name);
        found.and_then(|note| note["value"].as_str()?.parse::<f64>().ok()).expect(name)
    };
    assert!((0.0..1e6).contains(&cost("recorder.event_ns")));
    assert!((0.0..1e9).contains(&cost("recorder.waking_ns")));
    assert!(note("recorder.wakings") > 0, "it slept");
    assert!(!run.said().contains("what recording costs is not known"), "{}", run.said());
}

/// A prediction needs it, and reads only a run's files.
#[test]
fn a_run_says_how_often_its_recorded_process_was_looked_at() {
    let recorded = Recorded::hazard("end.c", &[], &["_exit"]);
    let mut run = heaplab();
    run.current_dir(recorded.directory.path()).args(["run", "trace.hlt", "-o", "out"]);
    run.args(["--pass", "memory", "--reps", "1", "-a", "ptmalloc2"]).assert().success();
    let run = std::fs::read_to_string(recorded.directory.path().join("out/run.toml")).expect("a run");
    let run: toml::Table = run.parse().expect("TOML");
    let notes = recorded.trace()["header"]["notes"].clone();
    let mut notes = notes.as_array().expect("notes").iter();
    let note = notes.find(|note| note["name"] == "resident_sampling_interval_ns").expect("how often");
    let share = run["workloads"][0]["recorder_cpu_ns"].as_integer().expect("a number");
    assert!(share <= run["workloads"][0]["recorded_cpu_ns"].as_integer().expect("a number"));
    let report = std::fs::read_to_string(recorded.directory.path().join("out/report.md")).expect("a report");
    assert!(report.contains("were the recorder's own"), "{report}");
    let stated = run["workloads"][0]["recorded_sampling_interval_ns"].as_integer().expect("a number");
    assert_eq!(Some(stated.to_string().as_str()), note["value"].as_str());
}

#[test]
fn a_limit_of_bytes_stops_the_recording_and_not_the_program() {
    let run = Recorded::hazard("many_events.c", &["--max-bytes", "256KiB"], &[]);
    run.assert_unchanged();
    let recorded = run.total("malloc");
    assert!((10_000..500_000).contains(&recorded), "{recorded}");
    assert!(run.said().contains("of --max-bytes"), "{}", run.said());
}

#[test]
fn a_limit_of_time_stops_the_recording_and_not_the_program() {
    // It runs for at least two seconds.
    let run = Recorded::hazard("bursts.c", &["--max-seconds", "0.5"], &[]);
    run.assert_unchanged();
    assert!((10_000..3_990_000).contains(&run.total("malloc")));
    assert!(run.said().contains("the time of --max-seconds was over"), "{}", run.said());
}

/// Runs a shell script in its own namespace, on a disk (`$1`) of this many bytes. `$2` is heaplab, `$3` the
/// program, `$4` a place elsewhere.
fn on_small_disk(size: &str, hazard: &str, script: &str) -> (Output, TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile(hazard, directory.path(), &[]);
    let disk = directory.path().join("disk");
    std::fs::create_dir(&disk).expect("a directory");
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c"])
        .arg(format!("mount -t tmpfs -o size={size} tmpfs \"$1\" || exit 99\n{script}"))
        .arg("sh")
        .arg(&disk)
        .arg(heaplab().get_program())
        .arg(&program)
        .arg(directory.path().join("elsewhere.hlt"))
        .output()
        .expect("unshare runs");
    (output, directory)
}

#[test]
fn a_full_disk_stops_the_recording_and_not_the_program() {
    // Raw files and trace are both on that disk. Either the room ends first, or the check notices first.
    let script = "\"$2\" record -o \"$1/trace.hlt\" -- \"$3\"";
    let (output, _directory) = on_small_disk("512k", "many_events.c", script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(14), &b"many\n"[..]), "{said}");
    assert!(said.contains("recording stopped") && said.contains("the program continued without"), "{said}");
}

#[test]
fn a_recording_leaves_room_for_its_trace() {
    let script = "\"$2\" record -o \"$1/trace.hlt\" -- \"$3\" \"$1/rest\"; status=$?
        cp \"$1/trace.hlt\" \"$4\" && ! test -e \"$1/trace.hlt.raw\" && exit $status";
    let (output, directory) = on_small_disk("8m", "bursts.c", script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(16), &b"done\n"[..]), "{said}");
    assert!(said.contains("bytes left, no more than the raw files have"), "{said}");
    let trace = info(&directory.path().join("elsewhere.hlt"));
    let recorded = trace["summary"]["malloc"].as_u64().expect("a total");
    // Half of the disk at 2 to 3 bytes an event, with two events per block.
    assert!((300_000..3_000_000).contains(&recorded), "{recorded}");
}

#[test]
fn a_recording_without_room_for_its_trace_can_be_imported_elsewhere() {
    let script = "\"$2\" record -o \"$1/trace.hlt\" -- \"$3\" \"$1/rest\" fill; status=$?
        ls \"$1\" >&2
        \"$2\" trace import --from raw \"$1/trace.hlt.raw\" -o \"$4\" >&2 && exit $status";
    let (output, directory) = on_small_disk("8m", "bursts.c", script);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(16), &b"done\n"[..]), "{said}");
    let kept = "its raw files are kept: make it where there is room, with `heaplab trace import --from raw ";
    assert!(said.contains(kept) && said.contains("No space left on device"), "{said}");
    assert!(said.contains("trace.hlt.raw -o /ELSEWHERE/FILE.hlt`"), "{said}");
    assert!(!said.contains(".partial"), "no part of a trace takes room: {said}");
    let trace = info(&directory.path().join("elsewhere.hlt"));
    assert_eq!(trace["summary"]["malloc"], 50_000);
}

#[test]
fn a_signal_ends_the_merge_and_the_raw_files_stay() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("endless_merge.c", directory.path(), &[]);
    let (trace, imported) = (directory.path().join("trace.hlt"), directory.path().join("imported.hlt"));
    let heaplab_program = heaplab();
    let mut child = Command::new(heaplab_program.get_program())
        .args(["record", "-o"])
        .arg(&trace)
        .arg("--")
        .arg(&program)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    // The trace has no name while it is made (`#` and its number), and the merge starts it. Before the
    // program starts, one is opened and closed at once, to see whether it can be made: one that is still open
    // a moment later is the merge's.
    let nameless = directory.path().join("#").to_string_lossy().into_owned();
    let open_files = format!("/proc/{}/fd", child.id());
    let merges = || {
        let entries = std::fs::read_dir(&open_files).expect("a directory");
        let mut targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.any(|target| target.to_string_lossy().starts_with(&nameless))
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut seen = 0;
    while seen < 20 {
        assert!(Instant::now() < deadline, "the merge begins");
        seen = if merges() { seen + 1 } else { 0 };
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a process")).expect("a process");
    kill_process(pid, Signal::TERM).expect("it runs");
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(Signal::TERM.as_raw()), "{status}");
    assert!(!trace.exists(), "a trace has its name only when it is complete");
    let raw = directory.path().join("trace.hlt.raw");
    heaplab()
        .args(["trace", "import", "--from", "raw"])
        .arg(&raw)
        .arg("-o")
        .arg(&imported)
        .assert()
        .success();
    assert_eq!(info(&imported)["summary"]["malloc"], 4_000_000);
}

#[test]
fn a_limit_of_file_sizes_stops_the_recording_and_not_the_program() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("many_events.c", directory.path(), &[]);
    let trace = directory.path().join("trace.hlt");
    // Writing past the limit would send SIGXFSZ to the program.
    let heaplab = heaplab();
    let output = Command::new("sh")
        .args(["-c", "ulimit -f 512; exec \"$0\" record -o \"$1\" -- \"$2\""])
        .args([heaplab.get_program(), trace.as_os_str(), program.as_os_str()])
        .output()
        .expect("a shell");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(14), &b"many\n"[..]), "{said}");
    assert!(said.contains("the raw files could not grow: File too large"), "{said}");
    let recorded = info(&trace)["summary"]["malloc"].as_u64().expect("a total");
    assert!((10_000..500_000).contains(&recorded), "{recorded}");
}

#[test]
fn a_command_that_is_killed_leaves_the_program_to_record_on() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = compile("many_events.c", directory.path(), &[]);
    let (trace, imported) = (directory.path().join("trace.hlt"), directory.path().join("imported.hlt"));
    // The program's end is visible from the end of its output, which is also the command's.
    let output = Command::new(heaplab().get_program())
        .args(["record", "-o"])
        .arg(&trace)
        .args(["--", "sh", "-c", "kill -9 $PPID; exec \"$0\""])
        .arg(&program)
        .output()
        .expect("it runs");
    assert_eq!((output.status.signal(), &output.stdout[..]), (Some(9), &b"many\n"[..]));
    let raw = directory.path().join("trace.hlt.raw");
    let import = ["trace", "import", "--from", "raw"];
    heaplab().args(import).arg(&raw).arg("-o").arg(&imported).assert().success();
    let info = info(&imported);
    assert_eq!(
        (&info["summary"]["malloc"], &info["summary"]["lost"]),
        (&500_000.into(), &0.into()),
        "{info}"
    );
}

#[test]
fn a_program_that_does_not_start_has_the_status_that_a_shell_gives() {
    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("x.hlt");
    let trace = trace.to_str().expect("UTF-8");
    assert_eq!(
        record(&["-o", trace, "--", "no-such-program-anywhere"]),
        (Some(127), "heaplab: no-such-program-anywhere: there is no such program\n".to_string()),
    );
    let text = directory.path().join("text");
    std::fs::write(&text, "text").expect("a file");
    let (status, said) = record(&["-o", trace, "--", text.to_str().expect("UTF-8")]);
    assert_eq!(status, Some(126), "{said}");
    assert!(said.contains("it may not be executed"), "{said}");
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("a directory").count(),
        1,
        "nothing is left behind"
    );
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    assert_eq!(
        record(&["-o", "/no/such/x.hlt", "--", "true"]),
        (Some(1), "heaplab: /no/such/x.hlt: there is no directory /no/such: make it first\n".to_string()),
    );
}

#[test]
fn where_no_trace_can_be_made_the_program_is_not_started() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mark, taken) = (directory.path().join("mark"), directory.path().join("taken.hlt"));
    std::fs::create_dir(&taken).expect("a directory");
    let long = directory.path().join(format!("{}.hlt", "x".repeat(245)));
    for output in [&taken, &long] {
        let output = output.to_str().expect("UTF-8");
        let (status, said) = record(&["-o", output, "--", "touch", mark.to_str().expect("UTF-8")]);
        assert_eq!(status, Some(1), "{said}");
        assert!(said.contains("so the program was not started"), "{said}");
        assert!(!mark.exists(), "{said}");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "nothing is left");
    }
}

#[test]
fn a_running_process_is_refused_with_what_to_do() {
    let (status, said) = record(&["--pid", "1"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(
        said.contains("a running process cannot be recorded") && said.contains("heaplab record -o"),
        "{said}"
    );
}

#[test]
fn raw_files_of_an_earlier_recording_are_not_written_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("x.hlt");
    std::fs::create_dir(directory.path().join("x.hlt.raw")).expect("a directory");
    let (status, said) = record(&["-o", trace.to_str().expect("UTF-8"), "--", "true"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("already exists") && said.contains("trace import --from raw"), "{said}");
}

#[test]
fn a_missing_library_is_said_with_the_places() {
    let directory = tempfile::tempdir().expect("a directory");
    let alone = directory.path().join("heaplab");
    std::fs::copy(heaplab().get_program(), &alone).expect("a copy");
    let output = Command::new(&alone)
        .args(["record", "-o"])
        .arg(directory.path().join("x.hlt"))
        .args(["--", "true"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the recorder's library is in none of ") && said.contains("HEAPLAB_RECORDER"),
        "{said}"
    );
    let library = support::library_directory().join("libheaplab_recorder.so");
    let output = Command::new(&alone)
        .env("HEAPLAB_RECORDER", &library)
        .args(["record", "-o"])
        .arg(directory.path().join("x.hlt"))
        .args(["--", "sh", "-c", "exit 9"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(9), "{}", String::from_utf8_lossy(&output.stderr));
}
