//! A plan in words: its tables and its answer.

use std::io::{self, Write};

use serde::Serialize;

use super::super::grid::{Grid, Style, escape_markdown};
use super::super::table::Format;
use super::super::units;
use super::assumptions::{assume, warn_of_hosts};
use crate::capacity::{Basis, Capacity, ConnectionRow, Host, HostRow};
use crate::stats::{MIN_BLOCKS, Verdict};

/// How far a load may be from the line that is said to describe it.
const MOST_BEND: f64 = 0.1;

/// The form of a plan as JSON.
#[derive(Serialize)]
struct Document<'a> {
    hosts: &'a [HostRow],
    connections: &'a [ConnectionRow],
    answer: Vec<String>,
    assumptions: Vec<String>,
    notes: Vec<String>,
}

/// Prints a plan in the form that was asked for.
///
/// # Errors
///
/// What writing says.
pub fn print_capacity(capacity: &Capacity, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => print_tables(capacity, out, Style::of_stdout()),
        Format::Markdown => print_markdown(capacity, out),
        Format::Csv => print_csv(capacity, out),
        Format::Json => {
            let notes = capacity.notes.iter().cloned().chain(warn_of_hosts(capacity)).collect();
            let document = Document {
                hosts: &capacity.hosts,
                connections: &capacity.connections,
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
fn print_tables(capacity: &Capacity, out: &mut dyn Write, style: Style) -> io::Result<()> {
    if style.framed {
        for (workload, host) in sections(capacity) {
            writeln!(out, "{workload} on hosts of {}", describe_host(&host))?;
            host_grid(capacity, workload, &host).print(out, style)?;
        }
    } else if !capacity.hosts.is_empty() {
        // One table of all: a line says by itself what it is about.
        let mut all = Grid::default();
        for (workload, host) in sections(capacity) {
            let grid = host_grid(capacity, workload, &host);
            (all.names, all.header) = (grid.names + 2, grid.header);
            all.header.splice(1..1, ["workload".to_owned(), "host".to_owned()]);
            all.rows.extend(grid.rows.into_iter().map(|mut row| {
                row.splice(1..1, [workload.to_owned(), describe_host(&host)]);
                row
            }));
        }
        all.print(out, style)?;
    }
    if !capacity.connections.is_empty() {
        if !capacity.hosts.is_empty() {
            writeln!(out)?;
        }
        connection_grid(&capacity.connections).print(out, style)?;
    }
    writeln!(out)?;
    plan_answer(capacity).iter().try_for_each(|sentence| writeln!(out, "{sentence}"))?;
    writeln!(out)?;
    assume(capacity).iter().try_for_each(|sentence| writeln!(out, "{sentence}"))
}

fn print_markdown(capacity: &Capacity, out: &mut dyn Write) -> io::Result<()> {
    for (workload, host) in sections(capacity) {
        writeln!(out, "### {} on hosts of {}\n", escape_markdown(workload), describe_host(&host))?;
        writeln!(out, "{}", host_grid(capacity, workload, &host).markdown())?;
    }
    if !capacity.connections.is_empty() {
        writeln!(out, "### Memory of a connection\n")?;
        writeln!(out, "{}", connection_grid(&capacity.connections).markdown())?;
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

/// The hosts' rows, or where none was named those of connections.
fn print_csv(capacity: &Capacity, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    capacity.hosts.iter().try_for_each(|row| writer.serialize(row))?;
    if capacity.hosts.is_empty() {
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

/// Each workload with each host, in order.
pub(in crate::report) fn sections(capacity: &Capacity) -> Vec<(&str, Host)> {
    let mut workloads: Vec<&str> = Vec::new();
    for row in &capacity.hosts {
        if !workloads.contains(&row.workload.as_str()) {
            workloads.push(&row.workload);
        }
    }
    let hosts = &capacity.request.hosts;
    workloads.into_iter().flat_map(|workload| hosts.iter().map(move |host| (workload, *host))).collect()
}

/// The rows of a workload on a host.
pub(in crate::report) fn rows_of<'a>(
    capacity: &'a Capacity,
    workload: &'a str,
    host: &Host,
) -> impl Iterator<Item = &'a HostRow> + Clone {
    let (bytes, cpus, today) = (host.memory_bytes, host.cpus, host.processes);
    capacity.hosts.iter().filter(move |row| {
        row.workload == workload
            && (row.host_memory_bytes, row.host_cpus, row.processes_today) == (bytes, cpus, today)
    })
}

/// A host in words: `16.0 GiB, 8 CPUs`.
pub(in crate::report) fn describe_host(host: &Host) -> String {
    let memory = units::bytes(host.memory_bytes as f64);
    match host.cpus {
        Some(1) => format!("{memory}, 1 CPU"),
        Some(cpus) => format!("{memory}, {cpus} CPUs"),
        None => memory,
    }
}

pub(in crate::report) fn host_grid(capacity: &Capacity, workload: &str, host: &Host) -> Grid {
    let header = [
        "variant",
        "samples",
        "memory of",
        "process",
        "interval",
        "vs baseline",
        "planned with",
        "fit",
        "today",
        "hosts",
        "saving",
    ];
    let rows = rows_of(capacity, workload, host).map(|row| {
        let all = row.n + row.failed;
        let bytes = |value: Option<u64>| value.map_or_else(dash, |value| units::bytes(value as f64));
        let number = |value: Option<u64>| value.map_or_else(dash, whole);
        vec![
            row.variant.clone(),
            if row.failed == 0 { all.to_string() } else { format!("{} of {all}", row.n) },
            describe_basis(row.basis).to_owned(),
            bytes(row.process_bytes),
            row.process_low_bytes.zip(row.process_high_bytes).map_or_else(dash, |(low, high)| {
                format!("{} to {}", units::bytes(low as f64), units::bytes(high as f64))
            }),
            describe_ratio(capacity, row),
            bytes(row.planned_bytes),
            number(row.fits),
            describe_today(row),
            number(row.hosts),
            describe_saving(capacity, row),
        ]
    });
    Grid { names: 1, header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
}

/// Whose memory a line is about.
fn describe_basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Heap => "heap, replayed",
        Basis::Predicted => "process, predicted",
        Basis::Program => "process, measured",
    }
}

fn describe_ratio(capacity: &Capacity, row: &HostRow) -> String {
    if capacity.baseline.as_deref() == Some(&row.variant) {
        return "baseline".to_owned();
    }
    let known = row.ratio.zip(row.verdict);
    known.map_or_else(dash, |(ratio, verdict)| format!("{} {}", units::ratio(ratio), verdict.as_str()))
}

fn describe_today(row: &HostRow) -> String {
    row.fits_today.map_or_else(dash, |fits| {
        let fit = match (row.processes_today, fits) {
            (1, true) => "fits",
            (1, false) => "does not fit",
            (_, true) => "fit",
            (_, false) => "do not fit",
        };
        format!("{} {fit}", whole(row.processes_today))
    })
}

pub(in crate::report) fn describe_saving(capacity: &Capacity, row: &HostRow) -> String {
    if capacity.baseline.as_deref() == Some(&row.variant) {
        return "baseline".to_owned();
    }
    match (row.saving, row.verdict) {
        (Some(saving), _) => units::percent(saving),
        (None, Some(verdict @ (Verdict::NoDifference | Verdict::TooFew))) => verdict.as_str().to_owned(),
        _ => dash(),
    }
}

pub(in crate::report) fn connection_grid(rows: &[ConnectionRow]) -> Grid {
    let header = [
        "variant",
        "model",
        "connections",
        "samples",
        "each",
        "interval",
        "without any",
        "interval",
        "off the line",
    ];
    let interval = |low: Option<f64>, high: Option<f64>| {
        low.zip(high)
            .map_or_else(dash, |(low, high)| format!("{} to {}", units::bytes(low), units::bytes(high)))
    };
    let bytes = |value: Option<f64>| value.map_or_else(dash, units::bytes);
    let rows = rows.iter().map(|row| {
        vec![
            row.variant.clone(),
            row.model.clone(),
            list(&row.connections, ", "),
            row.n.to_string(),
            bytes(row.connection_bytes),
            interval(row.connection_low_bytes, row.connection_high_bytes),
            bytes(row.base_bytes),
            interval(row.base_low_bytes, row.base_high_bytes),
            row.bend.map_or_else(dash, units::percent),
        ]
    });
    Grid { names: 2, header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
}

/// What a plan answers, a sentence each: which variants do not fit as they run today, and which takes the fewest hosts.
pub fn plan_answer(capacity: &Capacity) -> Vec<String> {
    let mut sentences = Vec::new();
    for (workload, host) in sections(capacity) {
        let place = format!("{workload} on hosts of {}", describe_host(&host));
        sentences.push(format!("{place}: {}", answer_today(capacity, workload, &host)));
        sentences.push(format!("{place}: {}", answer_hosts(capacity, workload, &host)));
    }
    sentences.extend(capacity.connections.iter().map(answer_connection));
    sentences
}

fn answer_today(capacity: &Capacity, workload: &str, host: &Host) -> String {
    let rows = rows_of(capacity, workload, host);
    let measured = rows.clone().filter(|row| row.fits_today.is_some()).count();
    let over = rows.filter(|row| row.fits_today == Some(false)).enumerate().map(|(at, row)| {
        let (needed, has) = (row.today_bytes.unwrap_or(0), host.memory_bytes);
        let (bytes, of_host) = (units::bytes(needed as f64), units::bytes(has as f64));
        // Where both read alike the figure would seem to say that they fit.
        let bytes = match needed.saturating_sub(has) {
            more if bytes == of_host => format!("{} more than it has", units::bytes(more as f64)),
            _ => bytes,
        };
        format!("{} ({}{bytes})", row.variant, if at == 0 { "a host would need " } else { "" })
    });
    let over: Vec<String> = over.collect();
    let (today, one) = match host.processes {
        1 => ("the 1 process of today".to_owned(), true),
        count => (format!("the {} processes of today", whole(count)), false),
    };
    match over.len() {
        _ if measured == 0 => "no variant was measured.".to_owned(),
        0 if one => format!("{today} fits under every variant that was measured."),
        0 => format!("{today} fit under every variant that was measured."),
        _ if one => format!("{today} does not fit under {}.", over.join(", ")),
        _ => format!("{today} do not fit under {}.", over.join(", ")),
    }
}

fn answer_hosts(capacity: &Capacity, workload: &str, host: &Host) -> String {
    let rows = rows_of(capacity, workload, host);
    let complete = rows.clone().filter(|row| row.failed == 0);
    let Some(best) = complete.filter(|row| row.hosts.is_some()).min_by_key(|row| row.hosts) else {
        return "no variant of which every sample is ok fits once.".to_owned();
    };
    let takes = format!("{} for {} processes", count_hosts(best.hosts.unwrap_or(0)), whole(best.fleet));
    let base = capacity.baseline.as_deref().and_then(|name| rows.clone().find(|row| row.variant == name));
    let Some(base) = base else {
        return format!(
            "{} takes the fewest, {takes}; there is no baseline to compare it with.",
            best.variant
        );
    };
    let few = rows.filter(|row| row.n > 0).map(|row| row.n).min().filter(|n| *n < MIN_BLOCKS as u64);
    if let Some(few) = few {
        return format!(
            "{} takes the fewest, {takes}, but there are too few blocks for a verdict ({few}, and it takes {MIN_BLOCKS}).",
            best.variant,
        );
    }
    if best.hosts == base.hosts {
        return format!("no variant takes fewer than {}, {takes}.", base.variant);
    }
    match (base.hosts, best.saving) {
        (None, _) => {
            format!("{} takes the fewest, {takes}; {} does not fit once.", best.variant, base.variant)
        }
        (Some(hosts), Some(saving)) => format!(
            "{} takes the fewest, {takes} where {} takes {}: {} saved.",
            best.variant,
            base.variant,
            whole(hosts),
            units::percent(saving),
        ),
        (Some(hosts), None) => format!(
            "{} takes the fewest, {takes} where {} takes {}, but no difference in memory was shown between them.",
            best.variant,
            base.variant,
            whole(hosts)
        ),
    }
}

fn answer_connection(row: &ConnectionRow) -> String {
    let name = format!("{}, {}", row.model, row.variant);
    let Some(bytes) = row.connection_bytes else {
        return format!(
            "{name}: measured at {} connections alone, and a line takes two loads: heaplab run MODEL --connections N,N,...",
            list(&row.connections, ", "),
        );
    };
    let interval = match row.connection_low_bytes.zip(row.connection_high_bytes) {
        Some((low, high)) => format!(
            " ({} to {}, {})",
            units::bytes(low),
            units::bytes(high),
            units::percent(row.coverage.unwrap_or(0.0))
        ),
        None => format!(" (too few samples for an interval: it takes {MIN_BLOCKS} of each load)"),
    };
    let bend = row.bend.map_or_else(String::new, |bend| match row.connections.len() {
        2 => "; two loads always lie on a line, and a third would show whether it is one".to_owned(),
        _ if bend > MOST_BEND => format!(
            "; a load is {} off the line, so no line describes them: plan with the loads themselves",
            units::percent(bend)
        ),
        _ => format!("; the loads lie within {} of the line", units::percent(bend)),
    });
    format!("{name}: each connection takes {}{interval}{bend}.", units::bytes(bytes))
}

fn count_hosts(count: u64) -> String {
    if count == 1 { "1 host".to_owned() } else { format!("{} hosts", whole(count)) }
}

/// A whole number with its thousands apart: `12,345`.
pub(in crate::report) fn whole(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(in crate::report) fn list(numbers: &[u32], separator: &str) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<String>>().join(separator)
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(whole), ["0", "999", "1,000", "1,234,567"]);
    }
}
