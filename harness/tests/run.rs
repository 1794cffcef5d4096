//! `heaplab run` as a process: what it measures, what it refuses, and what happens to faults.

mod at_rest;
mod calls;
mod packed;
mod replaced;
mod stopping;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::heaplab;
use crate::support::rows::{Row, column, read_samples};
use tempfile::TempDir;

/// A directory with a small log of four threads: growth, hand-over, alignment, zeroed blocks.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        fs::write(place.path("small.log"), small_log()).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// `heaplab run` with these arguments, to the directory `out`.
    fn run(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        let mut command = heaplab();
        command.current_dir(self.0.path()).args(["run", "-o", "out"]).args(arguments);
        command.assert()
    }

    /// The only sample of an allocator; floor, which measures the harness, has one too.
    fn sample_of(&self, allocator: &str) -> Row {
        let mut of = self.samples();
        of.retain(|sample| column(sample, "allocator") == allocator);
        assert_eq!(of.len(), 1, "{of:?}");
        of.remove(0)
    }

    fn samples(&self) -> Vec<Row> {
        read_samples(&self.path("out"))
    }

    /// A preload library compiled from faulty.c with the fault of that name.
    fn faulty(&self, fault: &str) -> String {
        let library = self.path(&format!("{fault}.so"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/faulty.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-fno-builtin", &format!("-DFAULT_{fault}"), "-o"]);
        assert!(compiler.arg(&library).arg(source).status().expect("a C compiler").success());
        format!("faulty={}", library.display())
    }
}

/// Four threads that allocate, grow, hand over and free, 8 calls per round.
fn small_log() -> String {
    let mut log = String::new();
    for round in 0..1500u64 {
        let (thread, other) = (1 + round % 4, 1 + (round + 1) % 4);
        let at = |block: u64| 0x10_0000 + (round * 8 + block) * 0x1_0000;
        let (size, grown) = (16 + round % 900, 2000 + round);
        writeln!(log, "{thread}: malloc {:#x} {size}", at(0)).unwrap();
        writeln!(log, "{thread}: calloc {:#x} 4 {size}", at(1)).unwrap();
        writeln!(log, "{thread}: memalign {:#x} 64 {size}", at(2)).unwrap();
        writeln!(log, "{other}: realloc {:#x} {:#x} {grown}", at(3), at(0)).unwrap();
        writeln!(log, "{thread}: free {:#x}", at(1)).unwrap();
        writeln!(log, "{other}: free {:#x}", at(2)).unwrap();
        writeln!(log, "{thread}: free 0x0").unwrap();
        if round % 10 != 0 {
            writeln!(log, "{thread}: free {:#x}", at(3)).unwrap();
        }
    }
    log
}

#[test]
fn every_pass_measures_what_its_columns_say() {
    let place = Place::new();
    let assert =
        place.run(&["small.log", "--pass", "throughput,latency,memory,check", "--reps", "1"]).success();
    let output = assert.get_output();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.trim_end().ends_with("out"), "the directory's path is printed last: {stdout}");
    let samples = place.samples();
    assert_eq!(samples.len(), 4 * 4 + 1, "floor has a sample of the throughput pass too");
    for sample in &samples {
        assert_eq!(column(sample, "status"), "ok", "{}", column(sample, "status_detail"));
        assert_eq!(column(sample, "events"), "11850");
        assert_eq!(column(sample, "threads"), "4");
        assert!(!column(sample, "library_path").is_empty() && column(sample, "library_hash").len() == 64);
        assert!(!column(sample, "allocator_version").is_empty());
        let strict = matches!(column(sample, "pass"), "memory" | "check");
        assert_eq!(column(sample, "order"), if strict { "strict" } else { "causal" });
        assert_eq!(column(sample, "pace"), "max", "the log has no times");
        let memory = column(sample, "pass") == "memory";
        assert_eq!(column(sample, "resident_peak_bytes").is_empty(), !memory);
        // Memory is warmed where time counts, as much as the variant was seen to use.
        let timed = matches!(column(sample, "pass"), "throughput" | "latency");
        assert_eq!(column(sample, "warmed_bytes").is_empty(), !timed);
        if timed {
            let number = |name: &str| column(sample, name).parse::<u64>().unwrap();
            assert!(number("warmed_bytes") > number("requested_peak_bytes") + (8 << 20), "{sample:?}");
            assert!(number("warmed_huge_bytes") <= number("warmed_bytes") && number("warm_fault_ns") > 0);
        }
        if memory {
            let number = |name: &str| column(sample, name).parse::<u64>().unwrap();
            assert_eq!(number("requested_peak_bytes"), number("requested_peak_reached_bytes"));
            assert!(number("resident_end_bytes") > number("requested_end_bytes") / 2);
            assert!(number("resident_purged_bytes") <= number("resident_settled_bytes"));
            assert!(number("usable_peak_bytes") >= number("requested_end_bytes"));
        }
    }
    let lines = |name: &str| fs::read_to_string(place.path("out").join(name)).unwrap().lines().count();
    assert!(lines("timeline.csv") > 100 && lines("latency.csv") > 100 && lines("summary.csv") > 20);
    for plot in ["throughput", "memory", "fragmentation", "latency"] {
        let bytes = fs::read(place.path(&format!("out/plots/small-{plot}.png"))).unwrap();
        assert_eq!(&bytes[1..4], b"PNG");
    }
    let report = fs::read_to_string(place.path("out/report.md")).unwrap();
    assert!(report.contains("small") && report.contains("Cost of a call of malloc by the bytes"), "{report}");

    // Each call of malloc that was timed by itself is in the row of its size: requests are of 16 to 915 bytes.
    let mut reader = csv::Reader::from_path(place.path("out/latency.csv")).unwrap();
    let rows: Vec<Row> = reader.deserialize().map(|row| row.unwrap()).collect();
    let calls = |variant: &str, is: &dyn Fn(&str) -> bool| {
        let of = |row: &&Row| column(row, "variant") == variant && column(row, "scope") == "call";
        let of = rows.iter().filter(of).filter(|row| is(column(row, "operation")));
        of.map(|row| column(row, "count").parse::<u64>().unwrap()).sum::<u64>()
    };
    for variant in ["ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"] {
        let of_sizes = calls(variant, &|operation| operation.starts_with("malloc_"));
        assert_eq!(of_sizes, calls(variant, &|operation| operation == "malloc"), "{variant}");
        assert!(calls(variant, &|operation| operation == "malloc_to_1024") >= 300, "{variant}");
        assert_eq!(calls(variant, &|operation| operation == "malloc_to_2048"), 0, "{variant}");
    }
    let summary = fs::read_to_string(place.path("out/summary.csv")).unwrap();
    assert!(summary.contains(",malloc_to_1024_call_p50_ns,"), "{summary}");
}

