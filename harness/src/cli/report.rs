//! `heaplab report`.

use super::Outcome;

#[derive(clap::Args)]
pub(super) struct Args {}

pub(super) fn main(_args: Args) -> anyhow::Result<Outcome> {
    Ok(Outcome::Failed)
}
