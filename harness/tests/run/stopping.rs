//! When a run ends: when it is stopped or killed, or as soon as its intervals are narrow.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Place, heaplab};
use crate::support::rows::{Row, column};

/// Starts a run that takes long, and waits until it has kept its first rows.
fn start_long_run(place: &Place) -> std::process::Child {
    let mut command = Command::new(heaplab().get_program());
    for (name, value) in heaplab().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    fs::create_dir(place.path("temporary")).unwrap();
    command
        .current_dir(place.0.path())
        .env("TMPDIR", place.path("temporary"))
        .args([
            "run",
            "small.log",
            "--pass",
            "throughput",
            "--reps",
            "100",
            "-a",
            "floor",
            "-a",
            "ptmalloc2",
            "-o",
            "out",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !fs::read_to_string(place.path("out/samples.csv")).is_ok_and(|rows| rows.lines().count() >= 4) {
        assert!(Instant::now() < deadline, "the run begins");
        std::thread::sleep(Duration::from_millis(20));
    }
    child
}

/// Processes whose parent is `parent`, by the kernel's list.
fn children_of(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[test]
fn a_stopped_run_keeps_its_rows_and_is_resumed() {
    let place = Place::new();
    let mut child = start_long_run(&place);
    let workers = children_of(child.id());
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let begin = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(30), "it stops at once");
    for worker in workers {
        assert!(!Path::new(&format!("/proc/{worker}")).exists(), "no worker is left behind");
    }
    let kept = place.samples().len();
    assert!((3..200).contains(&kept), "{kept}");
    heaplab().current_dir(place.0.path()).args(["report", "out"]).assert().code(3);

    heaplab().current_dir(place.0.path()).args(["run", "small.log", "-o", "out"]).assert().code(2);
    let other = ["run", "small.log", "--reps", "3", "-o", "out", "--resume"];
    heaplab().current_dir(place.0.path()).args(other).assert().code(2);
    heaplab().current_dir(place.0.path()).args(["run", "--resume", "-o", "out"]).assert().success();
    let samples = place.samples();
    assert_eq!(samples.len(), 200);
    assert!(fs::read_to_string(place.path("out/run.toml")).unwrap().contains("finished = true"));
}

#[test]
fn a_run_that_another_process_writes_to_is_worth_a_later_try() {
    let place = Place::new();
    let mut child = start_long_run(&place);
    let again = heaplab().current_dir(place.0.path()).args(["run", "--resume", "-o", "out"]).assert();
    child.kill().unwrap();
    child.wait().unwrap();
    let again = again.code(75);
    let stderr = String::from_utf8_lossy(&again.get_output().stderr).into_owned();
    assert!(stderr.contains("out is being written by another process: wait for it to end"), "{stderr}");
}

/// The run.toml of the place's run, changed.
fn change_run_file(place: &Place, change: impl FnOnce(String) -> String) {
    let path = place.path("out/run.toml");
    let changed = change(fs::read_to_string(&path).unwrap());
    fs::write(path, changed).unwrap();
}

#[test]
fn a_resumed_run_keeps_its_baseline_and_later_commands_start_from_it() {
    let place = Place::new();
    let variants = ["-a", "ptmalloc2", "-a", "floor", "-a", "jemalloc", "--baseline", "jemalloc"];
    place.run(&[&["small.log", "--pass", "memory", "--reps", "1"][..], &variants].concat()).success();
    let stdout = |assert: assert_cmd::assert::Assert| {
        String::from_utf8_lossy(&assert.success().get_output().stdout).into_owned()
    };
    let baseline_of = |table: &str| {
        let row = table.lines().find(|line| line.contains("baseline") && line.contains("MiB"));
        row.unwrap_or_else(|| panic!("a baseline: {table}")).to_owned()
    };
    let heaplab = |arguments: &[&str]| heaplab().current_dir(place.0.path()).args(arguments).assert();
    let resumed = stdout(heaplab(&["run", "--resume", "-o", "out"]));
    assert!(baseline_of(&resumed).contains("jemalloc"), "{resumed}");
    let reported = stdout(heaplab(&["report", "out"]));
    assert!(baseline_of(&reported).contains("jemalloc"), "{reported}");
    let compared = stdout(heaplab(&["compare", "out", "--format", "csv"]));
    assert!(compared.contains(",jemalloc,"), "{compared}");
    let planned = heaplab(&["plan", "out", "--host-memory", "1GiB", "--processes", "1", "--format", "json"]);
    let planned: serde_json::Value = serde_json::from_str(&stdout(planned)).unwrap();
    let ratio = |variant: &str| {
        let rows = planned["hosts"].as_array().unwrap();
        rows.iter().find(|row| row["variant"] == variant).unwrap()["ratio"].as_f64().unwrap_or(1.0)
    };
    assert!(ratio("jemalloc") == 1.0 && ratio("ptmalloc2") != 1.0, "{planned}");
    let told = stdout(heaplab(&["report", "out", "--baseline", "ptmalloc2"]));
    assert!(baseline_of(&told).contains("ptmalloc2"), "{told}");
}

#[test]
fn a_run_is_resumed_from_its_options_and_not_from_its_words() {
    let place = Place::new();
    let asked = ["small.log", "--pass", "throughput", "--reps", "3", "-a", "ptmalloc2", "--window", "100"];
    place.run(&asked).success();
    let samples = fs::read_to_string(place.path("out/samples.csv")).unwrap();
    let torn: Vec<&str> = samples.lines().take(2).collect();
    let tear = || fs::write(place.path("out/samples.csv"), torn.join("\n") + "\n").unwrap();
    tear();
    // A later heaplab may have other words, and other defaults.
    change_run_file(&place, |text| text.replace("\"--reps\"", "\"--blocks\""));
    place.run(&["--resume"]).success();
    assert_eq!(place.samples().len(), 3 * 2);
    // The same arguments do not count as different; any other argument is refused, even the default.
    tear();
    place.run(&[&asked[..], &["--resume"]].concat()).success();
    assert_eq!(place.samples().len(), 3 * 2);
    for other in [&["--reps", "10"][..], &["--window", "5000"], &["--seed", "2"], &["threaded"]] {
        let assert = place.run(&[&["--resume"], other].concat()).code(2);
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(stderr.contains("continue it with the same arguments"), "{other:?}: {stderr}");
    }
}

#[test]
fn a_run_of_another_version_is_resumed_only_on_request() {
    let place = Place::new();
    place.run(&["small.log", "--pass", "throughput", "--reps", "1", "-a", "ptmalloc2"]).success();
    let version = concat!("heaplab_version = \"", env!("CARGO_PKG_VERSION"), "\"");
    change_run_file(&place, |text| text.replace(version, "heaplab_version = \"0.0.1\""));
    let assert = place.run(&["--resume"]).code(2);
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("measured by heaplab 0.0.1") && stderr.contains("--resume-anyway"), "{stderr}");
    // Nothing is missing: all of it is of one version.
    place.run(&["--resume", "--resume-anyway"]).success();
    let report = || fs::read_to_string(place.path("out/report.md")).unwrap();
    assert!(!report().contains("were measured by"), "{}", report());
    drop_last_sample(&place);
    place.run(&["--resume", "--resume-anyway"]).success();
    assert!(report().contains("were measured by heaplab 0.0.1 and not "), "{}", report());
}

fn drop_last_sample(place: &Place) {
    let samples = fs::read_to_string(place.path("out/samples.csv")).unwrap();
    let kept: Vec<&str> = samples.lines().take(samples.lines().count() - 1).collect();
    fs::write(place.path("out/samples.csv"), kept.join("\n") + "\n").unwrap();
}

#[test]
fn a_run_of_another_machine_is_resumed_only_on_request() {
    let place = Place::new();
    place.run(&["small.log", "--pass", "throughput", "--reps", "1", "-a", "ptmalloc2"]).success();
    let facts = |name: &str| {
        let text = fs::read_to_string(place.path("out/run.toml")).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} = ")));
        line.map(str::to_owned).unwrap_or_else(|| panic!("{name} is not in {text}"))
    };
    // A little more memory is the same machine after it was started again.
    let memory = facts("memory_bytes");
    let bytes: u64 = memory.rsplit(' ').next().unwrap().parse().unwrap();
    change_run_file(&place, |text| text.replace(&memory, &format!("memory_bytes = {}", bytes + bytes / 200)));
    place.run(&["--resume"]).success();
    let kernel = facts("kernel");
    change_run_file(&place, |text| text.replace(&kernel, "kernel = \"Linux 2.6\""));
    let assert = place.run(&["--resume"]).code(2);
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("another kind of machine (kernel \"Linux 2.6\" and not "), "{stderr}");
    assert!(!stderr.contains("memory_bytes") && stderr.contains("--resume-anyway"), "{stderr}");
    drop_last_sample(&place);
    place.run(&["--resume", "--resume-anyway"]).success();
    let report = fs::read_to_string(place.path("out/report.md")).unwrap();
    assert!(report.contains("were measured by another kind of machine"), "{report}");
}

