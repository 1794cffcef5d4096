//! `heaplab man` and `heaplab completions`: manual pages of heaplab and its commands.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap_mangen::Man;

use super::{Outcome, Usage, command};
use crate::cli::stdout::stdout;
use crate::results::write_whole;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The command whose page is printed, as in `heaplab man trace info`; without one, heaplab's own
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    command: Vec<String>,
    /// Write all pages into this directory instead, as heaplab.1, heaplab-run.1, ...
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let mut root = command();
    // Gives each command its full name and the options that it shares.
    root.build();
    match args.output {
        Some(directory) => {
            std::fs::create_dir_all(&directory)
                .with_context(|| format!("{}: cannot create", directory.display()))?;
            write_pages(&root, &directory, &mut stdout())?;
        }
        None => {
            let page = render(find(&root, &args.command)?)?;
            stdout().write_all(&page)?;
        }
    }
    Ok(Outcome::Done)
}

/// The command that the words name.
fn find<'a>(root: &'a clap::Command, words: &[String]) -> Result<&'a clap::Command, Usage> {
    let mut found = root;
    for word in words {
        found = found.find_subcommand(word).filter(|command| !command.is_hide_set()).ok_or_else(|| {
            let known: Vec<&str> = shown(found).map(clap::Command::get_name).collect();
            let known = if known.is_empty() { "no command".to_owned() } else { known.join(", ") };
            Usage(format!("no command `{word}` of {}: it has {known}", full_name(found).replace('-', " ")))
        })?;
    }
    Ok(found)
}

/// The subcommands of a command that are meant for users.
fn shown(command: &clap::Command) -> impl Iterator<Item = &clap::Command> {
    command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help")
}

/// The name of a command's page: `heaplab-trace-info`.
fn full_name(command: &clap::Command) -> String {
    command.get_display_name().unwrap_or(command.get_name()).to_owned()
}

/// Writes the pages of a command and its subcommands; prints each path.
fn write_pages(command: &clap::Command, directory: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let path = directory.join(format!("{}.1", full_name(command)));
    write_whole(&path, &render(command)?)?;
    writeln!(out, "{}", path.display())?;
    shown(command).try_for_each(|sub| write_pages(sub, directory, out))
}

fn render(command: &clap::Command) -> anyhow::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).context("a manual page")?;
    Ok(page)
}

#[derive(clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell that the script is for
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(super) fn print_completions(args: CompletionArgs) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut without_hidden(&command()), "heaplab", &mut script);
    stdout().write_all(&script)?;
    Ok(Outcome::Done)
}

/// The command without its hidden subcommands, which clap_complete offers like any other.
fn without_hidden(whole: &clap::Command) -> clap::Command {
    clap::Command::new("heaplab")
        .args(whole.get_arguments())
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()))
}
