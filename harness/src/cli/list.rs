//! `heaplab list`.

use super::Outcome;

#[derive(clap::Subcommand)]
pub(super) enum Command {}

pub(super) fn main(_command: Command) -> anyhow::Result<Outcome> {
    Ok(Outcome::Failed)
}
