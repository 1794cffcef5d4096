//! What a plan answers, in sentences.

use super::super::units::{self, list, whole};
use super::pods::answer_pods;
use super::tables::{describe_place, rows_of, sections};
use crate::capacity::{Capacity, ConnectionRow, Host, HostRow, LoadRow, LoadSource};
use crate::stats::MIN_BLOCKS;

/// What a plan answers, one sentence each: which variants do not fit as they run today, and which takes the fewest
/// hosts. What several workloads have in common, their host, is said once before them.
pub fn plan_answer(capacity: &Capacity) -> Vec<String> {
    let mut sentences = Vec::new();
    for host in &capacity.request.hosts {
        let sections = sections(capacity);
        let workloads: Vec<&str> =
            sections.iter().filter(|(_, of)| of == host).map(|(workload, _)| *workload).collect();
        match &workloads[..] {
            [] => {}
            [only] => {
                let place = format!("{only} on hosts of {}", describe_place(capacity, host));
                sentences.push(format!("{place}: {}", answer_host(capacity, only, host)));
            }
            several => {
                sentences.push(format!("On hosts of {}:", describe_place(capacity, host)));
                sentences.extend(
                    several
                        .iter()
                        .map(|workload| format!("{workload}: {}", answer_host(capacity, workload, host))),
                );
            }
        }
    }
    sentences.extend(answer_pods(capacity));
    sentences.extend(answer_loads(capacity));
    sentences
}

/// Sentences about a workload on a type of host that was named before.
pub(super) fn answer_host(capacity: &Capacity, workload: &str, host: &Host) -> String {
    let today = match host.processes {
        Some(processes) => answer_today(capacity, workload, host, processes),
        None => answer_fits(capacity, workload, host),
    };
    format!("{today} {}", answer_hosts(capacity, workload, host))
}

/// Sentences about loads.
pub(super) fn answer_loads(capacity: &Capacity) -> Vec<String> {
    let unit = capacity.request.load_unit.as_deref();
    let lines = capacity.connections.iter().map(|row| answer_connection(row, unit));
    lines.chain(capacity.loads.iter().filter_map(|row| answer_load(row, unit))).collect()
}

/// How many fit, if it is not known how many run today.
fn answer_fits(capacity: &Capacity, workload: &str, host: &Host) -> String {
    let rows = rows_of(capacity, workload, host);
    let fits: Vec<String> =
        rows.filter_map(|row| Some(format!("{} under {}", whole(row.fits?), row.variant))).collect();
    match fits.len() {
        0 => "No variant was measured.".to_owned(),
        _ => format!("Processes that fit: {}.", fits.join(", ")),
    }
}

fn answer_today(capacity: &Capacity, workload: &str, host: &Host, processes: u64) -> String {
    let rows = rows_of(capacity, workload, host);
    let measured = rows.clone().filter(|row| row.fits_today.is_some()).count();
    let over = rows.filter(|row| row.fits_today == Some(false)).enumerate().map(|(at, row)| {
        let first = if at == 0 { "a host would need " } else { "" };
        if row.fits_memory.is_some_and(|fits| fits >= processes) {
            let used = row.cpus_planned.unwrap_or(0.0) * processes as f64;
            let free = 1.0 - capacity.request.cpu_headroom;
            return format!("{} ({first}{:.0} CPUs)", row.variant, (used / free).ceil());
        }
        let (needed, has) = (row.today_bytes.unwrap_or(0), host.memory_bytes);
        let (bytes, of_host) = (units::bytes(needed as f64), units::bytes(has as f64));
        // If both read the same, the sentence would seem to say that they fit.
        let bytes = match needed.saturating_sub(has) {
            more if bytes == of_host => format!("{} more than it has", units::bytes(more as f64)),
            _ => bytes,
        };
        format!("{} ({first}{bytes})", row.variant)
    });
    let over: Vec<String> = over.collect();
    match (processes, over.len()) {
        _ if measured == 0 => "No variant was measured.".to_owned(),
        (1, 0) => "Today's process fits under every variant measured.".to_owned(),
        (1, _) => format!("Today's process does not fit under {}.", over.join(", ")),
        (_, 0) => format!("Today's {} processes fit under every variant measured.", whole(processes)),
        _ => format!("Today's {} processes do not fit under {}.", whole(processes), over.join(", ")),
    }
}

