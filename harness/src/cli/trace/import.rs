//! `heaplab trace import`: makes a trace from another tool's log.

use std::path::PathBuf;
use std::str::FromStr;

use heaplab_workloads::import::{self, ImportError, Kind, Options};

use super::{list_totals, print_rows};
use crate::cli::screen::Screen;
use crate::cli::stdout::stdout;
use crate::cli::{Outcome, Usage};
use crate::record::write_of_raw;

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The log; of a raw recording its directory, or one image's file in it
    file: PathBuf,
    #[arg(long, value_name = "KIND", help = from_help())]
    from: Option<String>,
    /// The process to import from a log of several [default: that of the first call]
    #[arg(long, value_name = "ID")]
    process: Option<u64>,
    /// The trace to write; replaced only when the new one is complete
    #[arg(short, long, value_name = "FILE.hlt")]
    output: PathBuf,
}

fn from_help() -> String {
    format!("The kind of log: {} [default: what the content shows]", Kind::names())
}

pub(super) fn main(args: &Args) -> anyhow::Result<Outcome> {
    let kind = match &args.from {
        Some(name) => Some(Kind::from_str(name).map_err(|unknown| Usage(unknown.to_string()))?),
        None => None,
    };
    let screen = Screen::new()?;
    let options = Options { kind, process: args.process };
    let imported =
        import::import(&args.file, &options, &args.output, &mut |progress| screen.import("import", progress));
    screen.end_stage();
    let imported = imported.map_err(as_usage)?;
    for warning in &imported.warnings {
        say!("heaplab: warning: {}: {warning}", args.file.display());
    }
    if let Some(manifest) = write_of_raw(&args.file, &args.output, &imported.images)? {
        say!("heaplab: {} says which processes there were", manifest.display());
    }
    let mut rows =
        vec![("trace", args.output.display().to_string()), ("source", imported.header.source.clone())];
    rows.extend(
        imported
            .header
            .notes
            .iter()
            .filter(|note| note.name != "imported_from")
            .map(|note| ("note", format!("{}: {}", note.name, note.value))),
    );
    rows.push(("lacks", imported.header.lacks().join("; ")));
    rows.retain(|(_, value)| !value.is_empty());
    rows.extend(list_totals(&imported.summary, imported.header.has_times));
    print_rows(&mut stdout(), &rows)?;
    Ok(Outcome::Done)
}

/// An option that this log does not support is the user's mistake, as opposed to a fault of the
/// log.
fn as_usage(error: ImportError) -> anyhow::Error {
    match error {
        ImportError::NoProcesses { .. } | ImportError::UnknownProcess { .. } => {
            Usage(error.to_string()).into()
        }
        other => other.into(),
    }
}
