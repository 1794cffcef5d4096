//! Plots: one PNG for each workload and kind, `plots/<workload>-<kind>.png`, and `plots/all-<kind>.png`
//! where there are several workloads.
//!
//! They show the summary and compute nothing themselves. A plot whose figures were not measured is not drawn.

mod account;
mod capacity;
mod fleet;
mod fragmentation;
mod frame;
mod heap;
mod labels;
mod latency;
mod limit;
mod load;
mod overview;
mod pareto;
mod pods;
mod process;
mod ratio;
mod settled;
mod sizes;
mod throughput;
mod timeline;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

pub use capacity::draw_plan;
pub use load::{Load, plot as draw_load};
pub use pods::draw_pods;
pub use process::draw_validation;

use frame::Subject;
use process::Processes;

use super::ReportError;
use super::analysis::Analysis;
use super::drawing::Svg;
use super::drawing::palette::{Look, looks};
use super::heap_map::HeapMaps;
use super::timeline::{Timelines, read};
use crate::results::{Counting, ResultsError};

/// The kinds, in the order in which a report shows them.
const KINDS: [&str; 12] = [
    "throughput",
    "ratio",
    "pareto",
    "memory",
    "process",
    "fragmentation",
    "account",
    "heap",
    "sizes",
    "settled",
    "latency",
    "latency-touch",
];

/// The kinds of a tree of processes: one for each way of counting.
const TREE_KINDS: [(&str, Counting); 2] = [("once", Counting::Once), ("sum", Counting::Sum)];

/// The kinds of a run with several workloads, each showing all workloads in one plot.
const OVERVIEW_KINDS: [&str; 3] = ["speed", "memory-peak", "memory"];

/// Most sheets that are drawn at once: each takes 15 MB.
const MOST_THREADS: usize = 4;

/// Plots by the index of their workload.
type Drawn = Vec<(usize, Vec<Plot>)>;

/// A plot that was drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plot {
    /// The workload; none if it shows all of them.
    pub workload: Option<String>,
    /// What it shows: the end of its file's name.
    pub kind: &'static str,
    /// The file.
    pub path: PathBuf,
    /// The same as an `svg` element.
    pub(super) svg: Svg,
}

/// What plots show besides the summary.
struct Sources {
    looks: Vec<Look>,
    timelines: Timelines,
    processes: Processes,
    heap_maps: HeapMaps,
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
    let sources = Sources {
        looks: looks(analysis),
        timelines: read(analysis, notes)?,
        processes: process::read(analysis)?,
        heap_maps: HeapMaps::read(analysis.run, notes)?,
    };
    let mut taken = HashSet::from(["all".to_owned()]);
    let stems: Vec<String> =
        analysis.workloads.iter().map(|workload| file_stem(workload, &mut taken)).collect();
    // PERF: 20 ms per plot, most of it in pixels; each thread takes the next workload.
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS).min(stems.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut drawn = Drawn::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(stem) = stems.get(at) else {
                return Ok(drawn);
            };
            drawn.push((
                at,
                draw_workload(analysis, &sources, &analysis.workloads[at], &directory.join(stem))?,
            ));
        }
    };
    let results: Vec<Result<Drawn, ReportError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let mut drawn = Drawn::from([(0, draw_overview(analysis, &sources, &directory.join("all"))?)]);
    for result in results {
        drawn.extend(result?);
    }
    for tree in &analysis.run.file.trees {
        let stem = directory.join(file_stem(&tree.name, &mut taken));
        drawn.push((0, draw_tree(analysis, &sources, &tree.name, &stem)?));
    }
    drawn.sort_by_key(|(at, _)| *at);
    Ok(drawn.into_iter().flat_map(|(_, plots)| plots).collect())
}

/// Draws all kinds of one workload; `stem` is the path without kind and extension.
fn draw_workload(
    analysis: &Analysis<'_>,
    sources: &Sources,
    workload: &str,
    stem: &Path,
) -> Result<Vec<Plot>, ReportError> {
    let mut plots = Vec::new();
    for kind in KINDS {
        let path = plot_path(stem, kind);
        let subject = Subject { analysis, workload, looks: &sources.looks, path: &path };
        let drawn = match kind {
            "throughput" => throughput::plot(&subject)?,
            "ratio" => ratio::plot(&subject)?,
            "pareto" => pareto::plot(&subject)?,
            "memory" => timeline::plot(&subject, &sources.timelines)?,
            "process" => process::plot(&subject, &sources.processes)?,
            "fragmentation" => fragmentation::plot(&subject)?,
            "account" => account::plot(&subject)?,
            "heap" => heap::plot(&subject, &sources.heap_maps)?,
            "sizes" => sizes::plot(&subject)?,
            "settled" => settled::plot(&subject)?,
            "latency" => latency::plot(&subject, "call")?,
            _ => latency::plot(&subject, "touch")?,
        };
        keep(drawn, Some(workload), kind, path, &mut plots)?;
    }
    Ok(plots)
}

/// Draws the plots of a tree of processes.
fn draw_tree(
    analysis: &Analysis<'_>,
    sources: &Sources,
    tree: &str,
    stem: &Path,
) -> Result<Vec<Plot>, ReportError> {
    let mut plots = Vec::new();
    for (kind, counting) in TREE_KINDS {
        let path = plot_path(stem, kind);
        let subject = Subject { analysis, workload: tree, looks: &sources.looks, path: &path };
        let drawn = process::plot_tree(&subject, counting)?;
        keep(drawn, Some(tree), kind, path, &mut plots)?;
    }
    Ok(plots)
}

/// Draws the plots that show all workloads together.
fn draw_overview(analysis: &Analysis<'_>, sources: &Sources, stem: &Path) -> Result<Vec<Plot>, ReportError> {
    let mut plots = Vec::new();
    for kind in OVERVIEW_KINDS {
        let path = plot_path(stem, kind);
        let drawn = match kind {
            "speed" => overview::plot_ratios(analysis, true, &sources.looks, &path)?,
            "memory-peak" => overview::plot_ratios(analysis, false, &sources.looks, &path)?,
            _ => overview::plot_timelines(analysis, &sources.timelines, &sources.looks, &path)?,
        };
        keep(drawn, None, kind, path, &mut plots)?;
    }
    Ok(plots)
}

fn plot_path(stem: &Path, kind: &str) -> PathBuf {
    let mut name = stem.as_os_str().to_owned();
    name.push(format!("-{kind}.png"));
    PathBuf::from(name)
}

/// Adds a plot that was drawn. If it was not drawn, the plot of an earlier report must not remain next to
/// this one.
fn keep(
    drawn: Option<Svg>,
    workload: Option<&str>,
    kind: &'static str,
    path: PathBuf,
    plots: &mut Vec<Plot>,
) -> Result<(), ReportError> {
    match drawn {
        Some(svg) => plots.push(Plot { workload: workload.map(str::to_owned), kind, path, svg }),
        None => remove_if_there(&path)?,
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> Result<(), ReportError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ResultsError::Io { path: path.to_owned(), action: "remove", source: error }.into())
        }
        _ => Ok(()),
    }
}

/// Makes a file name from a workload's name, which may be a path; no two workloads get the same.
fn file_stem(workload: &str, taken: &mut HashSet<String>) -> String {
    let plain =
        |letter: char| if letter.is_ascii_alphanumeric() || "-_.".contains(letter) { letter } else { '-' };
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