#[test]
fn page_faults_are_no_part_of_what_floor_measures() {
    const BLOCKS: u64 = 4000;
    let place = Place::new();
    let mut log = String::new();
    for block in 0..BLOCKS {
        writeln!(log, "1: malloc {:#x} 4096", 0x10_0000 + block * 0x1_0000).unwrap();
    }
    fs::write(place.path("pages.log"), log).unwrap();
    place.run(&["pages.log", "-a", "ptmalloc2", "--pass", "throughput", "--reps", "1"]).success();
    let faults = |allocator| column(&place.sample_of(allocator), "page_faults_minor").parse::<u64>().unwrap();
    assert!(faults("ptmalloc2") >= BLOCKS, "{}", faults("ptmalloc2"));
    assert!(faults("floor") < BLOCKS / 10, "{}", faults("floor"));
}

#[test]
fn orders_and_touch_policies_replay_the_same_objects() {
    for (order, touch) in [("causal", "none"), ("causal", "full"), ("strict", "first"), ("strict", "page")] {
        let place = Place::new();
        let how = ["--order", order, "--touch", touch, "--window", "64"];
        place
            .run(&[&["small.log", "--pass", "check,throughput", "--reps", "2"][..], &how].concat())
            .success();
        for sample in place.samples() {
            assert_eq!(column(&sample, "status"), "ok", "{}", column(&sample, "status_detail"));
            // The harness's share is measured without touches.
            let is_share = column(&sample, "variant") == "floor" && column(&sample, "pass") == "throughput";
            let touch = if is_share { "none" } else { touch };
            assert_eq!((column(&sample, "order"), column(&sample, "touch")), (order, touch));
        }
    }
}

