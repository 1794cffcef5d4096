//! Figures in the documents are those of committed runs, or say when and by which command they were measured.
//!
//! What a document takes from a run is marked by two comments: `<!-- figures: KIND ARGUMENTS -->` before it,
//! and `<!-- figures: end -->` after it. [`fill`] says which kinds there are. `scripts/figures`
//! (HEAPLAB_FIGURES=write) rewrites the marked parts; otherwise each is compared. A measured figure without a
//! mark is a fault too.

#[path = "../examples/coverage/experiments.rs"]
mod coverage;
mod fill;
mod marks;

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::documents::{self, root};
use fill::Runs;
use marks::{Part, parts};
use regex::Regex;

/// The documents, each with its text. Those beside data in `results/` are generated as a whole by the scripts
/// that made the data.
fn documents() -> Vec<(PathBuf, String)> {
    let named = ["README.md", "results/README.md"].map(|name| root().join(name));
    let paths = named.into_iter().chain(documents::pages());
    paths.map(|path| (path.clone(), std::fs::read_to_string(&path).expect("a document"))).collect()
}

#[test]
fn figures_are_those_of_the_committed_runs() {
    let is_written = std::env::var_os("HEAPLAB_FIGURES").is_some_and(|value| value == "write");
    let mut runs = Runs::new(root());
    let mut stale = Vec::new();
    for (path, text) in documents() {
        let name = path.strip_prefix(root()).expect("within").display().to_string();
        let filled: String = parts(&text)
            .into_iter()
            .map(|part| match part {
                Part::Plain(text) => text.to_owned(),
                Part::Marked { mark, begin, content, end } => {
                    let filled = fill::fill(&mark, &mut runs)
                        .unwrap_or_else(|error| panic!("{name}: {mark:?}: {error}"));
                    let filled = filled.unwrap_or_else(|| content.to_owned());
                    if filled != content {
                        stale.push(format!("{name}: {begin}\n  it has: {content}\n  the run has: {filled}"));
                    }
                    format!("{begin}{filled}{end}")
                }
            })
            .collect();
        if is_written && filled != text {
            std::fs::write(&path, filled).expect("a document is written");
        }
    }
    assert!(is_written || stale.is_empty(), "run scripts/figures:\n{}", stale.join("\n"));
}

#[test]
fn a_document_says_by_which_command_its_figures_were_made() {
    for (path, text) in documents() {
        let (mut used, mut shown) = (BTreeSet::new(), BTreeSet::new());
        let seen: String = parts(&text).iter().map(|part| part.text()).collect();
        for part in parts(&text) {
            let Part::Marked { mark, .. } = part else { continue };
            if let Err(why) = fill::check_once(&mark, &seen, &root()) {
                panic!("{}: {mark:?}: {why}", path.display());
            }
            used.extend(mark.runs());
            if matches!(mark.kind.as_str(), "report" | "command") {
                shown.extend(mark.runs());
            }
        }
        let unsaid: Vec<&String> = used.difference(&shown).collect();
        assert!(unsaid.is_empty(), "{}: which command made {unsaid:?}?", path.display());
    }
}

/// Sizes and times with a fraction are measured; whole ones are mostly chosen.
#[test]
fn no_measured_figure_stands_without_its_run() {
    let measured = measured();
    let mut strays = Vec::new();
    for (path, text) in documents() {
        for part in parts(&text) {
            let Part::Plain(text) = part else { continue };
            let found = text.lines().filter(|line| measured.is_match(line));
            strays.extend(found.map(|line| format!("{}: {line}", path.display())));
        }
    }
    assert!(strays.is_empty(), "{}", strays.join("\n"));
}

/// Documents beside data are generated as a whole, each by the script that made the data.
#[test]
fn tables_beside_data_are_those_of_the_data() {
    let made = tempfile::TempDir::new().expect("a directory");
    let file = made.path().join("README.md");
    let (file, folder) = (file.to_str().expect("UTF-8"), made.path().to_str().expect("UTF-8"));
    let settled = ["scripts/settled-truth", "--table-of", "results/settled/settled.csv", "-o", folder];
    for (command, kept) in [
        (&["scripts/validation-table", file][..], "results/validation/README.md"),
        (&["scripts/extrapolate-table", file][..], "results/extrapolate/README.md"),
        (&settled[..], "results/settled/README.md"),
    ] {
        let output = std::process::Command::new("python3").args(command).current_dir(root()).output();
        let output = output.expect("python3 is installed");
        let complaint = String::from_utf8_lossy(&output.stderr);
        let kept_text = std::fs::read_to_string(root().join(kept)).expect("a document");
        let made =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{command:?}: {error}\n{complaint}"));
        assert_eq!(first_difference(&made, &kept_text), None, "{kept} is not what {command:?} writes");
    }
}

/// The same for the document that an example program writes.
#[test]
fn the_table_of_coverage_is_that_of_its_runs() {
    let folder = root().join("results/coverage");
    let kept = std::fs::read_to_string(folder.join("README.md")).expect("a document");
    let made = coverage::document(&folder).expect("runs");
    assert_eq!(first_difference(&made, &kept), None, "run scripts/coverage --tables");
}

/// The first line in which two documents differ, as each has it.
fn first_difference<'a>(one: &'a str, other: &'a str) -> Option<(Option<&'a str>, Option<&'a str>)> {
    let (mut lines, mut others) = (one.lines(), other.lines());
    let differing =
        std::iter::from_fn(|| Some((lines.next(), others.next())).filter(|both| *both != (None, None)))
            .find(|(line, other)| line != other);
    differing.or_else(|| (one != other).then_some((None, None)))
}

fn measured() -> Regex {
    Regex::new(r"\d\.\d+ (ns|us|ms|s|KiB|KB|MiB|MB|GiB|GB|%|times)( |[^\w]|$)").expect("a pattern")
}

#[test]
fn marks_are_found_and_a_stray_figure_is_one() {
    let text =
        "a <!-- figures: value results/r w v resident_peak_bytes median -->1.5 MiB<!-- figures: end -->, 2 %";
    let found = parts(text);
    let [Part::Plain("a "), Part::Marked { mark, content: "1.5 MiB", .. }, Part::Plain(", 2 %")] = &found[..]
    else {
        panic!("{found:?}")
    };
    assert_eq!((mark.kind.as_str(), mark.runs()), ("value", vec!["results/r".to_owned()]));
    assert!(measured().is_match("took 12.5 ms.") && measured().is_match("| 0.3 % |"));
    assert!(!measured().is_match("at most 2 % of 128 KiB, glibc 2.36 says"));
    let once = |document: &str, what: &str| {
        let text = format!("<!-- figures: once {what} -->1.5 ms<!-- figures: end -->");
        let found = parts(&text);
        let Part::Marked { mark, .. } = &found[0] else { panic!("{found:?}") };
        fill::check_once(mark, document, &root())
    };
    let said = "On 2026-11-26, by `scripts/bench-recorder --runs 11`.";
    assert_eq!(once(said, "2026-11-26 'scripts/bench-recorder --runs 11'"), Ok(()));
    for (document, what, why) in [
        ("", "2026-11-26 'scripts/bench-recorder --runs 11'", "does not say"),
        (said, "2026-11-31 'scripts/bench-recorder --runs 11'", "no day"),
        ("2026-11-26, by scripts/absent", "2026-11-26 scripts/absent", "is not there"),
        (
            "2026-11-26, by cargo bench --bench absent",
            "2026-11-26 'cargo bench --bench absent'",
            "is not there",
        ),
    ] {
        assert!(once(document, what).is_err_and(|found| found.contains(why)), "{what}");
    }
}
