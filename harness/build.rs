//! Exports the functions that a worker supplies to the allocator under test, and says which build this is.
//!
//! An executable's symbols are found first by every library, but only if they are in its dynamic
//! symbol table.

use std::path::Path;
use std::process::Command;

const SUPPLIED: [&str; 6] =
    ["clock_gettime", "gettimeofday", "sysconf", "sched_getaffinity", "pthread_getaffinity_np", "get_nprocs"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for symbol in SUPPLIED {
        println!("cargo::rustc-link-arg-bins=-Wl,--export-dynamic-symbol={symbol}");
        // A benchmark runs itself again as a worker.
        println!("cargo::rustc-link-arg-benches=-Wl,--export-dynamic-symbol={symbol}");
    }
    let profile = std::env::var("PROFILE").unwrap_or_default();
    println!("cargo::rustc-env=HEAPLAB_BUILD_PROFILE={profile}");
    println!("cargo::rerun-if-env-changed=HEAPLAB_COMMIT");
    let given = std::env::var("HEAPLAB_COMMIT").ok().filter(|commit| !commit.is_empty());
    // NOTE: a debug build asks git nothing. Its figures are not to be relied on whatever its commit, and all test
    // programs would be built again after each commit.
    let commit = given.or_else(|| if profile == "release" { commit_of_git() } else { None });
    println!("cargo::rustc-env=HEAPLAB_BUILD_COMMIT={}", commit.unwrap_or_default());
}

/// The commit that is checked out, with `-modified` where sources differ from it. None where there is no git, or where
/// the sources are no repository's: an unpacked archive inside of another project's is not that project's commit.
fn commit_of_git() -> Option<String> {
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&["rev-parse", "--git-path", name])?;
        // A path that does not exist would have this script run for every build.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    for sources in ["src", "../allocators", "../workloads", "../Cargo.toml", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={sources}");
    }
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ".."])?;
    Some(if changed.is_empty() { commit } else { format!("{commit}-modified") })
}

/// What git says, where it succeeds.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).env("GIT_OPTIONAL_LOCKS", "0").output().ok()?;
    let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    Some(text.trim().to_owned())
}
