//! `heaplab list`: workloads, allocators, settings and sweeps that can be used by name.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use heaplab_allocators::registry::{ENTRIES, Entry};
use heaplab_allocators::settings::KNOWN;
use heaplab_allocators::{Sweep, Variant, probe, sweep};
use heaplab_workloads::catalog::{self, Source, Suite};
use serde::Serialize;

use super::{Format, Outcome};
use crate::cli::stdout::stdout;
use crate::report::{Grid, Style};

#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Workloads that heaplab knows by name
    Workloads(Args),
    /// Allocators that heaplab knows by name, and the paths of their libraries
    Allocators(Args),
    /// Settings of allocators that are worth knowing, and what each does
    Settings(Args),
    /// Sweeps that are part of heaplab: variants over values of settings
    Sweeps(Args),
}

#[derive(clap::Args)]
pub(super) struct Args {
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
}

pub(super) fn main(command: Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Workloads(args) => list_workloads(args.format),
        Command::Allocators(args) => list_allocators(args.format),
        Command::Settings(args) => list_settings(args.format),
        Command::Sweeps(args) => list_sweeps(args.format),
    }
}

/// A workload of the list.
#[derive(Serialize)]
struct ListedWorkload {
    name: String,
    /// `model`, `stress` or `trace`.
    kind: &'static str,
    /// `quick`, `full`, both, or none.
    suites: Vec<&'static str>,
    description: String,
}

fn list_workloads(format: Format) -> anyhow::Result<Outcome> {
    let listed: Vec<ListedWorkload> = catalog::list()
        .into_iter()
        .map(|workload| ListedWorkload {
            kind: match workload.source {
                Source::Stress { .. } => "stress",
                Source::Definition { .. } | Source::Model { .. } => "model",
                _ => "trace",
            },
            suites: Suite::ALL
                .into_iter()
                .filter(|suite| suite.has(&workload.name))
                .map(Suite::name)
                .collect(),
            name: workload.name,
            description: workload.description,
        })
        .collect();
    print_list(format, listed, &["name", "kind", "suites", "description"], |it| {
        let suites = if it.suites.is_empty() { "-".to_owned() } else { it.suites.join(", ") };
        vec![it.name, it.kind.to_owned(), suites, it.description]
    })
}

/// An allocator of the list.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    /// `present`, `absent` or `broken`.
    state: &'static str,
    version: Option<String>,
    library: Option<PathBuf>,
    library_hash: Option<String>,
    /// How to get it, or what is wrong with it.
    detail: Option<String>,
    /// The SPDX identifier.
    licence: &'static str,
    /// Where its library comes from.
    origin: String,
}

/// Lists the allocators, as `heaplab allocators` does too.
pub(super) fn list_allocators(format: Format) -> anyhow::Result<Outcome> {
    let listed = ENTRIES.iter().map(look_at).collect::<anyhow::Result<Vec<Listed>>>()?;
    let cell = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    print_list(format, listed, &["name", "state", "version", "licence", "origin", "library"], |it| {
        let library = it.library.map(|path| path.display().to_string());
        let version = cell(it.version.filter(|version| !version.is_empty()));
        vec![
            it.name.to_owned(),
            it.state.to_owned(),
            version,
            it.licence.to_owned(),
            it.origin,
            cell(library.or(it.detail)),
        ]
    })
}

/// Loads the allocator into a short-lived process, which says what it is.
fn look_at(entry: &Entry) -> anyhow::Result<Listed> {
    let mut listed = Listed {
        name: entry.name,
        state: "absent",
        version: None,
        library: None,
        library_hash: None,
        detail: None,
        licence: entry.licence,
        origin: entry.origin(),
    };
    let variant = match Variant::parse(entry.name) {
        Ok(variant) => variant,
        Err(_) => {
            listed.detail = entry.install_command();
            return Ok(listed);
        }
    };
    let program = std::env::current_exe().context("this program's own file cannot be found")?;
    let expectation = variant.expectation();
    match probe::prove(probe::command(&program, &variant), &variant, None) {
        Ok(proven) => match proven.loaded.matches(&expectation) {
            Ok(()) => {
                listed.state = "present";
                listed.version = Some(proven.loaded.version);
                listed.library = Some(proven.loaded.library_path);
                listed.library_hash = Some(proven.library_hash);
            }
            Err(reason) => (listed.state, listed.detail) = ("broken", Some(reason)),
        },
        Err(error) => (listed.state, listed.detail) = ("broken", Some(error.to_string())),
    }
    Ok(listed)
}

/// A setting of the list.
#[derive(Serialize)]
struct ListedSetting {
    name: &'static str,
    /// The allocators that have it; `any` for all.
    allocators: String,
    /// What it does, with the default in brackets.
    description: &'static str,
    /// A variant that uses it.
    example: String,
}

fn list_settings(format: Format) -> anyhow::Result<Outcome> {
    let list = |setting: &heaplab_allocators::settings::KnownSetting| {
        let of_family = ENTRIES.iter().filter(|entry| Some(entry.family) == setting.family);
        let names: Vec<&str> = of_family.map(|entry| entry.name).collect();
        let example = names.first().unwrap_or(&"ptmalloc2");
        ListedSetting {
            name: setting.name,
            example: format!("{example}:{}={}", setting.name, setting.example),
            allocators: if names.is_empty() { "any".to_owned() } else { names.join(", ") },
            description: setting.what,
        }
    };
    let listed: Vec<ListedSetting> = KNOWN.iter().map(list).collect();
    print_list(format, listed, &["name", "allocators", "what it does (default)"], |it| {
        vec![it.name.to_owned(), it.allocators, it.description.to_owned()]
    })
}

/// A sweep of the list.
#[derive(Serialize)]
struct ListedSweep {
    name: &'static str,
    description: String,
    variants: Vec<String>,
}

fn list_sweeps(format: Format) -> anyhow::Result<Outcome> {
    let list = |(name, text): (&'static str, &str)| {
        Sweep::parse(text, name).map(|sweep| ListedSweep {
            name,
            description: sweep.description,
            variants: sweep.variants,
        })
    };
    let listed = sweep::SHIPPED.into_iter().map(list).collect::<Result<Vec<_>, _>>()?;
    print_list(format, listed, &["name", "variants", "description"], |it| {
        vec![it.name.to_owned(), it.variants.len().to_string(), it.description]
    })
}

/// Prints a list in the requested form; `cells` turns an entry into a row of the table.
fn print_list<T: Serialize>(
    format: Format,
    listed: Vec<T>,
    header: &[&str],
    cells: impl Fn(T) -> Vec<String>,
) -> anyhow::Result<Outcome> {
    let mut out = stdout();
    match format {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&listed)?)?,
        Format::Table => {
            print_columns(&mut out, header, &listed.into_iter().map(cells).collect::<Vec<_>>())?;
        }
    }
    Ok(Outcome::Done)
}

/// Prints rows of text under a header.
pub(super) fn print_columns(out: &mut dyn Write, header: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let header: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    Grid { names: header.len(), header, rows: rows.to_vec() }.print(out, Style::of_stdout())
}
