//! Samples in their own control groups: `--memory-max` of `exec` and `run`.
//!
//! If this machine does not allow groups to be made, heaplab must say so and measure nothing; `scripts/test` then says that
//! limits were not tested.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::{self, heaplab};

/// Takes about 250 MiB.
const LARGE: &str = "BEGIN { for (i = 0; i < 3000000; i++) seen[i] = i }";

fn samples(directory: &Path) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(directory.join("samples.csv")).expect("samples");
    reader.deserialize().map(|row| row.expect("a whole row")).collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Existing groups that heaplab made.
fn groups(below: &Path, depth: u32) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).into_iter().flatten().flatten().filter(|_| depth > 0) {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(groups(&path, depth - 1));
            if entry.file_name().to_string_lossy().starts_with("heaplab-") {
                found.push(path);
            }
        }
    }
    found
}

fn groups_of(process: u32) -> Vec<std::path::PathBuf> {
    let own = format!("heaplab-{process}-");
    let all = groups(Path::new("/sys/fs/cgroup"), 6);
    all.into_iter().filter(|path| path.to_string_lossy().contains(&own)).collect()
}

/// Runs heaplab; none if no group can be made, which it must report.
fn limited(directory: &Path, arguments: &[&str]) -> Option<Output> {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heaplab"));
    command.env("HEAPLAB_PRELOAD_DIR", support::library_directory());
    command.current_dir(directory).args(arguments);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("it starts");
    let process = child.id();
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(groups_of(process), [] as [std::path::PathBuf; 0], "no group is left");
    if stderr(&output).contains("no control group with a memory limit can be made") {
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        assert!(!directory.join("out").exists(), "nothing was measured");
        return None;
    }
    Some(output)
}

#[test]
fn a_program_is_killed_at_its_limit_and_measured_below_it() {
    let place = tempfile::tempdir().expect("a directory");
    let run = |max: &str, out: &str| {
        let arguments =
            ["exec", "--reps", "1", "-a", "ptmalloc2", "--memory-max", max, "-o", out, "--", "awk", LARGE];
        limited(place.path(), &arguments)
    };
    let Some(killed) = run("64MiB", "out") else { return };
    let row = &samples(&place.path().join("out"))[0];
    assert_eq!(row["status"], "oom", "{row:?}");
    assert!(row["status_detail"].contains("killed for memory by the limit of its control group"), "{row:?}");
    assert!(stderr(&killed).contains("not ok: killed for memory"), "{}", stderr(&killed));
    let number = |row: &HashMap<String, String>, name: &str| row[name].parse::<u64>().expect("a number");
    assert_eq!(number(row, "group_limit_bytes"), 64 << 20);
    assert!((56 << 20..=64 << 20).contains(&number(row, "group_peak_bytes")), "{row:?}");
    assert!(number(row, "group_oom_kills") >= 1);

    let whole = run("2GiB", "whole").expect("there was a group before");
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    let row = &samples(&place.path().join("whole"))[0];
    assert_eq!((row["status"].as_str(), number(row, "group_oom_kills")), ("ok", 0));
    // The group is charged for what the process was seen to have, and for the kernel's memory.
    let (peak, seen) = (number(row, "group_peak_bytes"), number(row, "resident_peak_bytes"));
    assert!(peak >= seen && peak < seen + (64 << 20), "{peak} {seen}");
    assert!(number(row, "group_anonymous_bytes") > 100 << 20, "{row:?}");
}

#[test]
fn a_program_that_something_else_kills_did_not_lack_memory() {
    let place = tempfile::tempdir().expect("a directory");
    let limit = ["exec", "--reps", "1", "-a", "ptmalloc2", "--memory-max", "1GiB", "-o", "out", "--"];
    let killed = [&limit[..], &["sh", "-c", "sleep 0.2; kill -9 $$"]].concat();
    if limited(place.path(), &killed).is_none() {
        return;
    }
    let row = &samples(&place.path().join("out"))[0];
    assert_eq!((row["status"].as_str(), row["group_oom_kills"].as_str()), ("crash", "0"), "{row:?}");
    assert!(row["status_detail"].contains("not by the kernel for lack of memory"), "{row:?}");
}

