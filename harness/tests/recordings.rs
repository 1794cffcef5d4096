//! The shipped recordings: each is complete, is what its document says, reveals nothing about where it was
//! made, and replays.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::support::heaplab;
use heaplab_trace::verify;

/// The most bytes of recordings that `workloads/traces` may hold in all.
const MOST_BYTES: u64 = 8_000_000;

fn traces() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("workloads/traces")
}

/// Files of `workloads/traces` with this extension, in the order of their names.
fn files(extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(traces()).expect("the recordings");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

#[test]
fn recordings_are_small_together() {
    let lengths = [files("hlt"), files("zip")].concat();
    let total: u64 = lengths.iter().map(|path| std::fs::metadata(path).expect("a file").len()).sum();
    assert!(total < MOST_BYTES, "{total} bytes");
}

#[test]
fn each_recording_is_whole_and_knows_its_process() {
    let recordings = files("hlt");
    assert!(recordings.len() >= 5, "{recordings:?}");
    for path in recordings {
        let name = path.display();
        let verified = verify(&path).unwrap_or_else(|error| panic!("{error}"));
        assert!(verified.truncation.is_none(), "{name}");
        let (header, summary) = (verified.header, verified.summary);
        assert_eq!((header.source.as_str(), summary.lost), ("recorder", 0), "{name}");
        assert!(header.has_times && header.has_threads && header.has_alignment, "{name}");
        // Without them the whole process's memory could not be predicted.
        assert!(summary.resident_samples > 0, "{name}");
        let allocator = header.allocator.expect("an allocator");
        assert_eq!((allocator.name.as_str(), allocator.hash.len()), ("ptmalloc2", 64), "{name}");
        assert!(header.cpus.is_some(), "{name}");
    }
}

#[test]
fn no_recording_tells_where_it_was_made() {
    for path in files("hlt") {
        let header = heaplab_trace::TraceReader::open(&path).expect("a trace").header().clone();
        let texts = header.notes.iter().map(|note| &note.value).chain([&header.program, &header.source]);
        for text in texts {
            // Debian's packages install into /usr, /lib and /bin; anything else would be a path on the
            // maker's machine.
            let mut words = text.split([' ', ':', '\'', '=']).filter(|word| word.starts_with('/'));
            let own =
                words.find(|word| !["/usr/", "/lib/", "/bin/"].iter().any(|root| word.starts_with(root)));
            assert_eq!(own, None, "{}: {text}", path.display());
        }
    }
}

#[test]
fn documents_have_their_recordings_figures() {
    for path in files("hlt") {
        let document = std::fs::read_to_string(path.with_extension("md")).expect("a document beside each");
        let file = path.file_name().expect("a name");
        let output =
            heaplab().current_dir(traces()).args(["trace", "info"]).arg(file).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told = String::from_utf8(output.stdout).expect("UTF-8");
        let block: String = told.lines().map(|line| format!("    {line}\n")).collect();
        assert!(
            document.contains(&block),
            "{} is not up to date: scripts/make-recordings writes it\n{told}",
            path.with_extension("md").display()
        );
    }
}

#[test]
fn each_recording_replays_and_every_object_keeps_its_bytes() {
    let place = tempfile::tempdir().expect("a directory");
    let recordings = files("hlt");
    let names = recordings.iter().map(|path| path.file_stem().and_then(|name| name.to_str()).expect("UTF-8"));
    // Nothing is timed, so they can be replayed side by side.
    std::thread::scope(|scope| {
        for name in names {
            let place = place.path();
            scope.spawn(move || {
                let mut command = heaplab();
                command.current_dir(place).args(["run", name, "--pass", "check", "--reps", "1"]);
                command.args(["-a", "ptmalloc2", "-o", name]).assert().success();
                let mut samples =
                    csv::Reader::from_path(place.join(name).join("samples.csv")).expect("samples");
                let rows = samples.deserialize::<HashMap<String, String>>();
                let rows: Vec<_> = rows.map(|row| row.expect("a row")).collect();
                assert!(rows.len() == 1 && rows[0]["workload"] == name, "{rows:?}");
                assert_eq!(rows[0]["status"], "ok", "{rows:?}");
            });
        }
    });
}

#[test]
fn a_suite_is_asked_for_by_its_name() {
    let output = heaplab().args(["list", "workloads"]).output().expect("a list");
    let list = String::from_utf8(output.stdout).expect("UTF-8");
    let suites = |name: &str| {
        let line = list.lines().find(|line| line.starts_with(&format!("{name} "))).expect("a line");
        line.contains(" quick, full ").then_some("both").or(line.contains(" full ").then_some("full"))
    };
    assert_eq!(
        ["threaded", "redis-server", "sqlite3", "monitor-server-1000h", "larson"].map(suites),
        [Some("both"), Some("both"), Some("full"), None, None],
        "{list}"
    );
    for (arguments, expected) in [
        (vec!["--suite", "slow"], "there are quick and full"),
        (vec!["--suite", "full", "sqlite3"], "cannot be used with"),
    ] {
        let output = heaplab().arg("run").args(&arguments).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}
