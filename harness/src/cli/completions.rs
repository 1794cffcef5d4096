//! `heaplab completions`: a script that completes heaplab's commands and options in a shell.

use std::io::Write;

use anyhow::Context;

use super::{Outcome, command};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The shell that the script is for
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut without_hidden(&command()), "heaplab", &mut script);
    std::io::stdout().lock().write_all(&script).context("standard output")?;
    Ok(Outcome::Done)
}

/// The command without its hidden commands, which clap_complete offers like any other.
fn without_hidden(whole: &clap::Command) -> clap::Command {
    clap::Command::new("heaplab")
        .args(whole.get_arguments())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()))
}