#[test]
fn a_replay_is_killed_at_its_limit() {
    let place = tempfile::tempdir().expect("a directory");
    let log: String = (0..4000).map(|at| format!("1: malloc 0x{:x} 65536\n", 0x10000 * (at + 1))).collect();
    fs::write(place.path().join("large.log"), log).expect("written");
    let run = |max: &str, out: &str| {
        let arguments = [
            "run",
            "large.log",
            "--pass",
            "memory",
            "--reps",
            "1",
            "-a",
            "ptmalloc2",
            "--memory-max",
            max,
            "-o",
            out,
        ];
        limited(place.path(), &arguments)
    };
    let Some(killed) = run("128MiB", "out") else { return };
    assert_eq!(killed.status.code(), Some(3), "{}", stderr(&killed));
    let row = &samples(&place.path().join("out"))[0];
    assert_eq!(row["status"], "oom", "{row:?}");
    assert!(stderr(&killed).contains("takes pages back in real time"), "{}", stderr(&killed));
    let whole = run("1GiB", "whole").expect("there was a group before");
    assert_eq!(whole.status.code(), Some(0), "{}", stderr(&whole));
    let row = &samples(&place.path().join("whole"))[0];
    let number = |name: &str| row[name].parse::<u64>().expect("a number");
    // 250 MiB were requested and written to; the harness's own pages are not the group's.
    let (peak, resident) = (number("group_peak_bytes"), number("resident_peak_bytes"));
    assert!(peak > resident && peak < resident + (16 << 20), "{peak} {resident}");
}

#[test]
fn limits_without_sense_are_usage_errors() {
    for (arguments, told) in [
        (&["--memory-max", "512"][..], "not a size with its unit"),
        (&["--memory-max", "4KiB"], "is below what any program needs to start"),
        (&["--memory-max", "1000TiB"], "is more than the memory of this machine"),
        (&["--memory-max", "64MiB", "--memory-high", "64MiB"], "is not below --memory-max"),
    ] {
        let place = tempfile::tempdir().expect("a directory");
        let mut command = heaplab();
        command.current_dir(place.path()).args(["exec", "-o", "out"]).args(arguments).args(["--", "true"]);
        let output = command.output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
        assert!(!place.path().join("out").exists());
    }
}

#[test]
fn the_smallest_limit_of_a_replay_and_of_a_program_are_found() {
    let place = tempfile::tempdir().expect("a directory");
    let log: String = (0..1000).map(|at| format!("1: malloc 0x{:x} 65536\n", 0x10000 * (at + 1))).collect();
    fs::write(place.path().join("large.log"), log).expect("written");
    let find = |arguments: &[&str]| -> Option<serde_json::Value> {
        let common = ["limit", "--reps", "1", "-a", "ptmalloc2", "--format", "json"];
        let output = limited(place.path(), &[&common[..], arguments].concat())?;
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        Some(rows[0].clone())
    };
    let Some(replay) = find(&["large.log"]) else { return };
    let program =
        find(&["--", "awk", "BEGIN { for (i = 0; i < 700000; i++) seen[i] = i }"]).expect("as before");
    for row in [replay, program] {
        let number = |name: &str| row[name].as_u64().expect("found");
        let (limit, failed, peak) =
            (number("limit_bytes"), number("failed_bytes"), number("free_peak_bytes"));
        assert!(failed < limit && limit as f64 <= failed as f64 * 1.021 + 4096.0, "{row}");
        // Purely anonymous memory cannot be reclaimed: it needs what it uses.
        assert!(limit as f64 > peak as f64 * 0.8 && limit as f64 <= peak as f64 * 1.1, "{row}");
    }
    let crashes = ["limit", "--reps", "1", "-a", "ptmalloc2", "--", "sh", "-c", "exit 7"];
    let output = limited(place.path(), &crashes).expect("as before");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(
        String::from_utf8_lossy(&output.stdout)
            .contains("not ok without any limit: the program exited with status 7")
    );
    for (arguments, told) in [
        (&["limit"][..], "required arguments were not provided"),
        (&["limit", "a.hlt", "--slowdown", "5%"], "cannot be used with"),
        (&["limit", "a.hlt", "--", "true"], "cannot be used with"),
    ] {
        let output = limited(place.path(), arguments).expect("as before");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(told), "{told}: {}", stderr(&output));
    }
}

#[test]
fn what_fails_for_another_reason_than_the_limit_is_no_limit() {
    let place = tempfile::tempdir().expect("a directory");
    let find = |arguments: &[&str]| {
        let common = ["limit", "--reps", "1", "-a", "ptmalloc2", "--format", "json"];
        limited(place.path(), &[&common[..], arguments].concat())
    };
    let awk = "BEGIN { for (i = 0; i < 300000; i++) seen[i] = i }";
    // The second sample is the first under a limit.
    let prepare = "echo >>count; test $(wc -l <count) -ne 2";
    let Some(output) = find(&["--prepare", prepare, "--", "awk", awk]) else { return };
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(rows[0]["limit_bytes"].is_null(), "{rows}");
    let fault = rows[0]["fault"].as_str().expect("a fault");
    assert!(fault.contains("without reaching this limit: --prepare exited with status 1"), "{fault}");
    assert!(stderr(&output).contains("0 of 1 finished; --prepare exited"), "{}", stderr(&output));

    // Every sample but the first takes longer than any limit explains.
    let slower = format!("test -e ran && sleep 0.5; touch ran; awk '{awk}'");
    let output = find(&["--slowdown", "5%", "--", "sh", "-c", &slower]).expect("as before");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(rows[0]["limit_bytes"].is_u64() && rows[0]["slowed_limit_bytes"].is_null(), "{rows}");
    let fault = rows[0]["fault"].as_str().expect("a fault");
    assert!(fault.contains("longer even under a limit of this machine's whole memory"), "{fault}");
}

