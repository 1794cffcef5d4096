//! `heaplab pack`: compresses a run's large files for keeping or sending.

use std::io::Write;
use std::path::PathBuf;

use super::Outcome;
use super::stdout::stdout;
use crate::report::units::bytes;
use crate::results::{pack, unpack};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Directories that `heaplab run` or `exec` wrote
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Unpack instead
    #[arg(long)]
    undo: bool,
}

pub(super) fn main(args: &Args) -> anyhow::Result<Outcome> {
    for directory in &args.directories {
        let done = if args.undo { unpack(directory) } else { pack(directory) }?;
        let (before, after) = if args.undo {
            (done.packed_bytes, done.unpacked_bytes)
        } else {
            (done.unpacked_bytes, done.packed_bytes)
        };
        let files = if done.files == 1 { "file" } else { "files" };
        let verb = if args.undo { "unpacked" } else { "packed" };
        writeln!(
            stdout(),
            "{}: {} {files} {verb}, {} before, {} after",
            directory.display(),
            done.files,
            bytes(before as f64),
            bytes(after as f64)
        )?;
    }
    Ok(Outcome::Done)
}
