//! A plan in the requested form: tables and sentences, markdown, CSV or JSON.

use std::io::{self, Write};

use serde::Serialize;

use super::super::grid::{Grid, Style, escape_markdown};
use super::super::table::{Columns, Format};
use super::super::units::list;
use super::answer::{answer_host, answer_loads, plan_answer};
use super::assumptions::{assume, warn_of_hosts};
use super::pods::{answer_pod, describe_nodes, pod_grid, pod_workloads};
use super::tables::{connection_grid, describe_place, host_grid, load_grid, sections};
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

/// Prints a plan in the requested form.
///
/// # Errors
///
/// The error of a failed write.
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

/// Prints each table under its heading, with what it answers below it, then the assumptions, one per
/// line.
fn print_tables(capacity: &Capacity, columns: Columns, out: &mut dyn Write, style: Style) -> io::Result<()> {
    for part in parts(capacity, columns) {
        writeln!(out, "{}", part.heading)?;
        for grid in part.grids {
            writeln!(out)?;
            grid.print(out, style)?;
        }
        if !part.answer.is_empty() {
            writeln!(out)?;
        }
        part.answer.iter().try_for_each(|sentence| writeln!(out, "{sentence}"))?;
        writeln!(out)?;
    }
    assume(capacity).iter().try_for_each(|sentence| writeln!(out, "{sentence}"))
}

/// Tables with their heading and sentences.
struct Part {
    heading: String,
    grids: Vec<Grid>,
    answer: Vec<String>,
}

/// A plan in reading order. No sentence repeats a heading.
fn parts(capacity: &Capacity, columns: Columns) -> Vec<Part> {
    let hosts = sections(capacity).into_iter().map(|(workload, host)| Part {
        heading: format!("{workload} on hosts of {}", describe_place(capacity, &host)),
        grids: vec![host_grid(capacity, workload, &host, columns)],
        answer: vec![answer_host(capacity, workload, &host)],
    });
    let pods = pod_workloads(capacity).into_iter().map(|workload| Part {
        heading: format!("{workload} as pods{}", describe_nodes(capacity)),
        grids: vec![pod_grid(capacity, workload, columns)],
        answer: vec![answer_pod(capacity, workload)],
    });
    let mut parts: Vec<Part> = hosts.chain(pods).collect();
    if !capacity.connections.is_empty() {
        let unit = capacity.request.load_unit.as_deref().unwrap_or("connection");
        parts.push(Part {
            heading: format!("Memory by load ({unit})"),
            grids: vec![
                connection_grid(&capacity.connections, capacity.request.load_unit.as_deref()),
                load_grid(&capacity.loads),
            ],
            answer: answer_loads(capacity),
        });
    }
    parts
}

fn print_markdown(capacity: &Capacity, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
    for part in parts(capacity, columns) {
        writeln!(out, "### {}\n", escape_markdown(&part.heading))?;
        part.grids.iter().try_for_each(|grid| writeln!(out, "{}", grid.markdown()))?;
        part.answer.iter().try_for_each(|sentence| writeln!(out, "- {}", escape_markdown(sentence)))?;
        writeln!(out)?;
    }
    writeln!(out, "### Assumptions\n")?;
    assume(capacity).iter().try_for_each(|sentence| writeln!(out, "- {}", escape_markdown(sentence)))?;
    writeln!(out)
}

/// Prints the rows of hosts; without hosts those of pods, and without pods those of the loads that were asked for, or of
/// connections.
fn print_csv(capacity: &Capacity, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    capacity.hosts.iter().try_for_each(|row| writer.serialize(row))?;
    if capacity.hosts.is_empty() {
        capacity.pods.iter().try_for_each(|row| writer.serialize(row))?;
    }
    let is_of_loads = capacity.hosts.is_empty() && capacity.pods.is_empty();
    if is_of_loads && !capacity.request.at.is_empty() {
        capacity.loads.iter().try_for_each(|row| writer.serialize(row))?;
    } else if is_of_loads {
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