/// Waits until something holds; false after ten seconds.
fn becomes(holds: impl Fn() -> bool) -> bool {
    let is_now = |_| {
        holds() || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            false
        }
    };
    (0..3_000).any(is_now)
}

/// What a killed heaplab has made is removed only by a separate process that outlives it.
#[test]
fn a_killed_heaplab_leaves_no_group_and_no_process() {
    let place = tempfile::tempdir().expect("a directory");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_heaplab"));
    command.env("HEAPLAB_PRELOAD_DIR", support::library_directory()).current_dir(place.path());
    command.args(["exec", "--reps", "1", "-a", "ptmalloc2", "--memory-max", "256MiB", "-o", "out"]);
    command.args(["--", "sleep", "600"]).stderr(std::process::Stdio::piped());
    let mut heaplab = command.spawn().expect("it starts");
    let members = |process: u32| -> Vec<String> {
        let read =
            |group: &std::path::PathBuf| fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        let text: String = groups_of(process).iter().map(read).collect();
        text.lines().map(str::to_owned).collect()
    };
    let process = heaplab.id();
    if !becomes(|| !members(process).is_empty()) {
        heaplab.kill().expect("it is ours");
        let output = heaplab.wait_with_output().expect("it ends");
        assert!(
            stderr(&output).contains("no control group with a memory limit can be made"),
            "{}",
            stderr(&output)
        );
        return;
    }
    let inside = members(process);
    heaplab.kill().expect("it is ours");
    heaplab.wait().expect("it was killed");
    assert!(becomes(|| groups_of(process).is_empty()), "{:?} is left", groups_of(process));
    let is_there = |member: &String| Path::new("/proc").join(member).join("exe").exists();
    assert!(becomes(|| !inside.iter().any(is_there)), "one of {inside:?} is left");
}

/// A group within a group that has the limit, both removed at the end.
struct Below(std::path::PathBuf);

impl Below {
    /// None if no group can be made with a limit, as in the other tests.
    fn limited(bytes: u64) -> Option<Below> {
        let text = fs::read_to_string("/proc/self/cgroup").expect("a list of groups");
        let path_of = |mark: &str| text.lines().find_map(|line| Some(line.split_once(mark)?.1.to_owned()));
        let (own, limit) = match path_of(":memory:/") {
            Some(path) => (Path::new("/sys/fs/cgroup/memory").join(path), "memory.limit_in_bytes"),
            None => (Path::new("/sys/fs/cgroup").join(path_of("0::/")?), "memory.max"),
        };
        let below = Below(own.join(format!("below-{}", std::process::id())));
        fs::create_dir_all(below.0.join("job")).ok()?;
        fs::write(below.0.join(limit), bytes.to_string()).ok()?;
        Some(below)
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        // The kernel may take a moment to let go of a process that has ended.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let remove = || fs::remove_dir(self.0.join("job")).and_then(|()| fs::remove_dir(&self.0));
        while remove().is_err() && self.0.exists() && std::time::Instant::now() < deadline {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

#[test]
fn the_limit_of_a_group_above_holds_for_what_is_warmed() {
    let Some(below) = Below::limited(150 << 20) else { return };
    let place = tempfile::tempdir().expect("a directory");
    let log: String =
        (0..110).map(|at| format!("1: malloc {:#x} 1000000\n", 0x1000_0000 + (at << 21))).collect();
    fs::write(place.path().join("large.log"), log).expect("written");
    let output = std::process::Command::new("sh")
        .args(["-c", "echo 0 > \"$1/job/cgroup.procs\" && shift && exec \"$@\"", "sh"])
        .arg(&below.0)
        .arg(env!("CARGO_BIN_EXE_heaplab"))
        .args(["run", "large.log", "--pass", "throughput", "--reps", "1", "-a", "ptmalloc2", "-o", "out"])
        .env("HEAPLAB_PRELOAD_DIR", support::library_directory())
        .current_dir(place.path())
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for row in samples(&place.path().join("out")) {
        let (status, detail) = (row["status"].as_str(), &row["status_detail"]);
        assert_eq!(status, "ok", "{detail}");
        assert!(detail.contains("could be warmed") && !row["warmed_bytes"].is_empty(), "{detail}");
    }
}
