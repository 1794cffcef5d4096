//! index.html: all runs in a folder, the newest first, each with its question and its answer.
//!
//! A run whose files cannot be read stays in the list, with the reason, so that the list is complete.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::analysis::Analysis;
use super::answer::question;
use super::planning::answer_run;
use super::{ReportError, pages};
use crate::results::{self, ResultsError, write_whole};

/// How deep below the folder a run may be: `results/reference/quick` is two.
const MOST_DEPTH: usize = 3;

/// A folder of runs.
#[derive(Debug, Serialize)]
pub struct Index {
    /// The page that was written.
    #[serde(skip)]
    pub html: PathBuf,
    title: String,
    /// The newest first.
    pub runs: Vec<Entry>,
}

/// A run in the list.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Its directory, below the folder.
    pub path: String,
    /// A link to its page or, if there is none, to its directory.
    link: String,
    /// When it started, according to run.toml; empty if that cannot be read.
    pub started: String,
    /// Its question; none if it cannot be read.
    pub question: Option<String>,
    /// Its answer, or why it cannot be read.
    pub answer: Vec<String>,
    /// Whether every sample was taken and is ok.
    pub is_whole: bool,
}

/// Whether the folder is not itself a run and contains some.
pub fn holds_runs(folder: &Path) -> bool {
    !is_run(folder) && !find_runs(folder, MOST_DEPTH).is_empty()
}

/// Writes index.html into the folder.
pub fn write_index(folder: &Path) -> Result<Index, ReportError> {
    let mut runs: Vec<Entry> =
        find_runs(folder, MOST_DEPTH).iter().map(|directory| entry(folder, directory)).collect();
    runs.sort_by(|one, other| other.started.cmp(&one.started).then_with(|| one.path.cmp(&other.path)));
    let absolute = folder.canonicalize().map_err(|source| ResultsError::Io {
        path: folder.to_owned(),
        action: "read",
        source,
    })?;
    let title = absolute.file_name().map_or_else(|| "runs".to_owned(), |name| name.display().to_string());
    let index = Index { html: folder.join("index.html"), title, runs };
    write_whole(&index.html, pages::index(&index)?.as_bytes())?;
    Ok(index)
}

fn is_run(directory: &Path) -> bool {
    directory.join("run.toml").is_file()
}

/// The runs below a folder, in no order. A folder that cannot be read has none; links are not followed.
fn find_runs(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut runs = Vec::new();
    for directory in directories.map(|entry| entry.path()) {
        if is_run(&directory) {
            runs.push(directory.clone());
        }
        if depth > 1 {
            runs.extend(find_runs(&directory, depth - 1));
        }
    }
    runs
}

fn entry(folder: &Path, directory: &Path) -> Entry {
    let path = directory.strip_prefix(folder).unwrap_or(directory).to_string_lossy().into_owned();
    let page = if directory.join("report.html").is_file() { "report.html" } else { "" };
    let started = results::read_run_file(directory).map(|file| file.started_utc).unwrap_or_default();
    let mut entry = Entry {
        link: format!("{}/{page}", encode(&path)),
        path,
        started,
        question: None,
        answer: Vec::new(),
        is_whole: false,
    };
    let read = results::load(directory).map_err(|error| error.to_string());
    let answered = read.and_then(|run| {
        let analysis = Analysis::new(&run, None).map_err(|error| error.to_string())?;
        let answers = answer_run(&analysis).shortest();
        Ok((question(&analysis), answers, run.file.finished && analysis.is_complete()))
    });
    match answered {
        Ok((question, answer, is_whole)) => {
            (entry.question, entry.answer, entry.is_whole) = (Some(question), answer, is_whole);
        }
        Err(reason) => entry.answer.push(reason),
    }
    entry
}

/// A path as a link: everything except letters, digits and harmless characters is percent-encoded.
fn encode(path: &str) -> String {
    let mut link = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                link.push(byte.into());
            }
            other => link += &format!("%{other:02X}"),
        }
    }
    link
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_says_a_path_that_has_other_signs() {
        assert_eq!(encode("a b/c?d#e%/ü"), "a%20b/c%3Fd%23e%25/%C3%BC");
    }
}