fn answer_hosts(capacity: &Capacity, workload: &str, host: &Host) -> String {
    let rows = rows_of(capacity, workload, host);
    let complete = rows.clone().filter(|row| row.failed == 0);
    let Some(best) = complete
        .filter(|row| row.fits.is_some_and(|fits| fits > 0))
        .max_by_key(|row| (row.fits, std::cmp::Reverse(row.hosts)))
    else {
        return "Not one process fits under a variant whose samples are all ok.".to_owned();
    };
    let Some(hosts) = best.hosts.filter(|_| best.fleet.is_some()) else {
        return answer_most(capacity, rows, best);
    };
    let base = capacity.baseline.as_deref().and_then(|name| rows.clone().find(|row| row.variant == name));
    let Some(base) = base else {
        return format!(
            "{} takes the fewest hosts ({}); there is no baseline to compare it with.",
            best.variant,
            whole(hosts)
        );
    };
    let few = rows.filter(|row| row.n > 0).map(|row| row.n).min().filter(|n| *n < MIN_BLOCKS as u64);
    if let Some(few) = few {
        return format!(
            "{} takes the fewest hosts ({}), but a verdict takes {MIN_BLOCKS} blocks, and there are {few}.",
            best.variant,
            whole(hosts),
        );
    }
    if best.hosts == base.hosts {
        return format!("No variant takes fewer hosts than {} ({}).", base.variant, whole(hosts));
    }
    match (base.hosts, best.saving) {
        (None, _) => {
            format!(
                "{} takes the fewest hosts ({}); not one process fits under {}.",
                best.variant,
                whole(hosts),
                base.variant
            )
        }
        (Some(of_base), Some(saving)) => format!(
            "{} takes the fewest hosts: {} instead of {} under {}, which saves {}.",
            best.variant,
            whole(hosts),
            whole(of_base),
            base.variant,
            units::percent(saving),
        ),
        (Some(of_base), None) => format!(
            "{} takes the fewest hosts: {} instead of {} under {}, but no difference in memory was shown between them.",
            best.variant,
            whole(hosts),
            whole(of_base),
            base.variant
        ),
    }
}

/// Which variant fits most often on a host, where there is no fleet to count hosts for.
fn answer_most<'a>(
    capacity: &Capacity,
    rows: impl Iterator<Item = &'a HostRow> + Clone,
    best: &HostRow,
) -> String {
    let base = capacity.baseline.as_deref().and_then(|name| rows.clone().find(|row| row.variant == name));
    let few = rows.filter(|row| row.n > 0).map(|row| row.n).min().filter(|n| *n < MIN_BLOCKS as u64);
    match (base, few) {
        (_, Some(few)) => {
            format!("A verdict takes {MIN_BLOCKS} blocks, and there are {few}.")
        }
        (None, None) => {
            format!("{} holds the most processes; there is no baseline to compare it with.", best.variant)
        }
        (Some(base), None) if base.fits == best.fits => {
            format!("No variant holds more processes than {}.", base.variant)
        }
        (Some(base), None) => match best.saving {
            Some(saving) => format!(
                "{} holds the most processes, and takes {} fewer hosts than {}.",
                best.variant,
                units::percent(saving),
                base.variant
            ),
            None => format!(
                "{} holds the most processes, but no difference in memory was shown between it and {}.",
                best.variant, base.variant
            ),
        },
    }
}

/// Loads with their unit, which a user may have named in the singular or the plural.
fn at_loads(loads: &str, unit: Option<&str>) -> String {
    match unit {
        None => format!("{loads} connections"),
        Some(unit) => format!("{loads} ({unit})"),
    }
}

/// A load that was asked for; measured loads are in the table.
fn answer_load(row: &LoadRow, unit: Option<&str>) -> Option<String> {
    let place = format!("{}, {} at {}", row.model, row.variant, at_loads(&row.load.to_string(), unit));
    let how = match row.source {
        LoadSource::Measured => return None,
        LoadSource::Interpolated => "by the line through the loads",
        LoadSource::Extrapolated => {
            "extrapolated: this assumes that the line continues beyond the loads that were measured"
        }
    };
    let Some(bytes) = row.process_bytes else {
        return Some(format!(
            "{place}: no figure, because no line describes the loads; measure at this load."
        ));
    };
    let range = row.process_low_bytes.zip(row.process_high_bytes).map_or_else(String::new, |(low, high)| {
        format!(" ({} to {})", units::bytes(low), units::bytes(high))
    });
    Some(format!("{place}: {}{range}, {how}.", units::bytes(bytes)))
}

fn answer_connection(row: &ConnectionRow, unit: Option<&str>) -> String {
    let name = format!("{}, {}", row.model, row.variant);
    let Some(bytes) = row.connection_bytes else {
        return match row.bend {
            Some(bend) => format!(
                "{name}: no line describes the loads: one of them lies {} off the best line. Plan with the loads themselves.",
                units::percent(bend)
            ),
            None => format!(
                "{name}: measured only at {}, and a line takes two loads: {}.",
                at_loads(&list(&row.connections, ", "), unit),
                match unit {
                    None =>
                        "use heaplab run MODEL --connections N,N,..., or name more directories with --load",
                    Some(_) => "name more directories with --load",
                },
            ),
        };
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
        2 => "; two loads always lie on a line, so a third is needed to show whether memory follows it"
            .to_owned(),
        _ => format!("; the loads lie within {} of the line", units::percent(bend)),
    });
    let each =
        unit.map_or_else(|| "each connection".to_owned(), |unit| format!("each unit of load ({unit})"));
    format!("{name}: {each} takes {}{interval}{bend}.", units::bytes(bytes))
}
