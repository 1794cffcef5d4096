//! `heaplab report`: tables, plots, report.md and report.html from a run's files.

use std::io::Write;
use std::path::PathBuf;

use super::{Outcome, Usage};
use crate::cli::stdout::stdout;
use crate::report::{Analysis, Format, ReportError, answer, print_summary, write_report};
use crate::results;

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
    let run = results::load(&args.directory)?;
    let analysis = Analysis::new(&run, args.baseline.as_deref()).map_err(|error| match error {
        ReportError::UnknownBaseline { .. } => Usage(error.to_string()).into(),
        other => anyhow::Error::from(other),
    })?;
    let report = write_report(&analysis)?;
    for note in &report.notes {
        say!("heaplab: {note}");
    }
    let out = &mut stdout();
    print_summary(&analysis, args.format, out)?;
    if matches!(args.format, Format::Table) {
        writeln!(out)?;
        for sentence in answer(&analysis).all() {
            writeln!(out, "{sentence}")?;
        }
        writeln!(out)?;
        let plots = report.plots.iter().map(|plot| &plot.path);
        for path in [&report.summary, &report.markdown, &report.html].into_iter().chain(plots) {
            writeln!(out, "{}", path.display())?;
        }
    }
    Ok(if analysis.is_complete() { Outcome::Done } else { Outcome::Incomplete })
}
