//! Logs made by the real tools, imported: heaptrack, valgrind and mtrace(3) on a C program that counts its
//! own calls.
//!
//! The tools are Debian's (scripts/packages lists them); a missing tool is a failure that says how to install
//! it.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use heaplab_trace::{Action, IgnoredReason, Record, TraceReader};
use tempfile::TempDir;

/// The size of the blocks that mark where the program's counting begins and ends.
const SENTINEL_BYTES: u64 = 12345;
/// What glibc needs to obey MALLOC_TRACE.
const MALLOC_DEBUG: &str = "libc_malloc_debug.so.0";

/// What was called between the two sentinels, and the totals.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counted {
    mallocs: u64,
    callocs: u64,
    aligned: u64,
    reallocs: u64,
    frees: u64,
    failed: u64,
    missed: u64,
    peak_bytes: u64,
    live_bytes: u64,
    live_blocks: u64,
}

impl Counted {
    /// What the program says about itself: `mallocs=120 callocs=40 ...`.
    fn parse(text: &str) -> Counted {
        let value = |name: &str| {
            let words = text.split_whitespace();
            let found = words.filter_map(|word| word.split_once('=')).find(|(found, _)| *found == name);
            found.unwrap_or_else(|| panic!("{name} in {text:?}")).1.parse().unwrap()
        };
        Counted {
            mallocs: value("mallocs"),
            callocs: value("callocs"),
            aligned: value("aligned"),
            reallocs: value("reallocs"),
            frees: value("frees"),
            failed: value("failed"),
            missed: 0,
            peak_bytes: value("peak_bytes"),
            live_bytes: value("live_bytes"),
            live_blocks: value("live_blocks"),
        }
    }

    /// Counts what a trace has between the sentinels. What lies outside belongs to the C library or the
    /// recorder.
    fn read(trace: &Path) -> Counted {
        let mut counted = Counted::default();
        let mut live: HashMap<u64, u64> = HashMap::new();
        let mut sentinels = 0;
        for record in TraceReader::open(trace).unwrap() {
            let Record::Event(event) = record.unwrap() else { continue };
            if let Action::Malloc { size: SENTINEL_BYTES, .. } = event.action {
                sentinels += 1;
            } else if sentinels == 1 {
                counted.enter(&event.action, &mut live);
            }
        }
        assert_eq!(sentinels, 2, "{}", trace.display());
        Counted { live_bytes: live.values().sum(), live_blocks: live.len() as u64, ..counted }
    }

    fn enter(&mut self, action: &Action, live: &mut HashMap<u64, u64>) {
        match *action {
            Action::Malloc { .. } => self.mallocs += 1,
            Action::Calloc { .. } => self.callocs += 1,
            Action::AlignedAlloc { alignment, .. } => {
                assert_eq!(alignment, 64);
                self.aligned += 1;
            }
            Action::Realloc { .. } | Action::ReallocNull { .. } | Action::ReallocFree { .. } => {
                self.reallocs += 1
            }
            Action::Free { .. } => self.frees += 1,
            Action::Ignored { call, reason: IgnoredReason::Failed, .. } => {
                self.failed += 1;
                match call {
                    heaplab_trace::Call::Malloc => self.mallocs += 1,
                    heaplab_trace::Call::Realloc => self.reallocs += 1,
                    other => panic!("{other:?} does not fail in this program"),
                }
            }
            Action::FreeNull => {}
            // Logged by another thread, too late to be found: its object had ended by then.
            Action::FreeMissed { .. } => self.missed += 1,
            Action::Ignored { call: heaplab_trace::Call::Free, reason: IgnoredReason::Unseen, .. } => {}
            ref other => panic!("{other:?} is not what this program does"),
        }
        if let Some((object, size)) = action.allocated() {
            live.insert(object, size);
        } else if let Action::Realloc { object, size } = *action {
            live.insert(object, size);
        } else if let Some(object) = action.freed() {
            live.remove(&object);
        }
        self.peak_bytes = self.peak_bytes.max(live.values().sum());
    }
}

