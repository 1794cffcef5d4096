//! The table of a run: speed and memory of each variant, side by side and never as one score.

use std::io::{self, Write};

use super::analysis::Analysis;
use super::flaws::{Cause, Flaws, GROWING, MARK, find_marked, print_remarks};
use super::grid::{Grid, Style};
use super::setup::{describe_allocators, describe_machine};
use super::summary::SummaryRow;
use super::units;
use crate::results::metrics::{
    BUSY_SYSTEM_PER_EVENT, HARNESS_PER_EVENT, PROGRAM_CPU, PROGRAM_END, PROGRAM_MEAN, PROGRAM_ONCE_MEAN,
    PROGRAM_ONCE_PEAK, PROGRAM_PEAK, PROGRAM_WALL, RESIDENT_END, RESIDENT_MEAN, RESIDENT_PEAK,
    RESIDENT_SETTLED, TREE_PREDICTED, WALL_PER_EVENT,
};
use crate::results::{Counting, Pass, columns};

/// In which form the summary is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people: ruled on a terminal, otherwise one row per line.
    #[default]
    Table,
    /// Every row of summary.csv as an array of objects.
    Json,
    /// summary.csv itself.
    Csv,
    /// The table as markdown.
    Markdown,
}

/// Which columns a run's table has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Columns {
    /// Those that decide: speed, peak and settled memory, each with its difference from the baseline.
    #[default]
    Deciding,
    /// All: numbers of samples, intervals, kernel time, the harness's share, mean and end as well.
    All,
}

/// Prints the table of each workload.
pub fn print_table(
    analysis: &Analysis<'_>,
    columns: Columns,
    out: &mut dyn Write,
    style: Style,
) -> io::Result<()> {
    if style.ruled {
        for workload in &analysis.workloads {
            writeln!(out, "{workload}")?;
            workload_grid(analysis, workload, columns).print(out, style)?;
            writeln!(out)?;
        }
        print_trees(analysis, out, style)?;
        return print_marked(analysis, columns, out);
    }
    // One table of all workloads: each line says by itself what it is about.
    let mut all = Grid::default();
    for workload in &analysis.workloads {
        let grid = workload_grid(analysis, workload, columns);
        all.names = grid.names + 1;
        all.header = grid.header;
        all.header.insert(1, "workload".to_owned());
        all.rows.extend(grid.rows.into_iter().map(|mut row| {
            row.insert(1, workload.clone());
            row
        }));
    }
    all.print(out, style)?;
    print_trees(analysis, out, style)?;
    print_marked(analysis, columns, out)
}

/// Explains below a table what its columns do not say. All columns say by themselves what failed and what was cold, and not
/// how much memory grew.
fn print_marked(analysis: &Analysis<'_>, columns: Columns, out: &mut dyn Write) -> io::Result<()> {
    match columns {
        Columns::Deciding => print_remarks(analysis, &Cause::ALL, MARK, out),
        Columns::All => print_remarks(analysis, &[Cause::Growing], GROWING, out),
    }
}

/// The trees of processes with a prediction, each with its table.
pub(super) fn tree_grids<'a>(analysis: &'a Analysis<'_>) -> impl Iterator<Item = (&'a str, Grid)> {
    let trees = analysis.run.file.trees.iter();
    trees
        .map(|tree| (tree.name.as_str(), tree_grid(analysis, &tree.name)))
        .filter(|(_, grid)| !grid.rows.is_empty())
}

/// How to read the table of a tree.
pub(super) const TREE_NOTE: &str = "Predicted anonymous memory of all processes of the tree on one clock. once: pages \
    that processes share count once, which is what a control group is charged. sum: the processes' resident memory added up. \
    Lower is better.";