/// In causal order two windows are open, and a point of the idle time between them must not come before the
/// one after the first: the mean once exceeded every machine's memory.
#[test]
fn in_causal_order_too_the_mean_is_below_the_peak() {
    let mut log = String::new();
    for index in 0..3000u64 {
        let time = 1_000_000_000 + index * 2_000_000;
        let (thread, address, size) = (1 + index % 3, 0x10_0000 + index * 0x1_0000, 1000 + index);
        writeln!(log, "{thread}: malloc {address:#x} {size} {time} {}", time + 10).unwrap();
    }
    for pace in ["virtual", "max"] {
        let place = Place::new();
        fs::write(place.path("small.log"), &log).unwrap();
        let how = ["--order", "causal", "--pace", pace, "-a", "ptmalloc2", "-a", "jemalloc"];
        place.run(&[&["small.log", "--pass", "memory", "--reps", "1"][..], &how].concat()).success();
        for sample in place.samples() {
            let number = |name: &str| column(&sample, name).parse::<u64>().unwrap();
            let (mean, peak) = (number("resident_mean_bytes"), number("resident_peak_bytes"));
            assert!(mean > peak / 4 && mean < peak, "mean {mean}, peak {peak}");
        }
    }
}

/// Each block of this pattern is worked on between its allocation and its free, and a batch is of calls alone.
#[test]
fn work_is_in_no_batch_of_calls() {
    let place = Place::new();
    let what = "cache-thrash --pass latency --reps 1 -a ptmalloc2";
    place.run(&what.split(' ').collect::<Vec<_>>()).success();
    let latency = fs::read_to_string(place.path("out/latency.csv")).unwrap();
    assert!(latency.contains(",malloc,") && !latency.contains(",batch,"), "{latency}");
}

/// NULL is a valid answer to malloc(0) and to an alignment that no machine has, if nothing is asked for.
#[test]
fn an_object_of_no_bytes_may_have_no_block() {
    let place = Place::new();
    fs::write(place.path("small.log"), "1: memalign 0x10 4611686018427387904 0\n1: malloc 0x20 100\n")
        .unwrap();
    place.run(&["small.log", "--pass", "memory,check", "--reps", "1"]).success();
    for sample in place.samples() {
        assert_eq!(column(&sample, "status"), "ok", "{}", column(&sample, "status_detail"));
    }
}

#[test]
fn what_is_not_there_is_named_with_what_there_is() {
    let place = Place::new();
    for (arguments, words) in [
        (vec!["no-such"], vec!["no-such", "monitor-server", "threaded"]),
        (
            vec!["small.log", "-a", "dlmalloc"],
            vec!["dlmalloc", "ptmalloc2", "jemalloc", "tcmalloc", "mimalloc"],
        ),
        (vec!["small.log", "-a", "floor", "-a", "floor"], vec!["named twice"]),
        (vec!["small.log", "--pass", "speed"], vec!["speed", "throughput"]),
        (vec!["small.log", "--pace", "virtual"], vec!["has none", "--pace max"]),
        (vec!["small.log", "--set", "workers=3"], vec!["--set"]),
        (vec!["monitor-server", "--set", "workers=0"], vec!["workers"]),
        (vec!["missing.hlt"], vec!["missing.hlt"]),
    ] {
        let assert = place.run(&arguments).failure().code(2);
        let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
        assert!(words.iter().all(|word| stderr.contains(word)), "{arguments:?}: {stderr}");
        assert!(!place.path("out").exists(), "nothing is written: {arguments:?}");
    }
}

