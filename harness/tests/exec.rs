//! `heaplab exec` as a process: the real program on each variant, what is measured of it, and that nothing is
//! left behind.

mod input;
mod keeper;
mod reached;
mod replaced;
mod tree;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::heaplab;
use crate::support::rows::{Row, column, read_samples};
use assert_cmd::assert::Assert;
use tempfile::TempDir;

/// A directory with program.c, compiled unchanged or otherwise.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place::compiled(&[])
    }

    fn compiled(options: &[&str]) -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/program.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-O1", "-pthread", "-o"]).arg(place.path("program")).arg(source).args(options);
        assert!(compiler.status().expect("a C compiler").success());
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `heaplab exec` with options, running `./program` with words.
    fn exec(&self, options: &[&str], words: &str) -> Assert {
        let mut command = heaplab();
        command.current_dir(self.0.path()).args(["exec", "-o", "out"]).args(options);
        command.args(["--", "./program"]).args(words.split_whitespace());
        command.assert()
    }

    fn samples(&self) -> Vec<Row> {
        read_samples(&self.path("out"))
    }

    /// The only sample.
    fn sample(&self) -> Row {
        let mut samples = self.samples();
        assert_eq!(samples.len(), 1);
        samples.remove(0)
    }
}

fn number(row: &Row, name: &str) -> u64 {
    let cell = column(row, name);
    cell.parse().unwrap_or_else(|_| panic!("{name} is {cell:?}"))
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).expect("UTF-8")
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).expect("UTF-8")
}

const MIB: u64 = 1 << 20;

