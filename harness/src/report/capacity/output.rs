//! A plan in the form that was asked for: tables and sentences, markdown, CSV or JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::super::grid::{Grid, Style, escape_markdown};
use super::super::table::{Columns, Format};
use super::super::units::list;
use super::answer::plan_answer;
use super::assumptions::{assume, warn_of_hosts};
use super::pods::{pod_grid, pod_workloads};
use super::tables::{connection_grid, describe_host, host_grid, load_grid, sections};
use crate::capacity::{Capacity, ConnectionRow, HostRow, LoadRow, PodRow};

/// The form of a plan as JSON.
#[derive(Serialize)]
struct Document<'a> {
    hosts: &'a [HostRow],
    connections: &'a [ConnectionRow],
    loads: &'a [LoadRow],
    pods: &'a [PodRow],
    answer: Vec<String>,
    assumptions: Vec<String>,
    notes: Vec<String>,
}

/// Prints a plan in the form that was asked for.
///
/// # Errors
///
/// What writing says.
pub fn print_capacity(
    capacity: &Capacity,
    format: Format,
    columns: Columns,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Table => print_tables(capacity, columns, out, Style::of_stdout()),
        Format::Markdown => print_markdown(capacity, columns, out),
        Format::Csv => print_csv(capacity, out),
        Format::Json => {
            let notes = capacity.notes.iter().cloned().chain(warn_of_hosts(capacity)).collect();
            let document = Document {
                hosts: &capacity.hosts,
                connections: &capacity.connections,
                loads: &capacity.loads,
                pods: &capacity.pods,
                answer: plan_answer(capacity),
                assumptions: assume(capacity),
                notes,
            };
            serde_json::to_writer_pretty(&mut *out, &document)?;
            writeln!(out)
        }
    }
}

/// Prints the tables, then the answer and the assumptions, a line each.
fn print_tables(capacity: &Capacity, columns: Columns, out: &mut dyn Write, style: Style) -> io::Result<()> {
    if style.ruled {
        for (workload, host) in sections(capacity) {
            writeln!(out, "{workload} on hosts of {}", describe_host(&host))?;
            host_grid(capacity, workload, &host, columns).print(out, style)?;
            writeln!(out)?;
        }
    } else if !capacity.hosts.is_empty() {
        // One table of all: a line says by itself what it is about.
        let mut all = Grid::default();
        for (workload, host) in sections(capacity) {
            let grid = host_grid(capacity, workload, &host, columns);
            (all.names, all.header) = (grid.names + 2, grid.header);
            all.header.splice(1..1, ["workload".to_owned(), "host".to_owned()]);
            all.rows.extend(grid.rows.into_iter().map(|mut row| {
                row.splice(1..1, [workload.to_owned(), describe_host(&host)]);
                row
            }));
        }
        all.print(out, style)?;
    }
    for (at, workload) in pod_workloads(capacity).into_iter().enumerate() {
        if at > 0 || (!capacity.hosts.is_empty() && !style.ruled) {
            writeln!(out)?;
        }
        writeln!(out, "{workload} as pods")?;
        pod_grid(capacity, workload, columns).print(out, style)?;
    }
    if !capacity.connections.is_empty() {
        // A table of its own, with a header of its own: an empty line parts it from the hosts'.
        let is_first = capacity.hosts.is_empty() && capacity.pods.is_empty();
        if !is_first && !style.ruled {
            writeln!(out)?;
        }
        connection_grid(&capacity.connections).print(out, style)?;
        writeln!(out)?;
        load_grid(&capacity.loads).print(out, style)?;
    }
    writeln!(out)?;
    plan_answer(capacity).iter().try_for_each(|sentence| writeln!(out, "{sentence}"))?;
    writeln!(out)?;
    assume(capacity).iter().try_for_each(|sentence| writeln!(out, "{sentence}"))
}

fn print_markdown(capacity: &Capacity, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
    for (workload, host) in sections(capacity) {
        writeln!(out, "### {} on hosts of {}\n", escape_markdown(workload), describe_host(&host))?;
        writeln!(out, "{}", host_grid(capacity, workload, &host, columns).markdown())?;
    }
    for workload in pod_workloads(capacity) {
        writeln!(out, "### {} as pods\n", escape_markdown(workload))?;
        writeln!(out, "{}", pod_grid(capacity, workload, columns).markdown())?;
    }
    if !capacity.connections.is_empty() {
        let unit = capacity.request.load_unit.as_deref().unwrap_or("connection");
        writeln!(out, "### Memory by load ({})\n", escape_markdown(unit))?;
        writeln!(out, "{}", connection_grid(&capacity.connections).markdown())?;
        writeln!(out, "### Memory at each load\n")?;
        writeln!(out, "{}", load_grid(&capacity.loads).markdown())?;
    }
    for (title, sentences) in [("Answer", plan_answer(capacity)), ("Assumptions", assume(capacity))] {
        if !sentences.is_empty() {
            writeln!(out, "### {title}\n")?;
            sentences.iter().try_for_each(|sentence| writeln!(out, "- {}", escape_markdown(sentence)))?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// The hosts' rows; where none was named those of pods, and without these those of connections.
fn print_csv(capacity: &Capacity, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    capacity.hosts.iter().try_for_each(|row| writer.serialize(row))?;
    if capacity.hosts.is_empty() {
        capacity.pods.iter().try_for_each(|row| writer.serialize(row))?;
    }
    if capacity.hosts.is_empty() && capacity.pods.is_empty() {
        capacity.connections.iter().try_for_each(|row| writer.serialize(Flat::new(row)))?;
    }
    writer.flush()
}

/// A row of connections with its loads in one cell.
#[derive(Serialize)]
struct Flat<'a> {
    model: &'a str,
    variant: &'a str,
    connections: String,
    n: u64,
    connection_bytes: Option<f64>,
    connection_low_bytes: Option<f64>,
    connection_high_bytes: Option<f64>,
    base_bytes: Option<f64>,
    base_low_bytes: Option<f64>,
    base_high_bytes: Option<f64>,
    coverage: Option<f64>,
    bend: Option<f64>,
}

impl<'a> Flat<'a> {
    fn new(row: &'a ConnectionRow) -> Flat<'a> {
        Flat {
            model: &row.model,
            variant: &row.variant,
            connections: list(&row.connections, " "),
            n: row.n,
            connection_bytes: row.connection_bytes,
            connection_low_bytes: row.connection_low_bytes,
            connection_high_bytes: row.connection_high_bytes,
            base_bytes: row.base_bytes,
            base_low_bytes: row.base_low_bytes,
            base_high_bytes: row.base_high_bytes,
            coverage: row.coverage,
            bend: row.bend,
        }
    }
}
