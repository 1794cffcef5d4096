//! `heaplab bisect` over libraries and over commits, and `heaplab compare --bisect` as a step of git bisect.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::heaplab;
use serde_json::Value;

/// Compiles tests/support/waste.c with these definitions.
fn compile(path: &Path, defines: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/waste.c");
    let mut command = Command::new("cc");
    command.args(["-O2", "-fPIC", "-shared", "-o"]).arg(path).arg(source).args(defines);
    assert!(command.status().expect("a C compiler").success(), "{}", path.display());
}

/// 6,000 blocks, half of them of the wasteful size.
fn write_log(path: &Path) {
    let mut log = String::new();
    for block in 0..6_000u64 {
        let size = if block % 2 == 0 { 1_016 } else { 24 + block % 900 };
        writeln!(log, "1: malloc {:#x} {size}", (1u64 << 32) + block * 4_096).unwrap();
    }
    std::fs::write(path, log).unwrap();
}

struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a directory"));
        std::fs::create_dir(place.path("builds")).unwrap();
        write_log(&place.path("blocks.log"));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn bisect(&self, words: &[&str]) -> std::process::Output {
        let mut command = heaplab();
        command.current_dir(self.0.path()).args(["bisect", "blocks.log", "--format", "json"]).args(words);
        command.output().expect("it starts")
    }
}

