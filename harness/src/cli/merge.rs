//! `heaplab merge`: makes one run from the shards that several machines measured.

use std::io::Write;
use std::path::PathBuf;

use super::stdout::stdout;
use super::{Outcome, argv_of_process, stop_on_signals};
use crate::session::{Merge, merge_runs};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Directories that `heaplab run --shard` wrote, or whole runs of one plan on several kinds of machines
    #[arg(required = true, value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// Where the merged run goes: a directory that is empty or does not exist yet
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Merge even if units are missing: the run says so, and its reports exit with status 3
    #[arg(long)]
    allow_missing: bool,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let stop = stop_on_signals()?;
    let merge = Merge {
        directories: args.directories,
        output: args.output,
        allow_missing: args.allow_missing,
        argv: argv_of_process(),
    };
    let Some(merged) = merge_runs(&merge, &stop)? else {
        say!("heaplab: stopped; nothing was written");
        return Ok(Outcome::Interrupted);
    };
    merged.notes.iter().for_each(|note| say!("heaplab: {note}"));
    let kinds = if merged.machines == 1 { "kind of machine" } else { "kinds of machines" };
    say!(
        "heaplab: {} units, {} samples, {} of them failed, on {} {kinds}; heaplab report makes tables and plots",
        merged.units,
        merged.samples,
        merged.failed,
        merged.machines
    );
    writeln!(stdout(), "{}", merge.output.display())?;
    Ok(if merged.failed == 0 && merged.is_whole { Outcome::Done } else { Outcome::Incomplete })
}