#[test]
fn a_setting_that_is_not_known_is_a_status() {
    let place = Place::new();
    let jemalloc = ["-a", "jemalloc:no_such_option=1", "-a", "jemalloc:dirty_decay_ms=0"];
    let glibc = ["-a", "ptmalloc2:MALLOC_ARENA_MAX=2", "-a", "ptmalloc2:MALLOC_NONSENSE_=2"];
    place
        .run(&[&["small.log", "--pass", "throughput", "--reps", "1"][..], &jemalloc, &glibc].concat())
        .code(3);
    let status = |variant: &str| {
        let samples = place.samples();
        let sample = samples.iter().find(|sample| column(sample, "variant") == variant).unwrap();
        column(sample, "status").to_owned()
    };
    assert_eq!(status("jemalloc:no_such_option=1"), "unknown-setting");
    assert_eq!(status("jemalloc:dirty_decay_ms=0"), "ok");
    assert_eq!(status("ptmalloc2:MALLOC_ARENA_MAX=2"), "ok");
    assert_eq!(status("ptmalloc2:MALLOC_NONSENSE_=2"), "unknown-setting");
}

/// One run of the small log under a faulty library; the status and its detail.
fn status_of(fault: &str, more: &[&str]) -> (String, String) {
    let place = Place::new();
    let faulty = place.faulty(fault);
    let code = place
        .run(&[&["small.log", "--reps", "1", "-a", &faulty][..], more].concat())
        .get_output()
        .status
        .code();
    let sample = place.sample_of("faulty");
    let status = column(&sample, "status").to_owned();
    assert_eq!(code, Some(if status == "ok" { 0 } else { 3 }), "{status}");
    (status, column(&sample, "status_detail").to_owned())
}

#[test]
fn a_replay_that_needs_more_than_was_warmed_says_so() {
    let (status, detail) = status_of("GROWS", &["--pass", "throughput"]);
    assert_eq!(status, "ok", "{detail}");
    assert!(detail.contains("more than were warmed for it"), "{detail:?}");
}

#[test]
fn faults_of_an_allocator_are_statuses() {
    let (status, detail) = status_of("CRASH", &["--pass", "throughput"]);
    assert_eq!(status, "crash");
    assert!(detail.contains("SIGABRT"), "{detail}");
    let (status, detail) = status_of("HANG", &["--pass", "throughput", "--timeout", "2s"]);
    assert_eq!((status.as_str(), detail.as_str()), ("timeout", "stopped after 2 s"));
    let (status, detail) = status_of("REALLOC", &["--pass", "check"]);
    assert_eq!(status, "check-failed");
    assert!(detail.contains("after a realloc"), "{detail}");
    let (status, detail) = status_of("CALLOC", &["--pass", "check"]);
    assert_eq!(status, "check-failed");
    assert!(detail.contains("byte 7 is not zero"), "{detail}");
    // Memory that the kernel does not count as the process's own would make the smallest heap.
    let (status, detail) = status_of("SHARED", &["--pass", "memory"]);
    assert_eq!(status, "error");
    assert!(detail.contains("the allocator uses shared mappings"), "{detail}");
    // Without malloc_usable_size, which is no fault.
    for sound in ["NONE", "BLIND"] {
        let (status, detail) = status_of(sound, &["--pass", "check"]);
        assert_eq!(status, "ok", "{sound}: {detail}");
    }
}

#[test]
fn a_stack_that_is_too_small_is_a_status_and_no_crash() {
    for fault in ["DEEP", "WIDE", "ENDLESS"] {
        let (status, detail) = status_of(fault, &["--pass", "throughput"]);
        assert_eq!(status, "stack-overflow", "{fault}: {detail}");
        assert!(detail.contains("more stack than a thread has: 256 KiB"), "{fault}: {detail}");
    }
    let (status, detail) = status_of("WILD", &["--pass", "throughput"]);
    assert_eq!(status, "crash", "{detail}");
    assert!(detail.contains("SIGSEGV"), "{detail}");
}

