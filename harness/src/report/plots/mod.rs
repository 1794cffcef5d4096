//! Plots: one PNG for each workload and kind, `plots/<workload>-<kind>.png`.
//!
//! They show what the summary holds and compute nothing of their own. A plot whose figures were
//! not measured is not drawn, and the report says so.

mod fragmentation;
mod frame;
mod latency;
mod settled;
mod throughput;
mod timeline;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::ReportError;
use super::analysis::Analysis;
use super::palette::looks;
use super::timeline::read;
use crate::results::ResultsError;

/// A plot that was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plot {
    /// The workload.
    pub workload: String,
    /// What it shows: `throughput`, `memory`, `fragmentation`, `settled`, `latency` or `latency-touch`.
    pub kind: &'static str,
    /// The file.
    pub path: PathBuf,
}

/// Draws all plots of a run into `directory`. Adds to the notes what is missing.
pub(super) fn draw_all(
    analysis: &Analysis<'_>,
    directory: &Path,
    notes: &mut Vec<String>,
) -> Result<Vec<Plot>, ReportError> {
    std::fs::create_dir_all(directory).map_err(|source| ResultsError::Io {
        path: directory.to_owned(),
        action: "create",
        source,
    })?;
    let looks = looks(analysis);
    let timelines = read(analysis, notes)?;
    let mut taken = HashSet::new();
    let mut plots = Vec::new();
    for workload in &analysis.workloads {
        let stem = file_stem(workload, &mut taken);
        let mut draw = |kind: &'static str, plot: &dyn Fn(&Path) -> Result<bool, ReportError>| {
            let path = directory.join(format!("{stem}-{kind}.png"));
            if plot(&path)? {
                plots.push(Plot { workload: workload.clone(), kind, path });
            } else {
                // A plot of an earlier report must not stand beside this one.
                remove_if_there(&path)?;
            }
            Ok::<(), ReportError>(())
        };
        draw("throughput", &|path| throughput::plot(analysis, workload, &looks, path))?;
        draw("memory", &|path| timeline::plot(analysis, &timelines, workload, &looks, path))?;
        draw("fragmentation", &|path| fragmentation::plot(analysis, workload, &looks, path))?;
        draw("settled", &|path| settled::plot(analysis, workload, &looks, path))?;
        draw("latency", &|path| latency::plot(analysis, workload, "call", &looks, path))?;
        draw("latency-touch", &|path| latency::plot(analysis, workload, "touch", &looks, path))?;
    }
    Ok(plots)
}

fn remove_if_there(path: &Path) -> Result<(), ReportError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ResultsError::Io { path: path.to_owned(), action: "remove", source: error }.into())
        }
        _ => Ok(()),
    }
}

/// A file name of a workload's name, which may be a path; no two workloads get the same.
fn file_stem(workload: &str, taken: &mut HashSet<String>) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' };
    let name: String = workload.chars().map(plain).take(100).collect();
    let name = match name.trim_start_matches(['.', '-']) {
        "" => "workload",
        name => name,
    };
    let mut stem = name.to_owned();
    let mut number = 2;
    while !taken.insert(stem.clone()) {
        stem = format!("{name}-{number}");
        number += 1;
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workload_gets_a_safe_file_name_of_its_own() {
        let mut taken = HashSet::new();
        let stems = ["a b", "a/b", "../../etc", "", "..", "a-b"].map(|name| file_stem(name, &mut taken));
        assert_eq!(stems, ["a-b", "a-b-2", "etc", "workload", "workload-2", "a-b-3"]);
    }
}