#[test]
fn every_variant_serves_and_is_measured() {
    let place = Place::new();
    let variants = ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"];
    let assert =
        place.exec(&["--reps", "1"], "line begin hold 20 threads 3 burn 150 sleep 600 line end").success();
    assert_eq!(stdout(&assert), "begin\nend\n".repeat(4), "the program's streams are its own");
    let samples = place.samples();
    assert_eq!(samples.len(), 4);
    for sample in &samples {
        let variant = column(sample, "variant");
        assert!(variants.contains(&variant));
        assert_eq!((column(sample, "pass"), column(sample, "status")), ("exec", "ok"), "{sample:?}");
        assert_eq!(column(sample, "workload"), "program");
        let library = if variant == "ptmalloc2" { "libc.so" } else { variant };
        assert!(column(sample, "library_path").contains(library), "{sample:?}");
        assert_eq!(column(sample, "library_hash").len(), 64);
        let peak = number(sample, "resident_peak_bytes");
        assert!((20 * MIB..60 * MIB).contains(&peak), "{peak}");
        assert!(number(sample, "rss_peak_bytes") > peak);
        assert!(number(sample, "pss_peak_bytes") > 20 * MIB);
        assert!(number(sample, "resident_mean_bytes") <= peak);
        assert!(number(sample, "threads") >= 4);
        assert!(number(sample, "cpu_user_ns") + number(sample, "cpu_system_ns") >= 140_000_000);
        assert!(number(sample, "page_faults_minor") > 0 && number(sample, "context_switches") > 0);
        assert_eq!((column(sample, "exit_status"), column(sample, "requested_peak_bytes")), ("0", ""));
    }
    let timeline = fs::read_to_string(place.path("out/timeline.csv")).expect("a timeline");
    assert!(timeline.lines().count() > 4 * 3, "the tree is sampled several times in each sample: {timeline}");
    let shown = stderr(&assert);
    for part in ["CPU time", "memory of the program", "out"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

#[test]
fn a_program_that_is_linked_to_another_malloc_runs_on_the_variant() {
    let place = Place::compiled(&["-Wl,--no-as-needed", "-l:libjemalloc.so.2"]);
    place.exec(&["--reps", "1", "-a", "ptmalloc2", "-a", "mimalloc"], "hold 5 sleep 100").success();
    for sample in place.samples() {
        let library = if column(&sample, "variant") == "ptmalloc2" { "libc.so" } else { "mimalloc" };
        assert!(column(&sample, "library_path").contains(library), "{sample:?}");
    }
}

#[test]
fn a_program_that_is_not_position_independent_is_reached() {
    let place = Place::compiled(&["-no-pie", "-fno-pie"]);
    place.exec(&["--reps", "1", "-a", "jemalloc"], "hold 5 sleep 100").success();
    assert!(column(&place.sample(), "library_path").contains("jemalloc"));
}

#[test]
fn a_static_program_is_said_to_be_one() {
    let place = Place::compiled(&["-static"]);
    let assert = place.exec(&["--reps", "1", "-a", "jemalloc"], "hold 5 sleep 100").code(3);
    assert!(stderr(&assert).contains("statically linked"), "{}", stderr(&assert));
    let sample = place.sample();
    assert_eq!((column(&sample, "status"), column(&sample, "library_path")), ("not-injected", ""));
}

#[test]
fn the_status_of_a_single_program_is_passed_on() {
    let single = ["--reps", "1", "-a", "jemalloc"];
    for (words, code, status) in
        [("exit 7", 7, "error"), ("kill 6", 134, "crash"), ("kill 9", 137, "oom"), ("exit 0", 0, "ok")]
    {
        let place = Place::new();
        place.exec(&single, &format!("hold 1 {words}")).code(code);
        let sample = place.sample();
        assert_eq!(column(&sample, "status"), status, "{words}");
        assert_eq!(column(&sample, "exit_status"), code.to_string(), "{words}");
    }
    let place = Place::new();
    place.exec(&["--reps", "2", "-a", "jemalloc"], "exit 7").code(3);
}

/// Time and resident bytes of a sample's points in timeline.csv.
fn timeline(place: &Place) -> Vec<(u64, u64)> {
    let mut reader = csv::Reader::from_path(place.path("out/timeline.csv")).expect("a timeline");
    let rows = reader.deserialize().map(|row: Result<Row, _>| row.expect("a row"));
    rows.map(|row| (number(&row, "time_ns"), number(&row, "resident_bytes"))).collect()
}

#[test]
fn the_start_of_a_program_is_left_out_of_its_mean() {
    let words = "hold 5 sleep 300 hold 40 sleep 1500";
    let sample = |options: &[&str]| {
        let place = Place::new();
        place.exec(&[&["--reps", "1", "-a", "ptmalloc2"], options].concat(), words).success();
        (place.sample(), timeline(&place))
    };
    let (whole, _) = sample(&[]);
    assert_eq!(column(&whole, "counted_from_ns"), "");
    for from in ["900ms", "steady"] {
        let (of, points) = sample(&["--from", from]);
        let counted_from = number(&of, "counted_from_ns");
        if from == "900ms" {
            assert_eq!(counted_from, 900_000_000);
        }
        let end = points.last().expect("points").0;
        assert!((1..=end / 2).contains(&counted_from), "{from}: from {counted_from} of {end}");
        // The mean, computed again from the points: each holds until the next.
        let held =
            |pair: &[(u64, u64)]| (pair[1].0.max(counted_from) - pair[0].0.max(counted_from), pair[0].1);
        let held: Vec<(u64, u64)> = points.windows(2).map(held).collect();
        let sum: u128 = held.iter().map(|&(ns, bytes)| u128::from(ns) * u128::from(bytes)).sum();
        let mean = (sum / u128::from(end - counted_from)) as u64;
        let found = number(&of, "resident_mean_bytes");
        assert!(found.abs_diff(mean) < mean / 100, "{from}: {found}, from the points {mean}");
        assert!(found > 40 * MIB && found > number(&whole, "resident_mean_bytes"), "{from}: {found}");
    }
}

#[test]
fn a_library_that_tells_no_sizes_is_measured_and_judged() {
    let place = Place::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/waste.c");
    let library = place.path("blind.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-fPIC", "-shared", "-DBLIND", "-o"]).arg(&library).arg(source);
    assert!(compiler.status().expect("a C compiler").success());
    let blind = format!("blind={}", library.display());
    place.exec(&["--reps", "6", "-a", "ptmalloc2", "-a", &blind], "hold 20 burn 60").success();
    let samples = place.samples();
    assert_eq!(samples.len(), 12);
    for sample in &samples {
        assert_eq!(column(sample, "status"), "ok", "{sample:?}");
        assert!((20 * MIB..30 * MIB).contains(&number(sample, "resident_peak_bytes")), "{sample:?}");
        assert!(number(sample, "cpu_user_ns") + number(sample, "cpu_system_ns") >= 50_000_000, "{sample:?}");
        let library = if column(sample, "variant") == "blind" { "blind.so" } else { "libc.so" };
        assert!(column(sample, "library_path").contains(library), "{sample:?}");
        let remarked = column(sample, "status_detail").contains("no malloc_usable_size");
        assert_eq!(remarked, library == "blind.so", "{sample:?}");
    }
    let mut reader = csv::Reader::from_path(place.path("out/summary.csv")).expect("a summary");
    let rows: Vec<Row> = reader.deserialize().map(|row| row.expect("a row")).collect();
    let verdict = |metric: &str| {
        let is = |row: &&Row| column(row, "variant") == "blind" && column(row, "metric") == metric;
        column(rows.iter().find(is).unwrap_or_else(|| panic!("{metric}: {rows:?}")), "verdict").to_owned()
    };
    // The same malloc in the same program: this machine decides the speed, the library the memory.
    assert_eq!(verdict("program_resident_peak_bytes"), "no difference shown");
    assert_ne!(verdict("program_cpu_ns"), "");
}

#[test]
fn what_cannot_be_run_ends_as_in_a_shell() {
    let place = Place::new();
    fs::write(place.path("plain"), "no program").expect("written");
    for (command, code, part) in [
        ("no-such-command", 127, "command not found"),
        ("./none", 127, "command not found"),
        ("./plain", 126, "not an executable file"),
    ] {
        let assert = heaplab().current_dir(place.0.path()).args(["exec", "--", command]).assert().code(code);
        assert!(stderr(&assert).contains(part), "{}", stderr(&assert));
        assert!(!place.path("results").exists(), "nothing was started");
    }
    let assert = heaplab().current_dir(place.0.path()).args(["exec"]).assert().code(2);
    assert!(stderr(&assert).contains("COMMAND"), "{}", stderr(&assert));
    place.exec(&["--ready-when", "TCP:no"], "exit 0").code(2);
    place.exec(&["-a", "no-such-allocator"], "exit 0").code(2);
}

#[test]
fn a_load_ends_the_sample_and_its_failure_is_a_status() {
    let ready = ["--reps", "1", "-a", "jemalloc", "--ready-when", "LINE:^ready$", "--load"];
    let run = |load: &str| {
        let place = Place::new();
        let assert = place.exec(&[&ready[..], &[load]].concat(), "hold 3 sleep 100 line ready sleep 60000");
        (assert, place)
    };
    let (assert, place) = run("test -n \"$HEAPLAB_PID\" && test $HEAPLAB_VARIANT = jemalloc && sleep 0.2");
    assert_eq!(stdout(&assert.success()), "ready\n");
    let sample = place.sample();
    assert_eq!((column(&sample, "status"), column(&sample, "exit_status")), ("ok", ""));
    let (ready, wall) = (number(&sample, "ready_ns"), number(&sample, "wall_ns"));
    // The sample ended with the load, not with the program's minute.
    assert!(0 < ready && ready < wall && wall < 30_000_000_000, "{sample:?}");

    let (assert, place) = run("exit 5");
    assert.code(3);
    let sample = place.sample();
    assert_eq!(column(&sample, "status"), "load-failed");
    assert!(column(&sample, "status_detail").contains("status 5"), "{sample:?}");
}

#[test]
fn a_program_that_is_begun_as_another_user_is_proven() {
    assert!(rustix::process::getuid().is_root(), "run the tests as root: nobody else can switch users");
    let place = Place::new();
    std::fs::set_permissions(place.0.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("ours");
    let mut command = heaplab();
    command.current_dir(place.0.path()).args(["exec", "-o", "out", "--reps", "1", "-a", "jemalloc", "--"]);
    command.args(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.args(["./program", "hold", "3", "sleep", "200"]).assert().success();
    let sample = place.sample();
    assert_eq!((column(&sample, "status"), column(&sample, "status_detail")), ("ok", ""), "{sample:?}");
}

#[test]
fn a_daemon_gets_its_load_when_its_starter_has_ended() {
    let place = Place::new();
    let daemon = "./program hold 3 sleep 500 line ready sleep 60000 &";
    let mut command = heaplab();
    command.current_dir(place.0.path()).args(["exec", "-o", "out", "--reps", "1", "-a", "jemalloc"]);
    command.args(["--timeout", "20s", "--ready-when", "LINE:^ready$", "--load", "sleep 0.2"]);
    command.args(["--", "sh", "-c", daemon]).assert().success();
    let sample = place.sample();
    assert_eq!(column(&sample, "status"), "ok", "{sample:?}");
    assert!(number(&sample, "wall_ns") < 15_000_000_000, "{sample:?}");
}

#[test]
fn a_server_is_ready_on_its_port_and_ended_after_its_time() {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let options =
        ["--reps", "2", "-a", "ptmalloc2", "--for", "200ms", "--ready-when", &format!("TCP:{port}")];
    let place = Place::new();
    place.exec(&options, &format!("sleep 200 listen {port} sleep 60000")).success();
    for sample in place.samples() {
        assert_eq!(column(&sample, "status"), "ok", "{sample:?}");
        assert!((1..number(&sample, "wall_ns")).contains(&number(&sample, "ready_ns")), "{sample:?}");
    }
    // Something else has the port.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("a port").port();
    let place = Place::new();
    let assert = place.exec(&["--ready-when", &format!("TCP:{port}"), "--for", "1s"], "sleep 10").code(1);
    assert!(stderr(&assert).contains("already"), "{}", stderr(&assert));
    // It never listens, and it ends before its time.
    let free =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
    let never = format!("TCP:{free}");
    let single = ["--reps", "1", "-a", "ptmalloc2", "--for", "1s", "--ready-when", &never];
    let place = Place::new();
    place.exec(&[&single[..], &["--ready-within", "200ms"]].concat(), "sleep 60000").code(3);
    assert_eq!(column(&place.sample(), "status"), "timeout");
    let place = Place::new();
    place.exec(&single, "sleep 10").code(3);
    assert!(column(&place.sample(), "status_detail").contains("before its time"), "{:?}", place.sample());
}

/// `heaplab` as a command that can be given streams and left running.
fn plain_command(place: &Place) -> Command {
    let prototype = heaplab();
    let mut command = Command::new(prototype.get_program());
    for (name, value) in prototype.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(place.0.path()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The processes that run this place's program.
fn processes_of(place: &Place) -> Vec<u32> {
    let program = fs::canonicalize(place.path("program")).expect("the program");
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers
        .filter(|process| fs::read_link(format!("/proc/{process}/exe")).is_ok_and(|exe| exe == program))
        .collect()
}

fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_interruption_leaves_no_process_behind() {
    for signal in ["INT", "TERM", "KILL"] {
        let place = Place::new();
        let mut command = plain_command(&place);
        let temporary = place.path("temporary");
        fs::create_dir(&temporary).expect("a directory");
        command.env("TMPDIR", &temporary);
        command.args(["exec", "-o", "out", "-a", "jemalloc", "--load", "./program sleep 60000", "--"]);
        command.args(["./program", "ignore", "child", "1", "sleep", "60000"]);
        let mut running = command.spawn().expect("heaplab");
        // The program, its child, and the load.
        wait_until("three processes run", || processes_of(&place).len() == 3);
        // A program that ignores SIGTERM has ten seconds: the second signal ends heaplab at once.
        for _ in 0..2 {
            let kill = Command::new("kill").args(["-s", signal, &running.id().to_string()]).status();
            assert!(kill.is_ok(), "kill runs");
            std::thread::sleep(Duration::from_millis(300));
        }
        wait_until("all have ended", || processes_of(&place).is_empty());
        running.wait().expect("heaplab has ended");
        let is_empty = || fs::read_dir(&temporary).expect("a directory").next().is_none();
        wait_until("its temporary files are removed", is_empty);
    }
}

#[test]
fn every_sample_reads_the_same_input_and_a_failed_preparation_is_a_sample() {
    let place = Place::new();
    fs::write(place.path("input"), "one\ntwo\n").expect("written");
    let mut command = plain_command(&place);
    command.args(["exec", "-o", "out", "-a", "ptmalloc2", "--reps", "3"]);
    command.args(["--prepare", "echo x >> prepared", "--", "cat"]);
    command.stdin(fs::File::open(place.path("input")).expect("an input")).stdout(Stdio::piped());
    let output = command.output().expect("heaplab runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "one\ntwo\n".repeat(3));
    assert_eq!(fs::read_to_string(place.path("prepared")).expect("it was made"), "x\n".repeat(3));

    let place = Place::new();
    place.exec(&["--reps", "1", "-a", "ptmalloc2", "--prepare", "exit 4"], "exit 0").code(3);
    assert!(column(&place.sample(), "status_detail").contains("--prepare exited with status 4"));
}

#[test]
fn a_run_is_continued_by_its_own_arguments() {
    let place = Place::new();
    place.exec(&["--reps", "2", "-a", "ptmalloc2"], "hold 1").success();
    let samples = fs::read_to_string(place.path("out/samples.csv")).expect("samples");
    let torn: Vec<&str> = samples.lines().take(2).collect();
    fs::write(place.path("out/samples.csv"), torn.join("\n") + "\n").expect("written");
    let resume = || heaplab().current_dir(place.0.path()).args(["exec", "--resume", "-o", "out"]).assert();
    resume().success();
    assert_eq!(place.samples().len(), 2);
    for other in [&["--reps", "5"][..], &["--seed", "2"], &["--timeout", "1s"]] {
        let assert = heaplab()
            .current_dir(place.0.path())
            .args(["exec", "--resume", "-o", "out"])
            .args(other)
            .assert()
            .code(2);
        assert!(stderr(&assert).contains("continue it with the same arguments"), "{}", stderr(&assert));
    }
    let run_file = fs::read_to_string(place.path("out/run.toml")).expect("a run");
    let hash = run_file.split("program_hash = \"").nth(1).expect("the program's hash").split('"').next();
    let other = run_file.replace(hash.expect("a hash"), &"0".repeat(64));
    fs::write(place.path("out/run.toml"), other).expect("written");
    assert!(stderr(&resume().code(2)).contains("is different from when it was started (program "));
    fs::write(place.path("out/run.toml"), run_file).expect("written");
    let assert =
        heaplab().current_dir(place.0.path()).args(["run", "--resume", "-o", "out"]).assert().failure();
    assert!(
        stderr(&assert).contains("continue it with `heaplab exec --resume -o out`"),
        "{}",
        stderr(&assert)
    );
}
