//! What a command does if its standard output or standard error cannot be written: one rule for all commands.
//!
//! - Nobody reads standard output: not a failure, no message, and the status is what it would have been.
//! - Standard output cannot be written (a full disk): an error that says so, and status 1.
//! - Standard error cannot be written, or nobody reads it: the status is what it would have been.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::process::{Command, Stdio};

use crate::support::{self, listed_commands};

/// Commands that write to standard output, one line of words each. `DIR` is the test's own directory, `RUN` a
/// run's, `TRACE` a trace, `NEW` an unused path.
const WRITERS: [&str; 28] = [
    "--help",
    "--version",
    "help trace",
    "run --help",
    "trace info --help",
    "run DIR/small.log --reps 1 --pass throughput -a ptmalloc2 -o NEW",
    "report RUN",
    "merge RUN -o NEW",
    "pack RUN",
    "plan RUN --host-memory 1GiB --processes 2",
    "compare RUN",
    "compare RUN --format json",
    "compare RUN --by-size",
    "simulate api-gateway -o DIR/simulated.hlt --duration 1s",
    "fit TRACE -o DIR/fitted.hlm",
    "trace info TRACE",
    "trace verify TRACE",
    "trace import DIR/small.log -o DIR/imported.hlt",
    "trace export TRACE --to csv",
    "trace export TRACE --to android",
    "list workloads",
    "list allocators --format json",
    "allocators",
    "list settings",
    "list sweeps",
    "doctor",
    "completions bash",
    "man run",
];
/// Commands whose standard output is that of the program that they run, or that write nothing without much
/// work or without the right to make control groups.
const OTHERS: [&str; 5] = ["bisect", "exec", "record", "validate", "limit"];

struct Place(tempfile::TempDir, Cell<u32>);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"), Cell::new(0));
        let log = "1: malloc 0x10 64\n1: malloc 0x20 64\n1: free 0x10\n".repeat(50);
        fs::write(place.0.path().join("small.log"), log).expect("writable");
        let words = "run DIR/small.log --reps 2 --pass memory -a ptmalloc2 -a tcmalloc -o RUN";
        let (status, said) = place.start(words, Stdio::null(), Stdio::piped());
        assert_eq!(status, Some(0), "{said}");
        place
    }

    fn start(&self, words: &str, stdout: Stdio, stderr: Stdio) -> (Option<i32>, String) {
        let directory = self.0.path().to_str().expect("UTF-8");
        let trace = concat!(env!("CARGO_MANIFEST_DIR"), "/../workloads/traces/sqlite3.hlt");
        let mut command = Command::new(env!("CARGO_BIN_EXE_heaplab"));
        command.env("HEAPLAB_PRELOAD_DIR", support::library_directory()).current_dir(directory);
        for word in words.split(' ') {
            self.1.set(self.1.get() + 1);
            let word = word.replace("NEW", &format!("{directory}/new-{}", self.1.get()));
            let word = word.replace("RUN", &format!("{directory}/run")).replace("TRACE", trace);
            command.arg(word.replace("DIR", directory));
        }
        let output = command.stdin(Stdio::null()).stdout(stdout).stderr(stderr).spawn().expect("it starts");
        let output = output.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The write end of a pipe whose read end is closed.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").expect("/dev/full").into()
}

#[test]
fn every_command_treats_its_streams_alike() {
    let place = Place::new();
    for words in WRITERS {
        let (status, words_said) = place.start(words, Stdio::null(), Stdio::piped());
        assert!(matches!(status, Some(0 | 1 | 3)), "{words}: {status:?}: {words_said}");
        let (unread_status, said) = place.start(words, unread(), Stdio::piped());
        assert_eq!(unread_status, status, "{words}, unread: {said}");
        assert!(!said.to_lowercase().contains("pipe"), "{words}, unread: {said}");
        let (full_status, said) = place.start(words, full(), Stdio::piped());
        assert_eq!(full_status, Some(1), "{words}, onto a full disk: {said}");
        assert!(said.contains("cannot write to standard output: No space left"), "{words}: {said}");
        for stderr in [unread(), full()] {
            assert_eq!(
                place.start(words, Stdio::null(), stderr).0,
                status,
                "{words}, without standard error"
            );
        }
    }
}

#[test]
fn no_command_is_left_out() {
    let tried: BTreeSet<&str> = WRITERS.iter().chain(&OTHERS).copied().collect();
    for command in listed_commands(&[]) {
        let below = listed_commands(&[&command]);
        let leaves = below.iter().map(|name| format!("{command} {name}"));
        let leaves: Vec<String> = if below.is_empty() { vec![command.clone()] } else { leaves.collect() };
        for leaf in leaves {
            let has = |words: &&str| **words == leaf || words.starts_with(&format!("{leaf} "));
            assert!(tried.iter().any(has), "{leaf} is in none of the lists above");
        }
    }
}