/// A directory with the program in it.
struct Place {
    directory: TempDir,
    program: PathBuf,
}

impl Place {
    fn new(defines: &[&str]) -> Place {
        let directory = TempDir::new().unwrap();
        let program = directory.path().join("known");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/counted.c");
        let mut cc = Command::new("cc");
        // Built without knowledge of malloc, so that no call is optimised away.
        cc.args(["-O0", "-fno-builtin", "-Wall", "-Werror", "-pthread"]).args(defines);
        done(cc.arg(&source).arg("-o").arg(&program));
        Place { directory, program }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The file that a tool made, where the tool chose the end of the name.
    fn find(&self, begin: &str) -> PathBuf {
        let entries = fs::read_dir(self.directory.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut found = entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begin));
        let path = found.next().unwrap_or_else(|| panic!("there is no {begin}*"));
        assert_eq!(found.next(), None);
        path
    }

    /// Imports a log, whose kind must be reported, and returns the trace and the messages.
    fn import(&self, log: &Path, kind: &str) -> (PathBuf, String) {
        let trace = self.path("imported.hlt");
        let mut heaplab = Command::new(env!("CARGO_BIN_EXE_heaplab"));
        let output = done(heaplab.args(["trace", "import"]).arg(log).arg("-o").arg(&trace));
        let table = String::from_utf8(output.stdout).unwrap();
        assert_eq!(row(&table, "source"), kind);
        (trace, String::from_utf8(output.stderr).unwrap())
    }

    /// What valgrind logs of the program.
    fn valgrind(&self, words: &[&str]) -> (Counted, PathBuf) {
        let log = self.path("valgrind.log");
        let mut valgrind = tool("valgrind", "valgrind");
        valgrind
            .args(["--trace-malloc=yes", "--run-libc-freeres=no"])
            .arg(format!("--log-file={}", log.display()));
        let output = done(valgrind.arg(&self.program).args(words));
        (Counted::parse(std::str::from_utf8(&output.stdout).unwrap()), log)
    }

    /// What mtrace(3) logs of the program.
    fn mtrace(&self, words: &[&str]) -> (Counted, PathBuf) {
        let log = self.path("mtrace.log");
        let mut program = Command::new(&self.program);
        program.args(words).env("LD_PRELOAD", MALLOC_DEBUG).env("MALLOC_TRACE", &log);
        let output = done(&mut program);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(complaint, "", "{MALLOC_DEBUG} belongs to Debian's libc6");
        (Counted::parse(std::str::from_utf8(&output.stdout).unwrap()), log)
    }

    /// What heaptrack records of the program.
    fn heaptrack(&self, option: Option<&str>, words: &[&str]) -> (Counted, PathBuf) {
        let mut heaptrack = tool("heaptrack", "heaptrack");
        let output =
            done(heaptrack.args(option).arg("-o").arg(self.path("heaptrack")).arg(&self.program).args(words));
        // Its own output comes before and after the program's.
        let text = String::from_utf8(output.stdout).unwrap();
        let own = text.lines().find(|line| line.starts_with("mallocs=")).unwrap_or_else(|| panic!("{text}"));
        (Counted::parse(own), self.find("heaptrack"))
    }
}

/// A tool from Debian, which must be installed.
fn tool(name: &str, package: &str) -> Command {
    let found = Command::new(name).arg("--version").output();
    assert!(found.is_ok(), "{name} is missing: apt-get install {package} (scripts/setup test)");
    let mut command = Command::new(name);
    // heaptrack's shell script asks about its locale.
    command.env("LC_ALL", "C");
    command
}

fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{complaint}", output.status);
    output
}