/// Predicted memory of a tree of processes, one row per variant.
fn tree_grid(analysis: &Analysis<'_>, tree: &str) -> Grid {
    let header = [
        "variant",
        "samples",
        "once: peak",
        "interval",
        "vs baseline",
        "once: mean",
        "sum: peak",
        "sum: mean",
    ];
    let [once_peak, once_mean, sum_peak, sum_mean] = TREE_PREDICTED;
    let ranked = analysis.variants.iter().filter(|variant| !analysis.is_floor(variant));
    let predicted = ranked.filter(|variant| analysis.row(tree, variant, sum_peak).is_some());
    let rows = predicted.map(|variant| {
        let row = |metric| analysis.row(tree, variant, metric);
        let median = |metric| cell(row(metric).and_then(|row| row.median), units::bytes);
        vec![
            variant.clone(),
            row(sum_peak).map_or_else(String::new, |row| units::samples(row.n, row.failed)),
            median(once_peak),
            interval(row(once_peak), units::bytes),
            describe_ratio(analysis, variant, row(once_peak)),
            median(once_mean),
            median(sum_peak),
            median(sum_mean),
        ]
    });
    Grid { names: 1, header: header.map(str::to_owned).to_vec(), rows: rows.collect() }
}

/// Prints the tables of trees.
fn print_trees(analysis: &Analysis<'_>, out: &mut dyn Write, style: Style) -> io::Result<()> {
    for (name, grid) in tree_grids(analysis) {
        writeln!(out, "\n{name}: predicted memory of all its processes")?;
        grid.print(out, style)?;
    }
    Ok(())
}