#[test]
fn a_run_of_another_build_is_resumed_only_on_request() {
    let place = Place::new();
    place.run(&["small.log", "--pass", "throughput", "--reps", "1", "-a", "ptmalloc2"]).success();
    let text = fs::read_to_string(place.path("out/run.toml")).unwrap();
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    assert!(text.contains(&format!("[build]\nprofile = \"{profile}\"\n")), "{text}");
    let warned = text.contains("a debug build of heaplab measures");
    assert_eq!(warned, cfg!(debug_assertions), "a debug build says so: {text}");
    let report = fs::read_to_string(place.path("out/report.md")).unwrap();
    assert_eq!(report.contains("a debug build of heaplab measures"), warned, "{report}");
    let other = format!("profile = \"{}\"", if warned { "release" } else { "debug" });
    change_run_file(&place, |text| text.replace(&format!("profile = \"{profile}\""), &other));
    let assert = place.run(&["--resume"]).code(2);
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("another build of heaplab") && stderr.contains("--resume-anyway"), "{stderr}");
    place.run(&["--resume", "--resume-anyway"]).success();
}

#[test]
fn a_refused_resume_leaves_a_finished_run_as_it_is() {
    let place = Place::new();
    place.run(&["small.log", "--pass", "throughput", "--reps", "1", "-a", "ptmalloc2"]).success();
    heaplab().current_dir(place.path("")).args(["pack", "out"]).assert().success();
    // As if the allocator had been built anew.
    change_run_file(&place, |text| {
        let hash = text.lines().find(|line| line.starts_with("library_hash = ")).expect("a hash").to_owned();
        text.replace(&hash, &format!("library_hash = \"{}\"", "0".repeat(64)))
    });
    let files = || {
        let entries = fs::read_dir(place.path("out")).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> =
            entries.filter(|path| path.is_file()).map(|path| (fs::read(&path).unwrap(), path)).collect();
        files.sort();
        files
    };
    let before = files();
    let assert = place.run(&["--resume"]).code(2);
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("would not belong to it"), "{stderr}");
    assert!(files() == before, "it is not the run that it was");
}

