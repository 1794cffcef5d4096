//! The hidden commands that heaplab itself starts: a worker, the process that warms memory for it, calls to be
//! recorded, a keeper, the watchers of a control group and of reports, and the probe, which says as JSON which
//! allocator serves its process and which of the settings it accepted. The probe runs once for each variant, in the
//! variant's environment.

use std::io::Write;
use std::path::Path;

use heaplab_allocators::Variant;
use heaplab_allocators::probe::answer;

use super::{Outcome, Usage};
use crate::cli::stdout::stdout;

#[derive(clap::Args)]
pub(super) struct ProbeArgs {
    /// The variant, as after `-a`
    variant: String,
}

pub(super) fn probe(args: ProbeArgs) -> anyhow::Result<Outcome> {
    let variant = Variant::parse(&args.variant).map_err(|error| Usage(error.to_string()))?;
    let answer = answer(&variant)?;
    writeln!(stdout(), "{}", serde_json::to_string(&answer)?)?;
    Ok(Outcome::Done)
}

pub(super) fn keep() -> anyhow::Result<Outcome> {
    crate::exec::keep().map(|()| Outcome::Done).map_err(anyhow::Error::msg)
}

pub(super) fn watch(group: &Path) -> anyhow::Result<Outcome> {
    Ok(crate::group::watch(group).map(|()| Outcome::Done)?)
}

pub(super) fn watch_reports(directory: &Path) -> anyhow::Result<Outcome> {
    Ok(crate::exec::watch_reports(directory).map(|()| Outcome::Done)?)
}

pub(super) fn work() -> anyhow::Result<Outcome> {
    crate::worker::main().map(|()| Outcome::Done).map_err(anyhow::Error::msg)
}

pub(super) fn make_calls() -> anyhow::Result<Outcome> {
    crate::worker::make_calls().map(|()| Outcome::Done).map_err(anyhow::Error::msg)
}

pub(super) fn warm(need: &str) -> anyhow::Result<Outcome> {
    crate::worker::back_memory(need).map(|()| Outcome::Done).map_err(anyhow::Error::msg)
}
