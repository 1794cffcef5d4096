//! A plan as tables: one for each workload and type of host, and one of connections.

use super::super::grid::Grid;
use super::super::table::{Columns, select};
use super::super::units::{self, list, whole};
use crate::capacity::{Basis, Capacity, ConnectionRow, Host, HostRow, LoadRow, LoadSource};
use crate::stats::Verdict;

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

/// A type of host with what it should hold:
/// `16.0 GiB, 8 CPUs, 10 processes each today, 1,000 in all`.
pub(in crate::report) fn describe_place(capacity: &Capacity, host: &Host) -> String {
    let mut place = describe_host(host);
    place += &match host.processes {
        None => String::new(),
        Some(1) => ", 1 process each today".to_owned(),
        Some(count) => format!(", {} processes each today", whole(count)),
    };
    let rows = sections(capacity).into_iter().filter(|(_, of)| of == host);
    let fleet =
        rows.flat_map(|(workload, host)| rows_of(capacity, workload, &host).find_map(|row| row.fleet));
    match fleet.max() {
        None => place,
        Some(fleet) if host.processes.is_some() => format!("{place}, {} in all", whole(fleet)),
        Some(fleet) => format!("{place}, for {} processes", whole(fleet)),
    }
}

pub(in crate::report) fn host_grid(
    capacity: &Capacity,
    workload: &str,
    host: &Host,
    columns: Columns,
) -> Grid {
    let header = [
        ("variant", true),
        ("samples", false),
        ("memory of", false),
        ("process", true),
        ("interval", false),
        ("vs baseline", true),
        ("planned with", false),
        ("fit", true),
        ("bound by", true),
        ("today", true),
        ("hosts", true),
        ("saving", true),
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
            row.bound().map_or_else(dash, str::to_owned),
            describe_today(row),
            number(row.hosts),
            describe_saving(capacity, row),
        ]
    });
    select(&header, rows.collect(), columns)
}

/// Whose memory a line is about.
fn describe_basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Heap => "heap, replayed",
        Basis::Predicted => "process, predicted",
        Basis::Tree => "tree, predicted",
        Basis::Program => "process, measured",
    }
}

fn describe_ratio(capacity: &Capacity, row: &HostRow) -> String {
    if capacity.baseline.as_deref() == Some(&row.variant) {
        return "baseline".to_owned();
    }
    let known = row.ratio.zip(row.verdict);
    known.map_or_else(dash, |(ratio, verdict)| match verdict {
        Verdict::Smaller | Verdict::Larger => units::difference(ratio, ["less", "more"]),
        Verdict::NoDifference => "no difference".to_owned(),
        other => other.as_str().to_owned(),
    })
}

fn describe_today(row: &HostRow) -> String {
    row.fits_today.zip(row.processes_today).map_or_else(dash, |(fits, processes)| {
        let fit = match (processes, fits) {
            (1, true) => "fits",
            (1, false) => "does not fit",
            (_, true) => "fit",
            (_, false) => "do not fit",
        };
        format!("{} {fit}", whole(processes))
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

pub(in crate::report) fn connection_grid(rows: &[ConnectionRow], unit: Option<&str>) -> Grid {
    let header = [
        "variant",
        "model",
        unit.unwrap_or("connections"),
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

pub(in crate::report) fn load_grid(rows: &[LoadRow]) -> Grid {
    let header = ["variant", "model", "load", "process", "interval", "samples", "from"];
    let rows = rows.iter().map(|row| {
        vec![
            row.variant.clone(),
            row.model.clone(),
            row.load.to_string(),
            row.process_bytes.map_or_else(dash, units::bytes),
            row.process_low_bytes
                .zip(row.process_high_bytes)
                .map_or_else(dash, |(low, high)| format!("{} to {}", units::bytes(low), units::bytes(high))),
            row.n.to_string(),
            match row.source {
                LoadSource::Measured => "measured",
                LoadSource::Interpolated => "the line",
                LoadSource::Extrapolated => "EXTRAPOLATED",
            }
            .to_owned(),
        ]
    });
    Grid { names: 2, header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
}

fn dash() -> String {
    "-".to_owned()
}