#[test]
fn the_cpu_count_is_what_was_asked_for() {
    assert_eq!(status_of("CPUS", &["--pass", "throughput", "--cpus", "7"]).0, "ok");
    // It gives up before a worker could prove it.
    assert_eq!(status_of("CPUS", &["--pass", "throughput", "--cpus", "8"]).0, "crash-at-start");
}

#[test]
fn a_library_without_malloc_is_not_injected() {
    let place = Place::new();
    let source = place.path("empty.c");
    fs::write(&source, "int nothing;\n").unwrap();
    let library = place.text("empty.so");
    let compiled = Command::new("cc").args(["-shared", "-o", &library]).arg(&source).status().unwrap();
    assert!(compiled.success());
    place
        .run(&["small.log", "--pass", "throughput", "--reps", "1", "-a", &format!("mine={library}")])
        .code(3);
    assert_eq!(column(&place.sample_of("mine"), "status"), "not-injected");
}

#[test]
fn a_size_that_no_machine_has_is_oom_and_the_run_goes_on() {
    let place = Place::new();
    fs::write(place.path("huge.log"), "1: malloc 0x1000 48\n1: malloc 0x2000 1152921504606846976\n").unwrap();
    place.run(&["huge.log", "small.log", "--pass", "throughput", "--reps", "1"]).code(3);
    for sample in place.samples() {
        let huge = column(&sample, "workload") == "huge";
        assert_eq!(column(&sample, "status"), if huge { "oom" } else { "ok" });
        if huge {
            assert!(column(&sample, "status_detail").contains("1152921504606846976 bytes"));
        }
    }
}

#[test]
fn a_cut_trace_is_used_up_to_its_last_whole_chunk_and_a_damaged_one_is_not() {
    let place = Place::new();
    let trace = place.path("model.hlt");
    heaplab()
        .args(["simulate", "monitor-server", "--duration", "15s", "-o", trace.to_str().unwrap()])
        .assert()
        .success();
    let whole = fs::read(&trace).unwrap();
    fs::write(place.path("cut.hlt"), &whole[..whole.len() * 3 / 4]).unwrap();
    let assert = place.run(&["cut.hlt", "--pass", "throughput", "--reps", "1", "-a", "jemalloc"]).success();
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("cut off"));
    let sample = place.samples().remove(0);
    assert_eq!((column(&sample, "status"), column(&sample, "truncated")), ("ok", "true"));

    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 0x55;
    fs::write(place.path("damaged.hlt"), damaged).unwrap();
    let mut command = heaplab();
    let assert =
        command.current_dir(place.0.path()).args(["run", "damaged.hlt", "-o", "other"]).assert().code(1);
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("damaged.hlt"));
    assert!(!place.path("other").exists());
}

#[test]
fn a_log_is_imported_once_and_its_run_says_what_it_lacks() {
    let place = Place::new();
    let log = "= Start\n+ 0x10 0x30\n- 0x10\n- 0x20\n= End\n";
    fs::write(place.path("mtrace.log"), log).unwrap();
    let passes = "throughput,memory";
    let assert = place.run(&["mtrace.log", "--pass", passes, "--reps", "1", "-a", "ptmalloc2"]).success();
    let stderr = String::from_utf8_lossy(&assert.get_output().stderr).into_owned();
    let said = |what: &str| stderr.lines().filter(|line| line.contains(what)).count();
    assert_eq!(
        said("mtrace: 1 frees of an object that was never seen"),
        1,
        "two programs, one import: {stderr}"
    );
    for lack in ["times (", "threads (", "alignment ("] {
        assert_eq!(said(&format!("mtrace: its trace lacks {lack}")), 1, "{stderr}");
    }
    let run: toml::Table = fs::read_to_string(place.path("out/run.toml")).unwrap().parse().unwrap();
    assert_eq!(run["workloads"][0]["lacks"].as_array().map(Vec::len), Some(3));
    let report = fs::read_to_string(place.path("out/report.md")).unwrap();
    assert!(
        report.contains("- mtrace: its trace lacks threads (all events belong to one thread"),
        "{report}"
    );
}

