//! `heaplab report`: tables, plots, report.md and report.html from a run's files.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{Outcome, Usage};
use crate::cli::stdout::stdout;
use crate::report::{
    Analysis, Format, Report, ReportError, Style, answer, print_summary, print_table, write_report,
};
use crate::results::{self, Run};

#[derive(clap::Args)]
pub(super) struct Args {
    /// A run's directory: run.toml, samples.csv, timeline.csv, latency.csv
    directory: PathBuf,
    /// The variant that ratios refer to [default: ptmalloc2, if the run has it]
    #[arg(long, value_name = "VARIANT")]
    baseline: Option<String>,
    /// In which form the summary is printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let (outcome, files) = report_run(&args.directory, args.baseline.as_deref(), args.format)?;
    if matches!(args.format, Format::Table) {
        list_files(&files)?;
    }
    Ok(outcome)
}

/// Reports on a run that has just been made, from its files: the directory comes last.
pub(super) fn show_report(path: &Path, baseline: Option<&str>, format: Format) -> anyhow::Result<Outcome> {
    let (outcome, report) = report_run(path, baseline, format)?;
    if matches!(format, Format::Table) {
        let plots = report.plots.iter().map(|plot| &*plot.path);
        let mut out = stdout();
        plots.chain([path]).try_for_each(|path| writeln!(out, "{}", path.display()))?;
    } else {
        say!("{}", path.display());
    }
    Ok(outcome)
}

/// The same of a run of a real program, whose output has standard output for itself.
pub(super) fn show_program_report(path: &Path, baseline: Option<&str>) -> anyhow::Result<Outcome> {
    let run = results::load(path)?;
    let analysis = analyse(&run, baseline)?;
    let report = write_report(&analysis)?;
    report.notes.iter().for_each(|note| say!("heaplab: {note}"));
    let out = &mut std::io::stderr().lock();
    print_table(&analysis, out, Style { framed: false, colour: false })?;
    answer(&analysis).all().try_for_each(|sentence| writeln!(out, "{sentence}"))?;
    let plots = report.plots.iter().map(|plot| &*plot.path);
    plots.chain([path]).try_for_each(|path| writeln!(out, "{}", path.display()))?;
    Ok(outcome(&analysis))
}

/// Writes the report of a run, and prints its summary and its answer.
fn report_run(path: &Path, baseline: Option<&str>, format: Format) -> anyhow::Result<(Outcome, Report)> {
    let run = results::load(path)?;
    let analysis = analyse(&run, baseline)?;
    let report = write_report(&analysis)?;
    report.notes.iter().for_each(|note| say!("heaplab: {note}"));
    let out = &mut stdout();
    print_summary(&analysis, format, out)?;
    if matches!(format, Format::Table) {
        writeln!(out)?;
        answer(&analysis).all().try_for_each(|sentence| writeln!(out, "{sentence}"))?;
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

fn list_files(report: &Report) -> anyhow::Result<()> {
    let mut out = stdout();
    let plots = report.plots.iter().map(|plot| &plot.path);
    let files = [&report.summary, &report.markdown, &report.html].into_iter().chain(plots);
    Ok(files.into_iter().try_for_each(|path| writeln!(out, "{}", path.display()))?)
}