#[test]
fn a_run_that_is_killed_leaves_no_worker_and_no_temporary_file() {
    let place = Place::new();
    let mut child = start_long_run(&place);
    let workers = children_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    for worker in workers {
        while Path::new(&format!("/proc/{worker}")).exists() {
            assert!(Instant::now() < deadline, "worker {worker} is left behind");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let left: Vec<_> = fs::read_dir(place.path("temporary")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_run_that_is_killed_leaves_no_process_whose_allocator_hangs_while_it_is_loaded() {
    for (fault, word) in [("LOAD_PROBE", "probe"), ("LOAD_WORKER", "worker")] {
        let place = Place::new();
        let variant = place.faulty(fault);
        let mut run = Command::new(heaplab().get_program())
            .current_dir(place.0.path())
            .args(["run", "small.log", "--pass", "memory", "--reps", "1", "-a", &variant])
            .env("HEAPLAB_PRELOAD_DIR", crate::support::library_directory())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        let waiting = loop {
            let text = fs::read_to_string(place.path("waiting")).unwrap_or_default();
            if let Some(process) = text.strip_suffix('\n') {
                break process.to_owned();
            }
            assert!(Instant::now() < deadline, "a {word} never began");
            std::thread::sleep(Duration::from_millis(5));
        };
        run.kill().unwrap();
        run.wait().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while Path::new(&format!("/proc/{waiting}")).exists() {
            assert!(Instant::now() < deadline, "a {word} is left behind: {waiting}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn an_import_that_is_killed_leaves_no_temporary_file() {
    let place = Place::new();
    let line = |block: u64| {
        let (address, size) =
            (0x10_0000 + block % 999 * 4096, block.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 52);
        format!("1: malloc {address:#x} {size}\n1: free {address:#x}\n")
    };
    let log: String = (0..400_000).map(line).collect();
    fs::write(place.path("long.log"), log).unwrap();
    let temporary = place.path("temporary");
    fs::create_dir(&temporary).unwrap();
    let mut child = Command::new(heaplab().get_program())
        .current_dir(place.0.path())
        .env("TMPDIR", &temporary)
        .args(["run", "long.log", "--reps", "1", "--pass", "throughput", "-a", "ptmalloc2"])
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let open_files = format!("/proc/{}/fd", child.id());
    let grows = || {
        let open = fs::read_dir(&open_files).unwrap().filter_map(|entry| Some(entry.ok()?.path()));
        let is_temporary = |file: &Path| fs::read_link(file).is_ok_and(|name| name.starts_with(&temporary));
        let mut lengths = open.filter(|file| is_temporary(file)).filter_map(|file| fs::metadata(file).ok());
        lengths.any(|file| file.len() > 0)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !grows() {
        assert!(child.try_wait().unwrap().is_none(), "the run ended");
        assert!(Instant::now() < deadline, "the import never began");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let left: Vec<_> = fs::read_dir(&temporary).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_folder_without_room_for_the_programs_is_told_before_they_are_compiled() {
    let place = Place::new();
    let log: String =
        (0..20_000).map(|block| format!("1: malloc {:#x} 64\n", 0x10_0000 + block * 64)).collect();
    fs::write(place.path("long.log"), log).unwrap();
    heaplab()
        .current_dir(place.0.path())
        .args(["trace", "import", "long.log", "-o", "long.hlt"])
        .assert()
        .success();
    let temporary = place.path("temporary");
    fs::create_dir(&temporary).unwrap();
    // The limit on what a process may write to one file stands in for the room left in a folder, because it
    // can be set without being root. 170 KB.
    let run = Command::new("sh")
        .args(["-c", "ulimit -f 128; exec \"$0\" \"$@\""])
        .arg(heaplab().get_program())
        .args(["run", "long.hlt", "--pass", "throughput,memory", "--reps", "1", "-a", "ptmalloc2"])
        .current_dir(place.0.path())
        .env("TMPDIR", &temporary)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{said}");
    let expected = format!(
        "{} has room for {} bytes in a file, by this process's limit (ulimit -f), and the 2 programs of long take 340000 at \
         least; set TMPDIR to a folder that has",
        temporary.display(),
        ulimit_bytes()
    );
    assert!(said.contains(&expected), "{said}");
    assert!(!said.contains("compil"), "nothing was compiled: {said}");
}

/// Bytes that `ulimit -f 128` means: dash counts in blocks of 512 bytes, as in POSIX, and bash in blocks of
/// 1024.
fn ulimit_bytes() -> u64 {
    let shown = Command::new("sh").args(["-c", "ulimit -f 128; cat /proc/self/limits"]).output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max file size")).expect("a limit");
    line.split_ascii_whitespace().nth(3).and_then(|bytes| bytes.parse().ok()).expect("bytes")
}

#[test]
fn until_goes_on_behind_reps_until_intervals_are_narrow() {
    let place = Place::new();
    let asked = ["small.log", "--pass", "memory", "--reps", "2", "--until", "50%"];
    let assert = place.run(&[&asked[..], &["-a", "ptmalloc2", "-a", "jemalloc"]].concat()).success();
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    // Below six blocks there is no interval, so it takes at least six.
    assert!(stderr.contains("every interval is within 50 % after 6 blocks"), "{stderr}");
    assert_eq!(place.samples().len(), 6 * 2);
    let toml = fs::read_to_string(place.path("out/run.toml")).unwrap();
    assert!(toml.contains("until = 0.5") && toml.contains("finished = true"), "{toml}");
}

#[test]
fn until_ends_with_whole_blocks_when_the_time_is_over_and_can_be_resumed() {
    let place = Place::new();
    let asked =
        ["small.log", "--pass", "throughput", "--reps", "1", "--until", "0.0001%", "--max-time", "1s"];
    let assert = place.run(&[&asked[..], &["-a", "ptmalloc2", "-a", "jemalloc"]].concat()).success();
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    assert!(stderr.contains("the time of 1s is over"), "{stderr}");
    assert!(stderr.contains("small, throughput: not within 0.0001 %"), "{stderr}");
    let whole = |samples: &[Row]| {
        let of = |variant: &str| samples.iter().filter(|row| column(row, "variant") == variant).count();
        assert_eq!(of("ptmalloc2"), of("jemalloc"), "a block that has started is finished");
        of("ptmalloc2")
    };
    let before = whole(&place.samples());
    assert!(before >= 1);
    place.run(&["--resume"]).success();
    assert!(whole(&place.samples()) > before, "it continues with further blocks");
}

#[test]
fn until_needs_a_pass_that_it_looks_at_and_a_width_above_nothing() {
    let place = Place::new();
    for (arguments, complaint) in [
        (&["small.log", "--until", "2%", "--pass", "check"][..], "the throughput or the memory pass"),
        (&["small.log", "--until", "0%"][..], "--until 0%"),
        (&["small.log", "--until", "narrow"][..], "not a percentage"),
        (&["small.log", "--max-time", "1min"][..], "--until"),
    ] {
        let assert = place.run(arguments).code(2);
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(stderr.contains(complaint), "{arguments:?}: {stderr}");
        assert!(!place.path("out").exists());
    }
}
