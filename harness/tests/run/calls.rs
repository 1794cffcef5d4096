//! That the replay makes the calls that the trace has, and counts what an allocator does for them elsewhere.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::Place;
use crate::support::rows::column;

const ROUNDS: u64 = 1000;

/// As many calls of malloc, of realloc(NULL), of free(NULL), and of free for each of the first two.
fn log() -> String {
    let mut log = String::new();
    for round in 0..ROUNDS {
        let at = |block: u64| 0x10_0000 + (round * 2 + block) * 0x1_0000;
        writeln!(log, "1: malloc {:#x} 100", at(0)).unwrap();
        writeln!(log, "1: realloc {:#x} 0x0 200", at(1)).unwrap();
        writeln!(log, "1: free 0x0\n1: free {:#x}\n1: free {:#x}", at(0), at(1)).unwrap();
    }
    log
}

/// counting.c as a variant, and the file of its counts.
fn counting(place: &Place, name: &str, options: &[&str]) -> (String, std::path::PathBuf) {
    let (library, counts) = (place.path(&format!("{name}.so")), place.path(&format!("{name}.counts")));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/counting.c");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-fno-builtin", "-pthread", "-o"]).arg(&library).args(options);
    compiler.arg(format!("-DCOUNTS=\"{}\"", counts.display())).arg(source);
    assert!(compiler.status().expect("a C compiler").success());
    (format!("{name}={}", library.display()), counts)
}

/// The compiler knows what free(NULL) and realloc(NULL, size) do, and must not act on it.
#[test]
fn every_call_reaches_the_function_that_the_trace_names() {
    let place = Place::new();
    fs::write(place.path("calls.log"), log()).unwrap();
    for pass in ["throughput", "latency", "memory", "check"] {
        let (variant, path) = counting(&place, pass, &[]);
        let command = ["run", "calls.log", "--pass", pass, "--reps", "1", "-a", &variant, "-o"];
        super::heaplab().current_dir(place.path("")).args(command).arg(pass).assert().success();
        let counts = fs::read(path).unwrap();
        let counts: Vec<u64> =
            counts.chunks(8).map(|count| u64::from_ne_bytes(count.try_into().unwrap())).collect();
        // What starts a process calls some of them too, and a pass may replay more than once.
        let [malloc, realloc_null, free_null] = counts[..] else { panic!("{counts:?}") };
        assert!(realloc_null >= ROUNDS && free_null >= ROUNDS, "{pass}: {counts:?}");
        // The nudge of the memory pass calls malloc.
        assert!(pass == "memory" || malloc < realloc_null + ROUNDS, "{pass}: {counts:?}");
    }
}

#[test]
fn what_an_allocators_own_threads_work_is_busy_time() {
    let place = Place::new();
    fs::write(place.path("calls.log"), log()).unwrap();
    let (variant, _) = counting(&place, "background", &["-DBACKGROUND"]);
    place
        .run(&["calls.log", "--pass", "throughput", "--reps", "1", "-a", "ptmalloc2", "-a", &variant])
        .success();
    let number = |allocator: &str, name: &str| {
        column(&place.sample_of(allocator), name).parse::<u64>().expect("a number")
    };
    for without in ["ptmalloc2", "floor"] {
        assert_eq!(number(without, "busy_background_ns"), 0, "{without}");
    }
    let (busy, background) = (number("background", "busy_ns"), number("background", "busy_background_ns"));
    assert!(background >= 2 * ROUNDS * 20_000, "{background}");
    assert!(busy > background && busy < 3 * background, "{busy} {background}");
}
