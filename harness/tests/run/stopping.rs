//! When a run ends: stopped, killed, or as soon as its intervals are narrow.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::rows::{Row, column};
use super::{Place, heaplab};

/// Starts a run that takes long, and waits until it has kept its first rows.
fn start_long_run(place: &Place) -> std::process::Child {
    let mut command = Command::new(heaplab().get_program());
    for (name, value) in heaplab().get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .current_dir(place.0.path())
        .args([
            "run",
            "small.log",
            "--pass",
            "throughput",
            "--reps",
            "400",
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
    assert!(begin.elapsed() < Duration::from_secs(10), "it stops at once");
    for worker in workers {
        assert!(!Path::new(&format!("/proc/{worker}")).exists(), "no worker is left behind");
    }
    let kept = place.samples().len();
    assert!((3..800).contains(&kept), "{kept}");
    heaplab().current_dir(place.0.path()).args(["report", "out"]).assert().code(3);

    heaplab().current_dir(place.0.path()).args(["run", "small.log", "-o", "out"]).assert().code(1);
    let other = ["run", "small.log", "--reps", "3", "-o", "out", "--resume"];
    heaplab().current_dir(place.0.path()).args(other).assert().code(2);
    heaplab().current_dir(place.0.path()).args(["run", "--resume", "-o", "out"]).assert().success();
    let samples = place.samples();
    assert_eq!(samples.len(), 800);
    assert!(fs::read_to_string(place.path("out/run.toml")).unwrap().contains("finished = true"));
}

#[test]
fn a_run_that_is_killed_leaves_no_worker() {
    let place = Place::new();
    let mut child = start_long_run(&place);
    let workers = children_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    for worker in workers {
        while Path::new(&format!("/proc/{worker}")).exists() {
            assert!(Instant::now() < deadline, "worker {worker} is left behind");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn until_goes_on_behind_reps_until_intervals_are_narrow() {
    let place = Place::new();
    let asked = ["small.log", "--pass", "memory", "--reps", "2", "--until", "50%"];
    let assert = place.run(&[&asked[..], &["-a", "ptmalloc2", "-a", "jemalloc"]].concat()).success();
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    // Below six blocks there is no interval: so many it takes at least.
    assert!(stderr.contains("every interval is within 50 % after 6 blocks"), "{stderr}");
    assert_eq!(place.samples().len(), 6 * 2);
    let toml = fs::read_to_string(place.path("out/run.toml")).unwrap();
    assert!(toml.contains("reps = 6") && toml.contains("finished = true"), "{toml}");
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
        assert_eq!(of("ptmalloc2"), of("jemalloc"), "a block that was begun is ended");
        of("ptmalloc2")
    };
    let before = whole(&place.samples());
    assert!(before >= 1);
    place.run(&["--resume"]).success();
    assert!(whole(&place.samples()) > before, "it goes on with further blocks");
}

#[test]
fn until_needs_a_pass_that_it_looks_at_and_a_width_above_nothing() {
    let place = Place::new();
    for (arguments, complaint) in [
        (&["small.log", "--until", "2%", "--pass", "check"][..], "throughput and memory"),
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
