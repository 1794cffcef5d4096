//! Tables, sentences and plots of a run, from its files alone.
//!
//! Data goes one way: [`crate::results::Run`] -> [`Analysis`] -> summary.csv, PNGs, one document, which becomes
//! report.md and report.html, and the terminal. Nothing is measured here, and nothing is read but the run's directory,
//! so a run from another machine reads the same. Human units appear in this module and nowhere else.

mod accounts;
mod analysis;
mod answer;
mod capacity;
mod costs;
mod document;
mod drawing;
mod error;
mod flaws;
mod grid;
mod growth;
mod heap_map;
mod index;
mod inventory;
mod latency;
mod limits;
mod method;
mod notes;
mod pages;
mod planned_memory;
mod planning;
mod plots;
mod setup;
mod size_classes;
mod size_table;
mod sizes;
mod speed;
mod spread;
mod summary;
mod table;
mod timeline;
pub(crate) mod units;
mod validation;

use std::path::PathBuf;

pub use analysis::Analysis;
pub use answer::Answer;
use answer::answer;

pub use capacity::{assume, plan_answer, pod_patch, print_capacity, warn_of_hosts};
pub use error::ReportError;
pub use flaws::count_samples;
pub(crate) use grid::Grid;
pub use grid::Style;
pub use index::{Entry, Index, holds_runs, write_index};
pub use limits::print_limits;
pub use plots::{Load, Plot, draw_load, draw_plan, draw_pods, draw_validation};
pub use size_classes::{SizeDifference, compare_classes_of_runs};
pub(crate) use size_table::{MOST_ROWS as MOST_SIZE_ROWS, describe_classes, size_grid};
pub use summary::SummaryRow;
pub use table::{Columns, Format, print_summary, print_table};

pub use validation::{print_validation, validation_cpu_csv, validation_csv};

use crate::results::{ResultsError, write_whole};
use document::Document;
use planning::Planned;
pub use planning::answer_run;

/// What a report consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `summary.csv`.
    pub summary: PathBuf,
    /// `report.md`.
    pub markdown: PathBuf,
    /// `report.html`.
    pub html: PathBuf,
    /// The plots that could be drawn.
    pub plots: Vec<Plot>,
    /// What the run answers.
    pub answer: Answer,
    /// What is missing or was left out, in sentences.
    pub notes: Vec<String>,
}

/// Writes summary.csv, plots/*.png, report.md and report.html into the run's directory.
pub fn write_report(analysis: &Analysis<'_>) -> Result<Report, ReportError> {
    let directory = &analysis.run.directory;
    let summary = directory.join("summary.csv");
    let content = table::summary_csv(analysis).map_err(|source| ResultsError::Io {
        path: summary.clone(),
        action: "write",
        source,
    })?;
    write_whole(&summary, &content)?;
    let mut notes = analysis.notes.clone();
    let mut plots = plots::draw_all(analysis, &directory.join("plots"), &mut notes)?;
    let planned = Planned::read_all(analysis, &mut notes)?;
    let answer = answer(analysis, planned.first().map(Planned::memory).as_ref());
    let document = Document::new(analysis, &plots, &planned, answer.clone(), &notes);
    let (markdown, html) = (directory.join("report.md"), directory.join("report.html"));
    write_whole(&markdown, pages::markdown(&document)?.as_bytes())?;
    write_whole(&html, pages::html(&document)?.as_bytes())?;
    drop(document);
    plots.extend(planned.into_iter().flat_map(|planned| planned.plots));
    Ok(Report { summary, markdown, html, plots, notes, answer })
}
