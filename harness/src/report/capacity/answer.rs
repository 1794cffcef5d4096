//! What a plan answers, in sentences.

use super::super::units::{self, list, whole};
use super::tables::{describe_host, rows_of, sections};
use crate::capacity::{Capacity, ConnectionRow, Host};
use crate::stats::MIN_BLOCKS;

/// How far a load may be from the line that is said to describe it.
const MOST_BEND: f64 = 0.1;

/// What a plan answers, a sentence each: which variants do not fit as they run today, and which takes the fewest hosts.
pub fn plan_answer(capacity: &Capacity) -> Vec<String> {
    let mut sentences = Vec::new();
    for (workload, host) in sections(capacity) {
        let place = format!("{workload} on hosts of {}", describe_host(&host));
        let today = answer_today(capacity, workload, &host);
        sentences.push(format!("{place}: {today} {}", capitalize(&answer_hosts(capacity, workload, &host))));
    }
    sentences.extend(capacity.connections.iter().map(answer_connection));
    sentences
}

/// The start of a sentence. A variant's name is no word, and stays as it is.
fn capitalize(sentence: &str) -> String {
    match sentence.strip_prefix("no variant") {
        Some(rest) => format!("No variant{rest}"),
        None => sentence.to_owned(),
    }
}

fn answer_today(capacity: &Capacity, workload: &str, host: &Host) -> String {
    let rows = rows_of(capacity, workload, host);
    let measured = rows.clone().filter(|row| row.fits_today.is_some()).count();
    let over = rows.filter(|row| row.fits_today == Some(false)).enumerate().map(|(at, row)| {
        let first = if at == 0 { "a host would need " } else { "" };
        if row.fits_memory.is_some_and(|fits| fits >= host.processes) {
            let used = row.cpus_used.unwrap_or(0.0) * host.processes as f64;
            let free = 1.0 - capacity.request.cpu_headroom;
            return format!("{} ({first}{:.0} CPUs)", row.variant, (used / free).ceil());
        }
        let (needed, has) = (row.today_bytes.unwrap_or(0), host.memory_bytes);
        let (bytes, of_host) = (units::bytes(needed as f64), units::bytes(has as f64));
        // Where both read alike the figure would seem to say that they fit.
        let bytes = match needed.saturating_sub(has) {
            more if bytes == of_host => format!("{} more than it has", units::bytes(more as f64)),
            _ => bytes,
        };
        format!("{} ({first}{bytes})", row.variant)
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
