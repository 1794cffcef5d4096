//! What a plan answers, in sentences.

use super::super::units::{self, list, whole};
use super::pods::{answer_pods, describe_left_out};
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
            return format!(
                "{} ({first}{})",
                row.variant,
                units::counted((used / free).ceil() as u64, "CPU")
            );
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

/// Which variants take the fewest hosts, of those whose samples are all ok, and what that saves.
fn answer_hosts(capacity: &Capacity, workload: &str, host: &Host) -> String {
    let rows: Vec<&HostRow> = rows_of(capacity, workload, host).collect();
    let complete =
        || rows.iter().copied().filter(|row| row.failed == 0 && row.fits.is_some_and(|fits| fits > 0));
    let failed: Vec<&str> = rows.iter().filter(|row| row.failed > 0).map(|row| &*row.variant).collect();
    let Some(best) = complete().max_by_key(|row| (row.fits, std::cmp::Reverse(row.hosts))) else {
        return match rows.iter().any(|row| row.failed == 0 && row.fits.is_none()) {
            true if capacity.request.odds.is_some() => {
                "Odds take at least 3 samples that are ok: measure more, or plan without --odds.".to_owned()
            }
            _ => "Not one process fits under a variant whose samples are all ok.".to_owned(),
        };
    };
    let base = capacity.baseline.as_deref().and_then(|name| rows.iter().find(|row| row.variant == name));
    let few = rows.iter().filter(|row| row.n > 0).map(|row| row.n).min().filter(|n| *n < MIN_BLOCKS as u64);
    let alike: Vec<&HostRow> = match best.hosts {
        Some(hosts) => complete().filter(|row| row.hosts == Some(hosts)).collect(),
        None => complete().filter(|row| row.fits == best.fits).collect(),
    };
    let compared = Compared { best, base: base.copied(), few, alike };
    let answer = if best.hosts.is_some() { compared.describe_hosts() } else { compared.describe_fits() };
    format!("{answer}{}{}", describe_left_out(&failed), describe_one_load(capacity, workload))
}

/// What odds of hosts do not include if every sample replayed the same load.
fn describe_one_load(capacity: &Capacity, workload: &str) -> &'static str {
    let is_of_one = capacity.needs.iter().any(|need| need.workload == workload && need.is_of_one_load);
    if is_of_one && capacity.request.odds.is_some() {
        " EVERY SAMPLE REPLAYED THE SAME LOAD, so the odds are only for days like it."
    } else {
        ""
    }
}

/// The variant with the fewest hosts, and what it is compared with.
struct Compared<'a> {
    best: &'a HostRow,
    /// The baseline, whether its samples are all ok or not.
    base: Option<&'a HostRow>,
    /// The fewest samples of a variant, where they are too few for a verdict.
    few: Option<u64>,
    /// All variants that are as good as the best, and that.
    alike: Vec<&'a HostRow>,
}

impl Compared<'_> {
    /// The best variants as the subject of a sentence, whose verb has one form for one and another for several.
    fn subject(&self, one: &str, several: &str) -> String {
        let names: Vec<&str> = self.alike.iter().map(|row| &*row.variant).collect();
        format!("{} {}", units::names(&names), if names.len() == 1 { one } else { several })
    }

    /// Why nothing can be said of a difference from the baseline.
    fn no_base(&self) -> Option<String> {
        match self.base {
            None => Some("there is no baseline to compare it with".to_owned()),
            Some(base) if base.failed > 0 => Some(format!(
                "there is nothing to compare it with, because samples of the baseline, {}, failed",
                base.variant
            )),
            Some(_) => None,
        }
    }

    /// Hosts for a fleet.
    fn describe_hosts(&self) -> String {
        let takes = self.subject("takes the fewest hosts", "take the fewest hosts");
        let hosts = whole(self.best.hosts.unwrap_or(0));
        if let Some(why) = self.no_base() {
            return format!("{takes} ({hosts}); {why}.");
        }
        if let Some(few) = self.few {
            return format!(
                "{takes} ({hosts}), but a verdict takes {MIN_BLOCKS} blocks, and there are {few}."
            );
        }
        let Some(base) = self.base else { return format!("{takes} ({hosts}).") };
        if self.best.hosts == base.hosts {
            return format!("No variant takes fewer hosts than {} ({hosts}).", base.variant);
        }
        let Some(of_base) = base.hosts else {
            return format!("{takes} ({hosts}); not one process fits under {}.", base.variant);
        };
        let instead = format!("{takes}: {hosts} instead of {} under {}", whole(of_base), base.variant);
        match self.best.saving {
            Some(saving) => format!("{instead}, which saves {}.", units::percent(saving)),
            None => format!("{instead}, but no difference was shown in what limits them."),
        }
    }

    /// Processes of one host, where there is no fleet to count hosts for.
    fn describe_fits(&self) -> String {
        if let Some(few) = self.few {
            return format!("A verdict takes {MIN_BLOCKS} blocks, and there are {few}.");
        }
        let holds = self.subject("holds the most processes", "hold the most processes");
        if let Some(why) = self.no_base() {
            return format!("{holds}; {why}.");
        }
        let Some(base) = self.base else { return format!("{holds}.") };
        if base.fits == self.best.fits {
            return format!("No variant holds more processes than {}.", base.variant);
        }
        match self.best.saving {
            Some(saving) => {
                let saving = units::percent(saving);
                format!(
                    "{holds}, and {} {saving} fewer hosts than {}.",
                    if self.alike.len() == 1 { "takes" } else { "take" },
                    base.variant
                )
            }
            None => {
                format!("{holds}, but no difference from {} was shown in what limits them.", base.variant)
            }
        }
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
            "{place}: no figure, because no line describes the loads, or it is below 0 there; measure at this load."
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
        None if row.is_one_recording => " (no interval: it rests on one recording of each load)".to_owned(),
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