/// Prints the summary in the requested form.
pub fn print_summary(
    analysis: &Analysis<'_>,
    format: Format,
    columns: Columns,
    out: &mut dyn Write,
) -> io::Result<()> {
    match format {
        Format::Table => print_table(analysis, columns, out, Style::of_stdout()),
        Format::Markdown => {
            for workload in &analysis.workloads {
                writeln!(out, "### {}\n", super::grid::escape_markdown(workload))?;
                writeln!(out, "{}", workload_grid(analysis, workload, columns).markdown())?;
            }
            for (name, grid) in tree_grids(analysis) {
                writeln!(out, "### {}\n", super::grid::escape_markdown(name))?;
                writeln!(out, "{}", grid.markdown())?;
            }
            let mut remarks = Vec::new();
            print_marked(analysis, columns, &mut remarks)?;
            if !remarks.is_empty() {
                // They are a list, which only an empty line ends.
                remarks.push(b'\n');
            }
            out.write_all(&remarks)?;
            writeln!(out, "{} {}", describe_allocators(analysis), describe_machine(analysis))
        }
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

/// How to read the table of a workload: what its columns are, and which direction is better.
const TABLE_NOTE: &str = "Lower is better in every column. samples: how many samples the \
    figures after them come from. vs baseline: a difference that was shown, with 95 % confidence; otherwise no \
    difference. {speed} peak, mean, end: resident memory over trace time and after the last event. settled: resident \
    memory a minute after everything was freed, with only the main thread active. Values are medians over blocks, each \
    with its interval.{spread}";

/// The meaning of the spread column.
const SPREAD_NOTE: &str =
    " peak varies by: standard deviations in percent of the mean, among loads and among layouts of one load.";

/// The same for programs that ran.
const PROGRAM_NOTE: &str = "Lower is better in every column. samples: how many samples the figures after them come \
    from. vs baseline: a difference that was shown, with 95 % confidence; otherwise no difference. CPU time: of the program \
    and its children. peak, mean, end: anonymous resident memory over the sample's time and at its end. wall: the \
    sample's length. Values are medians over blocks, each with its interval.";

/// The same for one with several processes at once.
const PROCESSES_NOTE: &str = " once: pages that the processes share count once, which is what a control group is \
    charged. sum: the processes' resident memory added up.";

/// The meaning of a word in the column of samples.
const GROWING_NOTE: &str = " growing: memory still grew in the last third of the time; the notes at the beginning say by \
    how much.";

/// How to read the table of a workload.
pub(super) fn describe_table(analysis: &Analysis<'_>, workload: &str) -> String {
    let grew = find_marked(analysis, Cause::Growing).iter().any(|(grown, _)| *grown == workload);
    let growing = if grew { GROWING_NOTE } else { "" };
    if is_of_program(analysis, workload) {
        let is_one = analysis.program_counting(Some(workload)) == Counting::Process;
        return format!("{PROGRAM_NOTE}{}{growing}", if is_one { "" } else { PROCESSES_NOTE });
    }
    let net = "its ratio to the baseline is that of both minus the harness's share";
    let speed = match (analysis.speed.is_busy(), analysis.speed.is_net()) {
        (false, _) => "time/event: elapsed time of the replay over its events.".to_owned(),
        (true, is_net) => format!(
            "busy/event: CPU time in the allocator's calls and first touches per event, without waiting{}. \
             kernel: the kernel's part of it. harness: at most the replay's own part of it, which is what floor takes outside \
             the kernel. wall/event: elapsed time of the replay per event. cold: samples during which the host \
             supplied memory or took the CPU away.",
            if is_net { format!("; {net}") } else { String::new() }
        ),
    };
    let spread = if analysis.has_twins() { SPREAD_NOTE } else { "" };
    format!("{}{growing}", TABLE_NOTE.replace("{speed}", &speed).replace("{spread}", spread))
}

/// Whether a workload is a program that ran, even if no sample of it is ok.
fn is_of_program(analysis: &Analysis<'_>, workload: &str) -> bool {
    let mut samples = analysis.run.samples.iter();
    samples.any(|sample| sample.pass == Pass::Exec && sample.workload == workload)
}

/// A column of a table: its name, and whether it decides.
type Column = (&'static str, bool);

/// The headline figures of one workload, one row per variant; `floor` is last and not ranked.
pub(super) fn workload_grid(analysis: &Analysis<'_>, workload: &str, columns: Columns) -> Grid {
    if is_of_program(analysis, workload) {
        return program_grid(analysis, workload, columns);
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
    let mut header: Vec<Column> = vec![
        ("variant", true),
        ("samples", false),
        (of_speed.name, true),
        ("interval", false),
        ("vs baseline", true),
    ];
    header.extend(causes.iter().map(|(name, _)| (*name, false)));
    let memory =
        [("samples", false), ("peak", true), ("interval", false), ("vs baseline", true), ("mean", true)];
    header.extend(memory.into_iter().chain([("end", false), ("settled", true)]));
    let spread: &[&str] = if analysis.has_twins() { &["peak varies by"] } else { &[] };
    header.extend(spread.iter().map(|name| (*name, false)));
    let (floors, ranked): (Vec<&String>, Vec<&String>) =
        analysis.variants.iter().partition(|variant| analysis.is_floor(variant));
    let rows = ranked.into_iter().chain(floors).map(|variant| {
        let row = |metric| analysis.row(workload, variant, metric);
        let bytes = |metric| cell(row(metric).and_then(|row| row.median), units::bytes);
        let is_floor = analysis.is_floor(variant);
        let against = |row: Option<&SummaryRow>| match is_floor {
            true if row.is_none() => "-".to_owned(),
            true => "not ranked".to_owned(),
            false => describe_ratio(analysis, variant, row),
        };
        let [timed, measured] = [Pass::Throughput, Pass::Memory].map(|pass| {
            let flaws = Flaws::of(analysis, workload, variant, pass);
            (flaws.count(), if columns == Columns::Deciding { flaws.mark() } else { "" })
        });
        let (speed, peak) = (row(of_speed.time), row(RESIDENT_PEAK));
        let mut cells = vec![
            variant.clone(),
            timed.0,
            cell(speed.and_then(|row| row.median), units::nanoseconds) + timed.1,
            interval(speed, units::nanoseconds),
            against(if is_floor { speed } else { row(of_speed.compared) }),
        ];
        cells.extend(
            causes.iter().map(|(_, metric)| cell(row(metric).and_then(|row| row.median), units::nanoseconds)),
        );
        cells.extend([
            measured.0,
            cell(peak.and_then(|row| row.median), units::bytes) + measured.1,
            interval(peak, units::bytes),
            against(peak),
            bytes(RESIDENT_MEAN),
            bytes(RESIDENT_END),
            bytes(RESIDENT_SETTLED),
        ]);
        cells.extend(
            spread
                .iter()
                .map(|_| super::spread::describe(analysis.components(workload, variant, RESIDENT_PEAK))),
        );
        cells
    });
    select(&header, rows.collect(), columns)
}

/// Columns of a real program's table before those of its memory.
const BEFORE_PEAK: usize = 5;

/// The figures of a real program, one row per variant. For a program with several processes at once, memory is given in
/// both ways of counting: with shared pages counted once, and with the processes' memory added up.
fn program_grid(analysis: &Analysis<'_>, workload: &str, columns: Columns) -> Grid {
    // For one process both are the same.
    let is_tree = analysis.program_counting(Some(workload)) != Counting::Process;
    let [peak, mean, end] =
        if is_tree { ["sum: peak", "sum: mean", "sum: end"] } else { ["peak", "mean", "end"] };
    let mut header = vec![
        ("variant", true),
        ("samples", false),
        ("CPU time", true),
        ("interval", false),
        ("vs baseline", true),
        (peak, true),
        ("interval", false),
        ("vs baseline", true),
        (mean, true),
        (end, false),
        ("wall", true),
    ];
    let once = is_tree.then_some([("once: peak", true), ("vs baseline", true), ("once: mean", true)]);
    header.splice(BEFORE_PEAK..BEFORE_PEAK, once.into_iter().flatten());
    let rows = analysis.variants.iter().map(|variant| {
        let row = |metric| analysis.row(workload, variant, metric);
        let median = |metric, show: fn(f64) -> String| cell(row(metric).and_then(|row| row.median), show);
        let (cpu, peak) = (row(PROGRAM_CPU), row(PROGRAM_PEAK));
        let flaws = Flaws::of(analysis, workload, variant, Pass::Exec);
        let mark = if columns == Columns::Deciding { flaws.mark() } else { "" };
        let mut cells = vec![
            variant.clone(),
            flaws.count(),
            median(PROGRAM_CPU, units::nanoseconds) + mark,
            interval(cpu, units::nanoseconds),
            describe_ratio(analysis, variant, cpu),
            median(PROGRAM_PEAK, units::bytes) + mark,
            interval(peak, units::bytes),
            describe_ratio(analysis, variant, peak),
            median(PROGRAM_MEAN, units::bytes),
            median(PROGRAM_END, units::bytes),
            median(PROGRAM_WALL, units::nanoseconds),
        ];
        let once = is_tree.then(|| {
            [
                median(PROGRAM_ONCE_PEAK, units::bytes) + mark,
                describe_ratio(analysis, variant, row(PROGRAM_ONCE_PEAK)),
                median(PROGRAM_ONCE_MEAN, units::bytes),
            ]
        });
        cells.splice(BEFORE_PEAK..BEFORE_PEAK, once.into_iter().flatten());
        cells
    });
    select(&header, rows.collect(), columns)
}

/// Keeps the requested columns.
pub(super) fn select(header: &[Column], rows: Vec<Vec<String>>, columns: Columns) -> Grid {
    let is_shown = |at: usize| columns == Columns::All || header[at].1;
    let shown: Vec<usize> = (0..header.len()).filter(|&at| is_shown(at)).collect();
    Grid {
        names: 1,
        header: shown.iter().map(|&at| header[at].0.to_owned()).collect(),
        rows: rows.iter().map(|row| shown.iter().map(|&at| row[at].clone()).collect()).collect(),
    }
}

/// How a variant differs from the baseline.
fn describe_ratio(analysis: &Analysis<'_>, variant: &str, row: Option<&SummaryRow>) -> String {
    if analysis.baseline.as_deref() == Some(variant) {
        return "baseline".to_owned();
    }
    row.and_then(SummaryRow::difference).unwrap_or_else(|| "-".to_owned())
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