#[test]
fn sizes_and_times_beyond_those_of_toml_are_kept() {
    let place = Place::new();
    let log =
        "1: malloc 0x10 18446744073709551615 0 1\n1: free 0x10 18446744073709551615 18446744073709551615\n";
    fs::write(place.path("huge.log"), log).unwrap();
    let arguments = ["huge.log", "--pass", "throughput", "--pace", "max", "--reps", "1", "-a", "ptmalloc2"];
    // No allocator can provide that much: the sample fails, and the run says so.
    place.run(&arguments).code(3);
    let run: toml::Table = fs::read_to_string(place.path("out/run.toml")).unwrap().parse().unwrap();
    for number in ["requested_peak_bytes", "duration_ns"] {
        assert_eq!(run["workloads"][0][number].as_str(), Some("18446744073709551615"));
    }
    let mut report = heaplab();
    report.arg("report").arg(place.path("out")).assert().code(3);
}

#[test]
fn an_empty_trace_is_measured_too() {
    let place = Place::new();
    fs::write(place.path("one.log"), "1: free 0x0\n").unwrap();
    place.run(&["one.log", "--pass", "throughput,memory", "--reps", "1"]).success();
    for sample in place.samples().iter().filter(|sample| column(sample, "pass") == "memory") {
        assert_eq!(column(sample, "requested_peak_bytes"), "0");
        let constant: u64 = column(sample, "resident_constant_bytes").parse().unwrap();
        assert!(constant > 0 && constant < 1 << 20, "the harness's own share: {constant}");
    }
}

#[test]
fn threads_that_end_at_once_are_joined_and_their_stacks_used_again() {
    let place = Place::new();
    let mut log = String::new();
    for thread in 0..600u64 {
        let (block, size) = (0x10_0000 + thread * 0x1000, 100 + thread);
        writeln!(log, "{}: malloc {block:#x} {size}", 100 + thread).unwrap();
        if thread > 0 {
            writeln!(log, "{}: free {:#x}", 100 + thread, block - 0x1000).unwrap();
            writeln!(log, "{}: thread_done 0x0", 100 + thread).unwrap();
        }
    }
    fs::write(place.path("threads.log"), log).unwrap();
    for order in ["strict", "causal"] {
        let _ = fs::remove_dir_all(place.path("out"));
        let how = ["--order", order, "--pass", "throughput,check", "--reps", "4"];
        place.run(&[&["threads.log", "-a", "ptmalloc2", "-a", "jemalloc"][..], &how].concat()).success();
        for sample in place.samples() {
            assert_eq!(column(&sample, "status"), "ok", "{}", column(&sample, "status_detail"));
            assert_eq!(column(&sample, "threads"), "600");
        }
    }
}

#[test]
fn each_block_has_a_layout_of_its_own() {
    let place = Place::new();
    // How far apart the samples of eight blocks lie.
    let spread = |out: &str, more: &[&str]| -> u64 {
        let mut command = heaplab();
        command.current_dir(place.0.path()).args(["run", "small.log", "--pass", "memory", "--reps", "8"]);
        command.args(["-a", "ptmalloc2", "-o", out]).args(more).assert().success();
        let samples = read_samples(&place.path(out));
        let held: Vec<u64> =
            samples.iter().map(|row| column(row, "at_peak_held_bytes").parse().unwrap()).collect();
        held.iter().max().unwrap() - held.iter().min().unwrap()
    };
    let (varied, fixed) = (spread("varied", &[]), spread("fixed", &["--fixed"]));
    // Addresses are random in both, which accounts for a page or two.
    assert!(fixed <= 3 * 4096 && varied >= 6 * 4096, "varied {varied}, fixed {fixed}");
}
