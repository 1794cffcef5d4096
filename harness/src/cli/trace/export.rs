//! `heaplab trace export`: writes a trace as another tool's text, to stdout or a file.

use std::fs::Permissions;
use std::io::{BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use heaplab_trace::TraceReader;
use heaplab_workloads::export::{Exported, Format, export};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::stdout::stdout_or_stop;
use crate::cli::{Outcome, Usage, require_directory};

const BUFFER_BYTES: usize = 1 << 16;

#[derive(clap::Args)]
pub(in crate::cli) struct Args {
    /// The trace
    file: PathBuf,
    #[arg(long, value_name = "FORMAT", help = to_help())]
    to: String,
    /// The file to write; replaced only when the new one is complete [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn to_help() -> String {
    format!("The format: {}", Format::ALL.map(Format::name).join(", "))
}

pub(super) fn main(args: &Args) -> anyhow::Result<Outcome> {
    let format = Format::from_str(&args.to).map_err(|unknown| Usage(unknown.to_string()))?;
    let exported = match &args.output {
        Some(output) => write_file(&args.file, format, output)?,
        None => write_to(&args.file, format, &mut stdout_or_stop())?,
    };
    for lost in &exported.lost {
        say!("heaplab: not in the {} text: {lost}", format.name());
    }
    Ok(Outcome::Done)
}

/// Writes under a temporary name, and renames the file when it is complete.
fn write_file(trace: &Path, format: Format, output: &Path) -> anyhow::Result<Exported> {
    if std::fs::metadata(output).is_ok_and(|found| !found.is_file()) {
        anyhow::bail!("{}: exists and is not a regular file: name another output", output.display());
    }
    if let (Ok(trace), Ok(output)) = (trace.canonicalize(), output.canonicalize())
        && trace == output
    {
        anyhow::bail!("{}: is the trace itself: name another output", output.display());
    }
    let directory = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    require_directory(output)?;
    let doing = || format!("cannot write {}", output.display());
    // The user's umask is subtracted from these as for every file.
    let permissions = Permissions::from_mode(0o666);
    let mut file = tempfile::Builder::new()
        .prefix(".heaplab-export-")
        .permissions(permissions)
        .tempfile_in(directory)
        .with_context(doing)?;
    let exported = write_to(trace, format, file.as_file_mut())?;
    file.as_file().sync_all().with_context(doing)?;
    file.persist(output).with_context(doing)?;
    Ok(exported)
}

fn write_to(trace: &Path, format: Format, out: &mut dyn Write) -> anyhow::Result<Exported> {
    let mut reader = TraceReader::open(trace)?;
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::with_template("export: {human_pos} records, {per_sec}")?);
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    let exported = export(&mut reader, format, &mut out, &mut |records| bar.set_position(records));
    bar.finish_and_clear();
    let exported = exported?;
    out.flush()?;
    Ok(exported)
}