/// The value of the row `name` of a table.
fn row<'a>(table: &'a str, name: &str) -> &'a str {
    let rows = table.lines().filter_map(|line| line.split_once(' '));
    rows.filter(|(found, _)| *found == name).map(|(_, value)| value.trim()).next().unwrap_or_default()
}

#[test]
fn valgrind_tells_every_call() {
    let place = Place::new(&[]);
    for words in [&[][..], &["edges"]] {
        let (truth, log) = place.valgrind(words);
        let (trace, warnings) = place.import(&log, "valgrind");
        assert_eq!(Counted::read(&trace), truth, "{words:?}");
        assert_eq!(warnings, "");
        let header = TraceReader::open(&trace).unwrap().header().clone();
        let command = [&[place.program.to_str().unwrap()], words].concat().join(" ");
        assert_eq!((header.program, header.has_alignment, header.has_threads), (command, true, false));
    }
}

#[test]
fn mtrace_tells_sizes_and_addresses() {
    let place = Place::new(&["-DMTRACE"]);
    for words in [&[][..], &["edges"]] {
        let (truth, log) = place.mtrace(words);
        let (trace, warnings) = place.import(&log, "mtrace");
        let to_zero = u64::from(!words.is_empty());
        // Every allocation appears as malloc, including a realloc of NULL; a realloc to 0 is a free.
        let expected = Counted {
            mallocs: truth.mallocs + truth.callocs + truth.aligned + 1,
            callocs: 0,
            aligned: 0,
            reallocs: truth.reallocs - 1 - to_zero,
            frees: truth.frees + to_zero,
            ..truth
        };
        assert_eq!((Counted::read(&trace), warnings.as_str()), (expected, ""), "{words:?}");
    }
}

#[test]
fn heaptrack_tells_sizes_raw_and_interpreted() {
    for option in [Some("--raw"), None] {
        let place = Place::new(&[]);
        let (truth, log) = place.heaptrack(option, &[]);
        let (trace, warnings) = place.import(&log, "heaptrack");
        // A realloc is a free and a malloc; a realloc of NULL has no free.
        let expected = Counted {
            mallocs: truth.mallocs + truth.callocs + truth.aligned + truth.reallocs,
            callocs: 0,
            aligned: 0,
            reallocs: 0,
            frees: truth.frees + truth.reallocs - 1,
            ..truth
        };
        assert_eq!((Counted::read(&trace), warnings.as_str()), (expected, ""), "{option:?}");
        let header = TraceReader::open(&trace).unwrap().header().clone();
        assert!(header.has_times && !header.has_threads && !header.has_alignment);
        assert!(header.program.ends_with("known"), "{}", header.program);
    }
}

/// Four threads at once: the log has all calls, and no block that the program freed stays live.
#[test]
fn threads_at_once_are_told_in_an_order_that_could_be() {
    // The C library allocates one block of its own for each thread.
    const OWN: u64 = 4;
    let checked = |trace: &Path, mallocs: u64, reallocs: u64| {
        let counted = Counted::read(trace);
        let allocations = counted.mallocs + counted.callocs;
        assert!((mallocs..=mallocs + OWN).contains(&allocations), "{counted:?}");
        assert_eq!(counted.reallocs, reallocs);
        assert!(counted.live_blocks <= OWN, "{counted:?}");
        assert!(counted.missed <= allocations / 1000, "{counted:?}");
    };
    let place = Place::new(&[]);
    let (truth, log) = place.valgrind(&["threads"]);
    checked(&place.import(&log, "valgrind").0, truth.mallocs, truth.reallocs);
    let (truth, log) = place.heaptrack(Some("--raw"), &["threads"]);
    checked(&place.import(&log, "heaptrack").0, truth.mallocs + truth.reallocs, 0);
    let place = Place::new(&["-DMTRACE"]);
    let (truth, log) = place.mtrace(&["threads"]);
    checked(&place.import(&log, "mtrace").0, truth.mallocs, truth.reallocs);
}
