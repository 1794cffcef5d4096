//! A comparison as a table, as CSV, as JSON or as markdown.

use std::io::{self, Write};

use serde::Serialize;

use super::metric::{show, words};
use super::runs::name_of_side;
use super::{Better, RunComparison, RunRow, VariantComparison, VariantRow, better};
use crate::report::{
    Format, Grid, MOST_SIZE_ROWS, SizeDifference, Style, describe_classes, size_grid, units,
};
use crate::results::columns;

/// Prints the variants of a run, compared.
pub fn print_variants(comparison: &VariantComparison, format: Format, out: &mut dyn Write) -> io::Result<()> {
    let header =
        ["variant", "workload", "metric", "samples", "median", "interval", "vs baseline", "interval", "rank"];
    let rows = comparison.rows.iter().map(|row| variant_cells(row, &comparison.unranked));
    print(&header, rows.collect(), columns::<VariantRow>(), &comparison.rows, format, out)
}

/// Prints two runs, compared.
pub fn print_runs(comparison: &RunComparison, format: Format, out: &mut dyn Write) -> io::Result<()> {
    let header = ["variant", "workload", "metric", "samples", "old", "new", "new/old", "interval", "verdict"];
    print(
        &header,
        comparison.rows.iter().map(|row| run_cells(row, &comparison.unjudged)).collect(),
        columns::<RunRow>(),
        &comparison.rows,
        format,
        out,
    )
}

/// Prints every size class that was compared.
pub fn print_sizes(differences: &[SizeDifference], format: Format, out: &mut dyn Write) -> io::Result<()> {
    print_grid(&size_grid(differences.iter()), columns::<SizeDifference>(), differences, format, out)
}

/// Prints, below a table of figures, how many size classes of each workload differ, and the ones that differ the most
/// at the peak.
pub fn print_size_summary(differences: &[SizeDifference], what: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut rest = differences;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|row| row.workload == first.workload).count();
        let (of_workload, others) = rest.split_at(count);
        rest = others;
        let all: Vec<&SizeDifference> = of_workload.iter().filter(|row| row.is_judged()).collect();
        if all.is_empty() {
            continue;
        }
        writeln!(out, "\n{}: {}", first.workload, describe_classes(&all, what))?;
        let shown: Vec<&SizeDifference> = all.into_iter().filter(|row| row.is_shown()).collect();
        let grid = size_grid(shown.iter().copied().take(MOST_SIZE_ROWS));
        if !grid.rows.is_empty() {
            grid.print(out, Style::of_stdout())?;
        }
        if shown.len() > MOST_SIZE_ROWS {
            writeln!(out, "and {} more: --by-size", shown.len() - MOST_SIZE_ROWS)?;
        }
    }
    Ok(())
}

fn print<R: Serialize>(
    header: &[&str],
    cells: Vec<Vec<String>>,
    columns: &[&str],
    rows: &[R],
    format: Format,
    out: &mut dyn Write,
) -> io::Result<()> {
    let header: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    match format {
        Format::Table if Style::of_stdout().ruled => print_by_metric(&header, &cells, out),
        _ => print_grid(&Grid { names: 3, header, rows: cells }, columns, rows, format, out),
    }
}

/// Prints rows for a terminal: a table of each workload and metric, whose names stand above it and not in each row.
fn print_by_metric(header: &[String], cells: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let without = |row: &[String]| [&row[..1], &row[3..]].concat();
    for (at, rows) in cells.chunk_by(|one, other| one[1..3] == other[1..3]).enumerate() {
        let space = if at == 0 { "" } else { "\n" };
        writeln!(out, "{space}{}, {}", rows[0][1], rows[0][2])?;
        let rows = rows.iter().map(|row| without(row)).collect();
        Grid { names: 1, header: without(header), rows }.print(out, Style::of_stdout())?;
    }
    Ok(())
}

