//! `heaplab report`: tables, plots, report.md and report.html from a run's files.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Outcome, Usage};
use crate::cli::stdout::stdout;
use crate::report::{
    Analysis, Columns, Format, Report, ReportError, Style, holds_runs, print_summary, print_table,
    write_index, write_report,
};
use crate::results::{self, Run};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A run's directory, or a folder of runs, which index.html then lists
    directory: PathBuf,
    /// The variant that ratios refer to [default: ptmalloc2, if the run has it]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    view: View,
}

/// How much of a report is printed.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct View {
    /// Columns of the table: those that decide, or all
    #[arg(long, value_enum, default_value_t)]
    columns: Columns,
    /// Print the path of every file of the report
    #[arg(long)]
    list_files: bool,
}

impl View {
    /// The arguments that say how a run is shown, not what it is.
    pub(super) const IDS: [&str; 2] = ["columns", "list_files"];
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    if holds_runs(&args.directory) {
        return show_index(&args.directory);
    }
    show_report(&args.directory, args.baseline.as_deref(), args.format, args.view)
}

/// Lists the runs in a folder.
fn show_index(folder: &Path) -> anyhow::Result<Outcome> {
    let index = write_index(folder)?;
    let mut out = stdout();
    for run in &index.runs {
        let said = run.question.as_deref().or(run.answer.first().map(|reason| &**reason)).unwrap_or_default();
        writeln!(out, "{:<20}  {}  {said}", run.started, run.path)?;
    }
    writeln!(out, "\n{}", index.html.display())?;
    Ok(Outcome::Done)
}

/// Reports on a run from its files. The locations of report and run come last.
pub(super) fn show_report(
    path: &Path,
    baseline: Option<&str>,
    format: Format,
    view: View,
) -> anyhow::Result<Outcome> {
    let (outcome, report) = report_run(path, baseline, format, view.columns)?;
    if matches!(format, Format::Table) {
        name_files(&report, path, view.list_files, &mut stdout())?;
    } else {
        say!("{}", path.display());
    }
    Ok(outcome)
}

/// The same for a run of a real program, whose own output uses standard output.
pub(super) fn show_program_report(
    path: &Path,
    baseline: Option<&str>,
    view: View,
) -> anyhow::Result<Outcome> {
    let run = results::load(path)?;
    let analysis = analyse(&run, baseline)?;
    let report = write_report(&analysis)?;
    report.notes.iter().for_each(|note| say!("heaplab: {note}"));
    let out = &mut std::io::stderr().lock();
    print_table(&analysis, view.columns, out, Style { ruled: false, colour: false })?;
    writeln!(out)?;
    report.answer.all().try_for_each(|sentence| writeln!(out, "{sentence}"))?;
    name_files(&report, path, view.list_files, out)?;
    Ok(outcome(&analysis))
}

/// Writes the report of a run, and prints its summary and its answer.
fn report_run(
    path: &Path,
    baseline: Option<&str>,
    format: Format,
    columns: Columns,
) -> anyhow::Result<(Outcome, Report)> {
    let run = results::load(path)?;
    let analysis = analyse(&run, baseline)?;
    let report = write_report(&analysis)?;
    report.notes.iter().for_each(|note| say!("heaplab: {note}"));
    let out = &mut stdout();
    print_summary(&analysis, format, columns, out)?;
    if matches!(format, Format::Table) {
        writeln!(out)?;
        report.answer.all().try_for_each(|sentence| writeln!(out, "{sentence}"))?;
        writeln!(out)?;
    }
    Ok((outcome(&analysis), report))
}

fn analyse<'r>(run: &'r Run, baseline: Option<&str>) -> anyhow::Result<Analysis<'r>> {
    Analysis::new(run, baseline).map_err(|error| match error {
        ReportError::UnknownBaseline { .. } => Usage(error.to_string()).into(),
        other => anyhow::Error::from(other),
    })
}

fn outcome(analysis: &Analysis<'_>) -> Outcome {
    if analysis.is_complete() { Outcome::Done } else { Outcome::Incomplete }
}

/// Names the files of a report, or the page that shows them, and the run's directory.
fn name_files(report: &Report, directory: &Path, all: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    if all {
        let plots = report.plots.iter().map(|plot| &plot.path);
        let mut files = [&report.summary, &report.markdown].into_iter().chain(plots);
        files.try_for_each(|path| writeln!(out, "{}", path.display()))?;
    }
    writeln!(out, "{}", report.html.display())?;
    writeln!(out, "{}", directory.display())?;
    Ok(())
}
