//! The preload libraries and the recorder's, freshly built, for programs that cargo starts: tests and benchmarks.
//!
//! Neither `cargo test` nor `cargo bench` builds a cdylib-only crate, so the libraries are built here, once
//! per program, in that program's profile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

/// The packages of the libraries.
const PACKAGES: [&str; 6] = [
    "heaplab-preload-jemalloc",
    "heaplab-preload-mimalloc",
    "heaplab-preload-floor",
    "heaplab-preload-probe",
    "heaplab-preload-control",
    "heaplab-recorder",
];

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let libraries = build_libraries();
    assert_eq!(libraries.len(), PACKAGES.len(), "one library of each package: {libraries:?}");
    let directory = libraries[0].parent().expect("a library lies in a directory").to_path_buf();
    assert!(libraries.iter().all(|library| library.parent() == Some(&directory)), "{libraries:?}");
    directory
});

/// The directory that contains all of the preload libraries.
pub(crate) fn directory() -> &'static Path {
    &DIRECTORY
}

/// Builds the preload libraries and reads their paths from cargo's output.
fn build_libraries() -> Vec<PathBuf> {
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--message-format=json-render-diagnostics"]);
    for package in PACKAGES {
        command.args(["-p", package]);
    }
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().expect("cargo runs");
    assert!(output.status.success(), "the preload libraries are built");
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let messages =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a message"));
    messages
        .filter(|message| message["reason"] == "compiler-artifact")
        .filter(|message| message["target"]["kind"][0] == "cdylib")
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().filter(|file| file.ends_with(".so")).map(PathBuf::from))
        .collect()
}
