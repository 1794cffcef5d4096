//! The table of a run: speed and memory of each variant, side by side and never as one score.

use std::io::{self, Write};

use super::analysis::Analysis;
use super::grid::{Grid, Style};
use super::setup::{describe_allocators, describe_machine};
use super::summary::SummaryRow;
use super::units;
use crate::results::metrics::{
    BUSY_SYSTEM_PER_EVENT, HARNESS_PER_EVENT, PROGRAM_CPU, PROGRAM_END, PROGRAM_MEAN, PROGRAM_PEAK,
    PROGRAM_WALL, RESIDENT_END, RESIDENT_MEAN, RESIDENT_PEAK, RESIDENT_SETTLED, WALL_PER_EVENT,
};
use crate::results::{Pass, SampleKey, columns};
use crate::stats::Verdict;

/// In which form the summary is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people: framed on a terminal, else one row a line.
    #[default]
    Table,
    /// Every row of summary.csv as an array of objects.
    Json,
    /// summary.csv itself.
    Csv,
    /// The table as markdown.
    Markdown,
}

/// Prints the table of each workload.
pub fn print_table(analysis: &Analysis<'_>, out: &mut dyn Write, style: Style) -> io::Result<()> {
    if style.framed {
        for workload in &analysis.workloads {
            writeln!(out, "{workload}")?;
            workload_grid(analysis, workload).print(out, style)?;
        }
        return Ok(());
    }
    // One table of all workloads: a line says by itself what it is about.
    let mut all = Grid::default();
    for workload in &analysis.workloads {
        let grid = workload_grid(analysis, workload);
        all.names = grid.names + 1;
        all.header = grid.header;
        all.header.insert(1, "workload".to_owned());
        all.rows.extend(grid.rows.into_iter().map(|mut row| {
            row.insert(1, workload.clone());
            row
        }));
    }
    all.print(out, style)
}

/// Prints the summary in the form that was asked for.
pub fn print_summary(analysis: &Analysis<'_>, format: Format, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Table => print_table(analysis, out, Style::of_stdout()),
        Format::Markdown => analysis
            .workloads
            .iter()
            .try_for_each(|workload| {
                writeln!(out, "### {}\n", super::grid::escape_markdown(workload))?;
                writeln!(out, "{}", workload_grid(analysis, workload).markdown())
            })
            .and_then(|()| writeln!(out, "{} {}", describe_allocators(analysis), describe_machine(analysis))),
        Format::Csv => out.write_all(&summary_csv(analysis)?),
        Format::Json => {
            serde_json::to_writer_pretty(&mut *out, &analysis.summary)?;
            writeln!(out)
        }
    }
}

/// The content of summary.csv.
pub(super) fn summary_csv(analysis: &Analysis<'_>) -> io::Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(columns::<SummaryRow>())?;
    for row in &analysis.summary {
        writer.serialize(row)?;
    }
    writer.into_inner().map_err(|error| error.into_error())
}

/// How the table of a workload is read: what its columns are, and which way is better.
const TABLE_NOTE: &str = "Lower is better in every column. samples: of the pass that \
    the figures behind them are of. {speed} peak, mean, end: resident memory over trace time and after the last event. settled: resident, an idle \
    minute after everything was freed. Values are medians over blocks, each with its interval.";

/// How the table of a workload is read.
pub(super) fn describe_table(analysis: &Analysis<'_>) -> String {
    let net = "its ratio to the baseline is that of both less the harness's share";
    let speed = match (analysis.speed.is_busy(), analysis.speed.is_net()) {
        (false, _) => "time/event: elapsed time of the replay over its events.".to_owned(),
        (true, is_net) => format!(
            "busy/event: CPU time in the allocator's calls and first touches over events, waiting excluded{}. \
             kernel: the kernel's part of it. harness: the replay's own part of it, at most, which is what floor takes outside of \
             the kernel. wall/event: elapsed time of the replay over its events. cold: samples during which the host \
             backed memory.",
            if is_net { format!("; {net}") } else { String::new() }
        ),
    };
    TABLE_NOTE.replace("{speed}", &speed)
}

