//! `heaplab probe`, hidden: says as JSON which allocator serves this process and what it took of the settings.
//!
//! The parent runs it once for each variant, in the variant's environment.

use std::io::Write;

use heaplab_allocators::Variant;
use heaplab_allocators::probe::answer;

use super::{Outcome, Usage};
use crate::cli::stdout::stdout;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The variant, as after `-a`
    variant: String,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let variant = Variant::parse(&args.variant).map_err(|error| Usage(error.to_string()))?;
    let answer = answer(&variant)?;
    writeln!(stdout(), "{}", serde_json::to_string(&answer)?)?;
    Ok(Outcome::Done)
}
