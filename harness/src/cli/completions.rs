//! `heaplab completions`: a script that completes heaplab's commands and options in a shell.

use std::io::Write;

use super::{Outcome, command};
use crate::cli::stdout::stdout;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The shell that the script is for
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut without_hidden(&command()), "heaplab", &mut script);
    stdout().write_all(&script)?;
    Ok(Outcome::Done)
}

/// The command without its hidden commands, which clap_complete offers like any other.
fn without_hidden(whole: &clap::Command) -> clap::Command {
    clap::Command::new("heaplab")
        .args(whole.get_arguments())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()))
}