fn found(output: &std::process::Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

#[test]
fn the_first_library_that_wastes_is_found_and_one_that_crashes_is_skipped() {
    let place = Place::new();
    for number in 1..=9 {
        // A folder of links to libraries with one name, as package managers lay out versions.
        let defines: &[&str] = if number >= 7 { &["-DWASTE"] } else { &[] };
        let version = place.path(&format!("version-{number}"));
        std::fs::create_dir(&version).unwrap();
        compile(&version.join("libwaste.so.2"), defines);
        let link = place.path(&format!("builds/{number}.so"));
        std::os::unix::fs::symlink(version.join("libwaste.so.2"), link).unwrap();
    }
    // The library in the middle of the list has no malloc at all.
    std::fs::write(place.path("version-5/libwaste.so.2"), "no library").unwrap();
    let output = place.bisect(&[
        "--good",
        "builds/1.so",
        "--bad",
        "builds/9.so",
        "--libs",
        "builds",
        "--threshold",
        "2%",
        "-o",
        "blocks.csv",
    ]);
    let found = found(&output);
    assert_eq!(output.status.code(), Some(0), "{found:#}");
    assert_eq!(found["suspects"], serde_json::json!(["7.so"]), "{found:#}");
    let tests = found["tests"].as_array().expect("tests");
    assert_eq!((&tests[0]["name"], &tests[0]["verdict"]), (&"9.so".into(), &"worse".into()));
    let skipped = tests.iter().find(|test| test["name"] == "5.so").expect("the middle");
    assert_eq!(skipped["verdict"], "cannot be tested", "{found:#}");
    assert!(skipped["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{found:#}");
    assert!(found["odds"].as_f64().is_some_and(|odds| odds > 0.0 && odds <= 0.01), "{found:#}");
    let blocks = std::fs::read_to_string(place.path("blocks.csv")).unwrap();
    let counted: u64 = tests.iter().map(|test| test["blocks"].as_u64().unwrap()).sum();
    assert_eq!(blocks.lines().count() as u64, counted + 1);
}

#[test]
fn what_is_not_worse_is_not_searched_for() {
    let place = Place::new();
    for number in 1..=3 {
        compile(&place.path(&format!("builds/{number}.so")), &[]);
    }
    let output = place.bisect(&[
        "--good",
        "builds/1.so",
        "--bad",
        "builds/3.so",
        "--libs",
        "builds",
        "--threshold",
        "2%",
    ]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("3.so is not worse than 1.so by 2 % in resident_peak_bytes"), "{said}");
    let output = place.bisect(&[
        "--good",
        "builds/1.so",
        "--bad",
        "builds/3.so",
        "--libs",
        "builds",
        "--metric",
        "events",
    ]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    let ends = ["--good", "builds/1.so", "--bad", "builds/3.so", "--libs", "builds"];
    let output = place.bisect(&[&ends[..], &["--metric", "at_resident_peak_ns"]].concat());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("neither more nor less of at_resident_peak_ns is worse"), "{said}");
}

fn git(directory: &Path, words: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(directory).args(["-c", "user.name=t", "-c", "user.email=t@t"]).args(words);
    let output = command.output().expect("git");
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

/// A repository whose commits 1 to 6 build a library, wasteful from commit 4 on; commit 3 does not build.
fn make_repository(directory: &Path) -> Vec<String> {
    let git = |words: &[&str]| git(directory, words);
    git(&["init", "--quiet"]);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/waste.c");
    std::fs::copy(source, directory.join("waste.c")).unwrap();
    let mut commits = Vec::new();
    for number in 1..=6 {
        let flags = if number == 3 {
            "-DNO }"
        } else if number >= 4 {
            "-DWASTE"
        } else {
            ""
        };
        let build =
            format!("#!/bin/sh\n# {number}\ncc -O2 -fPIC -shared -o lib.so waste.c {flags} && echo lib.so\n");
        let build = if number == 3 { "#!/bin/sh\nexit 1\n".to_owned() } else { build };
        std::fs::write(directory.join("build"), build).unwrap();
        git(&["add", "."]);
        git(&["commit", "--quiet", "-m", &number.to_string()]);
        commits.push(git(&["rev-parse", "HEAD"]));
    }
    commits
}

#[test]
fn commits_are_built_and_one_that_does_not_build_stays_a_suspect() {
    let place = Place::new();
    let commits = make_repository(place.0.path());
    let output =
        place.bisect(&["--good", &commits[0], "--bad", "HEAD", "--build", "sh ./build", "--threshold", "2%"]);
    let found = found(&output);
    // The third was never tested: either it or the fourth may be the first bad commit.
    assert_eq!(output.status.code(), Some(3), "{found:#}");
    assert_eq!(found["suspects"], serde_json::json!([commits[2], commits[3]]), "{found:#}");
    let worktrees =
        Command::new("git").current_dir(place.0.path()).args(["worktree", "list"]).output().expect("git");
    assert_eq!(String::from_utf8_lossy(&worktrees.stdout).lines().count(), 1, "the worktree is gone");
}

#[test]
fn a_good_commit_of_another_branch_is_refused() {
    let place = Place::new();
    let commits = make_repository(place.0.path());
    let git = |words: &[&str]| git(place.0.path(), words);
    let main = git(&["rev-parse", "--abbrev-ref", "HEAD"]);
    git(&["checkout", "--quiet", "-b", "release", &commits[1]]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "release"]);
    git(&["checkout", "--quiet", &main]);
    git(&["merge", "--quiet", "--no-edit", "release"]);
    // It comes before the bad one only as the second parent of a merge.
    for bad in [commits[5].as_str(), "HEAD"] {
        let output = place.bisect(&["--good", "release", "--bad", bad, "--build", "sh ./build"]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("along first parents"), "{said}");
    }
}

#[test]
fn a_step_of_gits_own_bisection_ends_as_it_expects() {
    let place = Place::new();
    compile(&place.path("plain.so"), &[]);
    compile(&place.path("waste.so"), &["-DWASTE"]);
    let run = |reps: &str, output: &str| {
        let mut command = heaplab();
        command.current_dir(place.0.path()).args(["run", "blocks.log", "--pass", "memory", "--reps", reps]);
        command.args(["-a", "plain=plain.so", "-a", "waste=waste.so", "-a", "same=plain.so", "-o", output]);
        command.assert().success();
    };
    run("8", "many");
    run("2", "few");
    let status = |words: &[&str]| {
        let mut command = heaplab();
        command.current_dir(place.0.path()).arg("compare").args(words).args([
            "--bisect",
            "--metric",
            "resident_peak_bytes",
        ]);
        command.output().expect("it starts").status.code()
    };
    assert_eq!(status(&["many", "--baseline", "plain", "--fail-over", "1%"]), Some(1), "bad");
    assert_eq!(status(&["many", "--baseline", "plain", "--fail-over", "50%"]), Some(0), "good");
    assert_eq!(status(&["few", "--baseline", "plain", "--fail-over", "1%"]), Some(125), "too few blocks");
    assert_eq!(status(&["nowhere", "--fail-over", "1%"]), Some(255), "an error marks no commit");
    assert_eq!(status(&["many", "--fail-over", "much"]), Some(255), "nor does a mistake");
}
