//! What a run consists of, as tables: its variants, its workloads, and the machine.

use super::analysis::Analysis;
use super::grid::Grid;
use super::units;

fn header(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn known(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

pub(super) fn variants(analysis: &Analysis<'_>) -> Grid {
    let rows = analysis.run.file.variants.iter().map(|variant| {
        let version = variant.version.clone().or_else(|| measured_version(analysis, &variant.label));
        vec![
            variant.label.clone(),
            known(version),
            variant.settings.join(" "),
            known(variant.library_path.clone()),
            known(variant.library_hash.clone()),
        ]
    });
    let names = ["variant", "version", "settings", "library", "SHA-256"];
    Grid { names: 5, header: header(&names), rows: rows.collect() }
}

pub(super) fn workloads(analysis: &Analysis<'_>) -> Grid {
    let count = |value: Option<u64>| known(value.map(|value| value.to_string()));
    let rows = analysis.run.file.workloads.iter().map(|workload| {
        let times = if workload.has_times { "real" } else { "none: the event's index is used instead" };
        vec![
            workload.name.clone(),
            workload.source.clone(),
            count(workload.events),
            count(workload.threads),
            known(workload.requested_peak_bytes.map(|peak| units::bytes(peak as f64))),
            times.to_owned(),
            known(workload.trace_hash.clone()),
        ]
    });
    let names =
        ["workload", "source", "events", "threads", "requested peak", "times", "SHA-256 of the trace"];
    Grid { names: 2, header: header(&names), rows: rows.collect() }
}

pub(super) fn machine(analysis: &Analysis<'_>) -> Grid {
    let rows = analysis.run.file.machine.iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        vec![name.clone(), value]
    });
    Grid { names: 2, header: header(&["property", "found"]), rows: rows.collect() }
}

/// The version that samples state, if run.toml does not.
fn measured_version(analysis: &Analysis<'_>, variant: &str) -> Option<String> {
    let mut samples = analysis.run.samples.iter().filter(|sample| sample.variant == variant);
    samples.find_map(|sample| sample.allocator_version.clone())
}
