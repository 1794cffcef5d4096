//! Allocators beyond the default build: those that scripts/build-allocators builds in seconds, and those that
//! the system provides. Google's TCMalloc takes minutes to build: scripts/check-allocators tests it, along
//! with all others.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

use crate::support;
use crate::support::recording;
use crate::support::rows;

/// Allocators that build fast, and a text with which each version begins.
const BUILT: [(&str, &str); 3] = [("mimalloc2", "2.3."), ("snmalloc", "0.7."), ("rpmalloc", "1.4.")];
/// Allocators that the system provides.
const PACKAGED: [&str; 2] = ["scudo", "tbbmalloc"];

/// Where the libraries built by the script are.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    support::library_directory();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut command = Command::new(root.join("scripts/build-allocators"));
    let output = command.args(BUILT.map(|(name, _)| name)).output().expect("it starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let built: Vec<PathBuf> = String::from_utf8_lossy(&output.stdout).lines().map(PathBuf::from).collect();
    assert_eq!(built.len(), BUILT.len(), "one library of each: {built:?}");
    built[0].parent().expect("a library lies in a directory").to_path_buf()
});

fn heaplab() -> assert_cmd::Command {
    let mut command = support::heaplab();
    command.env("HEAPLAB_PRELOAD_DIR", &*DIRECTORY);
    command
}

fn list() -> Vec<Value> {
    let output = heaplab().args(["allocators", "--format", "json"]).assert().success().get_output().clone();
    serde_json::from_slice(&output.stdout).expect("an array")
}

/// Each allocator and its library.
fn libraries() -> Vec<(String, String)> {
    let names = BUILT.map(|(name, _)| name).into_iter().chain(PACKAGED);
    let list = list();
    let library = |name: &str| {
        let entry = list.iter().find(|entry| entry["name"] == name).expect("every name is listed");
        assert_eq!(entry["state"], "present", "{entry}");
        (name.to_owned(), entry["library"].as_str().expect("a path").to_owned())
    };
    names.map(library).collect()
}

#[test]
fn each_serves_under_its_own_name_and_version() {
    let list = list();
    for (name, version) in BUILT.into_iter().chain([("tbbmalloc", "20"), ("scudo", "")]) {
        let entry = list.iter().find(|entry| entry["name"] == name).expect("every name is listed");
        assert_eq!(entry["state"], "present", "{entry}");
        let found = entry["version"].as_str().expect("a version");
        assert!(found.starts_with(version) && found.starts_with(|c: char| c.is_ascii_digit()), "{entry}");
        assert_ne!(entry["licence"], "", "{entry}");
    }
}

#[test]
fn the_malloc_family_is_as_the_manual_has_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = recording::compile("conformance.c", directory.path(), &[]);
    for (name, library) in libraries() {
        let output = Command::new(&program).env("LD_PRELOAD", library).output().expect("it starts");
        let faults = String::from_utf8_lossy(&output.stdout).into_owned();
        // It has no handlers for `fork`: a child of busy threads hangs now and then, as docs/allocators.md says.
        if name == "tbbmalloc" && faults == "a forked child ended with status 14\n" {
            continue;
        }
        assert_eq!((faults.as_str(), output.status.code()), ("", Some(0)), "{name}: {}", output.status);
    }
}

#[test]
fn operators_of_cpp_are_served_and_throw() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = recording::compile("operators.cc", directory.path(), &[]);
    for (name, library) in libraries() {
        let output = Command::new(&program).env("LD_PRELOAD", library).output().expect("it starts");
        // LLVM builds Scudo without exceptions: its `new` returns NULL.
        let expected = if name == "scudo" { 1 } else { 19 };
        assert_eq!(output.status.code(), Some(expected), "{name}: {}", output.status);
    }
}

/// A run of a small log, as rows: each sample's variant, status and detail.
fn run(variants: &[&str], options: &[&str]) -> Vec<[String; 3]> {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("small.log");
    let text = "1: malloc 0x10 64\n1: malloc 0x20 64\n1: free 0x10\n".repeat(50);
    std::fs::write(&log, text).expect("writable");
    let results = directory.path().join("results");
    let mut command = heaplab();
    command.arg("run").arg(&log).args(["--reps", "1", "-o"]).arg(&results).args(options);
    for variant in variants {
        command.args(["-a", variant]);
    }
    let output = command.output().expect("it starts");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{complaint}");
    let column = |sample: &_, name| rows::column(sample, name).to_owned();
    let samples = rows::read_samples(&results);
    samples
        .iter()
        .map(|sample| ["variant", "status", "status_detail"].map(|name| column(sample, name)))
        .collect()
}

#[test]
fn each_is_measured_and_checked() {
    let names: Vec<&str> = BUILT.map(|(name, _)| name).into_iter().chain(PACKAGED).collect();
    let samples = run(&names, &["--pass", "check,memory,throughput,latency"]);
    assert!(samples.len() >= 4 * names.len(), "{samples:?}");
    assert!(samples.iter().all(|[_, status, _]| status == "ok"), "{samples:?}");
}

#[test]
fn settings_that_are_known_are_taken_and_others_are_told() {
    let known: Vec<String> = heaplab_allocators::settings::KNOWN
        .iter()
        .filter_map(|setting| Some((setting.family?.name(), setting)))
        .filter(|(family, _)| PACKAGED.contains(family))
        .map(|(family, setting)| format!("{family}:{}={}", setting.name, setting.example))
        .collect();
    assert!(known.len() >= 4, "{known:?}");
    let mut variants: Vec<&str> = known.iter().map(String::as_str).collect();
    let nonsense = ["scudo:nonsense=1", "tbbmalloc:nonsense=1"];
    variants.extend(nonsense);
    for [variant, status, detail] in run(&variants, &["--pass", "memory"]) {
        if nonsense.contains(&variant.as_str()) {
            assert_eq!(status, "unknown-setting", "{variant}: {detail}");
        } else {
            assert_eq!(status, "ok", "{variant}: {detail}");
        }
    }
}

#[test]
fn an_allocator_that_crashes_at_start_is_a_row_and_the_others_are_measured() {
    // Scudo checks that a quarantine has a cache with it, and gives up otherwise.
    let samples = run(&["scudo:quarantine_size_kb=256", "scudo"], &["--pass", "memory"]);
    let [[_, status, detail], [_, other, _]] = &samples[..] else { panic!("{samples:?}") };
    assert_eq!((status.as_str(), other.as_str()), ("crash-at-start", "ok"), "{samples:?}");
    assert!(detail.contains("signal: 6") && detail.contains("Scudo ERROR"), "{detail}");
}

#[test]
fn an_allocator_that_is_not_known_cannot_be_built() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut command = Command::new(root.join("scripts/build-allocators"));
    let output = command.arg("hoard").output().expect("it starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("no allocator hoard to build; there are: tcmalloc-google"), "{complaint}");
}

#[test]
fn every_allocator_has_a_row_in_the_documents() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/allocators.md");
    let text = std::fs::read_to_string(path).expect("a document");
    for entry in heaplab_allocators::registry::ENTRIES {
        let is_titled = text
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .any(|title| title.split(", ").any(|name| name == entry.name));
        assert!(is_titled, "{} has no section", entry.name);
        let row = format!("| `{}` | ", entry.name);
        assert!(entry.name == "floor" || text.contains(&row), "{} has no row", entry.name);
    }
}