/// The headline figures of one workload, a row a variant; `floor` stands last and is not ranked.
pub(super) fn workload_grid(analysis: &Analysis<'_>, workload: &str) -> Grid {
    if analysis.ok_samples(workload, Pass::Exec).next().is_some() {
        return program_grid(analysis, workload);
    }
    let of_speed = analysis.speed;
    let causes: &[(&str, &str)] = match of_speed.is_busy() {
        true => &[
            ("kernel", BUSY_SYSTEM_PER_EVENT),
            ("harness", HARNESS_PER_EVENT),
            ("wall/event", WALL_PER_EVENT),
        ],
        false => &[],
    };
    let speed = ["samples", of_speed.name, "interval", "vs baseline"].into_iter();
    let speed = speed.chain(causes.iter().map(|(name, _)| *name));
    let memory = ["samples", "peak", "interval", "vs baseline", "mean", "end", "settled"];
    let header = ["variant"].into_iter().chain(speed).chain(memory).map(str::to_owned).collect();
    let (floors, ranked): (Vec<&String>, Vec<&String>) =
        analysis.variants.iter().partition(|variant| analysis.is_floor(variant));
    let rows = ranked.into_iter().chain(floors).map(|variant| {
        let row = |metric| analysis.row(workload, variant, metric);
        let bytes = |metric| cell(row(metric).and_then(|row| row.median), units::bytes);
        let is_floor = analysis.is_floor(variant);
        let against = |row: Option<&SummaryRow>, words: fn(Verdict) -> &'static str| match is_floor {
            true if row.is_none() => "-".to_owned(),
            true => "not ranked".to_owned(),
            false => describe_ratio(analysis, variant, row, words),
        };
        let (speed, peak) = (row(of_speed.time), row(RESIDENT_PEAK));
        let mut cells = vec![
            variant.clone(),
            count_timed(analysis, workload, variant),
            cell(speed.and_then(|row| row.median), units::nanoseconds),
            interval(speed, units::nanoseconds),
            against(if is_floor { speed } else { row(of_speed.compared) }, Verdict::of_time),
        ];
        cells.extend(
            causes.iter().map(|(_, metric)| cell(row(metric).and_then(|row| row.median), units::nanoseconds)),
        );
        cells.extend([
            count_samples(analysis, workload, variant, Pass::Memory),
            cell(peak.and_then(|row| row.median), units::bytes),
            interval(peak, units::bytes),
            against(peak, Verdict::as_str),
            bytes(RESIDENT_MEAN),
            bytes(RESIDENT_END),
            bytes(RESIDENT_SETTLED),
        ]);
        cells
    });
    Grid { names: 1, header, rows: rows.collect() }
}

/// Samples of the throughput pass, with those on memory that the host had not backed.
fn count_timed(analysis: &Analysis<'_>, workload: &str, variant: &str) -> String {
    let counted = count_samples(analysis, workload, variant, Pass::Throughput);
    let samples = analysis.ok_samples(workload, Pass::Throughput);
    let cold = samples.filter(|(_, sample)| sample.variant == variant && sample.cold_memory == Some(true));
    match cold.count() {
        0 => counted,
        cold => format!("{counted}, {cold} cold"),
    }
}

/// The figures of a real program, a row a variant.
fn program_grid(analysis: &Analysis<'_>, workload: &str) -> Grid {
    let header =
        ["variant", "samples", "CPU time", "interval", "vs baseline", "peak", "interval", "vs baseline"];
    let header = header.into_iter().chain(["mean", "end", "wall"]).map(str::to_owned).collect();
    let rows = analysis.variants.iter().map(|variant| {
        let row = |metric| analysis.row(workload, variant, metric);
        let median = |metric, show: fn(f64) -> String| cell(row(metric).and_then(|row| row.median), show);
        let (cpu, peak) = (row(PROGRAM_CPU), row(PROGRAM_PEAK));
        vec![
            variant.clone(),
            count_samples(analysis, workload, variant, Pass::Exec),
            median(PROGRAM_CPU, units::nanoseconds),
            interval(cpu, units::nanoseconds),
            describe_ratio(analysis, variant, cpu, Verdict::as_str),
            median(PROGRAM_PEAK, units::bytes),
            interval(peak, units::bytes),
            describe_ratio(analysis, variant, peak, Verdict::as_str),
            median(PROGRAM_MEAN, units::bytes),
            median(PROGRAM_END, units::bytes),
            median(PROGRAM_WALL, units::nanoseconds),
        ]
    });
    Grid { names: 1, header, rows: rows.collect() }
}

/// Ok samples of all samples that one pass took.
fn count_samples(analysis: &Analysis<'_>, workload: &str, variant: &str, pass: Pass) -> String {
    let is_counted = |key: &SampleKey| key.workload == workload && key.variant == variant && key.pass == pass;
    let all = analysis.run.samples.iter().filter(|sample| is_counted(&sample.key())).count() as u64;
    match analysis.figures.failed(workload, variant, pass) {
        _ if all == 0 => "-".to_owned(),
        0 => format!("{all}"),
        failed => format!("{} of {all}", all - failed),
    }
}

fn describe_ratio(
    analysis: &Analysis<'_>,
    variant: &str,
    row: Option<&SummaryRow>,
    words: fn(Verdict) -> &'static str,
) -> String {
    if analysis.baseline.as_deref() == Some(variant) {
        return "baseline".to_owned();
    }
    match row.and_then(|row| Some((row.ratio, row.verdict?))) {
        None => "-".to_owned(),
        // The harness's share hides the rest: there is a verdict and no ratio.
        Some((None, verdict)) => words(verdict).to_owned(),
        Some((Some(ratio), verdict)) => format!("{} {}", units::ratio(ratio), words(verdict)),
    }
}

fn interval(row: Option<&SummaryRow>, show: fn(f64) -> String) -> String {
    match row.and_then(|row| row.low.zip(row.high)) {
        None => "-".to_owned(),
        Some((low, high)) => format!("{} to {}", show(low), show(high)),
    }
}

fn cell(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}
