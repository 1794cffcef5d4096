//! `heaplab doctor`.

use std::io::Write;

use super::{Format, Outcome, columns};
use crate::doctor::{Check, Level, Readings, examine};

#[derive(clap::Args)]
pub(super) struct Args {
    /// How the findings are printed
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let checks = examine(&Readings::read());
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&checks)?)?,
        Format::Table => {
            let rows: Vec<Vec<String>> = checks.iter().map(row).collect();
            columns::print(&mut out, &["what", "state", "found", "how to mend it"], &rows)?;
        }
    }
    let warnings = checks.iter().filter(|check| check.level == Level::Warning).count();
    if warnings > 0 {
        eprintln!("heaplab: {warnings} of {} would spoil a measurement", checks.len());
    }
    Ok(Outcome::Done)
}

fn row(check: &Check) -> Vec<String> {
    let state = match check.level {
        Level::Ok => "ok",
        Level::Note => "note",
        Level::Warning => "warning",
    };
    vec![check.what.to_owned(), state.to_owned(), check.found.clone(), check.advice.clone()]
}