fn print_grid<R: Serialize>(
    grid: &Grid,
    columns: &[&str],
    rows: &[R],
    format: Format,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Table => grid.print(out, Style::of_stdout()),
        Format::Markdown => out.write_all(grid.markdown().as_bytes()),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, rows)?;
            writeln!(out)
        }
        Format::Csv => {
            let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(out);
            writer.write_record(columns)?;
            rows.iter().try_for_each(|row| writer.serialize(row))?;
            writer.flush()
        }
    }
}

/// A metric's name with the direction that is better.
fn name_metric(metric: &str) -> String {
    match better(metric) {
        Better::Lower => format!("{metric} (lower is better)"),
        Better::Higher => format!("{metric} (higher is better)"),
        Better::Neither => metric.to_owned(),
    }
}

fn variant_cells(row: &VariantRow, unranked: &[String]) -> Vec<String> {
    let show = |value: f64| show(&row.metric, value);
    let is_base = row.baseline.as_ref() == Some(&row.variant);
    let is_unranked = unranked.contains(&row.variant);
    let against = match row.verdict.map(|verdict| (row.ratio, verdict)) {
        _ if is_base => "baseline".to_owned(),
        None => "-".to_owned(),
        Some((Some(ratio), _)) if is_unranked => units::ratio(ratio),
        Some((Some(ratio), verdict)) => format!("{} {}", units::ratio(ratio), words(&row.metric, verdict)),
        // The harness's share hides the rest: there is a verdict and no ratio.
        Some((None, verdict)) => words(&row.metric, verdict).to_owned(),
    };
    let rank = if is_unranked { "not ranked" } else { row.rank.unwrap_or("-") };
    // Over several workloads, a value would mix bytes of different programs: only the ratio says something.
    let of_one = |value: Option<f64>| value.filter(|_| row.workloads == 1);
    vec![
        row.variant.clone(),
        row.name(),
        name_metric(&row.metric),
        samples(row.n, row.failed, row.outliers),
        cell(of_one(row.median), show),
        interval(of_one(row.low), row.high, show),
        against,
        interval(row.ratio_low, row.ratio_high, units::ratio),
        rank.to_owned(),
    ]
}

fn run_cells(row: &RunRow, unjudged: &[String]) -> Vec<String> {
    let show = |value: f64| match &row.baseline {
        Some(_) => units::ratio(value),
        None => show(&row.metric, value),
    };
    let metric = name_metric(&row.metric);
    let of_one = |value: Option<f64>| value.filter(|_| row.workloads == 1);
    let verdict = match (row.missing, row.verdict) {
        (Some(side), _) => format!("missing in {}", name_of_side(side)),
        (None, Some(_)) if unjudged.contains(&row.variant) => "not judged".to_owned(),
        (None, Some(verdict)) => words(&row.metric, verdict).to_owned(),
        (None, None) => "no ratio of 0".to_owned(),
    };
    vec![
        row.variant.clone(),
        row.name(),
        match &row.baseline {
            Some(baseline) => format!("{metric}, over {baseline}'s"),
            None => metric,
        },
        format!("{} and {}", samples(row.old_n, row.old_failed, 0), samples(row.new_n, row.new_failed, 0)),
        cell(of_one(row.old_median), show),
        cell(of_one(row.new_median), show),
        cell(row.ratio, units::ratio),
        interval(row.ratio_low, row.ratio_high, units::ratio),
        verdict,
    ]
}

/// Samples that count, with what readers should know about the others: `9 of 10`, `10, 1 outlier`.
fn samples(n: u64, failed: u64, outliers: u64) -> String {
    let count = if failed == 0 { format!("{n}") } else { format!("{n} of {}", n + failed) };
    match outliers {
        0 => count,
        1 => format!("{count}, 1 outlier"),
        several => format!("{count}, {several} outliers"),
    }
}

fn cell(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

fn interval(low: Option<f64>, high: Option<f64>, show: impl Fn(f64) -> String) -> String {
    match low.zip(high) {
        None => "-".to_owned(),
        Some((low, high)) => format!("{} to {}", show(low), show(high)),
    }
}
