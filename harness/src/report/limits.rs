//! The smallest memory limits as a table, CSV or JSON: what `heaplab limit` prints.

use std::io::{self, Write};

use super::grid::{Grid, Style};
use super::table::Format;
use super::units;
use crate::session::LimitRow;

/// Prints the limits of every variant in the requested form.
///
/// # Errors
///
/// The error of a failed write.
pub fn print_limits(rows: &[LimitRow], format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => {
            grid(rows).print(out, Style::of_stdout())?;
            writeln!(out)?;
            sentences(rows).iter().try_for_each(|sentence| writeln!(out, "{sentence}"))
        }
        Format::Markdown => writeln!(out, "{}", grid(rows).markdown()),
        Format::Csv => {
            let mut writer = csv::Writer::from_writer(out);
            rows.iter().try_for_each(|row| writer.serialize(row))?;
            writer.flush()
        }
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, rows)?;
            writeln!(out)
        }
    }
}

fn grid(rows: &[LimitRow]) -> Grid {
    let slowed = rows.iter().any(|row| row.slowdown.is_some());
    let mut header = vec!["variant", "without a limit", "smallest limit", "fails at", "samples", "trials"];
    if slowed {
        header.extend(["not slowed", "slowed at"]);
    }
    let bytes = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| units::bytes(value as f64));
    let cells = |row: &LimitRow| {
        let mut cells = vec![
            row.variant.clone(),
            bytes(row.free_peak_bytes),
            bytes(row.limit_bytes),
            bytes(row.failed_bytes),
            row.n.to_string(),
            row.trials.to_string(),
        ];
        if slowed {
            cells.extend([bytes(row.slowed_limit_bytes), bytes(row.slowed_failed_bytes)]);
        }
        cells
    };
    let header = header.into_iter().map(str::to_owned).collect();
    Grid { names: 1, header, rows: rows.iter().map(cells).collect() }
}

fn sentences(rows: &[LimitRow]) -> Vec<String> {
    let faults = rows.iter().filter_map(|row| Some(format!("{}: {}", row.variant, row.fault.as_ref()?)));
    let mut sentences: Vec<String> = faults.collect();
    if let Some(row) = rows.iter().find(|row| row.limit_bytes.is_some()) {
        sentences.push(format!(
            "Each of {} finished under the smallest limit, and one did not under the other: the limit lies between the two. It is \
             what these samples need, not what a pod should have: `heaplab plan --pods` adds what others need.",
            if row.n == 1 { "1 sample".to_owned() } else { format!("{} samples", row.n) }
        ));
    }
    if rows.iter().any(|row| row.limit_bytes.is_some() && row.is_replay) {
        sentences.push(
            "It is the limit of the heap, which a replay has alone: a process needs more by what it has beside its heap. Where it \
             was recorded, that is its predicted peak less the replay's, which `heaplab run` shows."
                .to_owned(),
        );
    }
    if rows.iter().any(|row| row.may_swap) {
        sentences.push(
            "This machine swaps, and its control groups do not limit that: without swap, more memory is needed."
                .to_owned(),
        );
    }
    if let Some(slowdown) = rows.iter().find_map(|row| row.slowdown) {
        sentences.push(format!(
            "Not slowed: the median of the samples takes no more than {} longer than without a limit.",
            units::percent(slowdown)
        ));
    }
    sentences
}
